"""TOML, read and written: the one place that knows which library does it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import tomli_w

from repack.errors import ConfigError, RepackError, UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def read_toml(path: Path, *, hint: str = "") -> dict[str, object]:
    """Return the tables of the TOML file `path`.

    A file that is missing, unreadable or not TOML is a `ConfigError`; `hint` says what to do.
    """
    try:
        return tomllib.loads(path.read_bytes().decode())
    except FileNotFoundError:
        raise ConfigError("there is no such file", code="config", file=path, hint=hint) from None
    except OSError as error:
        reason = f"cannot be read ({error.strerror or error})"
        raise ConfigError(reason, code="config", file=path, hint=hint) from error
    except UnicodeDecodeError as error:
        reason = f"is not UTF-8 (byte {error.start})"
        raise ConfigError(reason, code="config", file=path, hint=hint) from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        reason = f"is not TOML: {error}"
        raise ConfigError(reason, code="config", file=path, hint=hint) from None


def format_toml(tables: Mapping[str, object]) -> str:
    """Return `tables` as TOML, in their own order."""
    return tomli_w.dumps(tables)


def parse_key(text: str) -> tuple[str, ...]:
    """Return the parts of the dotted key `text`, such as `build.emit`."""
    try:
        tree: object = tomllib.loads(f"{text}=0") if "\n" not in text else {}
    except tomllib.TOMLDecodeError:
        tree = {}
    parts: list[str] = []
    while isinstance(tree, dict) and len(tree) == 1:
        ((part, tree),) = tree.items()
        parts.append(part)
    if not parts or tree != 0:
        raise UsageError(f"{text!r} is not a key", code="config", hint="write build.emit=abi3")
    return tuple(parts)


def parse_override(text: str) -> tuple[str, object]:
    """Return key and value of a setting as the command line gives it: `build.emit=abi3`.

    The value is a TOML literal; whatever is none is taken as the text it is. Numbers with a
    point stay text too, because 3.10 is a Python here and not three and a tenth.
    """
    key, equals, value = (part.strip() for part in text.partition("="))
    if not equals:
        raise UsageError(f"{text!r} sets nothing", code="config", hint="write build.emit=abi3")
    try:
        parse_key(key)
        return key, _literal(value)
    except RepackError as error:
        raise UsageError(error.what, code=error.code, hint=error.hint) from None


def _literal(text: str) -> object:
    """Return the TOML value `text`, or `text` itself where it is none, or says more than one."""
    if "\n" in text:
        return text
    try:
        value = tomllib.loads(f"value={text}", parse_float=str)["value"]
    except tomllib.TOMLDecodeError:
        return text
    plain = isinstance(value, int) and str(value) == text
    return value if plain or isinstance(value, bool | str | list | dict) else text
