"""Where wheels come from: a file, a URL, an index or a release; the only room that fetches."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from repack.config import FileSource, IndexSource
from repack.console import SILENT
from repack.fetch.cache import Cache
from repack.fetch.local import locate, read_local
from repack.fetch.values import Fetchable, Fetched, is_exact, pin_key, wanted
from repack.lock import Lock

if TYPE_CHECKING:
    from repack.console import Progress
    from repack.fetch.http import Client

__all__ = [
    "Cache",
    "Fetchable",
    "Fetched",
    "fetch",
    "fetch_index",
    "locate",
    "pin_key",
]


def fetch(  # noqa: PLR0913 - each is an independent setting of one fetch
    source: Fetchable,
    *,
    lock: Lock | None,
    cache: Cache,
    offline: bool = False,
    progress: Progress = SILENT,
    client: Client | None = None,
    wheel: bool = True,
) -> Fetched:
    """Return the file that `source` names, verified against the lock, from the cache if it can be.

    What the lock pins is had in exactly that form or not at all; None, or a lock without the pin,
    takes what comes. `wheel` False lets other ZIP archives through. With `offline` nothing
    is asked for. Raises `FetchError`, `InputError` for what is no wheel, `OutputError` for the
    cache's disk.
    """
    said = wanted(source, lock, wheel=wheel)
    if isinstance(source, FileSource):
        return read_local(source, said, progress)
    # What asks servers takes long to import, and a build from a file asks nobody.
    from repack.fetch.remote import Remote, not_offline  # noqa: PLC0415

    remote = Remote(wanted=said, cache=cache, progress=progress, given_client=client)
    # An exact version of an index is taken as it was when it was last asked for, as pip's own
    # cache does; a lock that has yet to be written asks, so that it pins what there is today.
    remembered = offline or (lock is None and is_exact(source))
    since = 0.0 if remembered else time.time()
    with cache.lock(said.key, progress):
        kept = remote.kept(source, since=since)
        if kept is None and offline:
            raise not_offline(said)
        return kept or remote.fetched(source)


def fetch_index(  # noqa: PLR0913 - see `fetch`
    requirement: str,
    *,
    python: str,
    platform: str = "win_amd64",
    lock: Lock | None,
    cache: Cache,
    offline: bool = False,
    progress: Progress = SILENT,
) -> Fetched:
    """Return the wheel of the index that `requirement` names for one Windows Python."""
    source = IndexSource(requirement=requirement, python=python, platform=platform)
    return fetch(source, lock=lock, cache=cache, offline=offline, progress=progress)
