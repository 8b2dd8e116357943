"""`repack.lock`: pins each source to the file that was fetched first."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, TypeGuard

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


#: By their keys.
Pins: TypeAlias = Mapping[str, Pin]


class _LockFile(msgspec.Struct, forbid_unknown_fields=True):
    version: Literal[1]
    source: tuple[Pin, ...] = ()

    def __post_init__(self) -> None:
        for key, count in Counter(pin.key for pin in self.source).items():
            if count > 1:
                raise ValueError(f"{quote_name(key)} is pinned twice")


def read_lock(path: Path) -> Pins:
    """Return the pins of the lock file `path`; a file that is not there pins nothing."""
    if not path.exists():
        return {}
    tables = read_toml(path, hint=_RENEW)
    try:
        pins = msgspec.convert(tables, _LockFile).source
    except ValueError as error:
        reason = f"is no lock of this version of repack: {error}"
        raise ConfigError(reason, code="lock", file=path, hint=_RENEW) from None
    return {pin.key: pin for pin in pins}


def write_lock(path: Path, pins: Pins) -> None:
    """Put the pins into the file `path`, whole or not at all; the same pins give the same bytes."""
    tables = [msgspec.structs.asdict(pins[key]) for key in sorted(pins)]
    write(path, (_HEADING + format_toml({"version": 1, "source": tables})).encode())


def difference(old: Pins, new: Pins) -> tuple[str, ...]:
    """Return the pins that are new, and those that changed, as lines that a person reads."""
    lines = []
    for key in sorted(new):
        now = _describe(new[key])
        if key not in old:
            lines.append(f"+ {key}: {now}")
        elif old[key] != new[key]:
            lines.append(f"~ {key}: {_describe(old[key])} -> {now}")
    return tuple(lines)


def _describe(pin: Pin) -> str:
    return f"{pin.url} ({pin.filename}, {pin.size} bytes, sha256 {pin.sha256})"


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
