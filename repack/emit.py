"""Writes what a plan says: into a staging folder first, then renamed to the final names.

Nothing stands in the output folder under a wheel's name before it is whole, and tested where it
can be. A wheel that an earlier build wrote from the same recipe is left as it is.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from repack import files
from repack.console import Progress
from repack.errors import InputError
from repack.plan import Plan, PlannedWheel
from repack.record import FILENAME, WheelRecord, read_record
from repack.wheel.writer import splice

_FAILED = "failed"


class Emitted(NamedTuple):
    """A wheel that was written; `fresh` is False where an earlier build's stands."""

    planned: PlannedWheel
    path: Path
    size: int
    sha256: str
    fresh: bool


@contextmanager
def staging(out: Path) -> Iterator[Path]:
    """Return a folder beside the results, removed at the end; raises OutputError."""
    with folder_for(out), files.workspace(out) as folder:
        yield folder


@contextmanager
def folder_for(out: Path) -> Iterator[None]:
    """Make the folder `out`; a new one is removed where the block ends in an error.

    Raises OutputError.
    """
    # Path.exists raises where a name is too long.
    missing = [path for path in (out, *out.parents) if not os.path.exists(path)]  # noqa: PTH110
    try:
        _make_folder(out)
        yield
    except BaseException:
        for folder in missing:
            with suppress(OSError):
                folder.rmdir()
        raise


def emit(plan: Plan, *, out: Path, stage: Path, progress: Progress) -> tuple[Emitted, ...]:
    """Return the plan's wheels, written into `stage`, or found unchanged in `out`."""
    before = _read_wheels(out)
    emitted = []
    with progress.task("Writing wheels", total=len(plan.wheels), unit="steps") as task:
        for planned in plan.wheels:
            path = out / planned.filename
            earlier = before.get(planned.filename)
            if earlier and earlier.recipe == planned.recipe and _is_whole(path, earlier):
                size, sha256, fresh = earlier.size, earlier.sha256, False
            else:
                path = stage / planned.filename
                written = splice(planned.entries, path, timestamp=plan.timestamp)
                size, sha256, fresh = written.size, written.sha256, True
            emitted.append(Emitted(planned, path, size, sha256, fresh))
            task.advance(1)
    return tuple(emitted)


def _read_wheels(out: Path) -> dict[str, WheelRecord]:
    """Return what the build before left in `out`, by file name; a damaged record tells nothing."""
    try:
        return {wheel.filename: wheel for wheel in read_record(out / FILENAME).wheels}
    except InputError:
        return {}


def _is_whole(path: Path, recorded: WheelRecord) -> bool:
    """Return whether the file at `path` is still the wheel that was recorded."""
    try:
        return files.sha256_of(path) == recorded.sha256
    except InputError:
        return False


def move_wheel(emitted: Emitted, out: Path, failure: str = "") -> Path:
    """Return the wheel's final path: in `out`, or in `out`/failed beside its log `failure`."""
    name = emitted.planned.filename
    failed = out / _FAILED
    if failure:
        _make_folder(failed)
        files.write(failed / f"{name}.log", failure.encode())
        files.replace(emitted.path, failed / name)
        (out / name).unlink(missing_ok=True)
        return failed / name
    if emitted.fresh:
        files.replace(emitted.path, out / name)
    for stale in (failed / name, failed / f"{name}.log"):
        stale.unlink(missing_ok=True)
    with suppress(OSError):
        failed.rmdir()
    return out / name


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise files.not_written(folder, error) from error
