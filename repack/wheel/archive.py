"""A ZIP archive's structure, checked whole, so that every reader of it sees the same members.

Members lie one behind the other from byte 0, then the directory, then the end records. What each
header must be follows from the directory, and is compared (APPNOTE 4.3, 4.4, 4.5).
"""

import os
import stat
import struct
import zlib
from collections.abc import Iterator, Sequence
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

#: What the members of an archive may inflate to, in bytes, and as a multiple of its size, which
#: below the floor nobody looks at: so the rule of the public index.
_RATIO_FLOOR, _RATIO_LIMIT = 64 << 20, 50


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

    @property
    def is_folder(self) -> bool:
        """Whether it is an empty folder."""
        return self.name.endswith("/")


@dataclass(frozen=True, kw_only=True, slots=True)
class Archive:
    """A ZIP archive whose structure was checked, its content not yet.

    `size` is in bytes, `members` are in the directory's order, `modified` is the file's time in
    nanoseconds.
    """

    path: Path
    size: int
    members: tuple[Member, ...]
    modified: int

    @property
    def files(self) -> tuple[str, ...]:
        """The names of all members but folders, in the directory's order."""
        return tuple(member.name for member in self.members if not member.is_folder)

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


class _Entry(NamedTuple):
    """A member as the directory lists it; its offset is yet that of its own header.

    `common` are the fields that both headers have: version needed, flags, method, time, date.
    """

    member: Member
    raw_name: bytes
    common: tuple[int, ...]
    is_wide: bool


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
            check_names((entry.member.name for entry in entries), path)
            total = sum(entry.member.size for entry in entries)
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


def format_end(directory: tuple[int, ...], comment: bytes = b"") -> bytes:
    """Return the end record of a directory: how many entries, how many bytes, from where on."""
    count, *extent = directory
    return END.pack(END_SIGNATURE, 0, 0, count, count, *extent, len(comment)) + comment


def format_zip64_end(directory: tuple[int, ...], versions: tuple[int, int]) -> bytes:
    """Return ZIP64's end record, which lies behind the directory, and its locator."""
    count, size, offset = directory
    rest = END64.size - 12
    record = END64.pack(END64_SIGNATURE, rest, *versions, 0, 0, count, count, size, offset)
    return record + LOCATOR.pack(LOCATOR_SIGNATURE, 0, offset + size, 1)


def _read(file: BinaryIO, offset: int, length: int) -> bytes:
    """Return the bytes there, fewer only at the end of the file."""
    file.seek(offset)
    return file.read(length)


def _read_directory(path: Path, file: BinaryIO, size: int) -> tuple[int, int, bytes]:
    """Return where the directory begins, how many members it is to have, and its bytes.

    The end records must be those of a directory right before them, with nothing behind them.
    """
    tail = _read(file, max(0, size - END.size - MAX16), size)
    at = tail.rfind(END_SIGNATURE)
    if at < 0 or len(tail) - at < END.size:
        head = repr(_read(file, 0, 20))[1:]
        what = f"is no whole ZIP archive: {size:,} bytes, begins with {head}, has no end record"
        refuse(path, what, "not-a-zip")
    comment = tail[at + END.size :]
    narrow = wide = END.unpack_from(tail, at)[4:7]
    expected = format_end(narrow, comment)
    if tail[:at][-LOCATOR.size :].startswith(LOCATOR_SIGNATURE):
        record = tail[:at][-END64.size - LOCATOR.size : -LOCATOR.size]
        fields = END64.unpack(record.ljust(END64.size, b"\0"))
        wide, versions = fields[7:], (fields[2], min(fields[3], ZIP64_VERSION))
        # Numbers beyond the file are wrong, and may be too large for a locator.
        if sum(wide[1:]) < size:
            expected = format_zip64_end(wide, versions) + expected
    count, length, start = wide
    pairs = zip(narrow, wide, (MAX16, MAX32, MAX32), strict=True)
    agree = all(short in (long, limit) for short, long, limit in pairs)
    if not agree or not tail.endswith(expected) or start + length + len(expected) != size:
        what = "its end records do not fit what lies before them, or more lies behind them"
        refuse(path, what, "end-record")
    words = comment.decode("utf-8", "surrogateescape").split()
    if not "".join(words).isprintable():
        refuse(path, "its comment is no text", "end-record")
    return start, count, _read(file, start, length)


