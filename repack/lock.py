"""`repack.lock`: pins each source to the file that was fetched first."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import msgspec

from repack.config import read_toml
from repack.errors import ConfigError
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


def read_lock(path: Path) -> Pins:
    """Return the pins of the lock file `path`; a file that is not there pins nothing."""
    if not path.exists():
        return {}
    tables = read_toml(path, hint=_RENEW)
    try:
        pins = msgspec.convert(tables, _LockFile).source
    except ValueError as error:
        reason = f"is not a lock file of this version of repack: {error}"
        raise ConfigError(reason, code="lock", file=path, hint=_RENEW) from None
    return {pin.key: pin for pin in pins}


def write_lock(path: Path, pins: Pins) -> None:
    """Put the pins into the file `path`, whole or not at all; the same pins give the same bytes."""
    text = f"{_HEADING}version = 1\n"
    for key in sorted(pins):
        fields = msgspec.structs.asdict(pins[key]).items()
        lines = [f"{name} = {format_value(value)}\n" for name, value in fields]
        text += "\n[[source]]\n" + "".join(lines)
    write(path, text.encode())


def difference(old: Pins, new: Pins) -> tuple[str, ...]:
    """Return the pins that are new, and those that changed, as lines that a person reads."""
    lines = []
    for key in sorted(new):
        texts = [
            f"{pin.url} ({pin.filename}, {pin.size} bytes, sha256 {pin.sha256})"
            for pin in (old.get(key), new[key])
            if pin is not None
        ]
        if old.get(key) != new[key]:
            lines.append(f"{'~' if key in old else '+'} {key}: {' -> '.join(texts)}")
    return tuple(lines)


def format_value(value: str | int) -> str:
    """Return a text or a number as TOML."""
    # JSON's texts are TOML's, but for the one control character that JSON lets through.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
