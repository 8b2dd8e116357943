"""Adapter of delvewheel: `delvewheel repair` on the source, whose result has to be ours.

Its modules are private, so it runs as a program. It searches PATH, so that is bare.
"""

import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from repack.errors import ToolError
from repack.files import sweep, workspace
from repack.inspect import Analysis
from repack.process import Finished, run
from repack.vendor.selection import Choice, Selection
from repack.wheel import RecordEntry, read_pieces, read_wheel

#: What a driver brings is never put into a wheel; the C++ run-time is Windows' own business.
_NEVER = (
    *("nvcuda.dll", "nvcuvid.dll", "nvencodeapi*.dll", "nvml.dll", "nvapi*.dll", "nvofapi*"),
    *("msvcp140*", "vcruntime140*", "concrt140*", "vcomp140*", "vccorlib140*"),
)
#: Names stay, so that NVIDIA's bytes do; what lies in the wheel already is looked into.
_OPTIONS = ("--no-mangle-all", "--analyze-existing", "--ignore-existing")
_TIMEOUT = 3600.0
_ERROR = re.compile(r"(\w+(Error|Exception)\b|\S+: No module named )")


def repair(
    analysis: Analysis, selection: Selection, rows: Mapping[str, RecordEntry], folder: Path
) -> None:
    """Have delvewheel repair the wheel; raises ToolError unless it puts in what was selected.

    `rows` has what RECORD says of each selected DLL, by its key: the same bytes have to come out.
    Works in `folder`, and leaves nothing there.
    """
    sweep(folder)
    with workspace(folder) as place:
        for name in ("dlls", "out"):
            (place / name).mkdir()
        for choice in selection.chosen:
            _extract(choice, place / "dlls" / choice.file.name)
        finished = _run(analysis, selection, place)
        repaired = place / "out" / analysis.wheel.path.name
        if finished.returncode or finished.timed_out or not repaired.exists():
            raise _repair_error(analysis, finished)
        _check(analysis, repaired, rows)


def _extract(choice: Choice, destination: Path) -> None:
    archive, place = choice.supplier.archive, choice.file.place
    if archive is None:
        shutil.copyfile(place, destination)
        return
    member = archive.member(place)
    assert member is not None  # noqa: S101 - for mypy: the supplier has read it
    with destination.open("wb") as stream:
        for piece in read_pieces(archive, member):
            stream.write(piece)


def _run(analysis: Analysis, selection: Selection, place: Path) -> Finished:
    chosen = {choice.dll.key for choice in selection.chosen}
    outside = {need.dll.key for need in analysis.needs if need.in_wheel is None}
    left = {choice.dll.key for choice in selection.left_out}
    by_name = sorted(choice.file.name for choice in selection.chosen if choice.by_name)
    options = [
        *("--add-path", str(place / "dlls"), "-w", str(place / "out")),
        *("--exclude", os.pathsep.join(sorted({*_NEVER, *(outside | left) - chosen}))),
        *(("--include", os.pathsep.join(by_name)) if by_name else ()),
    ]
    # Windows' own variables stay: without SYSTEMROOT no Python starts there.
    kept = ("SYSTEMROOT", "WINDIR", "PYTHONPATH", "VIRTUAL_ENV")
    env = {name: os.environ[name] for name in kept if name in os.environ}
    # It unpacks the wheel, which may be gigabytes.
    env |= dict.fromkeys(("TEMP", "TMP", "TMPDIR"), str(place))
    return run(
        [sys.executable, "-m", "delvewheel", "repair", *_OPTIONS, *options, analysis.wheel.path],
        timeout=_TIMEOUT,
        env={**env, "PATH": str(place / "dlls")},
        cwd=place,
    )


def _repair_error(analysis: Analysis, finished: Finished) -> ToolError:
    # What it says and the traceback that it ends with come in any order.
    errors = [line for line in finished.output.splitlines() if _ERROR.match(line)]
    reason = errors[-1].strip() if errors else f"exit code {finished.returncode}"
    if finished.timed_out:
        reason = f"it did not finish in {_TIMEOUT / 60:.0f} minutes"
    return ToolError(
        f"delvewheel cannot repair it: {reason}",
        code="delvewheel",
        file=analysis.wheel.path.name,
        hint='vendor.engine = "splice" does without it',
    )


def _check(analysis: Analysis, repaired: Path, rows: Mapping[str, RecordEntry]) -> None:
    """Raise ToolError unless the DLLs that came in are the selected ones, byte for byte."""
    wheel = read_wheel(repaired)
    names = set(wheel.names) - set(analysis.wheel.names)
    added = {
        PurePosixPath(name).name.lower(): wheel.record[name]
        for name in names
        if name.lower().endswith(".dll")
    }
    if added == rows:
        return
    more = [f"has put in {name}" for name in sorted(added.keys() - rows.keys())]
    less = [f"has left out {name}" for name in sorted(rows.keys() - added.keys())]
    changed = [
        f"has changed {name}" for name, row in sorted(added.items()) if rows.get(name, row) != row
    ]
    raise ToolError(
        f"delvewheel {', '.join([*more, *less, *changed])}, repack would not",
        code="delvewheel-differs",
        file=analysis.wheel.path.name,
        hint="report it, with the wheel's name and both versions",
    )
