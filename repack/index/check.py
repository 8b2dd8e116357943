"""Whether an index is what its pages say: in its place, or at a URL as an installer sees it."""

from collections.abc import Iterator, Mapping

import msgspec

from repack.console import Progress, Task
from repack.errors import FetchError, InputError, RepackError, shown_url
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
from repack.index.web import PAGE_TYPES, Link, Web, read_anchors, read_links

#: How often it is looked again where somebody publishes meanwhile.
_TRIES = 3
_AGAIN = "publish it again: it is restored"


class Fault(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """What is wrong with the file of a key, under a code that stays, and what cures it."""

    file: str
    code: str
    message: str
    hint: str = ""


class Checked(msgspec.Struct, frozen=True, kw_only=True):
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
    with Web(progress) as web:
        root = web.read_page(root_url)
        if root is None:
            raise FetchError("there is no index", code="no-index", file=shown_url(root_url))
        faults = [*_type_faults(root.url, root.kind)]
        files = 0
        for link in read_links(root):
            page = web.read_page(link.url)
            if page is None:
                faults.append(
                    Fault(file=link.url, code="missing-page", message="is listed, and not there")
                )
                continue
            faults += _type_faults(page.url, page.kind)
            for file in read_links(page):
                files += 1
                faults += _served_faults(web, file)
    printable = [msgspec.structs.replace(fault, file=shown_url(fault.file)) for fault in faults]
    return Checked(index=shown_url(root_url), files=files, faults=sorted(printable), unlisted=[])


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
            faults.append(
                Fault(file=key, code="foreign-index", message="there is no index.json beside it")
            )
    faults += _page_faults(place, pages, projects)
    sizes = place.sizes()
    total = sum(file.size for project in projects.values() for file in project.files)
    with progress.task("Checking files", total=total) as task:
        for project in projects.values():
            faults += _file_faults(place, project, sizes, task)
    return Checked(
        index=place.name,
        files=sum(len(project.files) for project in projects.values()),
        faults=sorted(faults),
        unlisted=[key for key in sizes if is_stray(key, projects)],
    )


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
        hint = "the next publish writes it anew"
        yield Fault(file=key, code="page-differs", message=message, hint=hint)


def _file_faults(
    place: Place, project: Project, sizes: Mapping[str, int], task: Task
) -> Iterator[Fault]:
    for file in project.files:
        key = f"{project.name}/{file.filename}"
        cure = _AGAIN if place.near else f"delete it, and {_AGAIN}"
        if sizes.get(key, file.size) != file.size:
            message = f"it has {sizes[key]} bytes, the page says {file.size}"
            yield Fault(file=key, code="damaged", message=message, hint=cure)
        else:
            yield from _content_faults(place, key, file.sha256, cure)
        if file.metadata_sha256:
            yield from _content_faults(place, key + METADATA, file.metadata_sha256, _AGAIN)
        task.advance(file.size)


def _content_faults(place: Place, key: str, sha256: str, cure: str) -> Iterator[Fault]:
    try:
        actual = place.sha256(key)
    except RepackError as error:
        yield _fault_of(error, key, hint=_AGAIN if error.code == "missing-file" else "")
        return
    if actual != sha256:
        message = f"its SHA-256 is {actual}, the page says {sha256}"
        yield Fault(file=key, code="damaged", message=message, hint=cure)


def _type_faults(url: str, kind: str) -> Iterator[Fault]:
    if kind not in PAGE_TYPES:
        message = f"is served as {kind or 'nothing'}, which pip takes for no page of an index"
        yield Fault(
            file=url, code="media-type", message=message, hint="let the server say text/html"
        )


def _served_faults(web: Web, link: Link) -> Iterator[Fault]:
    """Fetch a file, and the metadata that is announced, as an installer does."""
    expected = [(link.url, link.sha256, link.size)]
    if link.metadata is not None:
        expected.append((link.url + METADATA, link.metadata, None))
    for url, sha256, size in expected:
        try:
            actual, length = web.hash_file(url)
        except FetchError as error:
            hint = "let the server know the types .whl and .metadata (docs: web.config)"
            yield Fault(file=url, code=error.code, message=error.what, hint=hint)
            continue
        if size is not None and length != size:
            message = f"it has {length} bytes, the page says {size}"
            yield Fault(file=url, code="damaged", message=message, hint=_AGAIN)
        elif sha256 and actual != sha256:
            message = f"its SHA-256 is {actual}, the page says {sha256}"
            yield Fault(file=url, code="damaged", message=message, hint=_AGAIN)


def _fault_of(error: RepackError, key: str, hint: str = "") -> Fault:
    return Fault(file=key, code=error.code, message=error.what, hint=hint or error.hint)
