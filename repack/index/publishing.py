"""Changes a static index so that whoever reads it meanwhile finds all that a page tells of.

Files come first, then their metadata, then the JSON page of the project, which is its state; all
other pages are derived from those. A removal goes the other way. Whoever is killed on the way
leaves files that no page lists yet, or none lists any more, and the next change mends the pages.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from repack.config import source_date_epoch
from repack.console import Progress
from repack.errors import InputError, UsageError, quote_name
from repack.index.bucket import SCHEMES, Bucket
from repack.index.folder import Folder
from repack.index.page import format_project_page, format_root_page
from repack.index.project import (
    HTML,
    JSON,
    METADATA,
    File,
    Project,
    format_page,
    is_distribution,
    make_project,
    make_root,
    parse_filename,
    project_of,
    read_project,
    read_root,
)
from repack.index.wheels import Offer

Place = Folder | Bucket


class Done(NamedTuple):
    """What was done to one file: "added", "there already", "restored", "yanked", "removed", ..."""

    project: str
    version: str
    filename: str
    what: str
    sha256: str = ""
    size: int = 0


def make_done(project: str, file: File, what: str) -> Done:
    """Return what was done to the file of a project."""
    return Done(project, str(file.version), file.filename, what, file.sha256, file.size)


def open_place(text: str) -> Place:
    """Return the folder, which need not be there yet, or the bucket that `text` names."""
    scheme, mark, _ = text.partition("://")
    if not mark:
        return Folder(Path(text))
    if scheme.lower() not in SCHEMES:
        raise UsageError(
            f"{scheme}:// is no place for an index",
            code="bad-url",
            file=text,
            hint="name a folder, or a bucket: s3://, gs://, az://",
        )
    try:
        return Bucket(text)
    except ImportError:
        raise UsageError(
            "obstore is not installed",
            code="driver-missing",
            file=text,
            hint='python -m pip install "cv2-repack[bucket]"',
        ) from None


def publish(
    offers: Sequence[Offer], place: Place, progress: Progress, *, index_url: str = ""
) -> list[Done]:
    """Add the wheels; nothing is written where one of them is refused."""
    with place.hold_lock(progress):
        sizes = place.sizes()
        projects = read_projects(place, sizes)
        actions = [_compare(offer, projects, place, sizes) for offer in offers]
        for offer, action in zip(offers, actions, strict=True):
            _put(offer, action, place, progress)
        _add_all(place, offers)
        write_pages(place, index_url)
        # A store that does not compare and write in one step may have lost ours meanwhile.
        while _add_all(place, offers):
            write_pages(place, index_url)
    return [
        make_done(offer.project, offer.file, action)
        for offer, action in zip(offers, actions, strict=True)
    ]


def yank(
    place: Place, version: Version, reason: str | None, project: str, progress: Progress
) -> list[Done]:
    """Yank a version for that reason, or, for None, take that back."""
    yanked = False if reason is None else reason or True

    def change(files: Sequence[File]) -> list[File]:
        return [
            msgspec.structs.replace(file, yanked=yanked) if file.version == version else file
            for file in files
        ]

    with place.hold_lock(progress):
        projects = read_projects(place, place.sizes())
        before = projects[_choose_project(projects, (), version, project)]
        _update(place, before.name, change)
        write_pages(place)
    action = "no longer yanked" if reason is None else "yanked"
    return [
        make_done(before.name, file, "unchanged" if file.yanked == yanked else action)
        for file in before.files
        if file.version == version
    ]


def remove(place: Place, version: Version, project: str, progress: Progress) -> list[Done]:
    """Take a version's files out: from the pages first, so that no page tells of what is gone.

    What an earlier removal, or a publish, has left when it was killed goes as well.
    """
    with place.hold_lock(progress):
        sizes = place.sizes()
        projects = read_projects(place, sizes)
        leftovers = [
            key
            for key in sizes
            if is_stray(key, projects) and parse_filename(_name(key))[1] == version
        ]
        name = _choose_project(projects, leftovers, version, project)
        _update(place, name, lambda files: [file for file in files if file.version != version])
        write_pages(place)
        done = {
            _name(key): Done(name, str(version), _name(key), "removed")
            for key in leftovers
            if project_of(key) == name
        }
        for file in projects[name].files:
            if file.version == version:
                done[file.filename] = make_done(name, file, "removed")
        for filename in sorted(done):
            place.delete(f"{name}/{filename}{METADATA}")
            place.delete(f"{name}/{filename}")
    return [done[filename] for filename in sorted(done)]


def read_projects(place: Place, sizes: Mapping[str, int]) -> dict[str, Project]:
    """Return the projects by name; InputError where pages are somebody else's."""
    projects = {}
    if root := place.read(JSON):
        read_root(root, place.locate(JSON))
    for key in sizes:
        name, _, rest = key.rpartition("/")
        if rest == HTML and f"{name}/{JSON}".lstrip("/") not in sizes and "/" not in name:
            raise InputError(
                "somebody else has written this page, and it may list what lies elsewhere",
                code="foreign-index",
                file=place.locate(key),
                hint="name another folder, or move that page away",
            )
        if rest == JSON and project_of(key) and (content := place.read(key)) is not None:
            projects[name] = read_project(content, name, place.locate(key))
    return projects


def write_pages(place: Place, index_url: str = "") -> None:
    """Write the pages that follow from the projects' own, until those have not changed meanwhile.

    Where two write at once, the last to write has read what the other has changed.
    """
    projects = read_projects(place, place.sizes())
    while True:
        root = place.read(JSON)
        known_url = read_root(root, place.locate(JSON)).index_url if root is not None else ""
        for key, content in derive_pages(projects, index_url or known_url).items():
            if place.read(key) != content:
                place.write(key, content)
        before, projects = projects, read_projects(place, place.sizes())
        if projects == before:
            return


