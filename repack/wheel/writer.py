"""Archives written anew, unchanged members copied as they lie, compressed bytes and all.

Whatever is written is a function of the entries and the timestamp alone: fixed order, times,
modes, versions, and no extra fields below 4 GiB.
"""

import datetime as dt
import hashlib
import io
import stat
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO, NamedTuple

from zlib_ng import zlib_ng

from repack.files import not_read, replacing
from repack.wheel.archive import (
    CENTRAL,
    CENTRAL_SIGNATURE,
    DEFLATED,
    END,
    END64,
    END64_SIGNATURE,
    END_SIGNATURE,
    LOCAL,
    LOCAL_SIGNATURE,
    LOCATOR,
    LOCATOR_SIGNATURE,
    MAX16,
    MAX32,
    STORED,
    UTF8_FLAG,
    ZIP64_EXTRA,
    ZIP64_VERSION,
    Archive,
)
from repack.wheel.entries import Added, Copied, name_of
from repack.wheel.names import check_names, refuse

_VERSION = 20
_MADE_ON_UNIX = 3 << 8
_FILE_MODE, _PROGRAM_MODE = stat.S_IFREG | 0o644, stat.S_IFREG | 0o755
_ANY_EXECUTE = 0o111
#: 1980-01-01 to 2107-12-31 23:59:58, in seconds since 1970: what MS-DOS' date can say.
_FIRST_TIME, _LAST_TIME = 315_532_800, 4_354_819_198
_PIECE = 1 << 20
_LEVEL = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """An archive that was written; `size` in bytes, `sha256` in hex."""

    path: Path
    size: int
    sha256: str


class _Content(NamedTuple):
    """What is to be written of a member: `compressed_size` bytes of `stream` from `offset` on."""

    stream: BinaryIO
    source: Path
    offset: int
    method: int
    crc: int
    compressed_size: int
    size: int


def splice(
    source: Archive | None,
    entries: Sequence[Copied | Added],
    destination: Path,
    *,
    timestamp: int,
) -> Written:
    """Write the archive of `entries`, in the order given, and return what was written.

    Folders are left out. `timestamp` (seconds since 1970) is each member's time, in UTC. Raises
    OutputError if it cannot be written, InputError if a file of `entries` cannot be read or a name
    may not be used; then `destination` is as it was.
    """
    entries = [
        entry for entry in entries if not (isinstance(entry, Copied) and entry.member.directory)
    ]
    check_names(map(name_of, entries), destination)
    digest = hashlib.sha256()
    position = 0
    listing = []
    with replacing(destination) as file, ExitStack() as streams:

        def write(piece: bytes) -> None:
            nonlocal position
            file.write(piece)
            digest.update(piece)
            position += len(piece)

        opened: dict[Path, BinaryIO] = {}
        for entry in entries:
            if isinstance(entry, Copied):
                content = _open_copied(entry, source, opened, streams)
            else:
                content = _open_added(entry, destination.parent, streams)
            local, central = _format_headers(entry, content, position, timestamp)
            listing.append(central)
            write(local)
            _copy(content, write)
        directory = b"".join(listing)
        write(directory + _format_end(len(listing), len(directory), position))
    return Written(path=destination, size=position, sha256=digest.hexdigest())


def _open_copied(
    entry: Copied, source: Archive | None, opened: dict[Path, BinaryIO], streams: ExitStack
) -> _Content:
    archive, member = entry.archive or source, entry.member
    if archive is None:
        raise ValueError(f"no archive to copy {member.name!r} from")
    if archive.path not in opened:
        opened[archive.path] = streams.enter_context(archive.open())
    return _Content(
        stream=opened[archive.path],
        source=archive.path,
        offset=member.offset,
        method=member.method,
        crc=member.crc,
        compressed_size=member.compressed_size,
        size=member.size,
    )


def _open_added(entry: Added, folder: Path, streams: ExitStack) -> _Content:
    """Return the content of a new member; what is to be deflated is so in a file in `folder`."""
    if isinstance(entry.content, bytes):
        source = Path(entry.name)
        stream: BinaryIO = io.BytesIO(entry.content)
    else:
        source = entry.content
        try:
            stream = streams.enter_context(source.open("rb"))
        except OSError as error:
            raise not_read(source, error) from error
    packed: BinaryIO = stream
    if entry.deflate:
        packed = streams.enter_context(TemporaryFile(dir=folder))  # noqa: SIM115 - entered
    deflater = zlib_ng.compressobj(_LEVEL, zlib_ng.DEFLATED, -15)
    crc = size = 0
    for piece in _read_pieces(stream, source):
        crc = zlib_ng.crc32(piece, crc)
        size += len(piece)
        if entry.deflate:
            packed.write(deflater.compress(piece))
    if entry.deflate:
        packed.write(deflater.flush())
    return _Content(
        stream=packed,
        source=source,
        offset=0,
        method=DEFLATED if entry.deflate else STORED,
        crc=crc,
        compressed_size=packed.tell(),
        size=size,
    )


