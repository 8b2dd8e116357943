"""What a PE file says of itself: processor, kind, what it asks for and what it offers.

pefile reads the headers. The tables are walked here, because pefile stops without a word after
8192 thunks and leaves out DLLs whose entries it does not like, and a DLL that is not seen is a
wheel that does not import.
"""

from __future__ import annotations

import mmap
import re
import struct
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from repack.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

_MACHINES = {0x14C: "x86", 0x8664: "x86-64", 0xAA64: "arm64", 0x1C4: "arm"}
_DLL_FLAG = 0x2000
_CODE_FLAG = 0x20
_WIDE_MAGIC = 0x20B
_EXPORTS, _IMPORTS, _DELAY_IMPORTS = 0, 1, 13
_RVA_BASED = 1
_PASSED = re.compile(rb"\x41\xb8(.{4})\x48\x8d\x15(.{4})", re.DOTALL)
_SECTOR = 0x200

# Far beyond any real file, near enough that a made-up one ends at once.
_MOST_DLLS = 4096
_MOST_SYMBOLS = 1 << 19
_LONGEST_NAME = 8192
_LONGEST_DLL_NAME = 260


#: Where a part of a file begins, and where it ends.
Span: TypeAlias = "tuple[int, int]"


@dataclass(frozen=True, kw_only=True, slots=True)
class Import:
    """One DLL that is asked for; a symbol asked for by number is written "#12"."""

    dll: str
    symbols: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """One PE file.

    `machine` is "x86", "x86-64", "arm64", "arm" or the number as "0x...."; `wide` tells PE32+
    from PE32; `imports` are needed when the file is loaded, `delay_imports` at the first call.
    """

    machine: str
    wide: bool
    dll: bool
    imports: tuple[Import, ...] = ()
    delay_imports: tuple[Import, ...] = ()

    @classmethod
    def from_parts(cls, parts: Mapping[str, Any]) -> Image:
        """Return the image that `dataclasses.asdict` has taken apart, and JSON has kept."""
        tables = {
            table: tuple(
                Import(dll=each["dll"], symbols=tuple(each["symbols"])) for each in parts[table]
            )
            for table in ("imports", "delay_imports")
        }
        return cls(machine=parts["machine"], wide=parts["wide"], dll=parts["dll"], **tables)


class _BrokenError(Exception):
    """The file contradicts itself; the text says where."""


class LeftOutError(Exception):
    """A table lies in a part of the file that was left out."""


def read_image(path: Path, *, name: str, file: object = "", left_out: Sequence[Span] = ()) -> Image:
    """Return what the PE file at `path` is and which DLLs it asks for.

    `name` and `file` say what it is called, and in which file, where an error must name them.
    Raises InputError with code "not-pe" for whatever the Windows loader would not take, and
    LeftOutError for what can only be told with the parts `left_out`, of `mere_code`.
    """
    with _refusing(name, file or path), _opened(path, left_out) as tables:
        return tables.image()


def mere_code(head: bytes) -> tuple[Span, ...]:
    """Return the parts of the PE file that begins with `head` where no table begins: its code.

    Most of a large module is code, which tells nothing of what the module imports.
    """

    def left_out(section: Any, tables: Sequence[int]) -> bool:  # noqa: ANN401 - as below
        code = bool(section.Characteristics & _CODE_FLAG)
        return code and not _holds(section, [table for table in tables if table])

    return _spans_without(head, left_out)


def mere_content(head: bytes) -> tuple[Span, ...]:
    """Return the parts of the PE file that begins with `head` where no table of names begins.

    Nearly all of a library of NVIDIA's is code for its GPUs, which lies among the data.
    """

    def left_out(section: Any, tables: Sequence[int]) -> bool:  # noqa: ANN401 - as below
        names = [
            tables[each] for each in (_EXPORTS, _IMPORTS, _DELAY_IMPORTS) if each < len(tables)
        ]
        return not _holds(section, [table for table in names if table])

    return _spans_without(head, left_out)


def _spans_without(head: bytes, left_out: Callable[[Any, Sequence[int]], bool]) -> tuple[Span, ...]:
    """Return where the sections lie of which `left_out` says so, but for what others share."""
    try:
        headers = _headers(head)
    except _BrokenError:
        return ()
    tables = [entry.VirtualAddress for entry in headers.OPTIONAL_HEADER.DATA_DIRECTORY]
    spans = [(_raw_span(section), left_out(section, tables)) for section in headers.sections]
    kept = [(0, headers.OPTIONAL_HEADER.SizeOfHeaders)]
    kept += [span for span, out in spans if not out]
    return tuple(
        (first, last)
        for (first, last), out in spans
        if out and not any(first < end and start < last for start, end in kept)
    )


