"""A ZIP archive's structure, checked whole, so that every reader of it sees the same members.

Members lie one behind the other from byte 0, then the directory, then the end records. What each
header must be follows from the directory, and is compared (APPNOTE 4.3, 4.4, 4.5).
"""

import os
import stat
import struct
import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, NamedTuple

from repack.files import not_read
from repack.wheel.names import check_names, refuse

STORED, DEFLATED = 0, 8
MAX16, MAX32 = 0xFFFF, 0xFFFFFFFF
#: Version 4.5 of the format, which ZIP64 needs; nothing here needs a later one.
ZIP64_VERSION = 45
ZIP64_EXTRA, _UNICODE_NAME_EXTRA = 0x0001, 0x7075
#: Certificates and encryption, a comment, a link.
_REFUSED_EXTRAS = {0x0014, 0x0015, 0x0016, 0x0017, 0x0019, 0x9901, 0x6375, 0x756E}
UTF8_FLAG, _DESCRIPTOR_FLAG = 0x800, 0x8
#: Bits 1 and 2 tell how hard the deflater tried.
_KNOWN_FLAGS = UTF8_FLAG | _DESCRIPTOR_FLAG | 0x6
_DOS_VOLUME_OR_FOLDER = 0x18
_SET_ID_BITS = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX

LOCAL, LOCAL_SIGNATURE = struct.Struct("<4s5H3L2H"), b"PK\3\4"
CENTRAL, CENTRAL_SIGNATURE = struct.Struct("<4s6H3L5H2L"), b"PK\1\2"
END, END_SIGNATURE = struct.Struct("<4s4H2LH"), b"PK\5\6"
END64, END64_SIGNATURE = struct.Struct("<4sQ2H2L4Q"), b"PK\6\6"
LOCATOR, LOCATOR_SIGNATURE = struct.Struct("<4sLQL"), b"PK\6\7"
_DESCRIPTOR_SIGNATURE = b"PK\7\x08"

#: Own limits, in bytes: of the directory, and of what all members inflate to. Below the floor no
#: ratio is looked at; so the rule of the public index.
_DIRECTORY_LIMIT, _TOTAL_LIMIT = 16 << 20, 64 << 30
_RATIO_FLOOR, _RATIO_LIMIT = 64 << 20, 50
#: The shortest DEFLATE stream, of nothing.
_EMPTY_STREAM = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One file or folder of an archive; the name of a folder ends in a slash.

    `size` and `compressed_size` are in bytes, `method` is STORED or DEFLATED, `offset` is where
    the content begins, `mode` holds Unix permissions and file type, 0 where nothing tells them.
    """

    name: str
    size: int
    compressed_size: int
    crc: int
    method: int
    offset: int
    mode: int
    directory: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Archive:
    """A ZIP archive whose structure was checked; its content only by `verify`.

    `size` is in bytes, `members` are in the directory's order, `modified` is the file's time in
    nanoseconds.
    """

    path: Path
    size: int
    members: tuple[Member, ...]
    modified: int

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all members, in the directory's order."""
        return tuple(member.name for member in self.members)

    def member(self, name: str) -> Member | None:
        """Return the member called exactly `name`, or None."""
        return next((member for member in self.members if member.name == name), None)

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


class _Directory(NamedTuple):
    """Where the list of members lies, its length in bytes, and how many members it has."""

    offset: int
    size: int
    entries: int


class _Entry(NamedTuple):
    """A member as the directory lists it; its offset is yet that of its own header.

    `common` are the fields that both headers have: version needed, flags, method, time, date.
    """

    member: Member
    raw_name: bytes
    common: tuple[int, ...]
    has_zip64: bool


def open_archive(path: Path) -> Archive:
    """Return the archive's members; its structure is right, its content not yet looked at.

    Raises InputError, whose code is a word of the table in the tests (`bad-path`, `overlap`...).
    """
    try:
        if path.exists() and not path.is_file():
            refuse(path, "is not a file", "not-a-file", hint="name a wheel file")
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            directory = _find_directory(path, file, status.st_size)
            entries = _read_directory(path, file, directory)
            check_names((entry.member.name for entry in entries), path)
            total = sum(entry.member.size for entry in entries)
            if total > min(_TOTAL_LIMIT, max(_RATIO_FLOOR, _RATIO_LIMIT * status.st_size)):
                refuse(path, f"inflates from {status.st_size:,} bytes to {total:,}", "bomb")
            members = _place_members(path, file, entries, directory.offset)
            _check_with_zipfile(path, file, members)
    except OSError as error:
        raise not_read(path, error) from error
    return Archive(path=path, size=status.st_size, members=members, modified=status.st_mtime_ns)


