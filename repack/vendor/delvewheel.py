"""Adapter of delvewheel: `delvewheel repair` on the source, whose result has to be ours.

Its modules are private, so it runs as a program. It searches PATH, so that is bare.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from zipfile import ZipFile

from repack.errors import ToolError
from repack.files import workspace
from repack.inspect import Analysis
from repack.inspect.binaries import find_needs
from repack.process import run
from repack.wheel.reader import Wheel, read_wheel
from repack.wheel.writer import Part, splice

_TIMEOUT = 3600.0


def repair(analysis: Analysis, complete: Analysis, dlls: Sequence[Part], folder: Path) -> None:
    """Have delvewheel repair the wheel; raises ToolError unless it puts in `dlls`, byte for byte.

    `complete` is the analysis of the wheel with these. Works in `folder`, and leaves nothing there.
    """
    source = analysis.wheel
    with workspace(folder) as place:
        packed, unpacked, out = place / "dlls.zip", place / "dlls", place / "out"
        entries = [replace(dll, name=_name(dll.name)) for dll in dlls]
        splice(entries, packed, timestamp=0)
        with ZipFile(packed) as archive:
            archive.extractall(unpacked)
        options = (*_choose(analysis, complete, dlls), "--add-path", str(unpacked))
        finished = run(
            [sys.executable, "-m", "delvewheel", "repair", *options, "-w", out, source.path],
            timeout=_TIMEOUT,
            env={
                **os.environ,
                # It unpacks the wheel, which may be gigabytes.
                **dict.fromkeys(("TEMP", "TMP", "TMPDIR"), str(place)),
                "PATH": str(unpacked),
                # So the last line that it prints says how it ended.
                "PYTHONUNBUFFERED": "1",
            },
            cwd=place,
        )
        # A wheel that it has repaired before is no error to it.
        if finished.returncode or not (out / source.path.name).is_file():
            last_line = finished.output.strip().rpartition("\n")[2]
            fault = f"{last_line} (exit code {finished.returncode})"
        else:
            fault = _compare(source, read_wheel(out / source.path.name), dlls)
        if fault:
            raise ToolError(
                f"delvewheel cannot repair it: {fault}",
                code="delvewheel",
                file=source.path.name,
                hint='vendor.engine = "splice" does without it',
            )


def _compare(source: Wheel, repaired: Wheel, dlls: Sequence[Part]) -> str:
    """Return what is wrong with the DLLs that came in, "" where they are ours, byte for byte."""
    theirs = {
        (_name(member), repaired.record[member].hex)
        for member in {*repaired.names}.difference(source.names)
        if member.lower().endswith(".dll")
    }
    ours = {(_name(dll.name), dll.row.hex) for dll in dlls}
    names = ", ".join(sorted({name for name, _ in ours ^ theirs}))
    return f"it puts in other DLLs than repack, or other bytes of them: {names}" if names else ""


def _choose(analysis: Analysis, complete: Analysis, dlls: Sequence[Part]) -> list[str]:
    """Return the options by which it takes what was chosen, and nothing else."""
    ours = {dll.name for dll in dlls}
    inside = {*analysis.images, *ours}
    needs = find_needs(sorted(inside), complete.images)
    others = {need.dll.key for need in needs if need.in_wheel not in inside}
    # Names stay, so that NVIDIA's bytes do; what lies in the wheel already is looked into.
    options = ["--no-mangle-all", "--analyze-existing", "--ignore-existing"]
    options += ["--exclude", os.pathsep.join(sorted(others))]
    # It finds by itself what load-time imports lead to.
    needs = find_needs(analysis.native, complete.images)
    forced = ours & {need.in_wheel for need in needs if need.delayed}
    if forced:
        options += ["--include", os.pathsep.join(sorted(map(_name, forced)))]
    return options


def _name(member: str) -> str:
    return PurePosixPath(member).name