def _raw_span(section: Any) -> Span:  # noqa: ANN401 - pefile has no types
    start = section.PointerToRawData & ~(_SECTOR - 1)
    return start, section.PointerToRawData + section.SizeOfRawData


def _holds(section: Any, tables: Sequence[int]) -> bool:  # noqa: ANN401 - as above
    first = section.VirtualAddress
    last = first + max(section.SizeOfRawData, section.Misc_VirtualSize)
    return any(first <= table < last for table in tables)


def read_exports(path: Path, *, left_out: Sequence[Span] = ()) -> tuple[str, ...]:
    """Return the names that the PE file at `path` exports, in its own order.

    "not-pe", and LeftOutError for parts `left_out`, as above.
    """
    with _refusing("", path), _opened(path, left_out) as tables:
        return tuple(tables.exports())


def read_passed_numbers(path: Path, text: bytes) -> frozenset[int]:
    """Return the numbers that code for x86-64 passes together with the C string `text...`.

    Compilers write f(x, "text %d", number) as `mov r8d, number` and `lea rdx, text`; where they
    write it otherwise, nothing is found. "not-pe" as above.
    """
    with _refusing("", path), _opened(path) as tables:
        return frozenset(tables.passed_with(text))


@contextmanager
def _refusing(name: str, file: object) -> Iterator[None]:
    try:
        yield
    except _BrokenError as error:
        raise InputError(
            f"not a Windows program or DLL: {error}",
            code="not-pe",
            file=file,
            member=name,
            hint="build or download it again; it may be cut short, or a placeholder for it",
        ) from None


@contextmanager
def _opened(path: Path, left_out: Sequence[Span] = ()) -> Iterator[_Tables]:
    """Give the tables of the file, which is mapped and not read: it may be larger than memory."""
    with path.open("rb") as stream:
        try:
            content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:
            raise _BrokenError("it is empty") from None
        with content:
            yield _Tables(content, _headers(content), left_out)


def _headers(content: mmap.mmap | bytes) -> Any:  # noqa: ANN401 - as above
    if content[:2] != b"MZ":
        raise _BrokenError(f"it begins with {_shown(content[:40].rstrip(bytes(1)))}, not with 'MZ'")
    header = int.from_bytes(content[60:64], "little")
    if content[header : header + 4] != b"PE\0\0":
        raise _BrokenError("it has no PE header, as a program for DOS or a file cut short")
    # Imported when there is something to read, which is done beside other work.
    import pefile  # noqa: PLC0415

    try:
        headers = pefile.PE(data=content, fast_load=True)
        count = len(headers.sections)
    except (pefile.PEFormatError, AttributeError, IndexError, ValueError, struct.error) as error:
        raise _BrokenError(f"its headers cannot be read ({error})") from None
    if count != headers.FILE_HEADER.NumberOfSections:
        raise _BrokenError("its section table is cut short")
    return headers


def _shown(start: bytes) -> str:
    return repr(start.split(b"\n")[0].decode("ascii", "replace"))