def _read(file: BinaryIO, offset: int, length: int) -> bytes:
    """Return the bytes there, fewer only at the end of the file."""
    file.seek(offset)
    return file.read(length)


def _find_directory(path: Path, file: BinaryIO, size: int) -> _Directory:
    """Return where the directory is; nothing lies between it and the end records, or behind."""
    start = max(0, size - END.size - MAX16)
    tail = _read(file, start, size - start)
    at = tail.rfind(END_SIGNATURE)
    if at < 0 or len(tail) - at < END.size:
        head = repr(_read(file, 0, 20))[1:]
        what = f"is no whole ZIP archive: {size:,} bytes, begins with {head}, has no end record"
        refuse(path, what, "not-a-zip")
    _, disk, other_disk, disk_count, count, length, offset, comment = END.unpack_from(tail, at)
    excess = len(tail) - at - END.size - comment
    if excess:
        what = f"{excess:,} bytes follow its end" if excess > 0 else "is cut short in its comment"
        refuse(path, what, "trailing-data" if excess > 0 else "not-a-zip")
    _check_comment(path, tail[at + END.size :])
    if disk or other_disk or disk_count != count:
        refuse(path, "the archive is said to be split over several disks", "end-record")
    directory, position = _Directory(offset, length, count), start + at
    if tail[:at][-LOCATOR.size :].startswith(LOCATOR_SIGNATURE):
        position -= END64.size + LOCATOR.size
        directory = _read_zip64_end(path, file, position, directory)
    if directory.offset + directory.size != position:
        refuse(path, "the directory does not end where the end record begins", "end-record")
    if directory.size > _DIRECTORY_LIMIT:
        refuse(path, f"{directory.entries:,} members, more than any wheel has", "bomb")
    return directory


def _check_comment(path: Path, comment: bytes) -> None:
    try:
        text = comment.decode().translate(dict.fromkeys(b"\t\r\n"))
    except UnicodeDecodeError:
        text = "\0"
    if not text.isprintable():
        refuse(path, "the archive's comment is not text", "trailing-data")


def _read_zip64_end(path: Path, file: BinaryIO, position: int, narrow: _Directory) -> _Directory:
    """Return what the ZIP64 end record at `position`, which its locator follows, says."""
    start, length = max(position, 0), END64.size + LOCATOR.size
    raw = _read(file, start, length).ljust(length, b"\0")
    _, _, made_by, needed, _, _, _, count, size, offset = END64.unpack_from(raw)
    versions = made_by, min(needed, ZIP64_VERSION)
    rest = END64.size - 12
    expected = END64.pack(END64_SIGNATURE, rest, *versions, 0, 0, count, count, size, offset)
    if raw != expected + LOCATOR.pack(LOCATOR_SIGNATURE, 0, start, 1):
        refuse(path, "the ZIP64 end record or its locator is wrong", "end-record")
    wide = _Directory(offset, size, count)
    limits = _Directory(MAX32, MAX32, MAX16)
    pairs = zip(narrow, wide, limits, strict=True)
    if any(short not in (long, limit) for short, long, limit in pairs):
        refuse(path, "the end record and the ZIP64 end record contradict each other", "end-record")
    return wide


def _read_directory(path: Path, file: BinaryIO, directory: _Directory) -> list[_Entry]:
    raw = _read(file, directory.offset, directory.size)
    entries = []
    at = 0
    while at < len(raw):
        if len(raw) - at < CENTRAL.size or not raw.startswith(CENTRAL_SIGNATURE, at):
            refuse(path, "the directory does not hold what the end record says", "end-record")
        fields = CENTRAL.unpack_from(raw, at)
        name_length, extra_length, comment_length, disk = fields[10:14]
        name_end = at + CENTRAL.size + name_length
        raw_name, at = raw[at + CENTRAL.size : name_end], name_end + extra_length
        if at > len(raw) or comment_length or disk:
            what = "has a comment, lies on another disk or has no end"
            refuse(path, what, "end-record", raw_name.decode("utf-8", "backslashreplace"))
        entries.append(_parse_entry(path, fields, raw_name, raw[name_end:at]))
    if len(entries) != directory.entries:
        what = f"{len(entries)} members are listed, {directory.entries} announced"
        refuse(path, what, "end-record")
    return entries


