"""Small DLLs, written byte by byte: forwarders, stand-ins, and samples of import tables."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PAGE = 0x1000
_SECTOR = 0x200
_DIRECTORIES = 16
_EXPORTS, _IMPORTS, _RELOCATIONS, _IAT, _DELAY_IMPORTS = 0, 1, 5, 12, 13

_READ, _WRITE, _EXECUTE = 0x40000000, 0x80000000, 0x20000000
_CODE, _INITIALIZED, _DISCARDABLE = 0x20, 0x40, 0x02000000

# The DLL may lie anywhere and its data never runs, as every linker says today.
_DYNAMIC_BASE, _NX_COMPAT, _HIGH_ENTROPY = 0x40, 0x100, 0x20


@dataclass(frozen=True, kw_only=True, slots=True)
class _Format:
    """What of the headers depends on the processor."""

    machine: int
    width: int
    magic: int
    characteristics: int
    image_base: int
    dll_flags: int


_WIDE = _HIGH_ENTROPY | _DYNAMIC_BASE | _NX_COMPAT
_FORMATS = {
    "x86-64": _Format(
        machine=0x8664,
        width=8,
        magic=0x20B,
        characteristics=0x2022,
        image_base=0x180000000,
        dll_flags=_WIDE,
    ),
    "arm64": _Format(
        machine=0xAA64,
        width=8,
        magic=0x20B,
        characteristics=0x2022,
        image_base=0x180000000,
        dll_flags=_WIDE,
    ),
    "x86": _Format(
        machine=0x14C,
        width=4,
        magic=0x10B,
        characteristics=0x2102,
        image_base=0x10000000,
        dll_flags=_DYNAMIC_BASE | _NX_COMPAT,
    ),
}


@dataclass(kw_only=True, slots=True)
class _Section:
    """A section under construction; `place` returns the address of what it appended."""

    name: bytes
    flags: int
    rva: int
    content: bytearray = field(default_factory=bytearray)

    def place(self, data: bytes, *, align: int = 1) -> int:
        self.content.extend(bytes(-len(self.content) % align))
        rva = self.rva + len(self.content)
        self.content.extend(data)
        return rva

    def overwrite(self, rva: int, data: bytes) -> None:
        at = rva - self.rva
        self.content[at : at + len(data)] = data

    @property
    def end(self) -> int:
        """The first free page after this section."""
        return _aligned(self.rva + len(self.content), _PAGE)


def make_dll(  # noqa: PLR0913 - a DLL has these parts, and each is optional
    name: str,
    *,
    forwards: Mapping[str, str] | None = None,
    code: Mapping[str, bytes] | None = None,
    imports: Mapping[str, Sequence[str]] | None = None,
    delay_imports: Mapping[str, Sequence[str]] | None = None,
    entry_point: bytes = b"",
    machine: str = "x86-64",
) -> bytes:
    """Return a DLL called `name` that the Windows loader accepts; the same parts, the same bytes.

    `forwards` maps an export to "module.symbol", `code` an export to machine code that must not
    depend on where it lies; `imports` and `delay_imports` map a DLL's name to the symbols wanted.
    All go by name or, as "#12", by number alone.
    `entry_point` is the machine code of DllMain, none when empty. `machine` is one of "x86-64",
    "arm64" and "x86". An export that is given twice is a ValueError.
    """
    form = _FORMATS[machine]
    text = _Section(name=b".text", flags=_CODE | _READ | _EXECUTE, rva=_PAGE)
    entry = text.place(entry_point) if entry_point else 0
    placed = {export: text.place(body, align=16) for export, body in (code or {}).items()}
    if twice := sorted(placed.keys() & (forwards or {}).keys()):
        raise ValueError(f"exported both as code and as a forwarder: {twice}")
    data = _Section(name=b".data", flags=_INITIALIZED | _READ | _WRITE, rva=text.end)
    slots = {dll: _delay_slots(data, form, names) for dll, names in (delay_imports or {}).items()}
    rdata = _Section(name=b".rdata", flags=_INITIALIZED | _READ, rva=data.end)
    directories = {_EXPORTS: _place_exports(rdata, name, placed, forwards or {})}
    if imports:
        directories |= _place_imports(rdata, form, imports)
    if delay_imports:
        directories[_DELAY_IMPORTS] = _place_delay_imports(rdata, form, delay_imports, slots)
    reloc = _Section(name=b".reloc", flags=_INITIALIZED | _READ | _DISCARDABLE, rva=rdata.end)
    directories[_RELOCATIONS] = _place_no_relocations(reloc)
    return _assembled(form, entry, [text, data, rdata, reloc], directories)


def _aligned(size: int, unit: int) -> int:
    return size + -size % unit


def _text(text: str) -> bytes:
    return text.encode("ascii") + b"\0"


def _place_exports(
    section: _Section, name: str, placed: Mapping[str, int], forwards: Mapping[str, str]
) -> tuple[int, int]:
    """Return where the export directory lies.

    The loader takes an address for a forwarder because it points into this very directory, and
    looks names up by halves, so they are sorted as bytes.
    """
    exports = sorted({*placed, *forwards}, key=str.encode)
    slots = _export_slots(exports)
    named = [export for export in exports if not export.startswith("#")]
    size, many = max(slots.values(), default=-1) + 1, len(named)
    start = section.place(bytes(40), align=8)
    addresses = section.place(bytes(4 * size))
    names = section.place(bytes(4 * many))
    ordinals = section.place(struct.pack(f"<{many}H", *(slots[export] for export in named)))
    own = section.place(_text(name))
    name_rvas = [section.place(_text(export)) for export in named]
    for export in exports:
        target = placed[export] if export in placed else section.place(_text(forwards[export]))
        section.overwrite(addresses + 4 * slots[export], struct.pack("<I", target))
    section.overwrite(names, struct.pack(f"<{many}I", *name_rvas))
    header = struct.pack("<IIHHIIIIIII", 0, 0, 0, 0, own, 1, size, many, addresses, names, ordinals)
    section.overwrite(start, header)
    return start, section.rva + len(section.content) - start


def _export_slots(exports: Sequence[str]) -> dict[str, int]:
    """Return each export's place in the table: the number it asks for, or the next that is free."""
    numbered = {export: int(export[1:]) - 1 for export in exports if export.startswith("#")}
    taken = set(numbered.values())
    free = (place for place in count(0) if place not in taken)
    return {export: numbered[export] if export in numbered else next(free) for export in exports}


