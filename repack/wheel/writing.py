"""Archives written anew, unchanged members copied as they lie, compressed bytes and all.

Whatever is written is a function of the entries and the timestamp alone: fixed order, times,
modes, versions, and no extra fields below 4 GiB.
"""

from __future__ import annotations

import datetime as dt
import stat
import struct
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from isal import isal_zlib

from repack.errors import InputError
from repack.files import not_read, replacing
from repack.wheel.ends import (
    CENTRAL_SIGNATURE,
    END,
    END64,
    END64_SIGNATURE,
    END_SIGNATURE,
    LOCAL_SIGNATURE,
    LOCATOR,
    LOCATOR_SIGNATURE,
    MAX16,
    MAX32,
    ZIP64_VERSION,
)
from repack.wheel.faults import Fault
from repack.wheel.headers import CENTRAL, LOCAL, UTF8_FLAG, ZIP64_EXTRA
from repack.wheel.members import DEFLATED, STORED, Archive, Member
from repack.wheel.names import check_collisions, check_name
from repack.wheel.output import Output

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import BinaryIO

    from repack.console import Task

_VERSION = 20
_MADE_ON_UNIX = 3 << 8
_FILE_MODE, _PROGRAM_MODE = stat.S_IFREG | 0o644, stat.S_IFREG | 0o755
_ANY_EXECUTE = 0o111
#: 1980-01-01 to 2107-12-31 23:59:58, in seconds since 1970: what MS-DOS' date can say.
FIRST_TIME, LAST_TIME = 315_532_800, 4_354_819_198
_CHUNK = 1 << 20
_LEVEL = 2
#: More than DEFLATE, which stores what it cannot pack, adds to 4 GiB.
_DEFLATE_EXCESS = 1 << 24


@dataclass(frozen=True, kw_only=True, slots=True)
class Copied:
    """A member that is copied as it lies."""

    member: Member
    #: Under which name; None keeps its own.
    name: str | None = None
    #: From which archive; None is the splice's source.
    archive: Archive | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Added:
    """A member that is new."""

    name: str
    #: What it holds, or the file that does.
    content: bytes | Path
    mode: int = 0o644
    #: The bytes of DEFLATE data may differ from one processor to the next; those stored never do.
    deflate: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """An archive that was written."""

    path: Path
    #: In bytes.
    size: int
    #: In hex.
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Packing:
    """How a member's content is packed."""

    method: int
    crc: int
    compressed_size: int
    size: int
    #: Whether the member's own header has room for 64-bit sizes though they may turn out small.
    wide: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class _Header:
    """What both headers of a member say."""

    name: bytes
    #: MS-DOS' time and date.
    stamp: tuple[int, int]
    mode: int
    offset: int
    packing: _Packing

    def local(self) -> bytes:
        """Return the header before the content; with ZIP64, both sizes are in the extra field."""
        sizes = (self.packing.size, self.packing.compressed_size)
        extra = _zip64(sizes) if self.packing.wide or max(sizes) >= MAX32 else b""
        fields = self._fields(MAX32, MAX32, extra) if extra else self._fields(*sizes, extra)
        return LOCAL.pack(LOCAL_SIGNATURE, *fields) + self.name + extra

    def central(self) -> bytes:
        """Return the directory's entry; with ZIP64, what is too large is in the extra field."""
        values = (self.packing.size, self.packing.compressed_size, self.offset)
        extra = _zip64([value for value in values if value >= MAX32])
        size, packed, offset = (min(value, MAX32) for value in values)
        needed, *fields = self._fields(size, packed, extra)
        rest = (0, 0, 0, self.mode << 16, offset)
        header = CENTRAL.pack(CENTRAL_SIGNATURE, _MADE_ON_UNIX | needed, needed, *fields, *rest)
        return header + self.name + extra

    def _fields(self, size: int, compressed_size: int, extra: bytes) -> tuple[int, ...]:
        """Return the fields that are in both headers, in their order."""
        return (
            ZIP64_VERSION if extra else _VERSION,
            0 if self.name.isascii() else UTF8_FLAG,
            self.packing.method,
            *self.stamp,
            self.packing.crc,
            compressed_size,
            size,
            len(self.name),
            len(extra),
        )


