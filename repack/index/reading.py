"""What a store holds: the index that its JSON pages tell of, and what lies there besides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from repack.errors import InputError
from repack.index import simple
from repack.index.offers import offer_of
from repack.index.values import File, Offer, in_order, is_distribution, named
from repack.wheel import read_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from repack.console import Progress
    from repack.index.values import Project
    from repack.stores import Store

HTML, JSON, METADATA = "index.html", "index.json", ".metadata"


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """An index as it is: its projects by name, the size of each file in the store by key.

    `strays` are the keys of wheels and sdists that no page lists.
    """

    projects: Mapping[str, Project]
    sizes: Mapping[str, int]
    index_url: str
    strays: tuple[str, ...]


def read_index(store: Store) -> Held:
    """Return what the store holds; refuses pages that somebody else has written."""
    sizes = store.sizes()
    projects = {
        name: simple.parse_project(content, name, store.locate(key))
        for key in sizes
        for name in [project_of(key)]
        if name and key == f"{name}/{JSON}" and (content := store.read(key)) is not None
    }
    root = store.read(JSON)
    _refuse_foreign_pages(store, sizes, projects, has_root=root is not None)
    listed = {f"{each.name}/{file.filename}" for each in projects.values() for file in each.files}
    return Held(
        projects=projects,
        sizes=sizes,
        index_url="" if root is None else simple.parse_index_url(root, store.locate(JSON)),
        strays=tuple(
            key for key in sizes if is_distribution(key.rpartition("/")[2]) and key not in listed
        ),
    )


def adoptable(held: Held) -> tuple[str, ...]:
    """Return the strays that lie where a page would list them, in a folder without any page.

    Where there is a page, a file that it does not list was left by a publish or a removal that was
    killed, or put there since: only a person can tell.
    """
    return tuple(
        key
        for key in held.strays
        for name in [project_of(key)]
        if name and name not in held.projects and named(key.rpartition("/")[2])[0] == name
    )


def adopted(
    store: Store, held: Held, *, time: str, allow_startup_hook: bool, progress: Progress
) -> Iterator[Offer]:
    """Yield the files that somebody has put into folders by hand, each wheel checked wholly."""
    keys = adoptable(held)
    if not keys:
        return
    total = sum(held.sizes[key] for key in keys)
    with progress.task("Checking wheels that lie there", total=total) as task:
        for key in keys:
            with store.local(key) as path:
                if key.endswith(".whl"):
                    wheel = read_wheel(path, allow_startup_hook=allow_startup_hook, task=task)
                    yield offer_of(wheel, time=time)
                    continue
            project, filename = key.split("/")
            sha256 = store.sha256(key)
            file = File(filename=filename, size=held.sizes[key], sha256=sha256, upload_time=time)
            yield Offer(project=project, file=file, content=path, metadata=None)


def with_adopted(held: Held, offers: tuple[Offer, ...]) -> dict[str, Project]:
    """Return the projects, and those that the adopted files make."""
    names = sorted({offer.project for offer in offers})
    new = {
        name: in_order(name, tuple(each.file for each in offers if each.project == name))
        for name in names
    }
    return {**held.projects, **new}


def project_of(key: str) -> str:
    """Return the project in whose folder the file lies, "" for one that lies elsewhere."""
    folder, _, rest = key.partition("/")
    return folder if rest and "/" not in rest and simple.is_normalised(folder) else ""


def _refuse_foreign_pages(
    store: Store, sizes: Mapping[str, int], projects: Mapping[str, Project], *, has_root: bool
) -> None:
    """Refuse an HTML page without its JSON, which is written first: it is somebody else's."""
    pages = {key: project_of(key) for key in sizes if key.rpartition("/")[2] == HTML}
    for key, name in pages.items():
        known = has_root if key == HTML else not name or name in projects
        if not known:
            raise InputError(
                "somebody else has written this page, and it may list what lies elsewhere",
                code="foreign-index",
                file=store.locate(key),
                hint="name another folder, or move that page away: the files beside it are then "
                "taken over",
            )
