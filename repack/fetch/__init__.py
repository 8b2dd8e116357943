"""Where wheels come from: a file, a URL, an index or a release; verified, cached and pinned."""

import re
import zipfile
from pathlib import Path
from typing import NamedTuple, TypeAlias

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from repack.config import FileSource, IndexSource, ReleaseSource, UrlSource
from repack.console import Progress, Task
from repack.errors import FetchError, InputError, redact_url
from repack.fetch.cache import Cache, open_wheel
from repack.fetch.http import discard, download, make_session
from repack.fetch.offers import Offer, RemoteSource, find_offer, read_members
from repack.fetch.pip import download_by_pip
from repack.files import Memory, sha256_of
from repack.lock import Pin, difference, read_lock, write_lock

Fetchable: TypeAlias = FileSource | RemoteSource
#: What pip may yet be able to fetch: by another way to log in, from a host it is told to trust.
_LEFT_TO_PIP = frozenset({"bad-url", "http-401", "http-403", "http-407", "tls"})
_HASH_HINT = "find out which is right; where repack.lock is out of date, run with --update-lock"
_OFFLINE_HINT = "run `repack fetch` or `repack build` once without --offline"
_PAGE_HINT = "look at it in a browser: a login or an error page is likely"
_WHEEL_NAME = re.compile(r"[A-Za-z0-9][\w.]*-[\w.+!]+(-\d[\w.]*)?(-[\w.]+){3}\.whl", re.ASCII)
_NAME_HINT = (
    "a wheel is called name-version-python-abi-platform.whl; of a download source.filename says so"
)


class Fetched(NamedTuple):
    """A file on this machine that is what its source is pinned as; `pin` goes into the lock."""

    path: Path
    pin: Pin

    @property
    def sha256(self) -> str:
        """Its SHA-256 in hexadecimal digits."""
        return self.pin.sha256


class Listing(NamedTuple):
    """A wheel of an index, and its members."""

    filename: str
    members: frozenset[str]


