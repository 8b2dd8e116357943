"""A ZIP archive's structure: checked whole, so that all readers see the same; and its headers.

Members lie one behind the other from byte 0, then the directory, then the end records. What each
header must be follows from the directory, and is compared (APPNOTE 4.3, 4.4, 4.5).
"""

import os
import stat
import struct
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeAlias

from repack.files import not_read
from repack.wheel.names import check_names, refuse

STORED, DEFLATED = 0, 8
_MAX16, _MAX32 = 0xFFFF, 0xFFFFFFFF
#: Version 4.5 of the format, which ZIP64 needs; nothing here needs a later one.
_VERSION, _ZIP64_VERSION = 20, 45
_MADE_ON_UNIX = 3 << 8
_ZIP64_EXTRA, _UNICODE_NAME_EXTRA = 0x0001, 0x7075
#: Certificates and encryption, a comment, a link.
_REFUSED_EXTRAS = {0x0014, 0x0015, 0x0016, 0x0017, 0x0019, 0x9901, 0x6375, 0x756E}
_UTF8_FLAG, _DESCRIPTOR_FLAG = 0x800, 0x8
#: Bits 1 and 2 tell how hard the deflater tried.
_KNOWN_FLAGS = _UTF8_FLAG | _DESCRIPTOR_FLAG | 0x6
_DOS_VOLUME_OR_FOLDER = 0x18
_SET_ID_BITS = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX
_FILE_MODE, _PROGRAM_MODE = stat.S_IFREG | 0o644, stat.S_IFREG | 0o755
_ANY_EXECUTE = 0o111
#: 1980-01-01 in seconds since 1970, the first moment that MS-DOS' date can say.
_FIRST_TIME = 315_532_800

LOCAL, _LOCAL_SIGNATURE = struct.Struct("<4s5H3L2H"), b"PK\3\4"
CENTRAL, _CENTRAL_SIGNATURE = struct.Struct("<4s6H3L5H2L"), b"PK\1\2"
END, _END_SIGNATURE = struct.Struct("<4s4H2LH"), b"PK\5\6"
_END64, _END64_SIGNATURE = struct.Struct("<4sQ2H2L4Q"), b"PK\6\6"
_LOCATOR, _LOCATOR_SIGNATURE = struct.Struct("<4sLQL"), b"PK\6\7"
_DESCRIPTOR_SIGNATURE = b"PK\7\x08"

#: What the members of an archive may inflate to, in bytes, and as a multiple of its size, which
#: below the floor nobody looks at: so the rule of the public index.
_RATIO_FLOOR, _RATIO_LIMIT = 64 << 20, 50


class Member(NamedTuple):
    """One file or empty folder of an archive; the name of a folder ends in a slash.

    `size` and `compressed_size` are in bytes, `method` is STORED or DEFLATED, `offset` is where
    the content begins, `mode` holds Unix permissions and file type, 0 where nothing tells them.
    """

    name: str
    size: int
    compressed_size: int
    crc: int
    method: int
    offset: int = 0
    mode: int = 0


