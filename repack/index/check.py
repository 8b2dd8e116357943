"""Whether an index is what its pages say: in its place, or at a URL as an installer sees it."""

from collections.abc import Callable, Iterator, Mapping

import msgspec

from repack.console import Progress
from repack.errors import FetchError, InputError, RepackError, redact_url
from repack.fetch.http import make_session
from repack.index.project import (
    HTML,
    JSON,
    METADATA,
    Project,
    project_of,
    read_project,
    read_root,
)
from repack.index.publishing import Place, derive_pages, is_stray
from repack.index.web import PAGE_TYPES, Page, Web, read_anchors, read_links

#: How often it is looked again where somebody publishes meanwhile.
_TRIES = 3
_AGAIN = "publish it again: it is restored"


class Fault(msgspec.Struct, frozen=True, order=True):
    """What is wrong with the file of a key, under a code that stays, and what cures it."""

    file: str
    code: str
    message: str
    hint: str = ""


class Checked(msgspec.Struct, frozen=True):
    """How many files were compared, what is wrong, and the keys of files that no page lists."""

    index: str
    files: int
    faults: list[Fault]
    unlisted: list[str]


def check_place(place: Place, progress: Progress) -> Checked:
    """Return what is wrong with the index; nothing is written, and nobody kept from publishing.

    A fault is told only where the pages did not change meanwhile.
    """
    pages = _read_pages(place)
    if JSON not in pages and HTML not in pages:
        raise InputError(
            "there is no index", code="no-index", file=place.name, hint="publish something first"
        )
    checked = _check_pages(place, pages, progress)
    for _ in range(_TRIES):
        before, pages = pages, _read_pages(place)
        if not checked.faults or pages == before:
            break
        checked = _check_pages(place, pages, progress)
    return checked


def check_url(url: str, progress: Progress) -> Checked:
    """Return what is wrong with the index that is served at a URL, as pip and uv would see it."""
    root_url = url.rstrip("/") + "/"
    with make_session() as session:
        web = Web(session, progress)
        root = web.read_page(root_url)
        if root is None:
            raise FetchError("there is no index", code="no-index", file=redact_url(root_url))
        faults = [*_type_faults(root)]
        files = 0
        for link in read_links(root):
            page = web.read_page(link.url)
            if page is None:
                faults.append(Fault(link.url, "missing-page", "is listed, and not there"))
                continue
            faults += _type_faults(page)
            for file in read_links(page):
                files += 1
                faults += _file_faults(
                    web.hash_file, (file.url, file.sha256, file.size), file.metadata
                )
    shown = sorted(msgspec.structs.replace(fault, file=redact_url(fault.file)) for fault in faults)
    return Checked(redact_url(root_url), files, shown, [])


def _read_pages(place: Place) -> dict[str, bytes]:
    keys = [key for key in place.sizes() if key.rpartition("/")[2] in {HTML, JSON}]
    pages = {key: place.read(key) for key in keys if "/" not in key or project_of(key)}
    return {key: content for key, content in pages.items() if content is not None}


def _check_pages(place: Place, pages: Mapping[str, bytes], progress: Progress) -> Checked:
    faults: list[Fault] = []
    projects: dict[str, Project] = {}
    for key, content in pages.items():
        name, _, rest = key.rpartition("/")
        try:
            if name and rest == JSON:
                projects[name] = read_project(content, name, place.locate(key))
        except InputError as error:
            faults.append(_fault_of(error, key))
        if name and f"{name}/{JSON}" not in pages:
            faults.append(Fault(key, "foreign-index", "there is no index.json beside it"))
    faults += _page_faults(place, pages, projects)
    sizes = place.sizes()

    def read_file(key: str) -> tuple[str, int]:
        return place.sha256(key), sizes.get(key, 0)

    files = [(project.name, file) for project in projects.values() for file in project.files]
    cure = _AGAIN if place.near else f"delete it, and {_AGAIN}"
    with progress.task("Checking files", total=sum(file.size for _, file in files)) as task:
        for name, file in files:
            expected = (f"{name}/{file.filename}", file.sha256, file.size)
            faults += _file_faults(read_file, expected, file.metadata_sha256 or None, cure)
            task.advance(file.size)
    unlisted = [key for key in sizes if is_stray(key, projects)]
    return Checked(place.name, len(files), sorted(faults), unlisted)


def _page_faults(
    place: Place, pages: Mapping[str, bytes], projects: Mapping[str, Project]
) -> Iterator[Fault]:
    """Compare the links alone: another version of repack may have written the rest otherwise."""
    try:
        root = read_root(pages.get(JSON, b""), place.locate(JSON))
    except InputError as error:
        yield _fault_of(error, JSON)
        return
    for key, expected in derive_pages(projects, root.index_url).items():
        if key not in pages:
            message = "there is no such page"
        elif key == JSON and pages[key] != expected:
            message = "it does not list the projects that there are"
        elif key != JSON and read_anchors(pages[key]) != read_anchors(expected):
            message = "its links are not what the JSON pages say"
        else:
            continue
        yield Fault(key, "page-differs", message, "the next publish writes it anew")


def _type_faults(page: Page) -> Iterator[Fault]:
    if page.kind not in PAGE_TYPES:
        message = f"is served as {page.kind or 'nothing'}, which pip takes for no page of an index"
        yield Fault(page.url, "media-type", message, "let the server say text/html")


def _file_faults(
    read: Callable[[str], tuple[str, int]],
    expected: tuple[str, str, int | None],
    metadata: str | None,
    cure: str = _AGAIN,
) -> Iterator[Fault]:
    """Yield what is wrong with a file, of key or URL, SHA-256 and size, and with its metadata.

    `read` returns SHA-256 and size of what is there; "" and None stand for what no page says.
    """
    rows = [(*expected, cure)]
    if metadata is not None:
        rows.append((expected[0] + METADATA, metadata, None, _AGAIN))
    for key, sha256, size, hint in rows:
        try:
            actual, length = read(key)
        except RepackError as error:
            yield _fault_of(error, key)
            continue
        if size is not None and length != size:
            yield Fault(key, "damaged", f"it has {length} bytes, the page says {size}", hint)
        elif sha256 and actual != sha256:
            yield Fault(key, "damaged", f"its SHA-256 is {actual}, the page says {sha256}", hint)


def _fault_of(error: RepackError, key: str) -> Fault:
    hint = error.hint
    if isinstance(error, FetchError):
        hint = "let the server know the types .whl and .metadata (docs: web.config)"
    elif error.code == "missing-file":
        hint = _AGAIN
    return Fault(key, error.code, error.what, hint)
