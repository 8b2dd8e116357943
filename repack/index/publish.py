"""Changes a static index so that whoever reads it meanwhile finds all that a page tells of.

Files come first, then their metadata, then the JSON page of the project, then all pages that follow
from it. A removal goes the other way. Whoever is killed on the way leaves files that no page lists
yet, or none lists any more, and the next change mends the pages.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from repack.index.place import Place, other_bytes
from repack.index.project import (
    HTML,
    JSON,
    METADATA,
    File,
    Hashes,
    Project,
    check_root,
    derive_pages,
    foreign_page,
    format_project,
    project_of,
    read_project,
)
from repack.plan import check_size, describe_size
from repack.record import BuildRecord, WheelRecord, read_records
from repack.wheel.reader import Wheel, read_wheel

#: So often others may come between before we give up.
_ROUNDS = 50
_Change = Callable[[Sequence[File]], Iterable[File]]


class Offer(NamedTuple):
    """A wheel that is to be in an index; `weight` says its size, and what most of it is."""

    project: str
    file: File
    path: Path
    metadata: bytes
    weight: str


class Result(NamedTuple):
    """What was done to one file: "added", "there already", "restored", "yanked", "removed", ..."""

    project: str
    version: str
    filename: str
    what: str
    sha256: str
    size: int


def read_offers(
    dist: Path, *, allow_startup_hook: bool, max_size: int | None, progress: Progress
) -> list[Offer]:
    """Return the wheels of `dist` and of the builds' folders in it, each checked wholly.

    Raises InputError at the first that is no wheel, is not what its build left, did not work
    there, or is larger than the index takes.
    """
    records = {
        folder: record
        for folder, record in read_records(dist).items()
        if folder == dist or not folder.name.startswith(".")
    }
    offers: dict[str, Offer] = {}
    for folder in sorted({dist, *records}):
        for path in sorted(folder.glob("[!.]*.whl")):
            with progress.task(f"Checking {path.name}", total=path.stat().st_size) as task:
                wheel = read_wheel(path, allow_startup_hook=allow_startup_hook, task=task)
            record = records.get(folder)
            check_size(path.name, wheel.size, max_size, record.carried if record else ())
            offer = _make_offer(wheel, record)
            if offers.setdefault(path.name, offer).file.sha256 != wheel.sha256:
                raise other_bytes(path, str(offers[path.name].path.parent))
    if not offers:
        hint = "run `repack build` first, or name the folder that it wrote to"
        raise InputError("there are no wheels", code="no-wheels", file=dist, hint=hint)
    return [offers[name] for name in sorted(offers)]


def _make_offer(wheel: Wheel, record: BuildRecord | None) -> Offer:
    """Return the wheel as a file of an index, uploaded now or at SOURCE_DATE_EPOCH."""
    name = wheel.path.name
    built = [entry for entry in record.wheels if entry.filename == name] if record else []
    for entry in built:
        check_built(wheel.path, wheel.sha256, entry)
    epoch = source_date_epoch()
    time = datetime.now(UTC) if epoch is None else datetime.fromtimestamp(epoch, UTC)
    metadata = Hashes(sha256=hashlib.sha256(wheel.metadata).hexdigest())
    file = File(
        filename=name,
        url=quote(name),
        hashes=Hashes(sha256=wheel.sha256),
        size=wheel.size,
        upload_time=time.strftime("%Y-%m-%dT%H:%M:%SZ"),
        requires_python=wheel.requires_python,
        core_metadata=metadata,
        dist_info_metadata=metadata,
        note=_describe(record, built[0]) if record and built else "",
    )
    weight = describe_size(wheel.size, record.carried if record else ())
    return Offer(wheel.filename.name, file, wheel.path, wheel.metadata, weight)


def _describe(record: BuildRecord, built: WheelRecord) -> str:
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


def publish(offers: Sequence[Offer], place: Place, progress: Progress) -> list[Result]:
    """Add the wheels; nothing is written where one of them is refused."""
    with place.hold_lock(progress):
        projects = read_projects(place)
        sizes = place.sizes()
        actions = [_compare(offer, projects, place, sizes) for offer in offers]
        for offer, action in zip(offers, actions, strict=True):
            _put(offer, action, place, progress)
        changes: dict[str, _Change] = {
            name: partial(_add, [offer for offer in offers if offer.project == name], place.name)
            for name in sorted({offer.project for offer in offers})
        }
        _settle(place, changes)
    return [
        make_result(offer.project, offer.file, action)
        for offer, action in zip(offers, actions, strict=True)
    ]


def yank(
    place: Place, version: Version, reason: str | None, project: str, progress: Progress
) -> list[Result]:
    """Yank a version for that reason, or, for None, take that back."""
    yanked = False if reason is None else reason or True

    def change(files: Sequence[File]) -> Iterable[File]:
        for file in files:
            is_meant = file.version == version
            yield msgspec.structs.replace(file, yanked=yanked) if is_meant else file

    with place.hold_lock(progress):
        projects = read_projects(place)
        name = _choose_project(projects, {}, version, project)
        _settle(place, {name: change})
    action = "no longer yanked" if reason is None else "yanked"
    return [
        make_result(name, file, "unchanged" if file.yanked == yanked else action)
        for file in projects[name].files
        if file.version == version
    ]


def remove(place: Place, version: Version, project: str, progress: Progress) -> list[Result]:
    """Take a version's files out: from the pages first, so that no page tells of what is gone.

    What an earlier removal, or a publish, has left when it was killed goes as well.
    """
    with place.hold_lock(progress):
        projects = read_projects(place)
        strays = find_strays(place, projects)
        name = _choose_project(projects, strays, version, project)
        _settle(place, {name: lambda files: [file for file in files if file.version != version]})
        results = [
            make_result(name, file, "removed")
            for file in projects[name].files
            if file.version == version
        ]
        results += [
            Result(name, str(version), key.rpartition("/")[2], "removed", "", 0)
            for key, stray in strays.items()
            if stray == version and project_of(key) == name
        ]
        for row in results:
            place.delete(f"{name}/{row.filename}{METADATA}")
            place.delete(f"{name}/{row.filename}")
    return results


def make_result(project: str, file: File, what: str) -> Result:
    """Return what was done to the file of a project."""
    return Result(project, str(file.version), file.filename, what, file.sha256, file.size)


def read_projects(place: Place) -> dict[str, Project]:
    """Return the projects by name; InputError where pages are somebody else's."""
    keys = place.sizes()
    projects = {}
    for key in keys:
        name, _, rest = key.rpartition("/")
        where = f"{place.name}/{key}"
        if rest == HTML and f"{key.removesuffix(HTML)}{JSON}" not in keys and "/" not in name:
            raise foreign_page(where, "there is no index.json beside it")
        if rest == JSON and "/" not in name and (content := place.read(key)) is not None:
            if not name:
                check_root(content, where)
            elif project_of(key):
                projects[name] = read_project(content, name, where)
    return projects