def _thunks(section: _Section, form: _Format, symbols: Sequence[str]) -> bytes:
    """Return the zero-ended list that asks for `symbols`, by name or, as "#12", by number."""
    thunks = [_thunk(section, form, symbol) for symbol in symbols]
    return b"".join(thunk.to_bytes(form.width, "little") for thunk in (*thunks, 0))


def _thunk(section: _Section, form: _Format, symbol: str) -> int:
    if symbol.startswith("#"):
        return 1 << (form.width * 8 - 1) | int(symbol[1:])
    return section.place(bytes(2) + _text(symbol), align=2)


def _place_imports(
    section: _Section, form: _Format, imports: Mapping[str, Sequence[str]]
) -> dict[int, tuple[int, int]]:
    """Return where the import directory and the table the loader fills in lie."""
    lists = {dll: _thunks(section, form, symbols) for dll, symbols in imports.items()}
    lookups = {dll: section.place(thunks, align=form.width) for dll, thunks in lists.items()}
    filled_in = section.place(b"", align=form.width)
    filled = {dll: section.place(thunks) for dll, thunks in lists.items()}
    filled_size = sum(map(len, lists.values()))
    names = {dll: section.place(_text(dll)) for dll in imports}
    descriptors = b"".join(
        struct.pack("<IIIII", lookups[dll], 0, 0, names[dll], filled[dll]) for dll in imports
    ) + bytes(20)
    start = section.place(descriptors, align=4)
    return {_IMPORTS: (start, len(descriptors)), _IAT: (filled_in, filled_size)}


