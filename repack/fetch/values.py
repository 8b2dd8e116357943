"""What is fetched, how it is called in the lock, and what is known of it beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from packaging.utils import canonicalize_name

from repack.config import FileSource, IndexSource, ReleaseSource, UrlSource
from repack.errors import FetchError
from repack.fetch.content import check_any_name
from repack.lock import Lock, Pin

if TYPE_CHECKING:
    from pathlib import Path

    from packaging.requirements import Requirement

Asked: TypeAlias = UrlSource | IndexSource | ReleaseSource
Fetchable: TypeAlias = FileSource | Asked
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
            return f"file:{source.pinned_as or source.path.name}"
        case UrlSource():
            return source.url
        case IndexSource():
            wanted = _requirement(source)
            name = f"{canonicalize_name(wanted.name)}{wanted.specifier}"
            return f"{name} for Python {source.python} on {source.platform}"
        case ReleaseSource():
            return f"{source.repository} {source.tag or '(latest release)'} {source.asset}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Expected:
    """What is known beforehand; `by` says who told us, `hint` what to do where it is not so."""

    size: int | None = None
    sha256: str | None = None
    by: str = ""
    hint: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What a source is called in the lock, and what its file has to be.

    `wheel` False lets other ZIP archives through.
    """

    key: str
    pin: Pin | None
    expected: Expected
    wheel: bool = True

    def check_name(self, name: str, *, file: object) -> None:
        """Raise where `name` is not one that the file may have."""
        check_any_name(name, file=file, wheel=self.wheel)

    def check(self, size: int, sha256: str, *, file: object) -> None:
        """Raise where a file is not the expected one."""
        if self.expected.sha256 not in {None, sha256}:
            raise FetchError(
                f"has SHA-256 {sha256} and {size} bytes, "
                f"{self.expected.by} says {self.expected.sha256}",
                code="sha256",
                file=file,
                hint=self.expected.hint,
            )

    def pinned(self, filename: str, url: str, size: int, sha256: str) -> Pin:
        """Return the pin of a file that was found to be the wanted one."""
        return Pin(key=self.key, filename=filename, url=url, size=size, sha256=sha256)


def wanted(source: Fetchable, lock: Lock | None, *, wheel: bool) -> Wanted:
    """Return what the configuration and the lock say of the file that `source` names."""
    key = pin_key(source)
    pin = lock.pin(key) if lock else None
    return Wanted(key=key, pin=pin, expected=_expected(source, pin), wheel=wheel)


def is_exact(source: Asked) -> bool:
    """Return whether `source` names one version of an index."""
    if not isinstance(source, IndexSource):
        return False
    return [
        (spec.operator, spec.version.endswith(".*")) for spec in _requirement(source).specifier
    ] == [("==", False)]


def _requirement(source: IndexSource) -> Requirement:
    from packaging.requirements import Requirement  # noqa: PLC0415 - slow; no other source has one

    return Requirement(source.requirement)


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
