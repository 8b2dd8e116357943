"""Small DLLs for x86-64, written byte by byte: exports that are code, or lead to another DLL."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from itertools import count

_PAGE, _SECTOR = 0x1000, 0x200
_HEADERS = 0x400
_BASE = 0x180000000
_READ, _EXECUTE, _DISCARDABLE = 0x40000000, 0x20000000, 0x02000000
_CODE, _DATA = 0x20, 0x40
# The DLL may lie anywhere and its data never runs, as every linker says today.
_DYNAMIC_BASE, _NX_COMPAT, _HIGH_ENTROPY = 0x40, 0x100, 0x20
#: Nothing here holds an absolute address, but some loaders refuse to move a DLL that has no block.
_NO_RELOCATIONS = struct.pack("<IIHH", _PAGE, 12, 0, 0)


def make_dll(
    name: str,
    *,
    forwards: Mapping[str, str] | None = None,
    code: Mapping[str, bytes] | None = None,
) -> bytes:
    """Return a DLL called `name` that the Windows loader accepts; the same parts, the same bytes.

    `forwards` maps an export to "module.symbol", `code` an export to machine code that must not
    depend on where it lies; an export is a name or, as "#12", a number alone.
    """
    text, places = _place_code(code or {})
    exports_at = _PAGE + _aligned(len(text), _PAGE)
    exports = _export_table(name, places, forwards or {}, exports_at)
    relocations_at = exports_at + _aligned(len(exports), _PAGE)
    sections = [
        (b".text", _PAGE, text, _CODE | _READ | _EXECUTE),
        (b".rdata", exports_at, exports, _DATA | _READ),
        (b".reloc", relocations_at, _NO_RELOCATIONS, _DATA | _READ | _DISCARDABLE),
    ]
    directories = {0: (exports_at, len(exports)), 5: (relocations_at, len(_NO_RELOCATIONS))}
    return _assemble([section for section in sections if section[2]], directories)


def _place_code(code: Mapping[str, bytes]) -> tuple[bytes, dict[str, int]]:
    """Return the code section, and the address of each export in it."""
    content, places = bytearray(), {}
    for export, body in code.items():
        content.extend(bytes(-len(content) % 16))
        places[export] = _PAGE + len(content)
        content.extend(body)
    return bytes(content), places


def _export_table(
    name: str, places: Mapping[str, int], forwards: Mapping[str, str], start: int
) -> bytes:
    """Return the export directory, to lie at the address `start`.

    The loader takes an address for a forwarder because it points into this very directory, and
    looks names up by halves, so they are sorted as bytes.
    """
    exports = sorted({*places, *forwards}, key=str.encode)
    slots = _slots(exports)
    named = [export for export in exports if not export.startswith("#")]
    size, many = max(slots.values(), default=-1) + 1, len(named)
    addresses_at = start + 40
    names_at = addresses_at + 4 * size
    ordinals_at = names_at + 4 * many
    texts_at = ordinals_at + 2 * many
    texts, text_places = b"", {}
    for text in dict.fromkeys([name, *named, *(forwards[export] for export in sorted(forwards))]):
        text_places[text] = texts_at + len(texts)
        texts += text.encode("ascii") + b"\0"
    addresses = [0] * size
    for export in exports:
        place = places[export] if export in places else text_places[forwards[export]]
        addresses[slots[export]] = place
    header = struct.pack(
        "<IIHHIIIIIII",
        *(0, 0, 0, 0),
        text_places[name],
        1,
        size,
        many,
        *(addresses_at, names_at, ordinals_at),
    )
    return (
        header
        + struct.pack(f"<{size}I", *addresses)
        + struct.pack(f"<{many}I", *(text_places[export] for export in named))
        + struct.pack(f"<{many}H", *(slots[export] for export in named))
        + texts
    )


def _slots(exports: list[str]) -> dict[str, int]:
    """Return each export's place in the table: the number it asks for, or the next that is free."""
    numbered = {export: int(export[1:]) - 1 for export in exports if export.startswith("#")}
    taken = set(numbered.values())
    free = (place for place in count() if place not in taken)
    return {export: numbered[export] if export in numbered else next(free) for export in exports}


def _assemble(
    sections: list[tuple[bytes, int, bytes, int]], directories: Mapping[int, tuple[int, int]]
) -> bytes:
    """Return the file of these sections: (name, address, content, flags)."""
    table, bodies = b"", b""
    for name, address, content, flags in sections:
        raw = content + bytes(-len(content) % _SECTOR)
        place = _HEADERS + len(bodies)
        sizes = (len(content), address, len(raw), place)
        table += struct.pack("<8sIIIIIIHHI", name, *sizes, *(0, 0, 0, 0), flags)
        bodies += raw
    dos = b"MZ" + bytes(58) + struct.pack("<I", 64)
    file_header = struct.pack("<4sHHIIIHH", b"PE\0\0", 0x8664, len(sections), 0, 0, 0, 240, 0x2022)
    last, content = sections[-1][1:3]
    optional = struct.pack("<HBBIIIII", 0x20B, 14, 0, 0, len(bodies), 0, 0, _PAGE)
    optional += struct.pack("<QII", _BASE, _PAGE, _SECTOR)
    optional += struct.pack("<HHHHHH", 6, 0, 0, 0, 6, 0)
    optional += struct.pack("<IIII", 0, last + _aligned(len(content), _PAGE), _HEADERS, 0)
    optional += struct.pack("<HH", 2, _HIGH_ENTROPY | _DYNAMIC_BASE | _NX_COMPAT)
    optional += struct.pack("<QQQQII", 0x100000, 0x1000, 0x100000, 0x1000, 0, 16)
    for index in range(16):
        optional += struct.pack("<II", *directories.get(index, (0, 0)))
    return (dos + file_header + optional + table).ljust(_HEADERS, b"\0") + bodies


def _aligned(size: int, unit: int) -> int:
    return size + -size % unit