def _read_pieces(stream: BinaryIO, source: Path, length: int = 1 << 64) -> Iterator[bytes]:
    """Yield at most `length` bytes from where the stream stands."""
    try:
        while length and (piece := stream.read(min(length, _PIECE))):
            length -= len(piece)
            yield piece
    except OSError as error:
        raise not_read(source, error) from error


def _copy(content: _Content, write: Callable[[bytes], object]) -> None:
    """Write the content; raises InputError "changed" where it is not what it was."""
    content.stream.seek(content.offset)
    crc = length = 0
    for piece in _read_pieces(content.stream, content.source, content.compressed_size):
        write(piece)
        length += len(piece)
        if content.method == STORED:
            crc = zlib_ng.crc32(piece, crc)
    is_whole = length == content.compressed_size
    if not is_whole or (content.method == STORED and crc != content.crc):
        refuse(content.source, "was changed while it was in use", "changed", hint="run again")


def _format_headers(
    entry: Copied | Added, content: _Content, offset: int, timestamp: int
) -> tuple[bytes, bytes]:
    """Return the member's own header and the directory's entry.

    With ZIP64, both sizes are in the extra field of the one, what is too large in the other's.
    """
    name = name_of(entry).encode()
    mode = entry.member.mode if isinstance(entry, Copied) else entry.mode
    sizes = (content.size, content.compressed_size)
    wide = [size for size in (*sizes, offset) if size >= MAX32]
    local_extra = _format_zip64(sizes if max(sizes) >= MAX32 else ())
    central_extra = _format_zip64(wide)
    size, packed = (MAX32, MAX32) if local_extra else sizes

    def fields(size: int, packed: int, extra: bytes) -> tuple[int, ...]:
        return (
            ZIP64_VERSION if extra else _VERSION,
            0 if name.isascii() else UTF8_FLAG,
            content.method,
            *_dos_time(timestamp),
            content.crc,
            packed,
            size,
            len(name),
            len(extra),
        )

    local = fields(size, packed, local_extra)
    central = fields(min(sizes[0], MAX32), min(sizes[1], MAX32), central_extra)
    kind = _PROGRAM_MODE if mode & _ANY_EXECUTE else _FILE_MODE
    rest = (0, 0, 0, kind << 16, min(offset, MAX32))
    return (
        LOCAL.pack(LOCAL_SIGNATURE, *local) + name + local_extra,
        CENTRAL.pack(CENTRAL_SIGNATURE, _MADE_ON_UNIX | central[0], *central, *rest)
        + name
        + central_extra,
    )


def _format_zip64(values: Sequence[int]) -> bytes:
    """Return the ZIP64 extra field that holds the values, nothing if there are none."""
    if not values:
        return b""
    return struct.pack(f"<HH{len(values)}Q", ZIP64_EXTRA, 8 * len(values), *values)


def _dos_time(timestamp: int) -> tuple[int, int]:
    """Return MS-DOS' time and date, in UTC, of the nearest moment that they can say."""
    seconds = min(max(timestamp, _FIRST_TIME), _LAST_TIME)
    moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=seconds)
    time = moment.hour << 11 | moment.minute << 5 | moment.second // 2
    return time, (moment.year - 1980) << 9 | moment.month << 5 | moment.day


def _format_end(count: int, size: int, offset: int) -> bytes:
    """Return the end record of a directory, and those of ZIP64 where a number needs them."""
    short = min(count, MAX16)
    narrow = END.pack(END_SIGNATURE, 0, 0, short, short, min(size, MAX32), min(offset, MAX32), 0)
    if count < MAX16 and max(size, offset) < MAX32:
        return narrow
    versions = (_MADE_ON_UNIX | ZIP64_VERSION, ZIP64_VERSION)
    wide = END64.pack(END64_SIGNATURE, END64.size - 12, *versions, 0, 0, count, count, size, offset)
    return wide + LOCATOR.pack(LOCATOR_SIGNATURE, 0, offset + size, 1) + narrow
