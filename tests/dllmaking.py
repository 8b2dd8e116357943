"""DLLs with any tables, for any processor: one section holds them all."""

import struct
from collections.abc import Mapping, Sequence

from repack.dlls.writing import (
    NO_RELOCATIONS,
    SECTOR,
    START,
    Place,
    place,
    place_exports,
    place_text,
)

#: Processor -> its number in a PE file, and the bytes of an address.
MACHINES = {"x86-64": (0x8664, 8), "arm64": (0xAA64, 8), "x86": (0x14C, 4)}
EXPORTS, IMPORTS, RELOCATIONS, ADDRESSES, DELAY_IMPORTS = 0, 1, 5, 12, 13
CODE_AND_DATA = 0xE0000060

Symbols = Mapping[str, Sequence[str]]


def make_dll(  # noqa: PLR0913 - a DLL has these parts, and each is optional
    name: str,
    *,
    forwards: Mapping[str, str] | None = None,
    code: Mapping[str, bytes] | None = None,
    imports: Symbols | None = None,
    delay_imports: Symbols | None = None,
    entry_point: bytes = b"",
    machine: str = "x86-64",
) -> bytes:
    """Return a DLL called `name` that the Windows loader accepts; the same parts, the same bytes.

    `forwards` maps an export to "module.symbol", `code` an export to machine code that does not
    depend on where it lies; `imports` and `delay_imports` map a DLL to symbols. All go by name or,
    as "#12", by number alone. `entry_point` is the machine code of DllMain.
    """
    width = MACHINES[machine][1]
    body = bytearray()
    entry = place(body, entry_point) if entry_point else 0
    places = {export: place(body, content, 16) for export, content in (code or {}).items()}
    directories = {
        EXPORTS: place_exports(body, name, places, forwards or {}),
        RELOCATIONS: (place(body, NO_RELOCATIONS, 4), len(NO_RELOCATIONS)),
    }
    if imports:
        directories |= place_imports(body, width, imports)
    if delay_imports:
        directories[DELAY_IMPORTS] = place_delay_imports(body, width, delay_imports)
    return headers(machine, entry, len(body), directories) + body + bytes(-len(body) % SECTOR)


def place_symbols(body: bytearray, width: int, symbols: Sequence[str]) -> bytes:
    """Return the zero-ended list that asks for `symbols`."""
    thunks = [
        1 << (width * 8 - 1) | int(symbol[1:])
        if symbol.startswith("#")
        else place(body, bytes(2) + symbol.encode("ascii") + b"\0", 2)
        for symbol in symbols
    ]
    return b"".join(thunk.to_bytes(width, "little") for thunk in (*thunks, 0))


def place_imports(body: bytearray, width: int, imports: Symbols) -> dict[int, Place]:
    """Return where the import directory, and the addresses that the loader fills in, lie."""
    lists = {dll: place_symbols(body, width, symbols) for dll, symbols in imports.items()}
    lookups = {dll: place(body, thunks, width) for dll, thunks in lists.items()}
    addresses = {dll: place(body, thunks, width) for dll, thunks in lists.items()}
    names = {dll: place_text(body, dll) for dll in imports}
    table = b"".join(
        struct.pack("<5I", lookups[dll], 0, 0, names[dll], addresses[dll]) for dll in imports
    )
    start = place(body, table + bytes(20), 4)
    filled = min(addresses.values()), sum(map(len, lists.values()))
    return {IMPORTS: (start, len(table) + 20), ADDRESSES: filled}


def place_delay_imports(body: bytearray, width: int, imports: Symbols) -> Place:
    """Return where the delay-load directory lies."""
    table = b""
    for dll, symbols in imports.items():
        handle = place(body, bytes(width), width)
        addresses = place(body, bytes(width * (len(symbols) + 1)))
        lookups = place(body, place_symbols(body, width, symbols), width)
        name = place_text(body, dll)
        table += struct.pack("<8I", 1, name, handle, addresses, lookups, 0, 0, 0)
    return place(body, table + bytes(32), 4), len(table) + 32


def headers(machine: str, entry: int, size: int, directories: Mapping[int, Place]) -> bytes:
    """Return all that lies before the section, which has `size` bytes."""
    number, width = MACHINES[machine]
    wide = width == 8
    raw, memory = size + -size % SECTOR, size + -size % START
    dos = b"MZ" + bytes(58) + struct.pack("<I", 64)
    optional = struct.pack("<HBB5I", *(0x20B if wide else 0x10B, 14, 0), raw, 0, 0, entry, START)
    optional += struct.pack("<Q", 0x180000000) if wide else struct.pack("<II", 0, 0x10000000)
    optional += struct.pack("<II6H", START, SECTOR, 6, 0, 0, 0, 6, 0)
    # The DLL may lie anywhere and its data never runs, as every linker says today.
    optional += struct.pack("<4IHH", 0, START + memory, START, 0, 2, 0x160 if wide else 0x140)
    optional += struct.pack("<4Q" if wide else "<4I", 0x100000, 0x1000, 0x100000, 0x1000)
    optional += struct.pack("<II", 0, 16)
    for index in range(16):
        optional += struct.pack("<II", *directories.get(index, (0, 0)))
    kind = 0x2022 if wide else 0x2102
    coff = struct.pack("<4sHHIIIHH", b"PE\0\0", number, 1, 0, 0, 0, len(optional), kind)
    section = struct.pack("<8s4I12xI", *(b".text", size, START, raw), START, CODE_AND_DATA)
    return (dos + coff + optional + section).ljust(START, b"\0")
