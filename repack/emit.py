"""Executes a plan: wheels are written into a staging folder and renamed to their final names.

Nothing stands in the output folder under a wheel's name before it is whole, and tested where it
can be. A wheel that an earlier build wrote from the same recipe is left as it is.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from repack import files
from repack.wheel import splice

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from repack.console import Progress
    from repack.plan import Plan, PlannedWheel
    from repack.wheel import Wheel

#: Changes whenever the same recipe gives other bytes than before.
_FORMAT = "1"
_FAILED = "failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Emitted:
    """A wheel that was written; `fresh` is False where an earlier build's stands."""

    planned: PlannedWheel
    path: Path
    size: int
    sha256: str
    fresh: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Ledger:
    """Remembers which bytes a recipe gave, so that the same is not written twice."""

    folder: Path

    def read(self, key: str) -> tuple[int, str] | None:
        """Return size in bytes and SHA-256 of what the recipe `key` gave; None if not known."""
        return files.Memory(self.folder).recall(
            key, lambda entry: (int(entry["size"]), str(entry["sha256"]))
        )

    def write(self, key: str, size: int, sha256: str) -> None:
        """Remember what the recipe `key` gave."""
        files.Memory(self.folder).keep(key, {"size": size, "sha256": sha256})


@contextmanager
def staging(out: Path) -> Iterator[Path]:
    """Return a folder beside the results, removed at the end; raises OutputError."""
    with folder_for(out):
        files.sweep(out)
        with files.workspace(out) as folder:
            yield folder


@contextmanager
def folder_for(out: Path) -> Iterator[None]:
    """Have the folder `out` for the block; where it made it and left it empty, it is gone again.

    Raises OutputError.
    """
    missing: list[Path] = []
    try:
        # An interrupt may come between any two steps.
        missing += _missing(out)
        _make_folder(out)
        yield
    except BaseException:
        for folder in missing:
            with suppress(OSError):
                folder.rmdir()
        raise


def emit(  # noqa: PLR0913 - the rim: all that touches the disk meets here
    plan: Plan, wheel: Wheel, *, out: Path, stage: Path, ledger: Ledger, progress: Progress
) -> tuple[Emitted, ...]:
    """Return the plan's wheels, written into `stage`, or found unchanged in `out`."""

    def one(planned: PlannedWheel) -> Emitted:
        key = _key(planned, wheel, plan.timestamp)
        known = ledger.read(key)
        if known and stands(out / planned.filename, *known):
            path, fresh = out / planned.filename, False
            size, sha256 = known
        else:
            path, fresh = stage / planned.filename, True
            written = splice(wheel.archive, planned.entries, path, timestamp=plan.timestamp)
            size, sha256 = written.size, written.sha256
            ledger.write(key, size, sha256)
        task.advance(1)
        return Emitted(planned=planned, path=path, size=size, sha256=sha256, fresh=fresh)

    # One after the other: after an interrupt no thread goes on writing into the stage.
    with progress.task("Writing wheels", total=len(plan.wheels), unit="steps") as task:
        return tuple(map(one, plan.wheels))


def settle(emitted: Emitted, out: Path, failure: str = "") -> Path:
    """Return the wheel's final path: in `out`, or in `out`/failed beside its log `failure`."""
    name = emitted.planned.filename
    failed = out / _FAILED
    if failure:
        _make_folder(failed)
        with files.replacing(failed / f"{name}.log") as stream:
            stream.write(failure.encode())
        files.replace(emitted.path, failed / name)
        (out / name).unlink(missing_ok=True)
        return failed / name
    if emitted.fresh:
        files.replace(emitted.path, out / name)
    for stale in (failed / name, failed / f"{name}.log"):
        stale.unlink(missing_ok=True)
    if failed.is_dir() and not any(failed.iterdir()):
        failed.rmdir()
    return out / name


def _missing(folder: Path) -> list[Path]:
    """Return `folder` and those it has to stand in, as far as they are not there."""
    try:
        return list(takewhile(lambda each: not each.exists(), (folder, *folder.parents)))
    except OSError as error:
        raise files.not_written(folder, error) from error


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise files.not_written(folder, error) from error


def _key(planned: PlannedWheel, wheel: Wheel, timestamp: int) -> str:
    """Return the digest of everything that decides a wheel's bytes."""
    parts = (_FORMAT, planned.recipe, wheel.sha256, str(timestamp))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def stands(path: Path, size: int, sha256: str) -> bool:
    """Return whether the file is there, whole and unchanged."""
    try:
        return path.stat().st_size == size and files.sha256_of(path) == sha256
    except OSError:
        return False
