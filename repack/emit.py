"""Writes what a plan says: into a staging folder first, then renamed to the final names.

Nothing stands in the output folder under a wheel's name before it is whole, and tested where it
can be. A wheel that an earlier build wrote from the same recipe is left as it is.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from repack.config import Config
from repack.console import Progress
from repack.errors import InputError, OutputError
from repack.files import not_written, replace, sha256_of, write
from repack.plan import Plan, check_size
from repack.record import FILENAME, WheelRecord, read_record
from repack.wheel.writer import Written, splice

_FAILED = "failed"


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


def emit(plan: Plan, config: Config, stage: Path, progress: Progress) -> tuple[Written, ...]:
    """Return the plan's wheels, written into `stage`, or in the output folder where they stand.

    Raises OutputError for a wheel that is too large, or whose name another build has taken.
    """
    out = config.build.out
    standing = _find_standing(plan, out)
    wheels = []
    with progress.task("Writing wheels", total=len(plan.wheels), unit="steps") as task:
        for planned in plan.wheels:
            wheel = standing.get(planned.recipe) or splice(
                planned.entries, stage / planned.filename, timestamp=plan.timestamp
            )
            check_size(planned.filename, wheel.size, config.publish.max_size, plan.record.carried)
            wheels.append(wheel)
            task.advance(1)
    if config.build.name:
        _check_names(wheels, out)
    return tuple(wheels)


def _find_standing(plan: Plan, out: Path) -> dict[str, Written]:
    """Return by recipe the plan's wheels that stand whole in `out`, left by an earlier build."""
    recipes = {planned.recipe for planned in plan.wheels}
    standing = {}
    for wheel in _read_wheels(out):
        path = out / wheel.filename
        with suppress(InputError):
            if wheel.recipe in recipes and sha256_of(path) == wheel.sha256:
                standing[wheel.recipe] = Written(path, wheel.size, wheel.sha256)
    return standing


def _check_names(wheels: Sequence[Written], out: Path) -> None:
    """Raise OutputError where another of several builds has the name of a wheel."""
    ours = {wheel.path.name: wheel.sha256 for wheel in wheels}
    for folder in sorted({*out.parent.iterdir()} - {out}):
        for theirs in _read_wheels(folder):
            if ours.get(theirs.filename, theirs.sha256) != theirs.sha256:
                raise OutputError(
                    f"{folder} has the same name and other bytes",
                    code="other-bytes",
                    file=theirs.filename,
                    hint="remove that folder where no build is called so any more, or give one of "
                    "the two another name",
                )


def _read_wheels(folder: Path) -> tuple[WheelRecord, ...]:
    """Return what a build left in the folder; without a record that can be read it is nothing."""
    with suppress(InputError):
        return read_record(folder / FILENAME).wheels
    return ()


def move_wheel(path: Path, out: Path, failure: str = "") -> Path:
    """Return the wheel's final path: in `out`, or in `out`/failed beside its log `failure`."""
    name, failed = path.name, out / _FAILED
    if failure:
        _make_folder(failed)
        write(failed / f"{name}.log", failure.encode())
        replace(path, failed / name)
        (out / name).unlink(missing_ok=True)
        return failed / name
    if path.parent != out:
        replace(path, out / name)
    for stale in (failed / name, failed / f"{name}.log"):
        stale.unlink(missing_ok=True)
    with suppress(OSError):
        failed.rmdir()
    return out / name


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise not_written(folder, error) from error
