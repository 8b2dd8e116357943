"""Adapter of delvewheel: `delvewheel repair` on the source, whose result has to be ours.

Its modules are private, so it runs as a program. It searches PATH, so that is bare.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from zipfile import ZipFile

from repack.errors import ToolError
from repack.files import workspace
from repack.inspect import Analysis
from repack.inspect.binaries import find_needs
from repack.process import run
from repack.wheel.reader import read_wheel
from repack.wheel.writer import Carried, splice

#: Names stay, so that NVIDIA's bytes do; what lies in the wheel already is looked into.
_OPTIONS = ("--no-mangle-all", "--analyze-existing", "--ignore-existing")
_TIMEOUT = 3600.0


def repair(analysis: Analysis, complete: Analysis, dlls: Sequence[Carried], folder: Path) -> None:
    """Have delvewheel repair the wheel; raises ToolError unless it puts in `dlls`, byte for byte.

    `complete` is the analysis of the wheel with these. Works in `folder`, and leaves nothing there.
    """
    source = analysis.wheel.path
    with workspace(folder) as place:
        packed, unpacked, out = place / "dlls.zip", place / "dlls", place / "out"
        entries = [replace(dll.entry, name=_name(dll.entry.name)) for dll in dlls]
        splice(entries, packed, timestamp=0)
        with ZipFile(packed) as archive:
            archive.extractall(unpacked)
        options = (*_OPTIONS, *_choose(analysis, complete, dlls), "--add-path", str(unpacked))
        finished = run(
            [sys.executable, "-m", "delvewheel", "repair", *options, "-w", out, source],
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
        if finished.returncode:
            reason = finished.output.strip().rpartition("\n")[2]
            raise ToolError(
                f"delvewheel cannot repair it: {reason} (exit code {finished.returncode})",
                code="delvewheel",
                file=source.name,
                hint='vendor.engine = "splice" does without it',
            )
        _compare(analysis, out / source.name, dlls)


def _choose(analysis: Analysis, complete: Analysis, dlls: Sequence[Carried]) -> Iterator[str]:
    """Yield the options by which it takes what was chosen, and nothing else."""
    ours = {dll.entry.name for dll in dlls}
    needs = find_needs((*analysis.images, *sorted(ours)), complete.images)
    others = {need.dll.key for need in needs if need.in_wheel not in {*analysis.images, *ours}}
    yield from ("--exclude", os.pathsep.join(sorted(others)))
    # It finds by itself what load-time imports lead to.
    needs = find_needs(analysis.native, complete.images)
    forced = ours & {need.in_wheel for need in needs if need.delayed}
    if forced:
        yield from ("--include", os.pathsep.join(sorted(map(_name, forced))))


def _compare(analysis: Analysis, repaired: Path, dlls: Sequence[Carried]) -> None:
    """Raise ToolError unless the DLLs that came in are ours, byte for byte."""
    wheel = read_wheel(repaired)
    theirs = {
        (_name(member), wheel.record[member].hex)
        for member in set(wheel.names).difference(analysis.wheel.names)
        if member.lower().endswith(".dll")
    }
    ours = {(_name(dll.entry.name), dll.row.hex) for dll in dlls}
    if ours != theirs:
        raise ToolError(
            "delvewheel puts in other DLLs than repack, or other bytes of them: "
            f"{', '.join(sorted({name for name, _ in ours ^ theirs}))}",
            code="delvewheel-differs",
            file=analysis.wheel.path.name,
            hint="report it, with the wheel's name and both versions",
        )


def _name(member: str) -> str:
    return PurePosixPath(member).name