def _parse_entry(path: Path, fields: tuple[int, ...], raw_name: bytes, extra: bytes) -> _Entry:
    """Return the entry of these fields of CENTRAL."""
    try:
        name = raw_name.decode("utf-8" if fields[3] & UTF8_FLAG else "ascii")
    except UnicodeDecodeError:
        what = "the name is not in the encoding that it is marked with, UTF-8 or ASCII"
        refuse(path, what, "bad-encoding", raw_name.decode("utf-8", "backslashreplace"))
    field = _parse_extras(path, name, raw_name, extra).get(ZIP64_EXTRA)
    size, compressed_size, offset = _widen(path, name, (fields[9], fields[8], fields[16]), field)
    member = Member(
        name=name,
        size=size,
        compressed_size=compressed_size,
        crc=fields[7],
        method=fields[4],
        offset=offset,
        mode=fields[15] >> 16,
        directory=name.endswith("/"),
    )
    _check_kind(path, member, dos_attributes=fields[15] & 0xFF)
    _check_packing(path, member, needed=fields[2], flags=fields[3])
    return _Entry(member, raw_name, fields[2:7], field is not None)


def _parse_extras(path: Path, name: str, raw_name: bytes, raw: bytes) -> dict[int, bytes]:
    """Return the extra fields by their numbers; each is there once."""
    fields: dict[int, bytes] = {}
    at = 0
    while at < len(raw):
        kind, length = struct.unpack_from("<HH", raw.ljust(at + 4, b"\xff"), at)
        at += 4 + length
        if at > len(raw) or kind in fields:
            refuse(path, "its extra fields are cut short or there twice", "bad-extra", name)
        if kind in _REFUSED_EXTRAS:
            what = f"may be encrypted, a link or commented, says the extra field {kind:#06x}"
            refuse(path, what, "unsupported", name)
        fields[kind] = raw[at - length : at]
    # Info-ZIP's second name (APPNOTE 4.6.9), which some readers prefer.
    second = struct.pack("<BL", 1, zlib.crc32(raw_name)) + raw_name
    if fields.get(_UNICODE_NAME_EXTRA, second) != second:
        refuse(path, "has another name in the extra field 0x7075", "header-mismatch", name)
    return fields


