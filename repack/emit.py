"""Writes what a plan says: into a staging folder first, then renamed to the final names.

Nothing stands in the output folder under a wheel's name before it is whole, and tested where it
can be. A wheel that an earlier build wrote from the same recipe is left as it is.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from repack.config import Config
from repack.console import Progress
from repack.errors import InputError
from repack.files import not_written, replace, sha256_of, write
from repack.plan import Plan, check_size
from repack.record import FILENAME, read_record
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

    Raises OutputError for a wheel that is too large.
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
    return tuple(wheels)


def _find_standing(plan: Plan, out: Path) -> dict[str, Written]:
    """Return by recipe the plan's wheels that stand whole in `out`, left by an earlier build."""
    recipes = {planned.recipe for planned in plan.wheels}
    standing = {}
    # A record, or a wheel, that cannot be read is none.
    with suppress(InputError):
        for wheel in read_record(out / FILENAME).wheels:
            path = out / wheel.filename
            if wheel.recipe in recipes and path.is_file() and sha256_of(path) == wheel.sha256:
                standing[wheel.recipe] = Written(path, wheel.size, wheel.sha256)
    return standing


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