def _parse_directory(path: Path, listing: bytes, count: int) -> Iterator[_Entry]:
    at = 0
    for _ in range(count):
        fields = CENTRAL.unpack_from(listing.ljust(at + CENTRAL.size, b"\0"), at)
        name_length, extra_length, comment_length, disk = fields[10:14]
        name_end = at + CENTRAL.size + name_length
        raw_name = listing[at + CENTRAL.size : name_end]
        at = name_end + extra_length
        if fields[0] != CENTRAL_SIGNATURE or at > len(listing) or comment_length or disk:
            what = "the directory is damaged there, or has a comment or another disk"
            refuse(path, what, "end-record", raw_name.decode("utf-8", "backslashreplace"))
        yield _parse_entry(path, fields, raw_name, listing[name_end:at])
    if at != len(listing):
        refuse(path, f"its directory lists more than the {count} members announced", "end-record")


def _parse_entry(path: Path, fields: tuple[int, ...], raw_name: bytes, extra: bytes) -> _Entry:
    """Return the entry of these fields of CENTRAL."""
    _, _, needed, flags, method, _, _, crc, packed, size = fields[:10]
    try:
        name = raw_name.decode("utf-8" if flags & UTF8_FLAG else "ascii")
    except UnicodeDecodeError:
        what = "the name is not in the encoding that it is marked with, UTF-8 or ASCII"
        refuse(path, what, "bad-encoding", raw_name.decode("utf-8", "backslashreplace"))
    field = _parse_extras(path, name, raw_name, extra).get(ZIP64_EXTRA)
    size, packed, offset = _widen(path, name, (size, packed, fields[16]), field)
    member = Member(
        name=name,
        size=size,
        compressed_size=packed,
        crc=crc,
        method=method,
        offset=offset,
        mode=fields[15] >> 16,
    )
    _check_member(path, member, fields[15] & 0xFF, flags, needed)
    return _Entry(member, raw_name, fields[2:7], field is not None)


def _widen(path: Path, name: str, numbers: Sequence[int], field: bytes | None) -> list[int]:
    """Return the numbers of a header; in the ZIP64 field is only what does not fit (4.5.3)."""
    count = numbers.count(MAX32)
    if (field is None) != (count == 0) or len(field or b"") != 8 * count:
        refuse(path, "its ZIP64 field is not what its sizes ask for", "header-mismatch", name)
    wide = iter(struct.unpack(f"<{count}Q", field or b""))
    return [next(wide) if number == MAX32 else number for number in numbers]


def _parse_extras(path: Path, name: str, raw_name: bytes, raw: bytes) -> dict[int, bytes]:
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
    second = struct.pack("<BL", 1, zlib.crc32(raw_name)) + raw_name
    if fields.get(_UNICODE_NAME_EXTRA, second) != second:
        refuse(path, "has another name in the extra field 0x7075", "header-mismatch", name)
    return fields


