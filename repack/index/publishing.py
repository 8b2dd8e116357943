"""Changes a static index so that whoever reads it meanwhile finds all that a page tells of.

Files come first, then their metadata, then the pages that list them: JSON, which is the state,
before HTML, the project's before the one of all projects. A removal goes the other way. Whoever
is killed on the way leaves files that no page lists yet, or none lists any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from repack.config import source_date_epoch
from repack.index import changes, page, simple
from repack.index.changes import ADDED, ADOPTED, REMOVED, RESTORED, THERE, UNCHANGED, done
from repack.index.offers import offers_of
from repack.index.reading import HTML, JSON, METADATA, adopted, read_index, with_adopted
from repack.index.values import Done, Offer, Project, named

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from repack.console import Progress
    from repack.index.changes import Subject
    from repack.index.reading import Held
    from repack.stores import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """What holds for every change: what the index takes, and its URL, "" for the one it knows."""

    allow_startup_hook: bool = False
    max_size: int | None = None
    index_url: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """What was done to each file, and the keys of files that no page lists."""

    place: str
    files: tuple[Done, ...]
    strays: tuple[str, ...] = ()


def publish(dist: Path, store: Store, terms: Terms, progress: Progress) -> Published:
    """Add the wheels of `dist`; nothing is written where one of them is refused."""
    time = _now()
    offers = offers_of(
        dist,
        time=time,
        allow_startup_hook=terms.allow_startup_hook,
        max_size=terms.max_size,
        progress=progress,
    )
    with store.lock(progress):
        held = read_index(store)
        found = _adopted(store, held, terms, time, progress)
        before = with_adopted(held, found)
        after = {**before, **_extended(before, offers)}
        _check_files(store, held, offers)
        done_now = [_put(store, held, before, offer, progress) for offer in offers]
        _put_metadata(store, (*found, *offers))
        _write_pages(store, after, terms.index_url or held.index_url)
    told = [done(offer.project, offer.file, ADOPTED) for offer in found]
    names = {each.filename for each in done_now}
    told = [each for each in told if each.filename not in names]
    return Published(
        place=store.place, files=_sorted([*told, *done_now]), strays=_left(held, after)
    )


def yank(
    subject: Subject, reason: str | None, store: Store, terms: Terms, progress: Progress
) -> Published:
    """Yank a version for that reason, or, for None, take that back."""
    what = changes.UNYANKED if reason is None else changes.YANKED
    with store.lock(progress):
        held, before = _existing(store, terms, progress)
        chosen = changes.chosen(before, subject)
        after = changes.yanked(chosen, subject.version, reason)
        _write_pages(store, {**before, chosen.name: after}, terms.index_url or held.index_url)
    told = [
        done(after.name, file, UNCHANGED if file == chosen.file(file.filename) else what)
        for file in after.files
        if file.version == subject.version
    ]
    return Published(place=store.place, files=_sorted(told))


def remove(subject: Subject, store: Store, terms: Terms, progress: Progress) -> Published:
    """Take a version's files out: from the pages first, so that no page tells of what is gone."""
    with store.lock(progress):
        held, before = _existing(store, terms, progress)
        left = _leftovers(held, subject)
        if left and not _lists(before, subject):
            told = [_done_to_leftover(store, held, key) for key in left]
        else:
            chosen = changes.chosen(before, subject)
            version = subject.version
            told = [
                done(chosen.name, file, REMOVED) for file in changes.of_version(chosen, version)
            ]
            after = {**before, chosen.name: changes.without(chosen, version)}
            _write_pages(store, after, terms.index_url or held.index_url)
        for each in told:
            _delete(store, each)
        _drop_empty(store, {each.project for each in told})
    return Published(place=store.place, files=_sorted(told))


def _existing(store: Store, terms: Terms, progress: Progress) -> tuple[Held, dict[str, Project]]:
    """Return the index, what lies in it by hand taken over."""
    held = read_index(store)
    found = _adopted(store, held, terms, _now(), progress)
    _put_metadata(store, found)
    return held, with_adopted(held, found)


def _adopted(
    store: Store, held: Held, terms: Terms, time: str, progress: Progress
) -> tuple[Offer, ...]:
    return tuple(
        adopted(
            store,
            held,
            time=time,
            allow_startup_hook=terms.allow_startup_hook,
            progress=progress,
        )
    )