def find_strays(place: Place, projects: Mapping[str, Project]) -> dict[str, Version]:
    """Return the wheels in folders of projects that no page lists, with their versions."""
    strays = {}
    for key in place.sizes():
        folder, _, filename = key.rpartition("/")
        is_listed = folder in projects and projects[folder].file(filename)
        if filename.endswith(".whl") and project_of(key) and not is_listed:
            with contextlib.suppress(InvalidWheelFilename):
                strays[key] = parse_wheel_filename(filename)[1]
    return strays


def _settle(place: Place, changes: Mapping[str, _Change]) -> None:
    """Change projects, and write all pages that follow, until nothing is left to be written.

    So it is right where others do the same at once: whoever writes last has read what they wrote.
    """

    def change_page(name: str, content: bytes | None) -> bytes:
        key = f"{name}/{JSON}"
        files = read_project(content, name, f"{place.name}/{key}").files if content else ()
        return format_project(name, changes[name](files))

    for _ in range(_ROUNDS):
        is_changed = [
            place.update(f"{name}/{JSON}", partial(change_page, name)) for name in changes
        ]
        pages = derive_pages(read_projects(place))
        is_changed += [place.write(key, content) for key, content in pages.items()]
        if not any(is_changed):
            return
    hint = "run again: what was written stays, and no page names what was not"
    raise OutputError("others change it all the time", code="locked", file=place.name, hint=hint)


def _compare(
    offer: Offer, projects: Mapping[str, Project], place: Place, sizes: Mapping[str, int]
) -> str:
    """Return what publishing the offer does; InputError for other bytes, on a page or on none.

    Far away a listed file is known by its size.
    """
    file, key = offer.file, f"{offer.project}/{offer.file.filename}"
    project = projects.get(offer.project)
    entry = project.file(file.filename) if project else None
    actual = place.sha256(key) if place.near and key in sizes else file.sha256
    if (entry.sha256 if entry else actual) != file.sha256:
        raise other_bytes(offer.path, place.name)
    if entry is None:
        return "added"
    is_whole = sizes.get(key) == file.size and actual == file.sha256
    return "there already" if is_whole else "restored"


def _put(offer: Offer, action: str, place: Place, progress: Progress) -> None:
    """Put one file and its metadata in place."""
    key = f"{offer.project}/{offer.file.filename}"
    if action == "restored" and not place.near:
        place.delete(key)
    if action != "there already":
        with progress.task(f"Publishing {offer.file.filename}", total=offer.file.size) as task:
            place.put(key, offer.path, offer.file.sha256)
            task.advance(offer.file.size)
    place.write(key + METADATA, offer.metadata)


def _add(offers: Iterable[Offer], place: str, current: Iterable[File]) -> Iterable[File]:
    """Return the files with what is offered; what is there keeps its time and its yanking."""
    files = {file.filename: file for file in current}
    for offer in offers:
        file, old = offer.file, files.get(offer.file.filename)
        if old is not None:
            if old.sha256 != file.sha256:
                raise other_bytes(offer.path, place)
            # A folder of wheels alone, published once more, knows nothing of what a build saw.
            file = msgspec.structs.replace(
                file,
                upload_time=old.upload_time,
                yanked=old.yanked,
                note=file.note or old.note,
            )
        files[file.filename] = file
    return files.values()


def _choose_project(
    projects: Mapping[str, Project], strays: Mapping[str, Version], version: Version, project: str
) -> str:
    """Return the project that is named, or the only one with that version."""
    versions = {name: {file.version for file in it.files} for name, it in projects.items()}
    for key, stray in strays.items():
        versions.get(project_of(key), set()).add(stray)
    names = sorted(
        name
        for name in versions
        if version in versions[name] and canonicalize_name(project) in {"", name}
    )
    if len(names) > 1:
        message = f"several projects have {version}: {', '.join(names)}"
        raise UsageError(message, hint="name one with --project")
    if not names:
        has = "; ".join(
            f"{name} {', '.join(map(str, sorted(versions[name])))}" for name in versions
        )
        raise InputError(
            f"the index has no version {version}" + (project and f" of {quote_name(project)}"),
            code="no-version",
            hint=f"it has {has or 'nothing'}",
        )
    return names[0]
