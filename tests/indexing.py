"""A package index of the simple kind (PEP 503) on loopback, and what a build leaves for it."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import publishing

from repack.files import sha256_of
from repack.record import Beside, BuildRecord, Origin, Outcome, Seen, WheelRecord, write_record
from repack.wheel.names import parse_filename


def simple_index(folder: Path, wheels: Iterable[Path]) -> None:
    """Lay out an index with these wheels."""
    for wheel in wheels:
        page = folder / "simple" / parse_filename(wheel).name / "index.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        (page.parent / wheel.name).symlink_to(wheel)
        link = f"{wheel.name.replace('+', '%2B')}#sha256={sha256_of(wheel)}"
        with page.open("a", encoding="utf-8") as stream:
            stream.write(f'<a href="{link}">{wheel.name}</a>\n')


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on loopback during a block, which is given the index's URL."""
    with publishing.served(folder) as url:
        yield f"{url}/simple/"


def wheel_record(
    folder: Path,
    wheel: Path,
    pythons: Sequence[str],
    *,
    beside: Sequence[Path] = (),
    status: str = "passed",
) -> WheelRecord:
    """What a build that left `wheel` somewhere in `folder` says of it."""
    lay = tuple(
        Beside(filename=each.name, size=each.stat().st_size, sha256=sha256_of(each))
        for each in beside
    )
    name = parse_filename(wheel)
    return WheelRecord(
        path=wheel.relative_to(folder).as_posix(),
        version=str(name.version),
        tag=name.tag,
        size=wheel.stat().st_size,
        sha256=sha256_of(wheel),
        seen=tuple(
            Seen(python=python, after=Outcome(status=status, beside=lay)) for python in pythons
        ),
    )


def leave_record(
    folder: Path, wheels: Sequence[WheelRecord], *, requires: Sequence[str] = ()
) -> None:
    """Leave the record of a build that made `wheels` and added `requires`."""
    write_record(
        BuildRecord(
            source=Origin(
                filename="opencv_contrib_python-4.13.0.90-cp37-abi3-win_amd64.whl",
                name="opencv-contrib-python",
                version="4.13.0.90",
                url="pkg:pypi/opencv-contrib-python@4.13.0.90",
                size=1,
                sha256="0" * 64,
                cuda="12",
            ),
            mode="depend" if requires else "patch",
            driver_stub=False,
            wheels=tuple(wheels),
            requires=tuple(requires),
        ),
        folder,
    )
