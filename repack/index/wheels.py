"""What a folder hands over: its wheels, read strictly, and what their builds saw of them."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from repack.console import Progress
from repack.errors import InputError
from repack.index.project import Facts, File, link_to
from repack.plan import check_size
from repack.record import BuildRecord, Cargo, WheelRecord, read_records
from repack.wheel import Wheel, read_wheel

_BUILD = "run `repack build` first, or name the folder that it wrote to"


class Offer(NamedTuple):
    """A wheel that is to be in an index; `carried` is what its build put into it."""

    project: str
    file: File
    path: Path
    metadata: bytes
    carried: Sequence[Cargo]


def read_offers(
    dist: Path, *, time: str, allow_startup_hook: bool, max_size: int | None, progress: Progress
) -> list[Offer]:
    """Return the wheels of `dist` and of the builds' folders in it, each checked wholly.

    Raises InputError at the first that is no wheel, is not what its build left, did not work
    there, or is larger than the index takes.
    """
    if not dist.is_dir():
        raise InputError("there is no such folder", code="missing-folder", file=dist, hint=_BUILD)
    offers: dict[str, Offer] = {}
    places = _find_wheels(dist)
    total = sum(path.stat().st_size for path, _ in places)
    with progress.task("Checking wheels", total=total) as task:
        for path, record in places:
            wheel = read_wheel(path, allow_startup_hook=allow_startup_hook, task=task)
            offer = _make_offer(wheel, record, time)
            check_size(path.name, wheel.size, max_size, offer.carried)
            _check_once(offer, offers.setdefault(path.name, offer))
    if not offers:
        raise InputError("it holds no wheels", code="no-wheels", file=dist, hint=_BUILD)
    return [offers[name] for name in sorted(offers)]


def _find_wheels(dist: Path) -> list[tuple[Path, BuildRecord | None]]:
    """Return each wheel of the folders that are looked into, with the record beside it."""
    records = {
        folder: record
        for folder, record in read_records(dist).items()
        if folder == dist or not (folder.name.startswith(".") or folder.name == "failed")
    }
    return [
        (path, records.get(folder))
        for folder in sorted({dist, *records})
        for path in sorted(folder.glob("*.whl"))
        if not path.name.startswith(".")
    ]


def _make_offer(wheel: Wheel, record: BuildRecord | None, time: str) -> Offer:
    """Return the wheel as a file of an index, uploaded at `time`."""
    wheels = record.wheels if record else ()
    built = next((entry for entry in wheels if entry.filename == wheel.path.name), None)
    if built is not None:
        check_built(wheel, built)
    build = record if built else None
    metadata_sha256 = {"sha256": hashlib.sha256(wheel.metadata).hexdigest()}
    file = File(
        filename=wheel.path.name,
        url=link_to(wheel.path.name),
        hashes={"sha256": wheel.sha256},
        size=wheel.size,
        upload_time=time,
        requires_python=wheel.requires_python,
        core_metadata=metadata_sha256,
        dist_info_metadata=metadata_sha256,
        facts=Facts(
            summary=wheel.summary,
            requires=tuple(wheel.requires),
            mode=build.mode if build else "",
            cuda=build.source.cuda if build else "",
            driver_stub=build.driver_stub if build else False,
            seen=tuple((seen.python, seen.status) for seen in built.seen) if built else (),
        ),
    )
    carried = build.carried if build else ()
    return Offer(wheel.filename.name, file, wheel.path, wheel.metadata, carried)


def check_built(wheel: Wheel, built: WheelRecord) -> None:
    """Raise where the wheel is not what its build left, or did not work."""
    if built.sha256 != wheel.sha256:
        raise InputError(
            f"its SHA-256 is {wheel.sha256}, build.json says {built.sha256}",
            code="changed",
            file=wheel.path,
            hint="build again: this is not what was built and tried",
        )
    if not built.works:
        raise InputError(
            "it did not work when its build tried it",
            code="failed-wheel",
            file=wheel.path,
            hint="read its log in failed/; `repack smoke` tries it again",
        )


def _check_once(offer: Offer, first: Offer) -> None:
    if offer.file.sha256 != first.file.sha256:
        raise InputError(
            f"{first.path} has the same name and other bytes",
            code="other-bytes",
            file=offer.path,
            hint="give one of the builds another version with build.local",
        )
