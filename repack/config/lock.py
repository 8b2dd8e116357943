"""`repack.lock`: what each source was when it was first fetched, and has to be ever after."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from repack.config.toml import format_toml, read_toml
from repack.errors import ConfigError, shown
from repack.files import replacing

if TYPE_CHECKING:
    from pathlib import Path

_VERSION = 1
_HEADING = """\
# Written by repack: what each source was when it was first fetched.
# Keep it under version control. `repack build --update-lock` renews it and says what changed.
"""
_RENEW = "delete the file, or take it from version control again"


@dataclass(frozen=True, kw_only=True, slots=True)
class Pin:
    """What one source was.

    `url` is where it is to be had by anybody: an index's file by its package URL, which no
    mirror changes, a release's by the asset's download URL.
    """

    key: str
    filename: str
    url: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Lock:
    """All pins, in the order of their keys."""

    pins: tuple[Pin, ...] = ()

    def pin(self, key: str) -> Pin | None:
        """Return what is pinned for `key`."""
        return next((pin for pin in self.pins if pin.key == key), None)

    def with_pin(self, pin: Pin) -> Lock:
        """Return this lock with `pin`, in place of any other of the same key."""
        others = [other for other in self.pins if other.key != pin.key]
        return replace(self, pins=tuple(sorted([*others, pin], key=lambda pin: pin.key)))


def read_lock(path: Path) -> Lock:
    """Return the pins of the lock file `path`; a file that is not there pins nothing."""
    if not path.exists():
        return Lock()
    tables = read_toml(path, hint=_RENEW)
    version = tables.pop("version", None)
    if version != _VERSION:
        raise _broken(path, f"is of version {version!r}, this repack reads version {_VERSION}")
    entries = tables.pop("source", [])
    if tables:
        raise _broken(path, f"holds {shown(next(iter(tables)))}, which no lock file has")
    if not isinstance(entries, list):
        raise _broken(path, "source is not a list of tables")
    pins = sorted((_pin(path, entry) for entry in entries), key=lambda pin: pin.key)
    keys = [pin.key for pin in pins]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice is not None:
        raise _broken(path, f"pins {shown(twice)} twice")
    return Lock(pins=tuple(pins))


def format_lock(lock: Lock) -> str:
    """Return `lock` as the text of its file: the same pins give the same text."""
    tables = {"version": _VERSION, "source": [asdict(pin) for pin in lock.pins]}
    return _HEADING + format_toml(tables)


def write_lock(path: Path, lock: Lock) -> None:
    """Put `lock` into the file `path`, whole or not at all; an equal file is left alone."""
    content = format_lock(lock).encode()
    if path.is_file() and path.read_bytes() == content:
        return
    with replacing(path) as stream:
        stream.write(content)


def difference(old: Lock, new: Lock) -> tuple[str, ...]:
    """Return what changed from `old` to `new`, as lines that a person reads."""
    keys = sorted({pin.key for pin in (*old.pins, *new.pins)})
    return tuple(line for key in keys for line in _changes(old.pin(key), new.pin(key)))


def _changes(old: Pin | None, new: Pin | None) -> tuple[str, ...]:
    """Return the lines about one source."""
    if old == new:
        return ()
    if new is None:
        return (f"- {old.key}: {old.filename}",) if old else ()
    if old is None:
        return (f"+ {new.key}: {new.filename}, {new.size} bytes, sha256 {new.sha256}",)
    parts = [
        f"    {field.name}: {getattr(old, field.name)} -> {getattr(new, field.name)}"
        for field in fields(Pin)
        if getattr(old, field.name) != getattr(new, field.name)
    ]
    return (f"~ {new.key}", *parts)


def _pin(path: Path, entry: Any) -> Pin:  # noqa: ANN401 - whatever a hand has written
    """Return the pin that a table of the file holds."""
    kinds = {"key": str, "filename": str, "url": str, "size": int, "sha256": str}
    if not isinstance(entry, dict):
        raise _broken(path, "source is not a list of tables")
    name = shown(str(entry.get("key", "a source without a key")))
    if entry.keys() != kinds.keys():
        odd = ", ".join(sorted(entry.keys() ^ kinds.keys()))
        raise _broken(path, f"the pin of {name} lacks or has too much: {odd}")
    for key, kind in kinds.items():
        if type(entry[key]) is not kind:
            raise _broken(
                path, f"the {key} of {name} is not {'text' if kind is str else 'a number'}"
            )
    pin = Pin(**entry)
    if pin.size < 0 or not re.fullmatch("[0-9a-f]{64}", pin.sha256):
        raise _broken(path, f"the size or the sha256 of {name} cannot be right")
    if not re.fullmatch(r"[A-Za-z0-9][\w.+!-]*", pin.filename, re.ASCII):
        raise _broken(path, f"the filename of {name} is not a file's name")
    return pin


def _broken(path: Path, reason: str) -> ConfigError:
    return ConfigError(reason, code="lock", file=path, hint=_RENEW)