class Supply:
    """Fetches files as the lock pins them, each once, and collects the pins of new ones.

    `update` asks anew for everything that the lock pins. With `offline` nobody is asked.
    """

    def __init__(
        self,
        cache: Cache,
        lock: Path | None = None,
        *,
        offline: bool = False,
        update: bool = False,
    ) -> None:
        """Read the pins of the file `lock`, or of one in the cache."""
        self.cache = cache
        self.offline = offline
        self.progress = cache.progress
        self._path = lock or cache.folder("pins") / "repack.lock"
        self._update = update
        self._kept = {} if update else dict(read_lock(self._path))
        self._pins = dict(self._kept)
        self._fetched: dict[str, Fetched] = {}

    def fetch(self, source: Fetchable, *, pinned: bool = True) -> Fetched:
        """Return the file that `source` names, verified, from the cache if it can be.

        What is pinned is had in exactly that form or not at all; `pinned` False takes it as it
        is, this once. Raises FetchError, InputError for what is no wheel.
        """
        key = pin_key(source)
        pin = self._pins.get(key) if pinned else None
        if pinned and key in self._fetched:
            fetched = self._fetched[key]
        elif isinstance(source, FileSource):
            fetched = _read_local(source, key, self.progress)
        else:
            fetched = self._obtain(source, key, pin)
        _check_hash(fetched.sha256, source.sha256, by="source.sha256", file=key)
        _check_hash(fetched.sha256, pin.sha256 if pin else None, by="repack.lock", file=key)
        if pinned:
            self._pins[key] = fetched.pin
            self._fetched[key] = fetched
        return fetched

    def wheel(self, requirement: str, python: str) -> Fetched:
        """Return the index's wheel for `requirement` on one Windows Python."""
        return self.fetch(IndexSource(requirement=requirement, python=python))

    def list_wheel(self, requirement: str, platform: str) -> Listing | None:
        """Return which files the index's wheel for `requirement` holds; None for not known.

        It is the pinned wheel, or the newest. Only its directory is read, and remembered.
        """
        source = IndexSource(requirement=requirement, platform=platform)
        key = pin_key(source)
        pin = self._pins.get(key)
        memory = Memory(self.cache.root / "listings")
        members = memory.recall(pin.sha256, frozenset[str]) if pin else None
        if pin and members is not None:
            return Listing(pin.filename, members)
        if self.offline:
            if pin is None:
                return None
            raise _not_offline(key, f"what {pin.filename} holds")
        task = self.progress.task(f"Looking what {requirement} holds", unit="steps")
        with task, make_session() as session:
            filename, url, ask, sha256, _ = find_offer(source, pin, session)
            try:
                size, members = read_members(ask)
            except FetchError as error:
                if error.code not in _LEFT_TO_PIP:
                    raise
                path, pin = self.fetch(source)
                size, sha256 = pin.size, pin.sha256
                with open_wheel(path, path.name) as archive:
                    members = frozenset(archive.namelist())
        if sha256 is not None:
            _check_hash(sha256, pin.sha256 if pin else None, by="repack.lock", file=filename)
            memory.keep(sha256, sorted(members))
            self._pins[key] = Pin(key=key, filename=filename, url=url, size=size, sha256=sha256)
        return Listing(filename, members)

    def keep(self) -> tuple[str, ...]:
        """Write what is new into the lock, and return what changed since the last time, as lines.

        What another process has pinned meanwhile stays. Raises FetchError where it has pinned one
        of these as another file.
        """
        fresh = {key: pin for key, pin in self._pins.items() if pin != self._kept.get(key)}
        if not fresh:
            return ()
        with self.cache.lock(f"pins of {self._path.absolute()}"):
            before = read_lock(self._path)
            for key, pin in fresh.items():
                if key in before and not self._update:
                    _check_hash(pin.sha256, before[key].sha256, by="repack.lock", file=key)
            now = {**before, **fresh}
            write_lock(self._path, now)
        self._kept = dict(self._pins)
        return difference(before, now)

    def forget(self) -> None:
        """Drop the pins since the last `keep`: a build that failed pins nothing."""
        self._pins = dict(self._kept)

    def _obtain(self, source: RemoteSource, key: str, pin: Pin | None) -> Fetched:
        """Return the file from the cache, where it is there now or after it was downloaded."""
        answer = self.cache.recall(key)
        # What is not pinned is asked for each time.
        known = pin or (answer if self.offline else None)
        # Before the lock: a cache that we may only read has none.
        if fetched := self._find(known):
            return fetched
        if self.offline:
            what = f"{known.filename} ({known.size} bytes)" if known else "its file"
            raise _not_offline(key, what)
        with self.cache.lock(key):
            # Of several that start together one asks, and its answer serves the others.
            latest = self.cache.recall(key)
            known = pin or (latest if latest != answer else None)
            return self._find(known) or self._download(source, key, pin)

    def _find(self, pin: Pin | None) -> Fetched | None:
        """Return the pinned file if the cache has it."""
        path = pin and self.cache.find(pin.sha256, pin.filename)
        return Fetched(path, pin) if pin and path else None

    def _download(self, source: RemoteSource, key: str, pin: Pin | None) -> Fetched:
        """Return the file in the cache, as it is where the source says."""
        with make_session() as session, self.progress.task(f"Asking for {key}") as task:
            offer = find_offer(source, pin, session)
            _check_filename(offer.filename, file=offer.url)
            if pin is not None:
                offer = offer._replace(sha256=pin.sha256, by="repack.lock")
            elif source.sha256 is not None:
                offer = offer._replace(sha256=source.sha256, by="source.sha256")
            path = offer.sha256 and self.cache.find(offer.sha256, offer.filename)
            if not path:
                task.describe(f"Downloading {offer.filename}")
                part = self.cache.partial(key)
                path = self.cache.add(part, _fill(part, offer, source, task), offer.filename)
                discard(part, task)
        size, sha256 = path.stat().st_size, path.parent.name
        fresh = Pin(key=key, filename=path.name, url=offer.url, size=size, sha256=sha256)
        self.cache.remember(fresh)
        return Fetched(path, fresh)