def _delay_slots(section: _Section, form: _Format, symbols: Sequence[str]) -> tuple[int, int]:
    """Return where a delayed DLL's handle and addresses will be written at the first call."""
    handle = section.place(bytes(form.width), align=form.width)
    return handle, section.place(bytes(form.width * (len(symbols) + 1)))


def _place_delay_imports(
    section: _Section,
    form: _Format,
    imports: Mapping[str, Sequence[str]],
    slots: Mapping[str, tuple[int, int]],
) -> tuple[int, int]:
    """Return where the delay-load directory lies."""
    descriptors = bytearray()
    for dll, symbols in imports.items():
        handle, addresses = slots[dll]
        lookups = section.place(_thunks(section, form, symbols), align=form.width)
        name = section.place(_text(dll))
        descriptors += struct.pack("<IIIIIIII", 1, name, handle, addresses, lookups, 0, 0, 0)
    descriptors += bytes(32)
    return section.place(bytes(descriptors), align=4), len(descriptors)


def _place_no_relocations(section: _Section) -> tuple[int, int]:
    """Return where the relocations lie: one block whose entries mean nothing.

    Nothing here holds an absolute address, but some loaders refuse to move a DLL that has no
    block at all.
    """
    block = struct.pack("<IIHH", _PAGE, 12, 0, 0)
    return section.place(block), len(block)


def _assembled(
    form: _Format, entry: int, sections: Sequence[_Section], directories: dict[int, tuple[int, int]]
) -> bytes:
    """Return the file: headers, then the sections that hold anything."""
    present = [section for section in sections if section.content]
    optional_size = (112 if form.width == 8 else 96) + 8 * _DIRECTORIES
    header_size = _aligned(64 + 4 + 20 + optional_size + 40 * len(present), _SECTOR)
    table, bodies, offset = b"", b"", header_size
    for section in present:
        raw = bytes(section.content) + bytes(-len(section.content) % _SECTOR)
        table += struct.pack(
            "<8sIIIIIIHHI",
            section.name,
            len(section.content),
            section.rva,
            len(raw),
            offset,
            *(0, 0, 0, 0),
            section.flags,
        )
        bodies += raw
        offset += len(raw)
    dos = b"MZ" + bytes(58) + struct.pack("<I", 64)
    coff = struct.pack(
        "<4sHHIIIHH",
        b"PE\0\0",
        form.machine,
        len(present),
        *(0, 0, 0),
        optional_size,
        form.characteristics,
    )
    optional = _optional_header(form, entry, present, header_size, directories)
    return (dos + coff + optional + table).ljust(header_size, b"\0") + bodies


def _optional_header(
    form: _Format,
    entry: int,
    sections: Sequence[_Section],
    header_size: int,
    directories: dict[int, tuple[int, int]],
) -> bytes:
    sizes = {section.name: _aligned(len(section.content), _SECTOR) for section in sections}
    code = sizes.get(b".text", 0)
    wide = form.width == 8
    parts = [
        struct.pack("<HBB", form.magic, 14, 0),
        struct.pack("<IIIII", code, sum(sizes.values()) - code, 0, entry, _PAGE),
        struct.pack("<Q", form.image_base) if wide else struct.pack("<II", 0, form.image_base),
        struct.pack("<II", _PAGE, _SECTOR),
        struct.pack("<HHHHHH", 6, 0, 0, 0, 6, 0),
        struct.pack("<IIII", 0, sections[-1].end, header_size, 0),
        struct.pack("<HH", 2, form.dll_flags),
        struct.pack("<QQQQ" if wide else "<IIII", 0x100000, 0x1000, 0x100000, 0x1000),
        struct.pack("<II", 0, _DIRECTORIES),
        *(struct.pack("<II", *directories.get(index, (0, 0))) for index in range(_DIRECTORIES)),
    ]
    return b"".join(parts)
