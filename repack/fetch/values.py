"""Values of fetching: keys in the lock, expected hashes, the fetched file."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

import requests
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from repack.config import FileSource, IndexSource, ReleaseSource, UrlSource
from repack.console import Progress
from repack.errors import FetchError, redact_url
from repack.fetch.cache import Cache
from repack.lock import Lock, Pin

Fetchable: TypeAlias = FileSource | UrlSource | IndexSource | ReleaseSource
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
        """Where anybody may get it; without query, for that may be a secret."""
        return self.pin.url

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return self.pin.size

    @property
    def sha256(self) -> str:
        """Its SHA-256 in hexadecimal digits."""
        return self.pin.sha256


@dataclass(frozen=True, kw_only=True, slots=True)
class Expected:
    """What is known of a file beforehand; `by` says who told us, `hint` what to do if it is not so.

    `key` is what the lock calls its source.
    """

    key: str
    pin: Pin | None = None
    sha256: str | None = None
    by: str = "source.sha256"
    hint: str = "one of the two is wrong: find out which"

    def check(self, sha256: str | None, *, file: object) -> None:
        """Raise FetchError where a file has another SHA-256 than the expected one."""
        if self.sha256 and sha256 and sha256 != self.sha256:
            reason = f"has SHA-256 {sha256}, {self.by} says {self.sha256}"
            raise FetchError(reason, code="sha256", file=file, hint=self.hint)

    def make_pin(self, filename: str, url: str, size: int, sha256: str) -> Pin:
        """Return the pin of the file that came."""
        return Pin(key=self.key, filename=filename, url=url, size=size, sha256=sha256)


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One file to fetch: what is known of it, the cache it goes into, the session."""

    expected: Expected
    cache: Cache
    session: requests.Session = field(repr=False)
    progress: Progress

    def with_hash(self, sha256: str | None, *, by: str, hint: str) -> Job:
        """Return this job with a hash that somebody else tells, unless one is known."""
        if self.expected.sha256 or not sha256:
            return self
        return replace(self, expected=replace(self.expected, sha256=sha256, by=by, hint=hint))


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
            return f"{source.repository} {source.tag or '(latest release)'} {source.asset}"


def read_expected(source: Fetchable, lock: Lock | None) -> Expected:
    """Return what the configuration and the lock say of the file that `source` names."""
    key = pin_key(source)
    pin = lock.pin(key) if lock else None
    if pin is None:
        return Expected(key=key, sha256=source.sha256)
    if source.sha256 not in {None, pin.sha256}:
        reason = f"source.sha256 is {source.sha256}, repack.lock says {pin.sha256}"
        raise FetchError(reason, code="pin", file=key, hint=_RENEW)
    return Expected(key=key, pin=pin, sha256=pin.sha256, by="repack.lock", hint=_RENEW)


def is_exact(source: Fetchable) -> bool:
    """Return whether `source` names one version of an index."""
    if not isinstance(source, IndexSource):
        return False
    specifiers = list(Requirement(source.requirement).specifier)
    return len(specifiers) == 1 and re.fullmatch(r"==[^*]+", str(specifiers[0])) is not None
