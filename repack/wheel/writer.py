"""Wheels written anew, unchanged members copied as they lie, compressed bytes and all.

Whatever is written is a function of the entries and the timestamp alone: fixed order, times,
modes, versions, and no extra fields below 4 GiB.
"""

import datetime as dt
import hashlib
import io
import re
import stat
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO, NamedTuple

from packaging.metadata import parse_email
from zlib_ng import zlib_ng

from repack.files import not_read, replacing
from repack.wheel.archive import (
    CENTRAL,
    CENTRAL_SIGNATURE,
    DEFLATED,
    END,
    LOCAL,
    LOCAL_SIGNATURE,
    MAX16,
    MAX32,
    STORED,
    UTF8_FLAG,
    ZIP64_EXTRA,
    ZIP64_VERSION,
    Archive,
    Member,
    format_end,
    format_zip64_end,
    read_packed,
)
from repack.wheel.metadata import (
    RecordEntry,
    edit_metadata,
    entry_of,
    format_record,
    join_licence,
    lists_licenses,
    wheel_file_with_tags,
)
from repack.wheel.names import WheelName, check_names, refuse
from repack.wheel.reader import Wheel

_VERSION = 20
_MADE_ON_UNIX = 3 << 8
_FILE_MODE, _PROGRAM_MODE = stat.S_IFREG | 0o644, stat.S_IFREG | 0o755
_ANY_EXECUTE = 0o111
#: 1980-01-01 in seconds since 1970, the first moment that MS-DOS' date can say.
_FIRST_TIME = 315_532_800
_PIECE = 1 << 20
_LEVEL = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Copied:
    """A member that is copied as it lies in `archive`."""

    name: str
    member: Member
    archive: Archive


@dataclass(frozen=True, kw_only=True, slots=True)
class Added:
    """A member that is new, with its content or the file that holds it.

    The bytes of DEFLATE data may differ from one processor to the next; those stored never do.
    """

    name: str
    content: bytes | Path
    deflate: bool = False


class Carried(NamedTuple):
    """A member of a new wheel, and the row that RECORD gets for it."""

    entry: Copied | Added
    row: RecordEntry


class Written(NamedTuple):
    """An archive that was written; `size` in bytes, `sha256` in hex."""

    path: Path
    size: int
    sha256: str


def rewrite_members(  # noqa: PLR0913 - what a wheel is made of
    wheel: Wheel,
    name: WheelName,
    files: Mapping[str, bytes | Path],
    *,
    fields: Mapping[str, Sequence[str]] | None = None,
    add: Mapping[str, Sequence[str]] | None = None,
    add_licence: str = "",
    carried: Sequence[Carried] = (),
) -> tuple[Copied | Added, ...]:
    """Return the members of the wheel called `name`, in the order in which they are written.

    They are `wheel`'s with `files` and `carried` added or put in place, under a .dist-info of the
    new name; `fields` and `add` change METADATA as `edit_metadata` does, and `add_licence` joins a
    License-Expression. RECORD's signatures are left out: they are over bytes that change.
    """
    licence = join_licence(wheel.metadata, add_licence)
    fields = {"Version": [str(name.version)], **licence, **(fields or {})}
    add = {**(add or {}), "License-File": _list_licences(wheel, carried)}
    written: dict[str, bytes | Path] = {
        **files,
        f"{wheel.dist_info}/METADATA": edit_metadata(wheel.metadata, fields=fields, add=add),
        f"{wheel.dist_info}/WHEEL": wheel_file_with_tags(wheel.wheel_file, name.tags),
    }
    parts = [
        Carried(Copied(name=member.name, member=member, archive=wheel.archive), row)
        for member in wheel.archive.members
        if (row := wheel.record.get(member.name))
    ]
    parts += carried
    parts += [
        Carried(Added(name=path, content=content), entry_of(content))
        for path, content in written.items()
    ]
    old, new = wheel.dist_info.removesuffix(".dist-info"), f"{name.distribution}-{name.version}"
    entries: dict[str, Copied | Added] = {}
    rows: dict[str, RecordEntry] = {}
    for entry, row in parts:
        path = re.sub(rf"^{re.escape(old)}(?=\.(dist-info|data)/)", new, entry.name)
        entries[path], rows[path] = replace(entry, name=path), row
    record = f"{new}.dist-info/RECORD"
    entries[record] = Added(name=record, content=format_record(rows, record))
    return tuple(entries[path] for path in canonical_order(entries))