def _widen(path: Path, name: str, values: tuple[int, ...], field: bytes | None) -> tuple[int, ...]:
    """Return the values with those that say "see the ZIP64 field" replaced (APPNOTE 4.5.3).

    A field that nothing asks for is harmless as long as it agrees.
    """
    if field is None and MAX32 not in values:
        return values
    field = field or b""
    count = values.count(MAX32) or min(len(field) // 8, len(values))
    if not field or len(field) != 8 * count:
        refuse(path, "its ZIP64 sizes are absent, too few or too many", "bad-extra", name)
    numbers = struct.unpack(f"<{count}Q", field)
    if MAX32 not in values and numbers != values[:count]:
        refuse(path, "its ZIP64 sizes contradict the others", "bad-extra", name)
    following = iter(numbers)
    return tuple(next(following) if value == MAX32 else value for value in values)


def _check_kind(path: Path, member: Member, *, dos_attributes: int) -> None:
    """Raise InputError unless the member is a plain file, or a folder without content."""
    if member.directory:
        kind, is_special = stat.S_IFDIR, bool(member.size or member.crc)
        is_special |= member.compressed_size > _EMPTY_STREAM
    else:
        kind, is_special = stat.S_IFREG, bool(member.mode & _SET_ID_BITS)
        is_special |= bool(dos_attributes & _DOS_VOLUME_OR_FOLDER)
    if is_special or stat.S_IFMT(member.mode) not in (0, kind):
        what = f"is no plain file or empty folder (mode {member.mode:o}, {dos_attributes:#x})"
        refuse(path, what, "special-file", member.name)


def _check_packing(path: Path, member: Member, *, needed: int, flags: int) -> None:
    """Raise InputError unless flags, version and method are such as every reader understands."""
    name = member.name
    if flags & ~_KNOWN_FLAGS:
        what = f"is encrypted, or has other flags that few readers know ({flags:#06x})"
        refuse(path, what, "unsupported", name)
    if member.method not in (STORED, DEFLATED):
        what = f"is packed by method {member.method}; every installer knows DEFLATE alone"
        refuse(path, what, "unsupported", name)
    if needed > ZIP64_VERSION:
        refuse(path, f"needs version {needed / 10} of the ZIP format", "unsupported", name)
    if member.method == STORED and member.size != member.compressed_size:
        what = f"is stored in {member.compressed_size:,} bytes, but has {member.size:,}"
        refuse(path, what, "size-lie", name)
    if member.method == STORED and member.size and flags & _DESCRIPTOR_FLAG:
        # Whoever reads it as a stream cannot know where it ends; uv refuses it as well.
        refuse(path, "is stored with a data descriptor behind it", "data-descriptor", name)


def _place_members(
    path: Path, file: BinaryIO, entries: list[_Entry], limit: int
) -> tuple[Member, ...]:
    """Return the members, which fill the file from byte 0 to `limit`, in the directory's order."""
    placed: dict[str, Member] = {}
    position = 0
    for entry in sorted(entries, key=lambda entry: entry.member.offset):
        member = entry.member
        _check_gap(path, position, min(member.offset, limit))
        if member.offset < position or member.offset + LOCAL.size > limit:
            refuse(path, "lies upon another member or the directory", "overlap", member.name)
        offset, position = _check_local(path, file, entry)
        if position > limit:
            refuse(path, "reaches into the directory behind the members", "overlap", member.name)
        placed[member.name] = replace(member, offset=offset)
    _check_gap(path, position, limit)
    return tuple(placed[entry.member.name] for entry in entries)


def _check_gap(path: Path, start: int, end: int) -> None:
    if start < end:
        what = f"{end - start:,} bytes from {start:,} on belong to no member of the directory"
        refuse(path, what, "hidden-data")


def _check_local(path: Path, file: BinaryIO, entry: _Entry) -> tuple[int, int]:
    """Return where the member's content begins, and where the next member does."""
    member = entry.member
    values = LOCAL.unpack(_read(file, member.offset, LOCAL.size))
    signature, *common, crc, packed, size, name_length, extra_length = values
    raw_name, extra = file.read(name_length), file.read(extra_length)
    field = _parse_extras(path, member.name, entry.raw_name, extra).get(ZIP64_EXTRA)
    has_zip64, is_streamed = field is not None, bool(entry.common[1] & _DESCRIPTOR_FLAG)
    # Some streaming writers announce by an empty field that the sizes behind are wide.
    size, packed = _widen(
        path, member.name, (size, packed), None if is_streamed and not field else field
    )
    sizes = expected = (member.crc, member.compressed_size, member.size)
    if not is_streamed or any((crc, packed, size)):
        sizes = (crc, packed, size)
    if ZIP64_VERSION in {common[0], entry.common[0]} and (has_zip64 or entry.has_zip64):
        common[0] = entry.common[0]
    own = (signature, *common, sizes, raw_name)
    if own != (LOCAL_SIGNATURE, *entry.common, expected, entry.raw_name):
        what = "its own header is not what the directory says of it"
        refuse(path, what, "header-mismatch", member.name)
    offset = member.offset + LOCAL.size + name_length + extra_length
    end = offset + member.compressed_size
    if is_streamed:
        end += _measure_descriptor(path, member, _read(file, end, 24), has_zip64=has_zip64)
    return offset, end


def _measure_descriptor(path: Path, member: Member, raw: bytes, *, has_zip64: bool) -> int:
    """Return the length of the data descriptor that `raw` begins with, signed or not."""
    sizes = member.compressed_size, member.size
    if has_zip64 or max(sizes) <= MAX32:
        expected = struct.pack("<L2Q" if has_zip64 else "<3L", member.crc, *sizes)
        signature = _DESCRIPTOR_SIGNATURE if raw.startswith(_DESCRIPTOR_SIGNATURE) else b""
        if raw.startswith(signature + expected):
            return len(signature + expected)
    return refuse(path, "its data descriptor is wrong or absent", "data-descriptor", member.name)


def _check_with_zipfile(path: Path, file: BinaryIO, members: tuple[Member, ...]) -> None:
    """Raise InputError unless Python's own reader, which pip uses, lists the same members."""
    try:
        infos = zipfile.ZipFile(file).infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
        refuse(path, f"Python's zipfile refuses it: {error}", "end-record")
    listed = [(info.filename, info.file_size, info.compress_size, info.CRC) for info in infos]
    if listed != [(own.name, own.size, own.compressed_size, own.crc) for own in members]:
        refuse(path, "Python's zipfile sees other members in it", "end-record")