def _zip64(values: Sequence[int]) -> bytes:
    """Return the ZIP64 extra field that holds the values, nothing if there are none."""
    if not values:
        return b""
    return struct.pack(f"<HH{len(values)}Q", ZIP64_EXTRA, 8 * len(values), *values)


def canonical_order(names: Iterable[str]) -> list[str]:
    """Return the names sorted, those of .dist-info last, RECORD last of all (PEP 427)."""

    def key(name: str) -> tuple[bool, bool, str]:
        folder, _, rest = name.partition("/")
        inside = folder.endswith(".dist-info")
        return inside, inside and rest == "RECORD", name

    return sorted(names, key=key)


def size_of(entries: Sequence[Copied | Added]) -> int:
    """Return how many bytes the archive of `entries` will have.

    What is to be deflated counts as if it were stored.
    """
    position = directory = count = 0
    for entry in entries:
        if isinstance(entry, Copied) and entry.member.directory:
            continue
        packing = _expected(entry)
        header = _Header(
            name=name_of(entry).encode(), stamp=(0, 0), mode=0, offset=position, packing=packing
        )
        position += len(header.local()) + packing.compressed_size
        directory += len(header.central())
        count += 1
    return position + directory + len(_ends(count, directory, position))


def _expected(entry: Copied | Added) -> _Packing:
    """Return how a member will be packed, as far as it is known beforehand."""
    if isinstance(entry, Copied):
        member = entry.member
        return _Packing(
            method=member.method,
            crc=member.crc,
            compressed_size=member.compressed_size,
            size=member.size,
        )
    content = entry.content
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    return _Packing(method=STORED, crc=0, compressed_size=size, size=size)


def splice(
    source: Archive | None,
    entries: Sequence[Copied | Added],
    destination: Path,
    *,
    timestamp: int,
    task: Task | None = None,
) -> Written:
    """Write the archive of `entries`, in the order given, and return what was written.

    Folders are left out. `timestamp` (seconds since 1970) is each member's time, in UTC. `task`
    advances by bytes written. Raises OutputError if it cannot be written, InputError if a file
    of `entries` cannot be read or a name may not be used; then `destination` is as it was.
    """
    wanted = [
        entry for entry in entries if not (isinstance(entry, Copied) and entry.member.directory)
    ]
    _check_names([name_of(entry) for entry in wanted], destination)
    with replacing(destination) as file, ExitStack() as sources, Output(file, task) as output:
        writer = _Writer(output, _dos_time(timestamp), source, sources)
        listing = [writer.write(entry) for entry in wanted]
        writer.finish(listing)
        sha256 = output.finish()
    return Written(path=destination, size=output.position, sha256=sha256)


def name_of(entry: Copied | Added) -> str:
    """Return the name that the member will have."""
    if isinstance(entry, Copied):
        return entry.member.name if entry.name is None else entry.name
    return entry.name


def _check_names(names: Sequence[str], destination: Path) -> None:
    """Raise InputError if an archive may not hold members of these names."""
    try:
        for name in names:
            _check_file_name(name)
        check_collisions(names)
    except Fault as fault:
        raise InputError(
            f"cannot be written: {fault.what}",
            code=fault.code,
            file=destination,
            member=fault.member,
        ) from None


def _check_file_name(name: str) -> None:
    try:
        # The empty part behind a slash at the end is refused as well.
        check_name(f"{name}/" if name.endswith("/") else name)
    except Fault as fault:
        raise Fault(fault.code, fault.what, name) from None


def _dos_time(timestamp: int) -> tuple[int, int]:
    """Return MS-DOS' time and date, in UTC, of the nearest moment that they can say."""
    seconds = min(max(timestamp, FIRST_TIME), LAST_TIME)
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    moment = epoch + dt.timedelta(seconds=seconds)
    time = moment.hour << 11 | moment.minute << 5 | moment.second // 2
    return time, (moment.year - 1980) << 9 | moment.month << 5 | moment.day