def _list_licences(wheel: Wheel, carried: Iterable[Carried]) -> list[str]:
    """Return what METADATA is to list of the licences' texts that come in."""
    folder = f"{wheel.dist_info}/licenses/"
    paths = [part.entry.name for part in carried if part.entry.name.startswith(folder)]
    listed = paths if lists_licenses(parse_email(wheel.metadata)[0]) else []
    return [path.removeprefix(folder) for path in listed]


def canonical_order(names: Iterable[str]) -> list[str]:
    """Return the names in the order that wheels are written in: .dist-info last, RECORD at its end.

    So PEP 427 recommends; a reader that streams has the rest by then.
    """

    def key(name: str) -> tuple[bool, bool, str]:
        folder, _, rest = name.partition("/")
        is_info = folder.endswith(".dist-info")
        return is_info, is_info and rest == "RECORD", name

    return sorted(names, key=key)


def size_of(entries: Iterable[Copied | Added]) -> int:
    """Return how many bytes the archive of `entries` will have, but for ZIP64's records.

    What is to be deflated counts as if it were stored.
    """
    total = END.size
    for entry in entries:
        if isinstance(entry, Copied):
            size = entry.member.compressed_size
        elif isinstance(entry.content, Path):
            size = entry.content.stat().st_size
        else:
            size = len(entry.content)
        total += LOCAL.size + CENTRAL.size + 2 * len(entry.name.encode()) + size
    return total


def splice(entries: Sequence[Copied | Added], destination: Path, *, timestamp: int) -> Written:
    """Write the archive of `entries`, in the order given, and return what was written.

    `timestamp` (seconds since 1970, up to 2107) is each member's time, in UTC. Raises OutputError
    if it cannot be written, InputError if a file of `entries` cannot be read or a name may not be
    used; then `destination` is as it was.
    """
    check_names((entry.name for entry in entries), destination)
    digest = hashlib.sha256()
    opened: dict[Path, BinaryIO] = {}
    listing = []
    with replacing(destination) as file, ExitStack() as archives:

        def write(piece: bytes) -> None:
            file.write(piece)
            digest.update(piece)

        for entry in entries:
            with ExitStack() as streams:
                if isinstance(entry, Copied):
                    member, path = entry.member, entry.archive.path
                    if path not in opened:
                        opened[path] = archives.enter_context(entry.archive.open())
                    stream = opened[path]
                else:
                    path = entry.content if isinstance(entry.content, Path) else destination
                    stream, member = _pack(entry, destination.parent, streams)
                local, central = _format_headers(entry.name, member, file.tell(), timestamp)
                listing.append(central)
                write(local)
                _copy(stream, path, member, write)
        directory = b"".join(listing)
        write(directory + _format_ends(len(listing), len(directory), file.tell()))
        return Written(destination, file.tell(), digest.hexdigest())


