"""Runs pip as if it were on another machine: markers are evaluated for that one, not for this.

pip takes --platform and --python-version for the tags of wheels alone, and evaluates `sys_platform
== "win32"` or `python_version >= "3.12"` for the Python that runs it. Its resolver has no setting
for that; Pex gives pip another environment in the same way. What it resolved is looked through
afterwards, so that a pip in which this does nothing any more is found out.

A folder of its own, because Python puts a program's folder before its library.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, cast

from pip._internal.cli.main import main
from pip._vendor.packaging import markers

if TYPE_CHECKING:
    from collections.abc import Sequence


def run(environment: str, argv: Sequence[str]) -> int:
    """Return the exit code of pip's command line `argv`; `environment` is a JSON object."""
    ours = markers.default_environment

    def theirs() -> markers.Environment:
        return cast("markers.Environment", {**ours(), **json.loads(environment)})

    markers.default_environment = theirs
    return main(list(argv))


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], sys.argv[2:]))