#: A member, whose offset is yet that of its own header, and what the directory has of it.
_Entry: TypeAlias = tuple[Member, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Archive:
    """A ZIP archive whose structure was checked, its content not yet.

    `size` is in bytes, `members` are by name in the directory's order, `modified` is the file's
    time in nanoseconds.
    """

    path: Path
    size: int
    members: Mapping[str, Member]
    modified: int

    @property
    def files(self) -> tuple[str, ...]:
        """The names of all members but folders, in the directory's order."""
        return tuple(name for name in self.members if not name.endswith("/"))

    def open(self) -> BinaryIO:
        """Return the file, open and unbuffered; raises InputError if it was exchanged meanwhile."""
        try:
            file = self.path.open("rb", buffering=0)
        except OSError as error:
            raise not_read(self.path, error) from error
        status = os.fstat(file.fileno())
        if (status.st_size, status.st_mtime_ns) != (self.size, self.modified):
            file.close()
            refuse(self.path, "was changed while it was in use", "changed", hint="run again")
        return file


def open_archive(path: Path) -> Archive:
    """Return the archive's members; its structure is right, its content not yet looked at.

    Raises InputError, whose code is a word of the table in the tests (`bad-path`, `layout`...).
    """
    try:
        if path.exists() and not path.is_file():
            refuse(path, "is not a file", "not-a-file", hint="name a wheel file")
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            start, count, listing = _read_directory(path, file, status.st_size)
            entries = list(_parse_directory(path, listing, count))
            check_names((member.name for member, _ in entries), path)
            total = sum(member.size for member, _ in entries)
            if total > max(_RATIO_FLOOR, _RATIO_LIMIT * status.st_size):
                refuse(path, f"inflates from {status.st_size:,} bytes to {total:,}", "bomb")
            members = _place_members(path, file, entries, start)
    except OSError as error:
        raise not_read(path, error) from error
    return Archive(path=path, size=status.st_size, members=members, modified=status.st_mtime_ns)


def read_packed(
    file: BinaryIO, path: Path, member: Member, *, at_once: int = 1 << 16
) -> Iterator[bytes]:
    """Yield the member's bytes as they lie in `file`, which is that at `path`, so many `at_once`.

    What 64 KiB inflate to stays in the processor's cache. Raises InputError where the file cannot
    be read, or ends too early.
    """
    left = member.compressed_size
    try:
        file.seek(member.offset)
        while left and (piece := file.read(min(left, at_once))):
            left -= len(piece)
            yield piece
    except OSError as error:
        raise not_read(path, error) from error
    if left:
        refuse(path, "was changed while it was in use", "changed", member.name, "run again")


# Reading


def _read(file: BinaryIO, offset: int, length: int) -> bytes:
    """Return the bytes there, fewer only at the end of the file."""
    file.seek(offset)
    return file.read(length)


def _read_directory(path: Path, file: BinaryIO, size: int) -> tuple[int, int, bytes]:
    """Return where the directory begins, how many members it is to have, and its bytes.

    The end records must be those of a directory right before them, with nothing behind them.
    """
    tail = _read(file, max(0, size - END.size - _MAX16), size)
    at = tail.rfind(_END_SIGNATURE)
    if at < 0 or len(tail) - at < END.size:
        head = repr(_read(file, 0, 20))[1:]
        what = (
            f"is not a complete ZIP archive: {size:,} bytes, begins with {head}, has no end record"
        )
        refuse(path, what, "not-a-zip")
    comment = tail[at + END.size :]
    narrow = wide = END.unpack_from(tail, at)[4:7]
    expected = END.pack(_END_SIGNATURE, 0, 0, narrow[0], *narrow, len(comment)) + comment
    if tail[:at][-_LOCATOR.size :].startswith(_LOCATOR_SIGNATURE):
        record = tail[:at][-_END64.size - _LOCATOR.size : -_LOCATOR.size]
        fields = _END64.unpack(record.ljust(_END64.size, b"\0"))
        wide, versions = fields[7:], (fields[2], min(fields[3], _ZIP64_VERSION))
        # Numbers beyond the file are wrong, and may be too large for a locator.
        if sum(wide[1:]) < size:
            expected = _format_zip64_end(wide, versions) + expected
    count, length, start = wide
    pairs = zip(narrow, wide, (_MAX16, _MAX32, _MAX32), strict=True)
    agree = all(short in (long, limit) for short, long, limit in pairs)
    if not agree or not tail.endswith(expected) or start + length + len(expected) != size:
        what = "its end records contradict the rest of the file, or data follows them"
        refuse(path, what, "end-record")
    if not "".join(comment.decode("utf-8", "surrogateescape").split()).isprintable():
        refuse(path, "its comment is not text", "end-record")
    return start, count, _read(file, start, length)


def _parse_directory(path: Path, listing: bytes, count: int) -> Iterator[_Entry]:
    end = 0
    for _ in range(count):
        fields = CENTRAL.unpack_from(listing.ljust(end + CENTRAL.size, b"\0"), end)
        _, _, needed, flags, method, _, _, crc, packed, size, *lengths, disk = fields[:14]
        start = end + CENTRAL.size
        middle, end = start + lengths[0], start + lengths[0] + lengths[1]
        raw_name, extra = listing[start:middle], listing[middle:end]
        shown = raw_name.decode("utf-8", "backslashreplace")
        if fields[0] != _CENTRAL_SIGNATURE or end > len(listing) or lengths[2] or disk:
            what = "the directory is damaged there, or has a comment or another disk"
            refuse(path, what, "end-record", shown)
        try:
            name = raw_name.decode("utf-8" if flags & _UTF8_FLAG else "ascii")
        except UnicodeDecodeError:
            what = "the name is not in the encoding that it is marked with, UTF-8 or ASCII"
            refuse(path, what, "bad-encoding", shown)
        field = _parse_extras(path, name, extra).get(_ZIP64_EXTRA)
        size, packed, offset = _widen(path, name, (size, packed, fields[16]), field)
        member = Member(name, size, packed, crc, method, offset, fields[15] >> 16)
        _check_member(path, member, fields[15] & 0xFF, flags, needed)
        yield member, fields
    if end != len(listing):
        refuse(path, f"its directory lists more than the {count} members announced", "end-record")


def _parse_extras(path: Path, name: str, raw: bytes) -> dict[int, bytes]:
    """Return the extra fields by their numbers; each is there once."""
    fields: dict[int, bytes] = {}
    at = 0
    while at < len(raw):
        kind, length = struct.unpack_from("<HH", raw.ljust(at + 4, b"\xff"), at)
        at += 4 + length
        if at > len(raw) or kind in fields:
            refuse(path, "its extra fields are cut short or there twice", "header-mismatch", name)
        if kind in _REFUSED_EXTRAS:
            what = f"may be encrypted, a link or commented, says the extra field {kind:#06x}"
            refuse(path, what, "unsupported", name)
        fields[kind] = raw[at - length : at]
    # Info-ZIP's second name (APPNOTE 4.6.9), which some readers prefer.
    second = struct.pack("<BL", 1, zlib.crc32(name.encode())) + name.encode()
    if fields.get(_UNICODE_NAME_EXTRA, second) != second:
        refuse(path, "has another name in the extra field 0x7075", "header-mismatch", name)
    return fields


def _widen(path: Path, name: str, numbers: Sequence[int], field: bytes | None) -> list[int]:
    """Return the numbers of a header; in the ZIP64 field is only what does not fit (4.5.3)."""
    count = numbers.count(_MAX32)
    if (field is None) != (count == 0) or len(field or b"") != 8 * count:
        refuse(path, "its ZIP64 field is not what its sizes ask for", "header-mismatch", name)
    wide = iter(struct.unpack(f"<{count}Q", field or b""))
    return [next(wide) if number == _MAX32 else number for number in numbers]


def _check_member(path: Path, member: Member, attributes: int, flags: int, needed: int) -> None:
    """Raise InputError unless it is a file or an empty folder, packed as every reader knows."""
    if member.name.endswith("/"):
        is_special, kind = member.size > 0, stat.S_IFDIR
    else:
        is_special, kind = bool(attributes & _DOS_VOLUME_OR_FOLDER), stat.S_IFREG
        is_special |= bool(member.mode & _SET_ID_BITS)
    if is_special or stat.S_IFMT(member.mode) not in (0, kind):
        what = f"is neither a file nor an empty folder (mode {member.mode:o}, {attributes:#x})"
        refuse(path, what, "special-file", member.name)
    is_known = not flags & ~_KNOWN_FLAGS and needed <= _ZIP64_VERSION
    if member.method == STORED and member.size:
        # Whoever reads it as a stream cannot know where it ends; uv refuses it as well.
        is_known &= not flags & _DESCRIPTOR_FLAG
    if not is_known or member.method not in (STORED, DEFLATED):
        how = f"flags {flags:#06x}, method {member.method}, version {needed}"
        refuse(path, f"is encrypted, or packed as few know: {how}", "unsupported", member.name)


def _place_members(
    path: Path, file: BinaryIO, entries: Sequence[_Entry], limit: int
) -> dict[str, Member]:
    """Return the members, which fill the file from byte 0 to `limit`, in the directory's order."""
    members = {member.name: member for member, _ in entries}
    position = 0
    for member, fields in sorted(entries, key=lambda entry: entry[0].offset):
        if member.offset != position:
            what = f"begins at byte {member.offset:,}, but the data before it ends at {position:,}"
            refuse(path, what, "layout", member.name)
        start, position = _check_local(path, file, member, fields)
        members[member.name] = member._replace(offset=start)
    if position != limit:
        what = f"its members end at byte {position:,}, the directory begins at {limit:,}"
        refuse(path, what, "layout")
    return members


def _check_local(
    path: Path, file: BinaryIO, member: Member, listed: tuple[int, ...]
) -> tuple[int, int]:
    """Return where the member's content begins, and where the next member does.

    Its own header is one of those that the directory's entry can stand for.
    """
    header = LOCAL.unpack(_read(file, member.offset, LOCAL.size).ljust(LOCAL.size))
    raw_name, extra = file.read(header[9]), file.read(header[10])
    start = file.tell()
    if header[0] != _LOCAL_SIGNATURE or raw_name != member.name.encode():
        refuse(path, "has no header of its name at its offset", "header-mismatch", member.name)
    field = _parse_extras(path, member.name, extra).get(_ZIP64_EXTRA)
    is_wide, is_streamed = field is not None, bool(listed[3] & _DESCRIPTOR_FLAG)
    # Some streaming writers announce by an empty field that the sizes behind are wide.
    sizes = _widen(path, member.name, header[7:9][::-1], field or None if is_streamed else field)
    facts = member.crc, member.size, member.compressed_size
    # With ZIP64 some name the version in one of the two headers alone.
    is_wide_listed = _MAX32 in (*listed[8:10], listed[16])
    one_version = (is_wide or is_wide_listed) and _ZIP64_VERSION in {listed[2], header[1]}
    is_same = header[2:6] == listed[3:7] and (header[1] == listed[2] or one_version)
    if not is_same or (header[6], *sizes) not in (facts, (0, 0, 0) if is_streamed else facts):
        what = "its local header differs from the central directory"
        refuse(path, what, "header-mismatch", member.name)
    end = start + member.compressed_size
    if is_streamed:
        descriptor = _read(file, end, 24)
        signature = _DESCRIPTOR_SIGNATURE * descriptor.startswith(_DESCRIPTOR_SIGNATURE)
        form = struct.Struct(f"<{len(signature)}sL2{'Q' if is_wide else 'L'}")
        right = signature, member.crc, member.compressed_size, member.size
        if form.unpack(descriptor.ljust(24)[: form.size]) != right:
            what = "its data descriptor is wrong or absent"
            refuse(path, what, "data-descriptor", member.name)
        end += form.size
    return start, end


# Writing


def format_headers(name: str, member: Member, offset: int, timestamp: int) -> tuple[bytes, bytes]:
    """Return the header of `member` as `name`, which lies at `offset`, and the directory's entry.

    `timestamp` is in seconds since 1970. With ZIP64, both sizes are in the extra field of the one,
    what is too large in the other's.
    """
    size, packed, raw_name = member.size, member.compressed_size, name.encode()
    is_wide = max(size, packed) >= _MAX32
    extra = _format_zip64([size, packed] if is_wide else [])
    extra_listed = _format_zip64([value for value in (size, packed, offset) if value >= _MAX32])
    needed, needed_listed = (_ZIP64_VERSION if wide else _VERSION for wide in (extra, extra_listed))
    year, month, day, hour, minute, second, *_ = time.gmtime(max(timestamp, _FIRST_TIME))
    moment = hour << 11 | minute << 5 | second // 2, (year - 1980) << 9 | month << 5 | day
    common = (0 if name.isascii() else _UTF8_FLAG, member.method, *moment, member.crc)
    sizes = (_MAX32, _MAX32) if is_wide else (packed, size)
    local = LOCAL.pack(_LOCAL_SIGNATURE, needed, *common, *sizes, len(raw_name), len(extra))
    mode = _PROGRAM_MODE if member.mode & _ANY_EXECUTE else _FILE_MODE
    central = CENTRAL.pack(
        _CENTRAL_SIGNATURE,
        _MADE_ON_UNIX | needed_listed,
        needed_listed,
        *common,
        *(min(packed, _MAX32), min(size, _MAX32), len(raw_name), len(extra_listed)),
        *(0, 0, 0, mode << 16, min(offset, _MAX32)),
    )
    return local + raw_name + extra, central + raw_name + extra_listed


def format_ends(count: int, size: int, offset: int) -> bytes:
    """Return the end record of a directory: how many entries, how many bytes, from where on.

    Those of ZIP64 as well, where a number needs them.
    """
    numbers = min(count, _MAX16), min(size, _MAX32), min(offset, _MAX32)
    end = END.pack(_END_SIGNATURE, 0, 0, numbers[0], *numbers, 0)
    if count < _MAX16 and max(size, offset) < _MAX32:
        return end
    versions = (_MADE_ON_UNIX | _ZIP64_VERSION, _ZIP64_VERSION)
    return _format_zip64_end((count, size, offset), versions) + end


def _format_zip64_end(directory: tuple[int, ...], versions: tuple[int, int]) -> bytes:
    """Return ZIP64's end record, which lies behind the directory, and its locator."""
    count, size, offset = directory
    rest = _END64.size - 12
    record = _END64.pack(_END64_SIGNATURE, rest, *versions, 0, 0, count, count, size, offset)
    return record + _LOCATOR.pack(_LOCATOR_SIGNATURE, 0, offset + size, 1)


def _format_zip64(values: Sequence[int]) -> bytes:
    """Return the ZIP64 extra field that holds the values, nothing if there are none."""
    if not values:
        return b""
    return struct.pack(f"<HH{len(values)}Q", _ZIP64_EXTRA, 8 * len(values), *values)