def _pack(entry: Added, folder: Path, streams: ExitStack) -> tuple[BinaryIO, Member]:
    """Return a new member, and its content from byte 0 on; in `folder` what had to be deflated."""
    stream: BinaryIO
    if isinstance(entry.content, bytes):
        stream = io.BytesIO(entry.content)
    else:
        try:
            stream = streams.enter_context(entry.content.open("rb"))
        except OSError as error:
            raise not_read(entry.content, error) from error
    packed: BinaryIO = stream
    if entry.deflate:
        packed = streams.enter_context(TemporaryFile(dir=folder))  # noqa: SIM115 - entered
    deflater = zlib_ng.compressobj(_LEVEL, zlib_ng.DEFLATED, -15)
    crc = size = 0
    while piece := stream.read(_PIECE):
        crc = zlib_ng.crc32(piece, crc)
        size += len(piece)
        if entry.deflate:
            packed.write(deflater.compress(piece))
    if entry.deflate:
        packed.write(deflater.flush())
    member = Member(
        name=entry.name,
        size=size,
        compressed_size=packed.tell(),
        crc=crc,
        method=DEFLATED if entry.deflate else STORED,
        offset=0,
        mode=0,
    )
    return packed, member


def _copy(stream: BinaryIO, path: Path, member: Member, write: Callable[[bytes], object]) -> None:
    """Write the packed content of `member`, which `stream` has; raises InputError "changed"."""
    crc = 0
    for piece in read_packed(stream, path, member, at_once=_PIECE):
        if member.method == STORED:
            crc = zlib_ng.crc32(piece, crc)
        write(piece)
    if member.method == STORED and crc != member.crc:
        refuse(path, "was changed while it was in use", "changed", hint="run again")


def _format_headers(name: str, member: Member, offset: int, timestamp: int) -> tuple[bytes, bytes]:
    """Return the member's own header and the directory's entry.

    With ZIP64, both sizes are in the extra field of the one, what is too large in the other's.
    """
    size, packed, raw_name = member.size, member.compressed_size, name.encode()
    is_wide = max(size, packed) >= MAX32
    extra = _format_zip64([size, packed] if is_wide else [])
    extra_listed = _format_zip64([value for value in (size, packed, offset) if value >= MAX32])
    needed = ZIP64_VERSION if extra else _VERSION
    needed_listed = ZIP64_VERSION if extra_listed else _VERSION
    flags = 0 if name.isascii() else UTF8_FLAG
    common = (flags, member.method, *_dos_time(timestamp), member.crc)
    sizes = (MAX32, MAX32) if is_wide else (packed, size)
    local = LOCAL.pack(LOCAL_SIGNATURE, needed, *common, *sizes, len(raw_name), len(extra))
    mode = _PROGRAM_MODE if member.mode & _ANY_EXECUTE else _FILE_MODE
    central = CENTRAL.pack(
        CENTRAL_SIGNATURE,
        _MADE_ON_UNIX | needed_listed,
        needed_listed,
        *common,
        *(min(packed, MAX32), min(size, MAX32), len(raw_name), len(extra_listed)),
        *(0, 0, 0, mode << 16, min(offset, MAX32)),
    )
    return local + raw_name + extra, central + raw_name + extra_listed


def _format_zip64(values: Sequence[int]) -> bytes:
    """Return the ZIP64 extra field that holds the values, nothing if there are none."""
    if not values:
        return b""
    return struct.pack(f"<HH{len(values)}Q", ZIP64_EXTRA, 8 * len(values), *values)


def _dos_time(timestamp: int) -> tuple[int, int]:
    """Return MS-DOS' time and date, in UTC."""
    moment = dt.datetime.fromtimestamp(max(timestamp, _FIRST_TIME), tz=dt.UTC)
    time = moment.hour << 11 | moment.minute << 5 | moment.second // 2
    return time, (moment.year - 1980) << 9 | moment.month << 5 | moment.day


def _format_ends(count: int, size: int, offset: int) -> bytes:
    """Return the end record of a directory, and those of ZIP64 where a number needs them."""
    end = format_end((min(count, MAX16), min(size, MAX32), min(offset, MAX32)))
    if count < MAX16 and max(size, offset) < MAX32:
        return end
    versions = (_MADE_ON_UNIX | ZIP64_VERSION, ZIP64_VERSION)
    return format_zip64_end((count, size, offset), versions) + end
