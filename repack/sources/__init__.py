"""Where wheels come from: a file, a URL, an index or a release; the only room that fetches."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from repack.config import FileSource, IndexSource, Lock, Pin, ReleaseSource, UrlSource
from repack.errors import FetchError, InputError
from repack.files import sha256_of
from repack.progress import SILENT
from repack.sources.cache import Answer, Cache
from repack.sources.content import (
    check_archive,
    check_file_name,
    check_wheel_name,
    file_name_of,
)
from repack.sources.github import asset_request, find_asset
from repack.sources.partial import Partial
from repack.sources.patience import Patience
from repack.sources.pip import package_url, pip_download
from repack.sources.request import Request, shown_url
from repack.sources.transfer import Expected, transfer

if TYPE_CHECKING:
    from pathlib import Path

    from repack.progress import Progress
    from repack.sources.http import Client

__all__ = [
    "Cache",
    "Fetchable",
    "Fetched",
    "Patience",
    "fetch",
    "fetch_index",
    "pin_key",
]

Fetchable: TypeAlias = FileSource | UrlSource | IndexSource | ReleaseSource
_Remote: TypeAlias = UrlSource | IndexSource | ReleaseSource
_RENEW = "if the change is wanted, run again with --update-lock"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetched:
    """A file on this machine that is what its source is pinned as; `pin` goes into the lock."""

    path: Path
    pin: Pin

    @property
    def filename(self) -> str:
        """The wheel's name."""
        return self.pin.filename

    @property
    def url(self) -> str:
        """Where anybody may get it."""
        return self.pin.url

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return self.pin.size

    @property
    def sha256(self) -> str:
        """Its SHA-256 in hexadecimal digits."""
        return self.pin.sha256

    @property
    def key(self) -> str:
        """What its source is called in the lock."""
        return self.pin.key


def pin_key(source: Fetchable) -> str:
    """Return what `source` is called in the lock: what was asked for, whatever machine asked."""
    match source:
        case FileSource():
            return f"file:{source.path.name}"
        case UrlSource():
            return source.url
        case IndexSource():
            wanted = Requirement(source.requirement)
            name = f"{canonicalize_name(wanted.name)}{wanted.specifier}"
            return f"{name} for Python {source.python} on {source.platform}"
        case ReleaseSource():
            return f"{source.repository} {source.tag or '(latest release)'} {source.asset}"


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
    key = pin_key(source)
    pin = lock.pin(key) if lock else None
    job = _Job(
        key=key,
        pin=pin,
        expected=_expected(source, pin),
        cache=cache,
        progress=progress,
        given_client=client,
        wheel=wheel,
    )
    if isinstance(source, FileSource):
        return job.local(source)
    # An exact version of an index is taken as it was when it was last asked for, as pip's own
    # cache does; a lock that has yet to be written asks, so that it pins what there is today.
    remembered = offline or (lock is None and _is_exact(source))
    since = 0.0 if remembered else time.time()
    with cache.lock(key, progress):
        kept = job.kept(source, since=since)
        if kept is not None:
            return kept
        if offline:
            raise _offline(key, pin)
        return job.fetched(source)


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


