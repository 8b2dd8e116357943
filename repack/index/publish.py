"""Changes and checks a static index; whoever reads it meanwhile finds all that a page tells of.

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
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

import msgspec
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from repack.config import source_date_epoch
from repack.console import Progress
from repack.errors import InputError, OutputError, RepackError, UsageError, redact_url
from repack.fetch.http import make_session
from repack.index.place import Place, other_bytes, update
from repack.index.simple import (
    HTML,
    JSON,
    METADATA,
    PAGE_TYPES,
    SERVER_HINT,
    File,
    Hashes,
    Link,
    Web,
    derive_pages,
    format_project,
    list_files,
    list_names,
    read_links,
    read_project,
    read_projects,
    require_index,
)
from repack.plan import check_size
from repack.record import BuildRecord, WheelRecord, read_records
from repack.wheel.reader import Wheel, read_wheel

#: So often others may come between before we give up.
_ROUNDS = 50
#: Returns what the files of a project of that name become.
_Change = Callable[[str, Sequence[File]], Iterable[File]]
_PUBLISH_HINT = "publish it again: it is restored; in a bucket, delete it first"


class Offer(NamedTuple):
    """A wheel that is to be in an index under that key."""

    key: str
    file: File
    path: Path
    metadata: bytes


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
            key = f"{wheel.filename.name}/{path.name}"
            offer = Offer(key, _describe_file(wheel, record), path, wheel.metadata)
            if offers.setdefault(path.name, offer).file.sha256 != wheel.sha256:
                raise other_bytes(path, str(offers[path.name].path.parent))
    if not offers:
        hint = "run `repack build` first, or name the folder that it wrote to"
        raise InputError("there are no wheels", code="no-wheels", file=dist, hint=hint)
    return [offers[name] for name in sorted(offers)]


def _describe_file(wheel: Wheel, record: BuildRecord | None) -> File:
    """Return the wheel as a file of an index, uploaded now or at SOURCE_DATE_EPOCH."""
    note = ""
    for built in record.wheels if record else ():
        if record and built.filename == wheel.path.name:
            check_built(wheel.path, wheel.sha256, built)
            stub = " with stand-ins for the driver" if record.driver_stub else ""
            tries = ", ".join(f"{seen.status} on Python {seen.python}" for seen in built.seen)
            note = f"CUDA {record.source.cuda or 'unknown'}, mode {record.mode}{stub}: {tries}"
    epoch = source_date_epoch()
    time = datetime.now(UTC) if epoch is None else datetime.fromtimestamp(epoch, UTC)
    return File(
        filename=wheel.path.name,
        url=quote(wheel.path.name),
        hashes=Hashes(sha256=wheel.sha256),
        size=wheel.size,
        upload_time=time.strftime("%Y-%m-%dT%H:%M:%SZ"),
        requires_python=wheel.requires_python,
        core_metadata=Hashes(sha256=hashlib.sha256(wheel.metadata).hexdigest()),
        note=note,
    )


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


def publish(offers: Sequence[Offer], place: Place, progress: Progress) -> dict[str, str]:
    """Add the wheels, and return what was done to each; none where one of them is refused."""
    with place.hold_lock(progress):
        files, sizes = list_files(read_projects(place)), place.sizes()
        actions = [_compare(offer, files.get(offer.key), place, sizes) for offer in offers]
        for offer, action in zip(offers, actions, strict=True):
            if action == "restored" and not place.near:
                place.delete(offer.key)
            if action != "there already":
                with progress.task(f"Publishing {offer.path.name}", total=offer.file.size) as task:
                    place.put(offer.key, offer.path, offer.file.sha256)
                    task.advance(offer.file.size)
            update(place, offer.key + METADATA, offer.metadata)
        names = {offer.key.partition("/")[0] for offer in offers}
        _settle(place, names, partial(_add, offers, place.name))
    return {offer.path.name: action for offer, action in zip(offers, actions, strict=True)}


def _compare(offer: Offer, listed: File | None, place: Place, sizes: Mapping[str, int]) -> str:
    """Return what publishing the offer does; InputError for other bytes, on a page or on none.

    Far away a file is known by its size.
    """
    key, sha256 = offer.key, offer.file.sha256
    is_there = sizes.get(key) == offer.file.size and (not place.near or place.sha256(key) == sha256)
    if listed.sha256 != sha256 if listed else key in sizes and not is_there:
        raise other_bytes(offer.path, place.name)
    if listed is None:
        return "added"
    return "there already" if is_there else "restored"


def _add(offers: Iterable[Offer], place: str, name: str, current: Iterable[File]) -> Iterable[File]:
    """Return the files with what is offered; what is there keeps its time and its yanking."""
    files = {file.filename: file for file in current}
    for offer in (offer for offer in offers if offer.key.startswith(f"{name}/")):
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


def change_version(
    place: Place, version: Version, project: str, progress: Progress, *, yanked: bool | str | None
) -> list[str]:
    """Yank a version (for a reason), take that back (False) or take its files out (None).

    Returns the names of its files. They leave the pages first, so that no page tells of what is
    gone. What an earlier removal, or a publish, has left when it was killed goes as well.
    """

    def change(_: str, files: Sequence[File]) -> Iterable[File]:
        for file in files:
            if file.version != version:
                yield file
            elif yanked is not None:
                yield msgspec.structs.replace(file, yanked=yanked)

    if place.read(JSON)[0] is None:
        raise _no_index(place.name)
    with place.hold_lock(progress):
        listed = list_files(read_projects(place))
        known = listed.keys() if yanked is not None else {*listed, *place.sizes()}
        name, keys = _choose_files(known, version, project)
        _settle(place, [name], change)
        for key in keys if yanked is None else ():
            place.delete(key + METADATA)
            place.delete(key)
    return [key.rpartition("/")[2] for key in keys]


def _choose_files(keys: Iterable[str], version: Version, project: str) -> tuple[str, list[str]]:
    """Return the project that is named, or the only one with that version, and its wheels' keys."""
    known: dict[tuple[str, Version], list[str]] = {}
    for key in sorted(keys):
        folder, _, filename = key.rpartition("/")
        with contextlib.suppress(InvalidWheelFilename):
            name, other, _, _ = parse_wheel_filename(filename)
            if name == folder:
                known.setdefault((name, other), []).append(key)
    wanted = canonicalize_name(project)
    names = [name for name, other in sorted(known) if other == version and wanted in {"", name}]
    if len(names) > 1:
        message = f"several projects have {version}: {', '.join(names)}"
        raise UsageError(message, hint="name one with --project")
    if not names:
        where = f" of {project!r}" if project else ""
        message = f"the index has no version {version}{where}"
        has = ", ".join(f"{name} {other}" for name, other in sorted(known))
        raise InputError(message, code="no-version", hint=f"it has {has or 'nothing'}")
    return names[0], known[names[0], version]


