"""`repack init`: a `repack.toml` with comments, to begin with."""

from __future__ import annotations

import argparse
import os
from importlib import resources
from pathlib import Path
from string import Template

from repack.cli.given import CONFIG, Answer
from repack.config import load
from repack.console import Progress
from repack.errors import OutputError
from repack.lock import format_value
from repack.results import JSON_VERSION

_TEMPLATE = resources.files("repack") / "templates" / "repack.toml"
_SAMPLE = """sample = { opencv = "4.14.0.94", cuda = 12, driver = false }"""
_ABOUT_SAMPLE = """\
# The source here is a SAMPLE: the package index's real opencv-contrib-python, whose
# cv2.pyd is given the load-time imports of a CUDA build, so that the whole job can be
# seen on any machine. Replace the line by one of these to build from your own:"""
_ABOUT = "# One source; it may also be one of these:"
#: What else a kind of source takes.
_MORE = {
    "release": """
# tag = "4.13.0.90"                               # without it the latest release
# asset = "*win_amd64.whl"                        # the one file of it that is meant""",
    "requirement": """
# python = "3.12"                                 # the Python that it is resolved for""",
}


def run_init(options: argparse.Namespace, progress: Progress) -> Answer:
    """Write a `repack.toml`, which must not be there yet."""
    del progress  # there is nothing to wait for
    path: Path = options.config or CONFIG
    text = Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        _named_source(options, path.parent)
    )
    try:
        with path.open("x", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
    except FileExistsError:
        raise OutputError(
            "is there already",
            code="exists",
            file=path,
            hint="change it, or remove it and run again",
        ) from None
    json = {"version": JSON_VERSION, "path": str(path.absolute())}
    lines = [f"{path}: what is built, and how; `repack build` does it"]
    return Answer(json=json, show=lambda console: console.show_lines(lines))


def _named_source(options: argparse.Namespace, folder: Path) -> dict[str, str]:
    """Return the lines of the source that an option names, and what is said of it.

    A wheel is named as it is seen from `folder`, where the file will be.
    """
    for kind in ("release", "requirement", "file"):
        text = getattr(options, kind)
        if text is not None:
            load(None, [(f"source.{kind}", text)])
            if kind == "file" and not Path(text).is_absolute():
                text = Path(os.path.relpath(text, folder)).as_posix()
            return {
                "about": _ABOUT,
                "source": f"{kind} = {format_value(text)}{_MORE.get(kind, '')}",
            }
    return {"about": _ABOUT_SAMPLE, "source": _SAMPLE}
