"""Changes a static index so that whoever reads it meanwhile finds all that a page tells of.

Files come first, then their metadata, then the JSON page of the project, then all pages that follow
from it. A removal goes the other way. Whoever is killed on the way leaves files that no page lists
yet, or none lists any more, and the next change mends the pages.
"""

import contextlib
import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import msgspec
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from repack.config import source_date_epoch
from repack.console import Progress
from repack.errors import InputError, OutputError, UsageError, quote_name
from repack.index.place import Place, other_bytes, replace, update
from repack.index.project import (
    JSON,
    METADATA,
    File,
    Hashes,
    derive_pages,
    format_project,
    list_files,
    read_project,
    read_projects,
)
from repack.plan import check_size
from repack.record import BuildRecord, WheelRecord, read_records
from repack.wheel.reader import Wheel, read_wheel

#: So often others may come between before we give up.
_ROUNDS = 50
#: Returns what the files of a project of that name become.
_Change = Callable[[str, Sequence[File]], Iterable[File]]


class Offer(NamedTuple):
    """A wheel that is to be in an index."""

    file: File
    path: Path
    metadata: bytes


class Result(NamedTuple):
    """What was done to one file: "added", "there already", "restored", "yanked", "removed", ..."""

    project: str
    version: str
    filename: str
    what: str
    sha256: str
    size: int


# What is published


def read_offers(
    dist: Path, *, allow_startup_hook: bool, max_size: int | None, progress: Progress
) -> list[Offer]:
    """Return the wheels of `dist` and of the builds' folders in it, each checked wholly.

    Raises InputError at the first that is no wheel, is not what its build left, did not work
    there, or is larger than the index takes.
    """
    records = read_records(dist)
    offers: dict[str, Offer] = {}
    for folder in sorted({dist, *records}):
        record = records.get(folder)
        for path in sorted(folder.glob("[!.]*.whl")):
            with progress.task(f"Checking {path.name}", total=path.stat().st_size) as task:
                wheel = read_wheel(path, allow_startup_hook=allow_startup_hook, task=task)
            check_size(path.name, wheel.size, max_size, record.carried if record else ())
            offer = Offer(_describe_file(wheel, record), path, wheel.metadata)
            if offers.setdefault(path.name, offer).file.sha256 != wheel.sha256:
                raise other_bytes(path, str(offers[path.name].path.parent))
    if not offers:
        hint = "run `repack build` first, or name the folder that it wrote to"
        raise InputError("there are no wheels", code="no-wheels", file=dist, hint=hint)
    return [offers[name] for name in sorted(offers)]


def _describe_file(wheel: Wheel, record: BuildRecord | None) -> File:
    """Return the wheel as a file of an index, uploaded now or at SOURCE_DATE_EPOCH."""
    name = wheel.path.name
    built = [it for it in record.wheels if it.filename == name] if record else []
    for it in built:
        check_built(wheel.path, wheel.sha256, it)
    epoch = source_date_epoch()
    time = datetime.now(UTC) if epoch is None else datetime.fromtimestamp(epoch, UTC)
    metadata = Hashes(sha256=hashlib.sha256(wheel.metadata).hexdigest())
    return File(
        filename=name,
        url=quote(name),
        hashes=Hashes(sha256=wheel.sha256),
        size=wheel.size,
        upload_time=time.strftime("%Y-%m-%dT%H:%M:%SZ"),
        requires_python=wheel.requires_python,
        core_metadata=metadata,
        dist_info_metadata=metadata,
        note=_describe_build(record, built[0]) if record and built else "",
    )


def _describe_build(record: BuildRecord, built: WheelRecord) -> str:
    """Return what people may want to know of a wheel that was built."""
    stub = " with stand-ins for the driver" if record.driver_stub else ""
    seen = ", ".join(f"{seen.status} on Python {seen.python}" for seen in built.seen)
    return f"CUDA {record.source.cuda or 'unknown'}, mode {record.mode}{stub}: {seen}"


def check_built(path: Path, sha256: str, built: WheelRecord) -> None:
    """Raise InputError where a wheel is not what its build left, or did not work."""
    if built.sha256 != sha256:
        message = f"its SHA-256 is {sha256}, build.json says {built.sha256}"
        hint = "build again: this is not what was built and tried"
        raise InputError(message, code="changed", file=path, hint=hint)
    if not built.works:
        message = "it did not work when its build tried it"
        hint = "read its log in failed/; `repack smoke` tries it again"
        raise InputError(message, code="failed-wheel", file=path, hint=hint)


# Changes of an index


def publish(offers: Sequence[Offer], place: Place, progress: Progress) -> list[Result]:
    """Add the wheels; nothing is written where one of them is refused."""
    with place.hold_lock(progress):
        files, sizes = list_files(read_projects(place)), place.sizes()
        actions = [_compare(offer, files.get(offer.file.key), place, sizes) for offer in offers]
        for offer, action in zip(offers, actions, strict=True):
            _put(offer, action, place, progress)
        _settle(place, {offer.file.project for offer in offers}, partial(_add, offers, place.name))
    return [make_result(offer.file, action) for offer, action in zip(offers, actions, strict=True)]


def make_result(file: File, what: str) -> Result:
    """Return what was done to a file."""
    return Result(file.project, str(file.version), file.filename, what, file.sha256, file.size)


