"""Writes `cv2/_cuda_build.py`: one literal, the same bytes for the same facts."""

from __future__ import annotations

from collections.abc import Mapping

BUILD_MODULE = "cv2/_cuda_build.py"

_DOCSTRING = (
    '"""What this build of OpenCV needs. Written by repack, read by cuda_dlls.py and '
    '_cuda_report.py."""'
)
_WIDTH = 100
_STEP = "    "


def build_module(facts: Mapping[str, object]) -> bytes:
    """Return the module that gives `BUILD` the value `facts`, in ASCII, its keys sorted."""
    return f"{_DOCSTRING}\n\nBUILD = {_literal(facts, '', len('BUILD = '))}\n".encode("ascii")


def _literal(value: object, indent: str, before: int) -> str:
    """Return `value` as a Python literal, one item a line where it is too long for its own.

    `before` is how much stands before it on its line.
    """
    flat = _flat(value)
    if before + len(flat) + len(",") <= _WIDTH or not isinstance(value, Mapping | tuple):
        return flat
    deeper = indent + _STEP
    keys = [f"{_flat(key)}: " for key in sorted(value)] if isinstance(value, Mapping) else []
    items = [value[key] for key in sorted(value)] if isinstance(value, Mapping) else value
    lines = [
        f"{deeper}{key}{_literal(item, deeper, len(deeper + key))},\n"
        for key, item in zip(keys or [""] * len(items), items, strict=True)
    ]
    opening, closing = "{}" if isinstance(value, Mapping) else "()"
    return f"{opening}\n{''.join(lines)}{indent}{closing}"


def _flat(value: object) -> str:
    """Return `value` as a Python literal on one line."""
    match value:
        case str():
            plain = value.isascii() and value.isprintable() and not {'"', "\\"} & set(value)
            return f'"{value}"' if plain else ascii(value)
        case Mapping():
            return f"{{{', '.join(f'{_flat(key)}: {_flat(value[key])}' for key in sorted(value))}}}"
        case tuple():
            items = ", ".join(map(_flat, value))
            return f"({items},)" if len(value) == 1 else f"({items})"
        case None | int():
            return repr(value)
    raise TypeError(f"{type(value).__name__} has no literal here: {value!r}")
