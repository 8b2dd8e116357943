"""Whole files added, with values written into them, and lines appended."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

from repack.errors import PatchError
from repack.patching.texts import Text, read_text

if TYPE_CHECKING:
    from repack.patching.edits import Add, Append

_WIDTH = 96
_STEP = "    "


def added(change: Add, values: Mapping[str, object]) -> bytes:
    """Return the file that `change` adds, the literals of `values` written into it."""
    if not change.values:
        return change.content
    text = read_text(change.content)
    edits = {}
    for name, key in change.values:
        if key not in values:
            raise PatchError(f"needs a value called {key!r} for {name}", code="no-value")
        edits[text.span(assigned(text, name))] = literal(values[key])
    return text.replaced(edits)


def appended(change: Append, content: bytes) -> bytes:
    """Return `content` with the lines at its end, unless they stand in it already."""
    end = b"\r\n" if content.endswith(b"\r\n") else b"\n"
    lines = content.replace(b"\r\n", b"\n")
    if not lines.endswith(b"\n") and lines:
        end = b"\r\n" if b"\r\n" in content else b"\n"
        content += end
        lines += b"\n"
    if b"\n" + change.content in b"\n" + lines:
        return content
    return content + change.content.replace(b"\n", end)


def assigned(text: Text, name: str) -> ast.expr:
    """Return what the one top-level assignment gives to `name`; PatchError if there is not one."""
    found = [
        statement.value
        for statement in text.tree.body
        if isinstance(statement, ast.Assign)
        and [ast.unparse(target) for target in statement.targets] == [name]
    ]
    if len(found) != 1:
        raise PatchError(
            f"has {len(found)} top-level assignments to {name}, not one", code="no-place"
        )
    return found[0]


def literal(value: object, indent: str = "") -> str:
    """Return `value` as a Python literal in ASCII, mappings sorted, one item a line where long."""
    short = _one_line(value)
    if len(indent) + len(short) <= _WIDTH or isinstance(value, str | int | None):
        return short
    deeper = indent + _STEP
    if isinstance(value, Mapping):
        items = [f"{_one_line(key)}: {literal(value[key], deeper)}" for key in sorted(value)]
        brackets = "{}"
    else:
        items = [literal(item, deeper) for item in _items(value)]
        brackets = "()"
    body = "".join(f"{deeper}{item},\n" for item in items)
    return f"{brackets[0]}\n{body}{indent}{brackets[1]}"


def _one_line(value: object) -> str:
    if isinstance(value, str):
        plain = value.isascii() and value.isprintable() and not {'"', "\\"} & set(value)
        return f'"{value}"' if plain else ascii(value)
    if value is None or isinstance(value, int):
        return repr(value)
    if isinstance(value, Mapping):
        items = ", ".join(f"{_one_line(key)}: {_one_line(value[key])}" for key in sorted(value))
        return f"{{{items}}}"
    items = ", ".join(_one_line(item) for item in _items(value))
    return f"({items},)" if len(_items(value)) == 1 else f"({items})"


def _items(value: object) -> Sequence[object]:
    if isinstance(value, AbstractSet):
        return sorted(value)
    if isinstance(value, Sequence):
        return value
    raise TypeError(f"{type(value).__name__} has no literal here: {value!r}")
