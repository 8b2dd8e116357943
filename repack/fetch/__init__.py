"""Where wheels come from: a file, a URL, an index or a release; the only room that fetches."""

import time

import requests

from repack.config import FileSource, IndexSource, ReleaseSource, UrlSource
from repack.console import SILENT, Progress
from repack.errors import FetchError, redact_url
from repack.fetch.archive import filename_of, locate
from repack.fetch.cache import Cache
from repack.fetch.download import download_wheel
from repack.fetch.http import Request, make_session
from repack.fetch.listing import Listing, list_wheel
from repack.fetch.pip import fetch_requirement
from repack.fetch.release import fetch_release
from repack.fetch.values import Expected, Fetchable, Fetched, Job, is_exact, pin_key, read_expected
from repack.files import sha256_of
from repack.lock import Lock

__all__ = [
    "Cache",
    "Fetchable",
    "Fetched",
    "Listing",
    "fetch",
    "fetch_index",
    "list_wheel",
    "locate",
    "pin_key",
]

_URL_HINT = "look at the URL; a name and a password for its host go into .netrc"


def fetch(  # noqa: PLR0913 - each is an independent setting of one fetch
    source: Fetchable,
    *,
    lock: Lock | None,
    cache: Cache,
    offline: bool = False,
    progress: Progress = SILENT,
    session: requests.Session | None = None,
) -> Fetched:
    """Return the file that `source` names, verified against the lock, from the cache if it can be.

    What the lock pins is had in exactly that form or not at all; None, or a lock without the pin,
    takes what comes. With `offline` nothing is asked for. Raises `FetchError`, `InputError` for
    what is no wheel, `OutputError` for the cache's disk.
    """
    expected = read_expected(source, lock)
    if isinstance(source, FileSource):
        return _read_local(source, expected, progress)
    # An exact version of an index is taken as it was when it was last asked for, as pip's own
    # cache does; a lock that has yet to be written asks, so that it pins what there is today.
    is_known = source.sha256 is not None or (lock is None and is_exact(source))
    since = 0.0 if offline or is_known else time.time()
    # Before the lock: a cache that we may only read has none.
    fetched = _find_cached(expected, cache, progress, since)
    if fetched is not None:
        return fetched
    if offline:
        raise _not_offline(expected)
    with cache.lock(expected.key, progress):
        # Of several that start together one asks: what it was told is as new for the others.
        fetched = _find_cached(expected, cache, progress, since)
        if fetched is not None:
            return fetched
        with session or make_session() as open_session:
            job = Job(expected=expected, cache=cache, session=open_session, progress=progress)
            fetched = _fetch_remote(source, job)
        cache.remember(fetched.pin)
        return fetched


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


def _fetch_remote(source: UrlSource | IndexSource | ReleaseSource, job: Job) -> Fetched:
    """Return the file, got from where the source says."""
    if isinstance(source, IndexSource):
        return fetch_requirement(source, job)
    if isinstance(source, ReleaseSource):
        return fetch_release(source, job)
    request = Request(url=source.url, hint=_URL_HINT)
    name = source.filename or filename_of(source.url)
    return download_wheel(job, request, name, recorded_url=redact_url(source.url))


def _find_cached(
    expected: Expected, cache: Cache, progress: Progress, since: float
) -> Fetched | None:
    """Return the file if the cache has it: by its pin, or by what it was when it was fetched."""
    pin = expected.pin or cache.recall(expected.key, since=since)
    if pin is None or expected.sha256 not in {None, pin.sha256}:
        return None
    path = cache.find(pin, progress)
    return Fetched(path=path, pin=pin) if path else None


def _read_local(source: FileSource, expected: Expected, progress: Progress) -> Fetched:
    """Return the file where it lies, once it was seen to be the wanted one."""
    path = locate(source)
    size = path.stat().st_size
    with progress.task(f"Hashing {path.name}", total=size) as task:
        sha256 = sha256_of(path, task=task)
    expected.check(sha256, file=path)
    return Fetched(path=path, pin=expected.make_pin(path.name, f"file:{path.name}", size, sha256))


def _not_offline(expected: Expected) -> FetchError:
    """Return the error for what --offline would have to ask for."""
    pin = expected.pin
    reason = "is neither pinned in repack.lock nor in the cache, and --offline asks nobody"
    if pin is not None:
        reason = f"{pin.filename} ({pin.size} bytes) is not in the cache, and --offline asks nobody"
    hint = "run `repack fetch` or `repack build` once without --offline"
    return FetchError(reason, code="offline", file=expected.key, hint=hint)