class _Tables:
    """The tables of one file, by the addresses they will have in memory."""

    def __init__(
        self,
        content: mmap.mmap,
        headers: Any,  # noqa: ANN401 - as above
        left_out: Sequence[Span],
    ) -> None:
        self._content = content
        self._left_out = left_out
        self._wide = headers.OPTIONAL_HEADER.Magic == _WIDE_MAGIC
        self._width = 8 if self._wide else 4
        self._flags = headers.FILE_HEADER.Characteristics
        self._machine = headers.FILE_HEADER.Machine
        self._base = headers.OPTIONAL_HEADER.ImageBase
        self._directories = [
            (entry.VirtualAddress, entry.Size) for entry in headers.OPTIONAL_HEADER.DATA_DIRECTORY
        ]
        self._sectors = headers.OPTIONAL_HEADER.FileAlignment >= _SECTOR
        self._spans = [(0, headers.OPTIONAL_HEADER.SizeOfHeaders, 0)]
        self._spans += [self._span(section) for section in headers.sections]
        self._symbols_left = _MOST_SYMBOLS

    def _span(self, section: Any) -> tuple[int, int, int]:  # noqa: ANN401 - as above
        """Return (first address, size in the file, offset in the file) of a section."""
        # The loader reads from whole sectors, whatever the header says.
        offset = section.PointerToRawData & (~0x1FF if self._sectors else ~0)
        size = min(section.SizeOfRawData, section.Misc_VirtualSize or section.SizeOfRawData)
        if section.SizeOfRawData and section.PointerToRawData + size > len(self._content):
            label = _shown(section.Name.rstrip(b"\0"))
            raise _BrokenError(f"it is cut short: section {label} ends behind the end of the file")
        return section.VirtualAddress, section.SizeOfRawData, offset

    def image(self) -> Image:
        """Return the whole of what `read_image` promises."""
        return Image(
            machine=_MACHINES.get(self._machine, f"0x{self._machine:04x}"),
            wide=self._wide,
            dll=bool(self._flags & _DLL_FLAG),
            imports=tuple(self._imports()),
            delay_imports=tuple(self._delay_imports()),
        )

    def exports(self) -> Iterator[str]:
        """Yield the exported names."""
        start = self._directory(_EXPORTS)
        if not start:
            return
        count, names = struct.unpack_from("<I4xI", self._at(start, 40), 24)
        if count > _MOST_SYMBOLS:
            raise _BrokenError("its export table has no end")
        for (rva,) in struct.iter_unpack("<I", self._at(names, 4 * count) if count else b""):
            yield self._text(rva, _LONGEST_NAME, "an exported name")

    def passed_with(self, text: bytes) -> Iterator[int]:
        """Yield the numbers passed with the first string that begins with `text`."""
        found = self._content.find(text)
        for first, size, offset in self._spans:
            for each in _PASSED.finditer(self._content, offset, offset + size):
                distance = int.from_bytes(each[2], "little", signed=True)
                after = first + each.end() - offset
                if found >= 0 and self._offset(after + distance) == found:
                    yield int.from_bytes(each[1], "little")

    def _offset(self, rva: int) -> int | None:
        spans = (span for span in self._spans if span[0] <= rva < span[0] + span[1])
        return next((offset + rva - first for first, _, offset in spans), None)

    def _directory(self, index: int) -> int:
        return self._directories[index][0] if index < len(self._directories) else 0

    def _imports(self) -> Iterator[Import]:
        for lookups, _, _, name, filled in self._descriptors(_IMPORTS, "<IIIII"):
            if not name or not filled:
                return
            # Old linkers leave the first list out; a DLL of which nothing is asked is not loaded.
            if symbols := tuple(self._symbols(lookups or filled, base=0)):
                yield Import(dll=self._dll_name(name), symbols=symbols)

    def _delay_imports(self) -> Iterator[Import]:
        for flags, name, _, _, lookups, *_ in self._descriptors(_DELAY_IMPORTS, "<IIIIIIII"):
            if not name:
                return
            # Compilers before Visual C++ 7 wrote addresses where offsets are written today.
            base = 0 if flags & _RVA_BASED else self._base
            symbols = tuple(self._symbols(lookups - base, base=base))
            yield Import(dll=self._dll_name(name - base), symbols=symbols)

    def _descriptors(self, index: int, form: str) -> Iterator[tuple[int, ...]]:
        rva = self._directory(index)
        if not rva:
            return
        size = struct.calcsize(form)
        for _ in range(_MOST_DLLS):
            entry = struct.unpack(form, self._at(rva, size))
            if not any(entry):
                return
            yield entry
            rva += size
        raise _BrokenError("its import table has no end")

    def _symbols(self, rva: int, *, base: int) -> Iterator[str]:
        by_number = 1 << (self._width * 8 - 1)
        while thunk := int.from_bytes(self._at(rva, self._width), "little"):
            self._symbols_left -= 1
            if self._symbols_left < 0:
                raise _BrokenError("its import table has no end")
            if thunk & by_number:
                yield f"#{thunk & 0xFFFF}"
            else:
                yield self._text(thunk - base + 2, _LONGEST_NAME, "an imported symbol")
            rva += self._width

    def _dll_name(self, rva: int) -> str:
        name = self._text(rva, _LONGEST_DLL_NAME, "an imported DLL's name")
        if not name or not name.isprintable() or set(name) & set('<>:"|?*/\\'):
            raise _BrokenError(f"it asks for a DLL called {_shown(name.encode())}")
        return name

    def _text(self, rva: int, longest: int, what: str) -> str:
        start, end = self._place(rva)
        stop = self._content.find(b"\0", start, min(end, start + longest + 1))
        if stop < 0:
            raise _BrokenError(f"{what} has no end")
        # Old Visual C++ mangles names of non-ASCII identifiers in the local code page.
        return self._content[start:stop].decode("ascii", "backslashreplace")

    def _at(self, rva: int, size: int) -> bytes:
        start, end = self._place(rva)
        if start + size > end:
            raise _BrokenError(f"a table at {rva:#x} goes over the edge of its section")
        return self._content[start : start + size]

    def _place(self, rva: int) -> tuple[int, int]:
        """Return where in the file the address lies, and where its section ends there."""
        for first, size, offset in self._spans:
            if first <= rva < first + size:
                start, end = offset + rva - first, min(offset + size, len(self._content))
                if any(gap[0] < end and start < gap[1] for gap in self._left_out):
                    raise LeftOutError
                return start, end
        raise _BrokenError(f"a table points to {rva:#x}, where there is nothing")
