"""What a folder hands over: its wheels, read strictly, and what their builds saw of them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from repack.errors import InputError
from repack.index.values import File, Offer, Remarks
from repack.record import read_records
from repack.wheel import read_wheel

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from repack.console import Progress
    from repack.record import BuildRecord, WheelRecord
    from repack.wheel import Wheel

#: Where a build lays the wheels that did not work.
_FAILED = "failed"


def offers_of(
    dist: Path, *, time: str, allow_startup_hook: bool, max_size: int | None, progress: Progress
) -> tuple[Offer, ...]:
    """Return the wheels of `dist` and of the builds' folders in it, each checked wholly.

    Raises InputError at the first that is no wheel, is not what its build left, did not work
    there, or is larger than the index takes.
    """
    if not dist.is_dir():
        raise InputError("there is no such folder", code="missing-folder", file=dist, hint=_BUILD)
    offers: dict[str, Offer] = {}
    places = _places(dist)
    total = sum(path.stat().st_size for path, _ in places)
    with progress.task("Checking wheels", total=total) as task:
        for path, record in places:
            wheel = read_wheel(path, allow_startup_hook=allow_startup_hook, task=task)
            offer = offer_of(wheel, time=time, remarks=_judged(wheel, record))
            _check_size(wheel, max_size)
            _check_once(offer, offers.setdefault(path.name, offer))
    if not offers:
        raise InputError("it holds no wheels", code="no-wheels", file=dist, hint=_BUILD)
    return tuple(offers[name] for name in sorted(offers))


_BUILD = "run `repack build` first, or name the folder that it wrote to"


def offer_of(wheel: Wheel, *, time: str, remarks: Remarks | None = None) -> Offer:
    """Return the wheel as a file of an index, uploaded at `time`."""
    return Offer(
        project=wheel.filename.name,
        content=wheel.path,
        metadata=wheel.metadata,
        file=File(
            filename=wheel.path.name,
            size=wheel.size,
            sha256=wheel.sha256,
            upload_time=time,
            requires_python=wheel.requires_python,
            metadata_sha256=hashlib.sha256(wheel.metadata).hexdigest(),
            remarks=remarks or said(wheel),
        ),
    )


def said(
    wheel: Wheel, record: BuildRecord | None = None, seen: WheelRecord | None = None
) -> Remarks:
    """Return what the wheel says of itself, and its build of it."""
    own = Remarks(summary=wheel.summary, requires=wheel.requires)
    if record is None or seen is None:
        return own
    return Remarks(
        summary=own.summary,
        requires=own.requires,
        mode=record.mode,
        cuda=record.source.cuda,
        driver_stub=record.driver_stub,
        seen=tuple((each.python, each.status) for each in seen.seen),
    )


def _places(dist: Path) -> list[tuple[Path, BuildRecord | None]]:
    """Return each wheel of the folders that are looked into, with the record beside it."""
    records: Mapping[Path, BuildRecord] = {
        folder: record
        for folder, record in read_records(dist).items()
        if folder == dist or not (folder.name.startswith(".") or folder.name == _FAILED)
    }
    folders = sorted({dist, *records})
    return [
        (path, records.get(folder))
        for folder in folders
        for path in sorted(folder.glob("*.whl"))
        if not path.name.startswith(".")
    ]


def _judged(wheel: Wheel, record: BuildRecord | None) -> Remarks:
    """Return the remarks on a wheel that is what its build left, and worked."""
    if record is None:
        return said(wheel)
    seen = _listed(record.wheels, wheel.path.name)
    if seen is None:
        return said(wheel)
    if seen.sha256 != wheel.sha256:
        raise InputError(
            f"its SHA-256 is {wheel.sha256}, build.json says {seen.sha256}",
            code="changed",
            file=wheel.path,
            hint="build again: this is not what was built and tried",
        )
    if not seen.works:
        raise InputError(
            "it did not work when its build tried it",
            code="failed-wheel",
            file=wheel.path,
            hint="read its log in failed/; `repack smoke` tries it again",
        )
    return said(wheel, record, seen)


def _listed(wheels: Iterable[WheelRecord], filename: str) -> WheelRecord | None:
    return next((each for each in wheels if each.filename == filename), None)


def _check_size(wheel: Wheel, max_size: int | None) -> None:
    if max_size is not None and wheel.size > max_size:
        raise InputError(
            f"it has {wheel.size} bytes, more than publish.max-size, {max_size}",
            code="too-large",
            file=wheel.path,
            hint="leave some DLLs out, or raise publish.max-size",
        )


def _check_once(offer: Offer, first: Offer) -> None:
    if offer.file.sha256 != first.file.sha256:
        raise InputError(
            f"{first.content} has the same name and other bytes",
            code="other-bytes",
            file=offer.content,
            hint="give one of the builds another version with build.local",
        )