def _extended(before: Mapping[str, Project], offers: Sequence[Offer]) -> dict[str, Project]:
    names = sorted({offer.project for offer in offers})
    return {
        name: changes.with_offers(
            before.get(name, Project(name=name, files=())),
            [offer for offer in offers if offer.project == name],
        )
        for name in names
    }


def _check_files(store: Store, held: Held, offers: Sequence[Offer]) -> None:
    """Refuse, before anything is written, a file that lies there unlisted with other bytes."""
    for offer in offers:
        key = _key(offer)
        if key in held.strays:
            changes.check_same(offer, store.sha256(key))


def _put(
    store: Store,
    held: Held,
    before: Mapping[str, Project],
    offer: Offer,
    progress: Progress,
) -> Done:
    """Put one file where it belongs, unless it is there; far away its size has to say so."""
    key = _key(offer)
    project = before.get(offer.project)
    listed = project is not None and project.file(offer.file.filename) is not None
    there = held.sizes.get(key) == offer.file.size
    if there and not (store.near and store.sha256(key) != offer.file.sha256):
        return done(offer.project, offer.file, THERE if listed else ADDED)
    with progress.task(f"Publishing {offer.file.filename}", total=offer.file.size) as task:
        store.put(key, offer.content, offer.file.sha256)
        task.advance(offer.file.size)
    return done(offer.project, offer.file, RESTORED if listed else ADDED)


def _put_metadata(store: Store, offers: Sequence[Offer]) -> None:
    for offer in offers:
        if offer.metadata is not None:
            _write(store, _key(offer) + METADATA, offer.metadata)


def _write_pages(store: Store, projects: Mapping[str, Project], index_url: str) -> None:
    """Write the pages that say something else than they did."""
    for name, project in sorted(projects.items()):
        _write(store, f"{name}/{JSON}", simple.project_json(project))
        _write(store, f"{name}/{HTML}", page.project_page(project, index_url))
    listed = [project for project in projects.values() if project.files]
    _write(store, JSON, simple.root_json([project.name for project in listed], index_url))
    _write(store, HTML, page.root_page(listed))


def _write(store: Store, key: str, content: bytes) -> None:
    if store.read(key) != content:
        store.write(key, content)


def _key(offer: Offer) -> str:
    return f"{offer.project}/{offer.file.filename}"


def _delete(store: Store, gone: Done) -> None:
    key = f"{gone.project}/{gone.filename}"
    store.delete(key + METADATA)
    store.delete(key)


def _drop_empty(store: Store, names: set[str]) -> None:
    """Remove the pages of projects that have no file left, the state last."""
    held = read_index(store)
    for name in sorted(names):
        project = held.projects.get(name)
        stray = any(key.startswith(f"{name}/") for key in held.strays)
        if project is not None and not project.files and not stray:
            store.delete(f"{name}/{HTML}")
            store.delete(f"{name}/{JSON}")


def _leftovers(held: Held, subject: Subject) -> list[str]:
    """Return the files of a version that a killed publish or removal left beside a page."""
    return [
        key
        for key in held.strays
        if key.partition("/")[0] in held.projects
        and subject.project in {None, key.partition("/")[0]}
        and named(key.rpartition("/")[2])[1] == subject.version
    ]


def _lists(projects: Mapping[str, Project], subject: Subject) -> bool:
    return any(
        file.version == subject.version
        for project in projects.values()
        if subject.project in {None, project.name}
        for file in project.files
    )


def _done_to_leftover(store: Store, held: Held, key: str) -> Done:
    project, _, filename = key.rpartition("/")
    return Done(
        project=project,
        filename=filename,
        version=str(named(filename)[1]),
        sha256=store.sha256(key),
        size=held.sizes[key],
        what=REMOVED,
    )


def _left(held: Held, after: Mapping[str, Project]) -> tuple[str, ...]:
    """Return the files that lie in the store and in no page."""
    listed = {f"{name}/{file.filename}" for name, each in after.items() for file in each.files}
    return tuple(key for key in held.strays if key not in listed)


def _sorted(told: Sequence[Done]) -> tuple[Done, ...]:
    return tuple(sorted(told, key=lambda each: (each.project, each.filename)))


def _now() -> str:
    """Return the time that a file is said to be uploaded: SOURCE_DATE_EPOCH, or the present."""
    epoch = source_date_epoch()
    utc = UTC
    now = datetime.now(utc) if epoch is None else datetime.fromtimestamp(epoch, utc)
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")
