"""`repack.lock`: pins each source to the file that was fetched first."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeGuard

import msgspec

from repack.config import read_toml
from repack.errors import ConfigError, quote_name
from repack.files import write

_HEADING = """\
# Written by repack: what each source was when it was first fetched.
# Keep it under version control. `repack build --update-lock` renews it and says what changed.
"""
_RENEW = "delete the file, or take it from version control again"


class Pin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file that one source is pinned to.

    `url` is its public address: an index's file by its package URL, which no
    mirror changes, a release's by the asset's download URL.
    """

    key: str
    filename: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+!-]*\Z")]
    url: str
    size: Annotated[int, msgspec.Meta(ge=0)]
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]


class Lock(msgspec.Struct, frozen=True, kw_only=True):
    """All pins, in the order of their keys."""

    pins: tuple[Pin, ...] = ()

    def pin(self, key: str) -> Pin | None:
        """Return what is pinned for `key`."""
        return next((pin for pin in self.pins if pin.key == key), None)

    def with_pin(self, pin: Pin) -> Self:
        """Return this lock with `pin`, in place of any other of the same key."""
        others = [other for other in self.pins if other.key != pin.key]
        return type(self)(pins=tuple(sorted([*others, pin], key=lambda pin: pin.key)))


class _LockFile(msgspec.Struct, forbid_unknown_fields=True):
    version: Literal[1]
    source: tuple[Pin, ...] = ()

    def __post_init__(self) -> None:
        keys = [pin.key for pin in self.source]
        for key in keys:
            if keys.count(key) > 1:
                raise ValueError(f"{quote_name(key)} is pinned twice")


def read_lock(path: Path) -> Lock:
    """Return the pins of the lock file `path`; a file that is not there pins nothing."""
    if not path.exists():
        return Lock()
    tables = read_toml(path, hint=_RENEW)
    try:
        pins = msgspec.convert(tables, _LockFile).source
    except ValueError as error:
        reason = f"is no lock of this version of repack: {error}"
        raise ConfigError(reason, code="lock", file=path, hint=_RENEW) from None
    return Lock(pins=tuple(sorted(pins, key=lambda pin: pin.key)))


def format_lock(lock: Lock) -> str:
    """Return `lock` as the text of its file: the same pins give the same text."""
    pins = [msgspec.structs.asdict(pin) for pin in lock.pins]
    return _HEADING + format_toml({"version": 1, "source": pins})


def write_lock(path: Path, lock: Lock) -> None:
    """Put `lock` into the file `path`, whole or not at all; an equal file is left alone."""
    write(path, format_lock(lock).encode())


def difference(old: Lock, new: Lock) -> tuple[str, ...]:
    """Return what changed from `old` to `new`, as lines that a person reads."""
    lines = []
    for key in sorted({pin.key for pin in (*old.pins, *new.pins)}):
        before, after = old.pin(key), new.pin(key)
        if before and not after:
            lines.append(f"- {key}: {before.filename}")
        elif after and not before:
            lines.append(f"+ {key}: {after.filename}, {after.size} bytes, sha256 {after.sha256}")
        elif before != after:
            lines.append(f"~ {key}")
            for name in ("filename", "url", "size", "sha256"):
                values = getattr(before, name), getattr(after, name)
                if values[0] != values[1]:
                    lines.append(f"    {name}: {values[0]} -> {values[1]}")
    return tuple(lines)


def format_toml(tables: Mapping[str, Any]) -> str:
    """Return `tables` as TOML; a list of tables at the top becomes one table after the other."""
    lists = {key: value for key, value in tables.items() if _holds_tables(value)}
    lines = _lines({key: value for key, value in tables.items() if key not in lists})
    for key, entries in lists.items():
        for entry in entries:
            lines += ["", f"[[{key}]]", *_lines(entry)]
    return "\n".join([*lines, ""])


def format_value(value: object) -> str:
    """Return text, number, list or table as a TOML value."""
    if isinstance(value, Mapping):
        return f"{{ {', '.join(_lines(value))} }}"
    if _holds_tables(value):
        return "[\n" + "".join(f"    {format_value(item)},\n" for item in value) + "]"
    # JSON's lists and texts are TOML's, but for the one control character that JSON lets through.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _lines(table: Mapping[str, object]) -> list[str]:
    return [f"{key} = {format_value(value)}" for key, value in table.items()]


def _holds_tables(value: object) -> TypeGuard[list[Mapping[str, object]]]:
    return isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)
