"""Whether an index is what its pages say: each file by its SHA-256, each page by the others."""

from __future__ import annotations

import json
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import TYPE_CHECKING

from repack.errors import InputError
from repack.index import page, simple
from repack.index.reading import HTML, JSON, METADATA, project_of
from repack.index.values import is_distribution

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from repack.console import Progress, Task
    from repack.index.values import Project
    from repack.stores import Store

#: How often it is looked again where somebody publishes meanwhile.
_TRIES = 3
_AGAIN = "publish it again: it is restored"
_PAGES_AGAIN = "the next publish writes it anew"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """What is wrong with the file of a key, under a code that stays, and what cures it."""

    file: str
    code: str
    message: str
    hint: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """How many files were compared, what is wrong, and the keys of files that no page lists."""

    place: str
    files: int
    faults: tuple[Fault, ...]
    strays: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Look:
    """The pages by key, as they were at one time, and the size of each file a little before."""

    sizes: Mapping[str, int]
    pages: Mapping[str, bytes]


def check(store: Store, progress: Progress) -> Checked:
    """Return what is wrong with the index; nothing is written, and nobody kept from publishing.

    A fault is told only where the pages did not change meanwhile.
    """
    look = _look(store)
    if JSON not in look.pages and HTML not in look.pages:
        raise InputError(
            "there is no index", code="no-index", file=store.place, hint="publish something first"
        )
    checked = _checked(store, look, progress)
    for _ in range(_TRIES - 1):
        before, look = look, _look(store)
        if not checked.faults or look.pages == before.pages:
            break
        checked = _checked(store, look, progress)
    return checked


def _look(store: Store) -> _Look:
    sizes = store.sizes()
    pages = {
        key: content
        for key in sizes
        if key in {HTML, JSON} or (project_of(key) and key.rpartition("/")[2] in {HTML, JSON})
        if (content := store.read(key)) is not None
    }
    return _Look(sizes=sizes, pages=pages)


def _checked(store: Store, look: _Look, progress: Progress) -> Checked:
    faults: list[Fault] = []
    projects: list[Project] = []
    for key in look.pages:
        name, _, rest = key.rpartition("/")
        if name and rest == JSON:
            try:
                projects.append(simple.parse_project(look.pages[key], name, store.locate(key)))
            except InputError as error:
                faults.append(_fault_of(error, key))
        elif name and f"{name}/{JSON}" not in look.pages:
            faults.append(Fault(file=key, code="foreign-index", message="no index.json beside it"))
    faults += _page_faults(store, look, projects)
    files = [(project, file) for project in projects for file in project.files]
    with progress.task("Checking files", total=sum(file.size for _, file in files)) as task:
        for project in projects:
            faults += _file_faults(store, look, project, task)
    listed = {f"{project.name}/{file.filename}" for project, file in files}
    strays = (key for key in look.sizes if is_distribution(key.rpartition("/")[2]))
    return Checked(
        place=store.place,
        files=len(files),
        faults=tuple(sorted(faults, key=lambda fault: (fault.file, fault.code))),
        strays=tuple(key for key in strays if key not in listed),
    )


def _page_faults(store: Store, look: _Look, projects: list[Project]) -> Iterator[Fault]:
    """Compare what is written of the same in two pages."""
    for project in projects:
        written = page.project_page(project, "")
        yield from _html_faults(look, f"{project.name}/{HTML}", written)
    listed = [project for project in projects if project.files]
    yield from _html_faults(look, HTML, page.root_page(listed))
    try:
        root = look.pages.get(JSON, b"")
        simple.parse_index_url(root, store.locate(JSON))
    except InputError as error:
        yield _fault_of(error, JSON)
        return
    expected = simple.root_json([project.name for project in listed], "")
    if json.loads(root)["projects"] != json.loads(expected)["projects"]:
        yield _page_fault(JSON, "it does not list the projects that there are")


def _html_faults(look: _Look, key: str, expected: bytes) -> Iterator[Fault]:
    """Compare the links alone: another version of repack may have written the rest otherwise."""
    if key not in look.pages:
        yield _page_fault(key, "there is no such page")
    elif _Links.of(look.pages[key]) != _Links.of(expected):
        yield _page_fault(key, "its links are not what the JSON pages say")


def _file_faults(store: Store, look: _Look, project: Project, task: Task) -> Iterator[Fault]:
    for file in project.files:
        key = f"{project.name}/{file.filename}"
        yield from _content_faults(store, key, look.sizes.get(key), file.size, file.sha256)
        task.advance(file.size)
        if file.metadata_sha256:
            yield from _content_faults(store, key + METADATA, None, None, file.metadata_sha256)


def _content_faults(
    store: Store, key: str, size: int | None, expected: int | None, sha256: str
) -> Iterator[Fault]:
    if None not in {size, expected} and size != expected:
        message = f"it has {size} bytes, the page says {expected}"
        yield Fault(file=key, code="damaged", message=message, hint=_cure(store, key))
        return
    try:
        found = store.sha256(key)
    except InputError as error:
        if error.code != "missing-file":
            raise
        yield Fault(file=key, code="missing-file", message=error.what, hint=_AGAIN)
        return
    if found != sha256:
        message = f"its SHA-256 is {found}, the page says {sha256}"
        yield Fault(file=key, code="damaged", message=message, hint=_cure(store, key))


def _cure(store: Store, key: str) -> str:
    """Return what restores a file; far away a file is known by its size, so it has to go first."""
    return _AGAIN if store.near or key.endswith(METADATA) else f"delete it, and {_AGAIN}"


def _page_fault(key: str, message: str) -> Fault:
    return Fault(file=key, code="page-differs", message=message, hint=_PAGES_AGAIN)


def _fault_of(error: InputError, key: str) -> Fault:
    return Fault(file=key, code=error.code, message=error.what, hint=error.hint)


class _Links(HTMLParser):
    """The attributes of each link of a page, as an installer reads them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[list[tuple[str, str | None]]] = []

    @classmethod
    def of(cls, content: bytes) -> list[list[tuple[str, str | None]]]:
        """Return the links in an order of their own."""
        links = cls()
        links.feed(content.decode(errors="replace"))
        return sorted(links.found, key=repr)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep a link."""
        if tag == "a":
            self.found.append(sorted(attrs, key=repr))