def derive_pages(projects: Mapping[str, Project], index_url: str) -> dict[str, bytes]:
    """Return the pages that follow from the projects' own, in the order to write them in."""
    filled = [project for _, project in sorted(projects.items()) if project.files]
    pages = {
        f"{name}/{HTML}": format_project_page(project, index_url)
        for name, project in sorted(projects.items())
    }
    pages[JSON] = format_page(make_root([project.name for project in filled], index_url))
    pages[HTML] = format_root_page(filled)
    return pages


def is_stray(key: str, projects: Mapping[str, Project]) -> bool:
    """Return whether that is a wheel or an sdist which no page lists."""
    project, filename = projects.get(project_of(key)), key.rpartition("/")[2]
    return is_distribution(filename) and (project is None or project.file(filename) is None)


def parse_version(text: str) -> Version:
    """Return the version that the command line names."""
    try:
        return Version(text)
    except InvalidVersion:
        raise UsageError(f"{quote_name(text)} is not a version") from None


def parse_reason(text: str) -> str:
    """Return a reason for yanking on one line."""
    line = " ".join(text.split())
    if not line.isprintable():
        raise UsageError(f"--reason holds a character that no page can show: {quote_name(text)}")
    return line


def upload_time() -> str:
    """Return the time that a file is said to be uploaded: SOURCE_DATE_EPOCH, or the present."""
    epoch = source_date_epoch()
    now = datetime.now(UTC) if epoch is None else datetime.fromtimestamp(epoch, UTC)
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")


def _compare(
    offer: Offer, projects: Mapping[str, Project], place: Place, sizes: Mapping[str, int]
) -> str:
    """Return what publishing the offer does; InputError for other bytes, on a page or on none.

    Far away a listed file is known by its size.
    """
    key, project = f"{offer.project}/{offer.file.filename}", projects.get(offer.project)
    current = project.file(offer.file.filename) if project else None
    sha256 = place.sha256(key) if place.near and key in sizes else ""
    if current is None:
        if sha256:
            _check_bytes(offer, sha256)
        return "added"
    _check_bytes(offer, current.sha256)
    is_whole = sizes.get(key) == offer.file.size and sha256 in {"", offer.file.sha256}
    return "there already" if is_whole else "restored"


def _check_bytes(offer: Offer, sha256: str) -> None:
    if offer.file.sha256 != sha256:
        raise InputError(
            f"the index has a file of that name with other bytes, SHA-256 {sha256}",
            code="other-bytes",
            file=offer.path,
            hint="pins and caches know the old one: give the new one another version with "
            "build.local",
        )


def _put(offer: Offer, action: str, place: Place, progress: Progress) -> None:
    """Put one file and its metadata in place."""
    key = f"{offer.project}/{offer.file.filename}"
    if action == "restored" and not place.near:
        place.delete(key)
    if action != "there already":
        with progress.task(f"Publishing {offer.file.filename}", total=offer.file.size) as task:
            place.put(key, offer.path, offer.file.sha256)
            task.advance(offer.file.size)
    if place.read(key + METADATA) != offer.metadata:
        place.write(key + METADATA, offer.metadata)


def _add_all(place: Place, offers: Sequence[Offer]) -> bool:
    """Return whether a project lacked what is offered, which it has now."""
    names = sorted({offer.project for offer in offers})
    ours = {name: [offer for offer in offers if offer.project == name] for name in names}
    replaced = [_update(place, name, partial(_add, ours[name])) for name in names]
    return any(replaced)


def _update(place: Place, name: str, change: Callable[[Sequence[File]], Iterable[File]]) -> bool:
    """Return whether the project's files had to be replaced by what `change` makes of them."""
    key = f"{name}/{JSON}"

    def change_page(content: bytes | None) -> bytes:
        files = read_project(content, name, place.locate(key)).files if content else ()
        return format_page(make_project(name, change(files)))

    return place.update(key, change_page)


def _add(offers: Iterable[Offer], current: Iterable[File]) -> Iterable[File]:
    """Return the files with what is offered; what is there keeps its time and its yanking."""
    files = {file.filename: file for file in current}
    for offer in offers:
        file, old = offer.file, files.get(offer.file.filename)
        if old is not None:
            _check_bytes(offer, old.sha256)
            # A folder of wheels alone, published once more, knows nothing of what a build saw.
            file = msgspec.structs.replace(
                file,
                upload_time=old.upload_time,
                yanked=old.yanked,
                facts=file.facts if file.facts.mode else old.facts,
            )
        files[file.filename] = file
    return files.values()


def _choose_project(
    projects: Mapping[str, Project], leftovers: Iterable[str], version: Version, wanted_name: str
) -> str:
    """Return the project that is named, or the only one with that version."""
    name = canonicalize_name(wanted_name)
    if wanted_name and name not in projects:
        raise InputError(
            f"the index has no project {quote_name(name)}",
            code="no-project",
            hint=f"it has {', '.join(sorted(projects)) or 'none'}",
        )
    candidates = {
        project.name
        for project in projects.values()
        if any(file.version == version for file in project.files)
    }
    candidates |= {project_of(key) for key in leftovers} & set(projects)
    names = sorted(candidates & {name} if wanted_name else candidates)
    if len(names) > 1:
        raise UsageError(
            f"several projects have {version}: {', '.join(names)}",
            hint="name one with --project",
        )
    if not names:
        versions = {file.version for project in projects.values() for file in project.files}
        raise InputError(
            f"the index has no version {version}",
            code="no-version",
            hint=f"it has {', '.join(map(str, sorted(versions))) or 'none'}",
        )
    return names[0]


def _name(key: str) -> str:
    return key.rpartition("/")[2]