def _settle(place: Place, names: Collection[str], change: _Change) -> None:
    """Change projects, and write all pages that follow, until nothing is left to be written.

    So it is right where others do the same at once: whoever writes last has read what they wrote.
    """

    def change_page(name: str, content: bytes | None) -> bytes:
        where = f"{place.name}/{name}/{JSON}"
        files = read_project(content, name, where).files if content else ()
        return format_project(name, change(name, files))

    for _ in range(_ROUNDS):
        is_changed = False
        for name in sorted(names):
            is_changed |= update(place, f"{name}/{JSON}", partial(change_page, name))
        for key, page in derive_pages(read_projects(place)).items():
            is_changed |= update(place, key, page)
        if not is_changed:
            return
    hint = "run again: what was written stays, and no page names what was not"
    raise OutputError("others kept changing it", code="locked", file=place.name, hint=hint)


# Checks


def check_place(place: Place, progress: Progress, tries: int = 3) -> dict[str, Any]:
    """Return what is wrong with the index; nothing is written, and nobody kept from publishing.

    "files" is how many were compared, "unlisted" are those that no page lists. Where somebody
    publishes meanwhile it is looked again, up to `tries` times.
    """
    pages = _read_pages(place)
    if not pages:
        raise _no_index(place.name)
    projects = read_projects(place)
    files = list_files(projects)
    links = [
        Link(key, sha256=file.sha256, metadata=file.core_metadata.sha256)
        for key, file in files.items()
    ]
    faults = _check_files(links, place.sha256, _PUBLISH_HINT, progress)
    for key, content in derive_pages(projects).items():
        if pages.get(key) != content:
            message = "is not what the JSON pages say"
            error = InputError(message, code="page-differs", file=key, hint=_PUBLISH_HINT)
            faults.append(error)
    if faults and tries > 1 and pages != _read_pages(place):
        return check_place(place, progress, tries - 1)
    wheels = {key for key in place.sizes() if key.endswith(".whl")}
    return {
        "index": place.name,
        "files": len(files),
        "faults": sorted(faults, key=str),
        "unlisted": sorted(wheels - files.keys()),
    }


def _read_pages(place: Place) -> dict[str, bytes | None]:
    return {key: place.read(key)[0] for key in place.sizes() if key.endswith((HTML, JSON))}


def check_url(url: str, progress: Progress) -> dict[str, Any]:
    """Return what is wrong with the index that is served at a URL, as pip and uv would see it."""
    root = url.rstrip("/") + "/"
    faults: list[InputError] = []
    with make_session() as session:
        web = Web(session, progress)
        page = web.read_page(root)
        if page is None:
            raise _no_index(root)
        places = [f"{root}{name}/" for name in list_names(page)]
        others = {place: web.read_page(place) for place in places}
        pages = {root: page, **others}
        for where, shown in pages.items():
            if shown is None:
                code, message = "missing-page", "is listed, and not there"
            elif shown.kind not in PAGE_TYPES:
                code = "media-type"
                message = f"is served as {shown.kind or 'nothing'}, which pip takes for no page"
            else:
                continue
            faults.append(InputError(message, code=code, file=where, hint=SERVER_HINT))
        links = [link for shown in pages.values() if shown for link in read_links(shown)]
        require_index(page, links)
        files = [link for link in links if link.is_file]
        faults += _check_files(files, web.hash_file, SERVER_HINT, progress)
    return {
        "index": redact_url(root),
        "files": len(files),
        "faults": sorted(faults, key=str),
        "unlisted": [],
    }


def _no_index(where: str) -> InputError:
    hint = "name what `repack publish --index-dir` has written, or where it is served"
    return InputError("there is no index", code="no-index", file=where, hint=hint)


def _check_files(
    links: Iterable[Link], hash_file: Callable[[str], str], hint: str, progress: Progress
) -> list[InputError]:
    """Return what is wrong with the files and their metadata, as far as the pages tell of them."""
    faults = []
    for link in links:
        expected = {link.url: link.sha256}
        if link.metadata is not None:
            expected[link.url + METADATA] = link.metadata
        for url, sha256 in expected.items():
            file = unquote(redact_url(url))
            try:
                with progress.task(f"Checking {file}"):
                    actual = hash_file(url)
            except RepackError as error:
                cure = error.hint or hint
                faults.append(InputError(error.what, code=error.code, file=file, hint=cure))
                continue
            if sha256 not in {"", actual}:
                message = f"its SHA-256 is {actual}, the page says {sha256}"
                faults.append(InputError(message, code="damaged", file=file, hint=hint))
    return faults