def yank(
    place: Place, version: Version, reason: str | None, project: str, progress: Progress
) -> list[Result]:
    """Yank a version for that reason, or, for None, take that back."""
    yanked = False if reason is None else reason or True

    def change(_: str, files: Sequence[File]) -> Iterable[File]:
        for file in files:
            is_meant = file.version == version
            yield msgspec.structs.replace(file, yanked=yanked) if is_meant else file

    with place.hold_lock(progress):
        files = list_files(read_projects(place))
        name, keys = _choose_files(files, version, project)
        _settle(place, [name], change)
    action = "no longer yanked" if reason is None else "yanked"
    return [
        make_result(files[key], "unchanged" if files[key].yanked == yanked else action)
        for key in keys
    ]


def remove(place: Place, version: Version, project: str, progress: Progress) -> list[Result]:
    """Take a version's files out: from the pages first, so that no page tells of what is gone.

    What an earlier removal, or a publish, has left when it was killed goes as well.
    """
    with place.hold_lock(progress):
        files = list_files(read_projects(place))
        name, keys = _choose_files({*files, *place.sizes()}, version, project)
        _settle(place, [name], lambda _, files: (it for it in files if it.version != version))
        for key in keys:
            place.delete(key + METADATA)
            place.delete(key)
    return [
        make_result(files[key], "removed")
        if key in files
        else Result(name, str(version), key.rpartition("/")[2], "removed", "", 0)
        for key in keys
    ]


def _settle(place: Place, names: Collection[str], change: _Change) -> None:
    """Change projects, and write all pages that follow, until nothing is left to be written.

    So it is right where others do the same at once: whoever writes last has read what they wrote.
    """

    def change_page(name: str, content: bytes | None) -> bytes:
        where = f"{place.name}/{name}/{JSON}"
        files = read_project(content, name, where).files if content else ()
        return format_project(name, change(name, files))

    for _ in range(_ROUNDS):
        is_changed = [
            update(place, f"{name}/{JSON}", partial(change_page, name)) for name in sorted(names)
        ]
        pages = derive_pages(read_projects(place))
        is_changed += [replace(place, key, pages[key]) for key in pages]
        if not any(is_changed):
            return
    hint = "run again: what was written stays, and no page names what was not"
    raise OutputError("others change it all the time", code="locked", file=place.name, hint=hint)


def _compare(offer: Offer, listed: File | None, place: Place, sizes: Mapping[str, int]) -> str:
    """Return what publishing the offer does; InputError for other bytes, on a page or on none.

    Far away a listed file is known by its size.
    """
    expected = offer.file.sha256
    is_near = place.near and offer.file.key in sizes
    actual = place.sha256(offer.file.key) if is_near else expected
    if (listed.sha256 if listed else actual) != expected:
        raise other_bytes(offer.path, place.name)
    if listed is None:
        return "added"
    is_whole = sizes.get(offer.file.key) == offer.file.size and actual == expected
    return "there already" if is_whole else "restored"


def _put(offer: Offer, action: str, place: Place, progress: Progress) -> None:
    """Put one file and its metadata in place."""
    if action == "restored" and not place.near:
        place.delete(offer.file.key)
    if action != "there already":
        with progress.task(f"Publishing {offer.file.filename}", total=offer.file.size) as task:
            place.put(offer.file.key, offer.path, offer.file.sha256)
            task.advance(offer.file.size)
    replace(place, offer.file.key + METADATA, offer.metadata)


def _add(offers: Iterable[Offer], place: str, name: str, current: Iterable[File]) -> Iterable[File]:
    """Return the files with what is offered; what is there keeps its time and its yanking."""
    files = {file.filename: file for file in current}
    for offer in (offer for offer in offers if offer.file.project == name):
        file, old = offer.file, files.get(offer.file.filename)
        if old is not None:
            if old.sha256 != file.sha256:
                raise other_bytes(offer.path, place)
            # A folder of wheels alone, published once more, knows nothing of what a build saw.
            file = msgspec.structs.replace(
                file, upload_time=old.upload_time, yanked=old.yanked, note=file.note or old.note
            )
        files[file.filename] = file
    return files.values()


def _choose_files(
    keys: Collection[str], version: Version, project: str
) -> tuple[str, Sequence[str]]:
    """Return the project that is named, or the only one with that version, and its wheels' keys."""
    versions = {key: _read_key(key) for key in sorted(keys)}
    wanted = canonicalize_name(project)
    names = sorted(
        {name for name, it in versions.values() if it == version and wanted in {"", name}}
    )
    if len(names) > 1:
        message = f"several projects have {version}: {', '.join(names)}"
        raise UsageError(message, hint="name one with --project")
    if not names:
        has = sorted({row for row in versions.values() if row[1]})
        where = f" of {quote_name(project)}" if project else ""
        message = f"the index has no version {version}{where}"
        hint = f"it has {', '.join(f'{name} {it}' for name, it in has) or 'nothing'}"
        raise InputError(message, code="no-version", hint=hint)
    return names[0], [key for key in versions if versions[key] == (names[0], version)]


def _read_key(key: str) -> tuple[str, Version | None]:
    """Return the project and the version of a wheel in its folder; no version for what is none."""
    folder, _, filename = key.rpartition("/")
    with contextlib.suppress(InvalidWheelFilename):
        name, version, _, _ = parse_wheel_filename(filename)
        return name, version if name == folder else None
    return folder, None