class _Writer:
    """Writes members one behind the other; keeps the archives open that they come from."""

    def __init__(
        self, output: Output, stamp: tuple[int, int], source: Archive | None, sources: ExitStack
    ) -> None:
        self._output = output
        self._stamp = stamp
        self._source = source
        self._sources = sources
        self._opened: dict[Path, BinaryIO] = {}

    def write(self, entry: Copied | Added) -> _Header:
        """Write a member and return what the directory is to say of it."""
        if isinstance(entry, Copied):
            return self._copy(entry)
        if isinstance(entry.content, Path):
            return self._add_file(entry, entry.content)
        return self._add_bytes(entry, entry.content)

    def finish(self, listing: Sequence[_Header]) -> None:
        """Write the directory and the end records."""
        offset = self._output.position
        for header in listing:
            self._output.write(header.central())
        self._output.write(_ends(len(listing), self._output.position - offset, offset))

    def _copy(self, copied: Copied) -> _Header:
        archive = copied.archive or self._source
        member = copied.member
        if archive is None:
            raise ValueError(f"no archive to copy {member.name!r} from")
        header = self._header(copied, member.mode, _expected(copied))
        self._output.write(header.local())
        source = self._open(archive)
        self._output.copy(source, archive.path, member.offset, member.compressed_size)
        return header

    def _add_bytes(self, added: Added, content: bytes) -> _Header:
        packed = b"".join(_deflated([content])) if added.deflate else content
        packing = _Packing(
            method=DEFLATED if added.deflate else STORED,
            crc=isal_zlib.crc32(content),
            compressed_size=len(packed),
            size=len(content),
        )
        header = self._header(added, added.mode, packing)
        self._output.write(header.local())
        self._output.write(packed)
        return header

    def _add_file(self, added: Added, path: Path) -> _Header:
        """Write a member from a file, whose checksum and packed size are known at its end."""
        content = _Content(path)
        packing = _Packing(
            method=DEFLATED if added.deflate else STORED,
            crc=0,
            compressed_size=0,
            size=content.size,
            wide=added.deflate and content.size >= MAX32 - _DEFLATE_EXCESS,
        )
        header = self._header(added, added.mode, packing)
        self._output.hold()
        self._output.write(header.local())
        start = self._output.position
        for piece in _deflated(content.pieces()) if added.deflate else content.pieces():
            self._output.write(piece)
        packed = self._output.position - start
        packing = replace(packing, crc=content.crc, compressed_size=packed)
        header = replace(header, packing=packing)
        self._output.patch(header.offset, header.local())
        self._output.release()
        return header

    def _header(self, entry: Copied | Added, mode: int, packing: _Packing) -> _Header:
        return _Header(
            name=name_of(entry).encode(),
            stamp=self._stamp,
            mode=_PROGRAM_MODE if mode & _ANY_EXECUTE else _FILE_MODE,
            offset=self._output.position,
            packing=packing,
        )

    def _open(self, archive: Archive) -> BinaryIO:
        if archive.path not in self._opened:
            self._opened[archive.path] = self._sources.enter_context(archive.open())
        return self._opened[archive.path]


class _Content:
    """A file that becomes a member."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self.size = path.stat().st_size
        except OSError as error:
            raise not_read(path, error) from error
        self.crc = 0

    def pieces(self) -> Iterator[bytes]:
        """Yield the content; raises InputError if it cannot be read or has another size now."""
        left = self.size
        try:
            with self._path.open("rb", buffering=0) as file:
                while piece := file.read(_CHUNK):
                    left -= len(piece)
                    self.crc = isal_zlib.crc32(piece, self.crc)
                    yield piece
        except OSError as error:
            raise not_read(self._path, error) from error
        if left:
            raise InputError(
                "was changed while it was in use", code="changed", file=self._path, hint="run again"
            )


def _deflated(pieces: Iterable[bytes]) -> Iterator[bytes]:
    deflater = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, -15)
    for piece in pieces:
        yield deflater.compress(piece)
    yield deflater.flush()


def _ends(count: int, size: int, offset: int) -> bytes:
    """Return the end record of a directory, and those of ZIP64 where a number needs them."""
    narrow = END.pack(
        END_SIGNATURE,
        0,
        0,
        min(count, MAX16),
        min(count, MAX16),
        min(size, MAX32),
        min(offset, MAX32),
        0,
    )
    if count < MAX16 and max(size, offset) < MAX32:
        return narrow
    versions = (_MADE_ON_UNIX | ZIP64_VERSION, ZIP64_VERSION)
    wide = END64.pack(END64_SIGNATURE, END64.size - 12, *versions, 0, 0, count, count, size, offset)
    return wide + LOCATOR.pack(LOCATOR_SIGNATURE, 0, offset + size, 1) + narrow
