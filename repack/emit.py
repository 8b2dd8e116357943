"""Writes what a plan says: into a staging folder first, then renamed to the final names.

Nothing stands in the output folder under a wheel's name before it is whole, and tested where it
can be. A wheel that stands there with the same bytes already is left as it is.
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
    wheels = []
    with progress.task("Writing wheels", total=len(plan.wheels), unit="steps") as task:
        for planned in plan.wheels:
            staged = stage / planned.filename
            wheel = splice(planned.entries, staged, timestamp=plan.timestamp)
            check_size(planned.filename, wheel.size, config.publish.max_size, plan.record.carried)
            standing = config.build.out / planned.filename
            if _holds(standing, wheel.sha256):
                staged.unlink()
                wheel = wheel._replace(path=standing)
            wheels.append(wheel)
            task.advance(1)
    return tuple(wheels)


def _holds(path: Path, sha256: str) -> bool:
    """Return whether a file with that content stands there; one that cannot be read does not."""
    with suppress(InputError):
        return path.is_file() and sha256_of(path) == sha256
    return False


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