def _check_member(path: Path, member: Member, attributes: int, flags: int, needed: int) -> None:
    """Raise InputError unless it is a file or an empty folder, packed as every reader knows."""
    if member.is_folder:
        is_special, kind = member.size > 0, stat.S_IFDIR
    else:
        is_special, kind = bool(attributes & _DOS_VOLUME_OR_FOLDER), stat.S_IFREG
        is_special |= bool(member.mode & _SET_ID_BITS)
    if is_special or stat.S_IFMT(member.mode) not in (0, kind):
        what = f"is no plain file or empty folder (mode {member.mode:o}, {attributes:#x})"
        refuse(path, what, "special-file", member.name)
    is_known = not flags & ~_KNOWN_FLAGS and needed <= ZIP64_VERSION
    if member.method == STORED and member.size:
        # Whoever reads it as a stream cannot know where it ends; uv refuses it as well.
        is_known &= not flags & _DESCRIPTOR_FLAG
    if not is_known or member.method not in (STORED, DEFLATED):
        how = f"flags {flags:#06x}, method {member.method}, version {needed}"
        refuse(path, f"is encrypted, or packed as few know: {how}", "unsupported", member.name)


def _place_members(
    path: Path, file: BinaryIO, entries: list[_Entry], limit: int
) -> tuple[Member, ...]:
    """Return the members, which fill the file from byte 0 to `limit`, in the directory's order."""
    offsets: dict[str, int] = {}
    position = 0
    for entry in sorted(entries, key=lambda entry: entry.member.offset):
        name, start = entry.member.name, entry.member.offset
        if start != position:
            what = f"begins at byte {start:,}, while what lies before it ends at {position:,}"
            refuse(path, what, "layout", name)
        offsets[name], position = _check_local(path, file, entry)
    if position != limit:
        what = f"its members end at byte {position:,}, the directory begins at {limit:,}"
        refuse(path, what, "layout")
    return tuple(replace(entry.member, offset=offsets[entry.member.name]) for entry in entries)


def _check_local(path: Path, file: BinaryIO, entry: _Entry) -> tuple[int, int]:
    """Return where the member's content begins, and where the next member does.

    Its own header is one of those that the directory's entry can stand for.
    """
    member, (needed, *common) = entry.member, entry.common
    header = LOCAL.unpack(_read(file, member.offset, LOCAL.size).ljust(LOCAL.size))
    name_length, extra_length = header[-2:]
    raw_name, extra = file.read(name_length), file.read(extra_length)
    start = file.tell()
    if header[0] != LOCAL_SIGNATURE or raw_name != entry.raw_name:
        refuse(path, "has no header of its name where it is to be", "header-mismatch", member.name)
    field = _parse_extras(path, member.name, raw_name, extra).get(ZIP64_EXTRA)
    is_wide, is_streamed = field is not None, bool(common[0] & _DESCRIPTOR_FLAG)
    # Some streaming writers announce by an empty field that the sizes behind are wide.
    sizes = _widen(path, member.name, header[8:6:-1], field or None if is_streamed else field)
    facts = [(member.crc, member.size, member.compressed_size)]
    facts += [(0, 0, 0)] if is_streamed else []
    # With ZIP64 some name the version in one of the two headers alone.
    one_version = (is_wide or entry.is_wide) and ZIP64_VERSION in {needed, header[1]}
    is_same = header[2:6] == (*common,) and (header[1] == needed or one_version)
    if not is_same or (header[6], *sizes) not in facts:
        what = "its own header is not what the directory says of it"
        refuse(path, what, "header-mismatch", member.name)
    end = start + member.compressed_size
    if is_streamed:
        end += _measure_descriptor(path, member, _read(file, end, 24), is_wide=is_wide)
    return start, end


def _measure_descriptor(path: Path, member: Member, raw: bytes, *, is_wide: bool) -> int:
    """Return the length of the data descriptor that `raw` begins with, signed or not."""
    sizes = member.compressed_size, member.size
    if is_wide or max(sizes) <= MAX32:
        signature = _DESCRIPTOR_SIGNATURE if raw.startswith(_DESCRIPTOR_SIGNATURE) else b""
        expected = signature + struct.pack("<L2Q" if is_wide else "<3L", member.crc, *sizes)
        if raw.startswith(expected):
            return len(expected)
    return refuse(path, "its data descriptor is wrong or absent", "data-descriptor", member.name)
