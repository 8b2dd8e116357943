"""What a PE file says of itself: its processor, what it asks for, what it offers, which NumPy.

pefile reads the headers and finds addresses. The tables are walked here: pefile stops after 8192
symbols without a word, and leaves out DLLs whose entries it does not like; a DLL that is not seen
is a wheel that does not import.
"""

import mmap
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pefile

from repack.errors import InputError

_MACHINES = {0x14C: "x86", 0x8664: "x86-64", 0xAA64: "arm64", 0x1C4: "arm"}
#: The numbers of the tables.
_EXPORTS, _IMPORTS, _DELAY_IMPORTS = 0, 1, 13
#: The form of a table's entries, and where in one the addresses stand of a DLL's name, of the
#: symbols asked for, and of the list that the loader fills in.
_FORMS = {_IMPORTS: ("<5I", (3, 0, 4)), _DELAY_IMPORTS: ("<8I", (1, 4, 3))}
#: An export's number has 16 bits, and nobody imports as many; a made-up file ends at once.
_MOST_SYMBOLS = 1 << 16
_LONGEST_NAME = 8192
_IMPOSSIBLE = frozenset('<>:"|?*/\\')
# What NumPy's headers import at run time: those of 2.x look for numpy._core first, and for 1.x's
# place after it; before 1.16 the module was called multiarray.
_NUMPY = re.compile(rb"numpy\.(_?core)\.(?:_multiarray_umath|multiarray)\0")
#: Whatever pefile raises at headers that contradict themselves, and ValueError is ours.
_BROKEN = (pefile.PEFormatError, ValueError, AttributeError, IndexError, struct.error)


@dataclass(frozen=True, kw_only=True, slots=True)
class Import:
    """One DLL that is asked for; a symbol asked for by number is written "#12"."""

    dll: str
    symbols: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """One PE file.

    `machine` is "x86", "x86-64", "arm64", "arm" or the number as "0x...."; `imports` are needed
    when the file is loaded, `delay_imports` at the first call; `exports` are the exported names in
    the file's own order. `numpy` is the ABI of NumPy, "1" or "2", that a Python module is built
    for, "" where it names none.
    """

    machine: str
    imports: tuple[Import, ...] = ()
    delay_imports: tuple[Import, ...] = ()
    exports: tuple[str, ...] = ()
    numpy: str = ""


def read_image(path: Path, *, name: str = "", file: object = "") -> Image:
    """Return what the PE file at `path` is, which DLLs it asks for and what it exports.

    `name` and `file` say what it is called, and in which file, where an error must name them.
    Raises InputError with code "not-pe" for what the Windows loader would not take.
    """
    is_module = (name or path.name).lower().endswith(".pyd")
    try:
        # Mapped and not read: it may be larger than memory.
        with (
            path.open("rb") as stream,
            mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            headers = _read_headers(content)
            machine = headers.FILE_HEADER.Machine
            return Image(
                machine=_MACHINES.get(machine, f"0x{machine:04x}"),
                imports=_read_imports(headers, _IMPORTS),
                delay_imports=_read_imports(headers, _DELAY_IMPORTS),
                exports=_read_exports(headers),
                numpy=_find_numpy_abi(content) if is_module else "",
            )
    except _BROKEN as error:
        raise InputError(
            f"not a Windows program or DLL: {getattr(error, 'value', error)}",
            code="not-pe",
            file=file or path,
            member=name,
            hint="build or download it again; it may be cut short, or a placeholder for it",
        ) from None


def _read_headers(content: mmap.mmap) -> pefile.PE:
    if content[:2] != b"MZ":
        start = content[:40].split(b"\n")[0].rstrip(b"\0").decode("ascii", "replace")
        raise ValueError(f"it begins with {start!r}, not with 'MZ'")
    headers = pefile.PE(data=content, fast_load=True)
    if len(headers.sections) != headers.FILE_HEADER.NumberOfSections:
        raise ValueError("its section table is cut short")
    for section in headers.sections:
        size = min(section.SizeOfRawData, section.Misc_VirtualSize or section.SizeOfRawData)
        if size and section.PointerToRawData + size > len(content):
            name = section.Name.rstrip(b"\0")
            raise ValueError(f"it is cut short: section {name!r} ends behind its end")
    return headers


def _read_imports(headers: pefile.PE, table: int) -> tuple[Import, ...]:
    """Return the DLLs and symbols of a table; a DLL of which nothing is asked is not loaded."""
    form, places = _FORMS[table]
    imports: dict[str, list[str]] = {}
    rva, total = _find_table(headers, table), 0
    while rva:
        entry = struct.unpack(form, _read(headers, rva, struct.calcsize(form)))
        name, lookups, addresses = (entry[place] for place in places)
        if not name or not addresses:
            break
        dll = _read_text(headers, name)
        if not dll or not dll.isprintable() or _IMPOSSIBLE & set(dll):
            raise ValueError(f"it asks for a DLL called {dll!r}")
        # Old linkers leave the first list out.
        symbols = list(islice(_read_symbols(headers, lookups or addresses), _MOST_SYMBOLS))
        total += 1 + len(symbols)
        if total > _MOST_SYMBOLS:
            raise ValueError("its import table has no end")
        imports.setdefault(dll, []).extend(symbols)
        rva += struct.calcsize(form)
    return tuple(Import(dll=dll, symbols=tuple(names)) for dll, names in imports.items() if names)


def _read_symbols(headers: pefile.PE, rva: int) -> Iterator[str]:
    width = 8 if headers.PE_TYPE == pefile.OPTIONAL_HEADER_MAGIC_PE_PLUS else 4
    by_number = 1 << (width * 8 - 1)
    while thunk := int.from_bytes(_read(headers, rva, width), "little"):
        yield f"#{thunk & 0xFFFF}" if thunk & by_number else _read_text(headers, thunk + 2)
        rva += width


def _read_exports(headers: pefile.PE) -> tuple[str, ...]:
    start = _find_table(headers, _EXPORTS)
    if not start:
        return ()
    count, names = struct.unpack_from("<I4xI", _read(headers, start, 40), 24)
    if count > _MOST_SYMBOLS:
        raise ValueError("its export table has no end")
    table = _read(headers, names, 4 * count) if count else b""
    return tuple(_read_text(headers, rva) for (rva,) in struct.iter_unpack("<I", table))


def _find_numpy_abi(content: mmap.mmap) -> str:
    places = set(_NUMPY.findall(content))
    return "2" if b"_core" in places else "1" if places else ""


def _find_table(headers: pefile.PE, table: int) -> int:
    """Return a table's address, 0 where there is none."""
    directories = headers.OPTIONAL_HEADER.DATA_DIRECTORY
    return int(directories[table].VirtualAddress) if table < len(directories) else 0


def _read_text(headers: pefile.PE, rva: int) -> str:
    text, end, _ = _read(headers, rva, _LONGEST_NAME, exact=False).partition(b"\0")
    if not end:
        raise ValueError(f"a name at {rva:#x} has no end")
    # Old Visual C++ mangles names of non-ASCII identifiers in the local code page.
    return text.decode("ascii", "backslashreplace")


def _read(headers: pefile.PE, rva: int, size: int, *, exact: bool = True) -> bytes:
    """Return `size` bytes at an address; if not `exact`, fewer where its section ends before."""
    if not (headers.get_section_by_rva(rva) or rva < len(headers.header)):
        raise ValueError(f"a table points to {rva:#x}, where there is nothing")
    data = bytes(headers.get_data(rva, size))
    if exact and len(data) < size:
        raise ValueError(f"a table at {rva:#x} is larger than its section")
    return data