def pin_key(source: Fetchable) -> str:
    """Return the key of `source` in the lock; it is the same on every machine.

    A URL's query is not part of it: it may be a signature, another one each day.
    """
    match source:
        case FileSource():
            return f"file:{source.pinned_as or source.path.name}"
        case UrlSource():
            return redact_url(source.url) + (f" {source.filename}" if source.filename else "")
        case IndexSource():
            requirement = Requirement(source.requirement)
            name = f"{canonicalize_name(requirement.name)}{requirement.specifier}"
            return f"{name} for Python {source.python} on {source.platform}"
        case ReleaseSource():
            key = f"{source.repository} {source.tag or '(latest release)'} {source.asset}"
            return key + (f" {source.filename}" if source.filename else "")


def _read_local(source: FileSource, key: str, progress: Progress) -> Fetched:
    """Return the file where it lies; whether it is a wheel is seen when it is read."""
    path = source.path
    if not path.is_file():
        reason, hint = "there is no such file", "name a wheel file"
        raise InputError(reason, code="no-file", file=path, hint=hint)
    _check_filename(path.name, file=str(path))
    size = path.stat().st_size
    with progress.task(f"Hashing {path.name}", total=size) as task:
        sha256 = sha256_of(path, task=task)
    url = f"file:{path.name}"
    return Fetched(path, Pin(key=key, filename=path.name, url=url, size=size, sha256=sha256))


def _fill(part: Path, offer: Offer, source: RemoteSource, task: Task, tries: int = 2) -> str:
    """Return the SHA-256 of the offered wheel, which is in `part` then.

    Wrong content is given one clean retry: it may be of bytes that an earlier run left.
    """
    try:
        download(offer.ask, part, task, offer.sha256)
    except FetchError as error:
        if not isinstance(source, IndexSource) or error.code not in _LEFT_TO_PIP:
            raise
        download_by_pip(offer.filename, offer.sha256, source, part)
    try:
        _check_archive(part, file=offer.url)
        sha256 = sha256_of(part)
        _check_hash(sha256, offer.sha256, by=offer.by, file=offer.url)
    except FetchError:
        discard(part, task)
        if tries == 1:
            raise
        return _fill(part, offer, source, task, tries - 1)
    return sha256


def _check_archive(part: Path, *, file: str) -> None:
    """Raise FetchError where what came from `file` is no ZIP archive, before it is kept."""
    if not zipfile.is_zipfile(part):
        with part.open("rb") as stream:
            first = stream.read(80)
        reason = (
            f"is not a complete ZIP archive: {part.stat().st_size:,} bytes, begins with {first!r}"
        )
        raise FetchError(reason, code="not-a-zip", file=file, hint=_PAGE_HINT)


def _check_hash(sha256: str, expected: str | None, *, by: str, file: str) -> None:
    """Raise FetchError where a file is not the expected one."""
    if expected not in {None, sha256}:
        reason = f"has SHA-256 {sha256}, {by} says {expected}"
        raise FetchError(reason, code="sha256", file=file, hint=_HASH_HINT)


def _check_filename(name: str, *, file: str) -> None:
    """Raise FetchError where `name` is not the file name of a wheel, or may not be a file here."""
    if not _WHEEL_NAME.fullmatch(name):
        reason = "the last part is not the file name of a wheel"
        raise FetchError(reason, code="filename", file=file, hint=_NAME_HINT)


def _not_offline(key: str, what: str) -> FetchError:
    reason = f"{what} is not in the cache, and --offline allows no download"
    return FetchError(reason, code="offline", file=key, hint=_OFFLINE_HINT)
