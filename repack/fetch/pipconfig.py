"""The user's pip: what it is told about indexes, and calls that its other settings do not reach."""

import ast
import functools
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from repack.errors import ToolError
from repack.process import Finished, run

_LONGEST = 4 * 3600.0
#: What pip is told about indexes and the way to them. All else says how and where the user
#: installs (`user`, `target`, `require-hashes`, `quiet`, `constraint`, ...): not for our calls.
_ABOUT_INDEXES = (
    *("index-url", "pypi-url", "extra-index-url", "no-index", "find-links", "trusted-host"),
    *("cert", "client-cert", "proxy", "no-proxy-env", "keyring-provider"),
    *("timeout", "default-timeout", "retries", "resume-retries"),
    *("cache-dir", "no-cache-dir", "uploaded-prior-to"),
)
_SECTIONS = ("global", "install", ":env:")
_MANY_VERSIONS = re.compile(r"\(from versions: [^)]*?, ((?:[^,)]+, ){5}[^,)]+)\)")
_SETTING = re.compile(r"^(\S+)\.([\w-]+)=(['\"].*['\"])$", re.MULTILINE)


def read_settings() -> Mapping[str, str]:
    """Return what the user's pip is told about indexes, by variables and by pip.conf.

    The names are those of pip's options; lists are separated by white space. It may hold
    passwords. Raises ToolError where pip cannot read its configuration.
    """
    kept = {f"PIP_{_variable(name)}" for name in _ABOUT_INDEXES} | {"PIP_CONFIG_FILE"}
    own = {name: value for name, value in os.environ.items() if name in kept}
    return _list_settings(tuple(sorted({**_plain_environment(), **own}.items())))


@functools.cache
def _list_settings(environment: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    # A pip.conf may say `quiet`: so much louder than that is the list shown in any case.
    louder = "-" + "v" * 12
    done = run([*_PIP, "config", "list", louder], timeout=60.0, env=dict(environment))
    if done.returncode:
        raise ToolError(
            f"pip cannot read its configuration: {last_words(done)}",
            code="pip-config",
            hint="python -m pip config debug",
        )
    rows = _SETTING.findall(done.output)
    rows.sort(key=lambda row: _SECTIONS.index(row[0]) if row[0] in _SECTIONS else -1)
    return {
        name: ast.literal_eval(value)
        for section, name, value in rows
        if section in _SECTIONS and name in _ABOUT_INDEXES
    }


def run_pip(arguments: Sequence[str | Path], folder: Path) -> Finished:
    """Return what came of pip with `arguments`; it may ask no question, and keyring is asked.

    Its temporary files go into `folder`: a /tmp may be too small for a wheel. What the user's
    pip is told about indexes stands in no command line, for it may hold passwords.
    """
    settings = {f"PIP_{_variable(name)}": value for name, value in read_settings().items()}
    temporary = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder))
    # No pip.conf is read besides.
    environment = {**_plain_environment(), **settings, **temporary, "PIP_CONFIG_FILE": os.devnull}
    return run([*_PIP, *arguments], timeout=_LONGEST, env=environment)


def last_words(done: Finished) -> str:
    """Return why pip has failed, in its own words."""
    if done.timed_out:
        return f"it did not finish in {_LONGEST / 3600:.0f} hours"
    lines = [line.strip() for line in done.output.splitlines() if line.strip()]
    warnings = [line for line in lines if line.startswith("WARNING: ")]
    # The last says only that there is none.
    errors = [line for line in lines if re.match("ERROR: (?!Exception:)", line)][-2:]
    words = next(iter([*warnings[-1:], *errors, *lines[-1:]]), f"exit code {done.returncode}")
    words = re.sub("^(?:WARNING|ERROR): ", "", words)
    return _MANY_VERSIONS.sub(r"(newest versions: \1)", words)


_PIP = (sys.executable, "-m", "pip", "--no-color", "--disable-pip-version-check")


def _plain_environment() -> dict[str, str]:
    """Return our environment without pip's variables; a `pip.py` of this folder is not run."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    return {**plain, "PYTHONSAFEPATH": "1"}


def _variable(name: str) -> str:
    return name.upper().replace("-", "_")