@dataclass(frozen=True, kw_only=True, slots=True)
class _Job:
    """One fetch under way."""

    key: str
    pin: Pin | None
    expected: Expected
    cache: Cache
    progress: Progress
    given_client: Client | None
    wheel: bool

    @property
    def client(self) -> Client:
        """What asks servers; `requests` is slow to import, and many a build asks nobody."""
        from repack.sources.http import Client  # noqa: PLC0415

        return self.given_client or Client()

    def local(self, source: FileSource) -> Fetched:
        """Return the file of this machine where it lies."""
        path = source.path
        if not path.is_file():
            reason = "is no file" if path.exists() else "there is no such file"
            reason = "is a folder, not a wheel" if path.is_dir() else reason
            raise InputError(reason, code="no-file", file=path, hint="name a wheel file")
        self._check_name(path.name, file=path)
        check_archive(path, file=path)
        size = path.stat().st_size
        with self.progress.task(f"Hashing {path.name}", total=size) as task:
            sha256 = sha256_of(path, task=task)
        self._check(size, sha256, file=path)
        return Fetched(path=path, pin=self._pin(path.name, f"file:{path.name}", size, sha256))

    def kept(self, source: _Remote, *, since: float) -> Fetched | None:
        """Return the file if the cache has it.

        Without a pin, what another process was told since `since` is as new as what we would
        be told: so of several that start together, one asks.
        """
        pin = self.pin
        if pin is None and isinstance(source, UrlSource) and source.sha256 is not None:
            pin = self._known_by_hash(source)
        if pin is None:
            answer = self.cache.recall(self.key)
            if answer is None or answer.time < since:
                return None
            pin = answer.pin
        path = self.cache.find(pin, self.progress)
        if path is None or self.expected.sha256 not in {None, pin.sha256}:
            return None
        return Fetched(path=path, pin=pin)

    def fetched(self, source: _Remote) -> Fetched:
        """Return the file, got from where the source says."""
        if isinstance(source, IndexSource):
            got = self._from_index(source)
        elif isinstance(source, ReleaseSource):
            got = self._from_release(source)
        else:
            name = file_name_of(source.url)
            request = Request(url=source.url, hint=_URL_HINT)
            got = self._download(request, name, source.url, self.expected)
        self.cache.remember(Answer(pin=got.pin, time=time.time()))
        return got

    def _from_release(self, source: ReleaseSource) -> Fetched:
        asset = find_asset(self.client, source, self.pin, self.progress)
        expected = self.expected
        if expected.sha256 is None and asset.sha256 is not None:
            expected = Expected(
                size=asset.size, sha256=asset.sha256, by="the release", hint=_RETRY_LATER
            )
        elif expected.size is None:
            expected = Expected(
                size=asset.size, sha256=expected.sha256, by=expected.by, hint=expected.hint
            )
        known = self._pin(asset.name, asset.url, asset.size, expected.sha256 or "")
        path = self.cache.find(known, self.progress) if expected.sha256 else None
        if path is not None:
            return Fetched(path=path, pin=known)
        return self._download(asset_request(source, asset), asset.name, asset.url, expected)

    def _from_index(self, source: IndexSource) -> Fetched:
        with self.cache.workspace(self.key) as folder:
            filename = None if self.pin is None else self.pin.filename
            wheel = pip_download(source, self.expected, filename, folder, self.progress)
            self._check_name(wheel.name, file=source.requirement)
            check_archive(wheel, file=wheel.name)
            size, sha256 = wheel.stat().st_size, sha256_of(wheel)
            self._check(size, sha256, file=wheel.name)
            path = self.cache.add(wheel, sha256, wheel.name)
        return Fetched(path=path, pin=self._pin(path.name, package_url(path.name), size, sha256))

    def _download(self, request: Request, name: str, url: str, expected: Expected) -> Fetched:
        """Return what a URL gives, as the file `name`; `url` is the one to be pinned."""
        self._check_name(name, file=shown_url(request.url))
        partial = Partial(self.cache.incoming, self.key, request.url)
        with self.progress.task(f"Downloading {name}", total=expected.size) as task:
            transfer(self.client, request, expected=expected, partial=partial, task=task)
        size, sha256 = partial.size, partial.sha256
        try:
            check_archive(partial.path, file=shown_url(request.url))
        except InputError:
            partial.discard()
            raise
        path = self.cache.add(partial.finish(), sha256, name)
        return Fetched(path=path, pin=self._pin(name, url, size, sha256))

    def _known_by_hash(self, source: UrlSource) -> Pin | None:
        """Return the pin of a URL whose SHA-256 the configuration gives, if the cache has it."""
        name = file_name_of(source.url)
        self._check_name(name, file=shown_url(source.url))
        path = self.cache.place(source.sha256 or "", name)
        if not path.is_file():
            return None
        return self._pin(name, source.url, path.stat().st_size, source.sha256 or "")

    def _check_name(self, name: str, *, file: object) -> None:
        if self.wheel:
            check_wheel_name(name, file=file)
        else:
            check_file_name(name, file=file)

    def _check(self, size: int, sha256: str, *, file: object) -> None:
        """Raise where a file is not the expected one."""
        if self.expected.sha256 not in {None, sha256}:
            raise FetchError(
                f"has SHA-256 {sha256} and {size} bytes, "
                f"{self.expected.by} says {self.expected.sha256}",
                code="sha256",
                file=file,
                hint=self.expected.hint,
            )

    def _pin(self, filename: str, url: str, size: int, sha256: str) -> Pin:
        return Pin(key=self.key, filename=filename, url=url, size=size, sha256=sha256)


def _is_exact(source: _Remote) -> bool:
    """Return whether `source` names one version of an index."""
    if not isinstance(source, IndexSource):
        return False
    return [
        (spec.operator, spec.version.endswith(".*"))
        for spec in Requirement(source.requirement).specifier
    ] == [("==", False)]


_URL_HINT = "look at the URL; a name and a password for its host go into .netrc"
_RETRY_LATER = "the release may be changing at this moment: run again"


def _expected(source: Fetchable, pin: Pin | None) -> Expected:
    """Return what is known of the file before it comes: by the configuration, by the lock."""
    said = source.sha256
    if said is not None and pin is not None and said != pin.sha256:
        raise FetchError(
            f"source.sha256 is {said}, repack.lock says {pin.sha256}",
            code="pin",
            file=pin.key,
            hint=_RENEW,
        )
    if pin is not None:
        return Expected(size=pin.size, sha256=pin.sha256, by="repack.lock", hint=_RENEW)
    return Expected(sha256=said, by="source.sha256", hint="one of the two is wrong: find out which")


def _offline(key: str, pin: Pin | None) -> FetchError:
    """Return the error for what --offline would have to ask for."""
    if pin is None:
        said = "is neither pinned in repack.lock nor in the cache, and --offline asks nobody"
    else:
        said = f"{pin.filename} ({pin.size} bytes) is not in the cache, and --offline asks nobody"
    hint = "run `repack fetch` or `repack build` once without --offline"
    return FetchError(said, code="offline", file=key, hint=hint)
