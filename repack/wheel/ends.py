"""Where an archive's directory is: the end records, ZIP64 or not (APPNOTE 4.3.14 to 4.3.16)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from repack.wheel.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from repack.wheel.rawfile import RawFile

#: Own limits, far beyond any wheel: what they bound is held in memory.
DIRECTORY_LIMIT = 64 << 20
COUNT_LIMIT = 250_000

LOCAL_SIGNATURE = b"PK\3\4"
CENTRAL_SIGNATURE = b"PK\1\2"
END_SIGNATURE = b"PK\5\6"
END64_SIGNATURE = b"PK\6\6"
LOCATOR_SIGNATURE = b"PK\6\7"
END = struct.Struct("<4s4H2LH")
END64 = struct.Struct("<4sQ2H2L4Q")
LOCATOR = struct.Struct("<4sLQL")
MAX16, MAX32 = 0xFFFF, 0xFFFFFFFF
#: Version 4.5 of the format, which ZIP64 needs; nothing here needs a later one.
ZIP64_VERSION = 45
_SNIFFED = 512
#: What servers send in a wheel's place.
_BEGINNINGS = (
    (b"<!doctype html", "HTML"),
    (b"<html", "HTML"),
    (b"<head", "HTML"),
    (b"<body", "HTML"),
    (b"<!--", "HTML"),
    (b"<", "XML"),
    (b"{", "JSON"),
    (b"version https://git-lfs", "a Git LFS pointer"),
    (b"\x1f\x8b", "a gzip file"),
    (b"mz", "a Windows program"),
    (b"\0\0\0\0", "a file never filled"),
)
_BLOCK = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Directory:
    """Where the list of members lies."""

    #: In bytes from the start of the file.
    offset: int
    size: int
    #: How many members it lists.
    count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _End:
    """What an end record says."""

    position: int
    disk: int
    directory_disk: int
    disk_count: int
    count: int
    size: int
    offset: int
    comment: bytes


def find_directory(file: RawFile) -> Directory:
    """Return where the directory is; the end records lie exactly between it and the end.

    Raises Fault: not-a-zip, trailing-data, hidden-data, end-record, zip64.
    """
    end = _find_end(file)
    if end.disk or end.directory_disk or end.disk_count != end.count:
        raise Fault("end-record", "the archive is said to be split over several disks")
    _check_comment(end.comment)
    directory, position = _directory(file, end)
    if directory.size > DIRECTORY_LIMIT or directory.count > COUNT_LIMIT:
        raise Fault("bomb", f"{directory.count:,} members are listed, more than any wheel has")
    if directory.offset + directory.size != position:
        raise _misplaced(file, directory, position)
    return directory


def _find_end(file: RawFile) -> _End:
    tail_offset = max(0, file.size - END.size - MAX16)
    tail = file.read(tail_offset, END.size + MAX16)
    ends = [end for at in _places(tail) if (end := _end_at(tail, at, tail_offset))]
    exact = [end for end in ends if _length_to(end) == file.size]
    if len(exact) > 1:
        raise Fault("trailing-data", "the archive's comment holds an archive")
    if not exact:
        raise _no_end(file, ends)
    return exact[0]


def _places(block: bytes) -> Iterator[int]:
    """Yield where an end record may begin."""
    at = block.find(END_SIGNATURE)
    while at >= 0:
        yield at
        at = block.find(END_SIGNATURE, at + 1)


def _length_to(end: _End) -> int:
    """Return the length in bytes of the file up to and with this record and its comment."""
    return end.position + END.size + len(end.comment)


def _end_at(tail: bytes, at: int, tail_offset: int) -> _End | None:
    """Return the end record at `at`, or None if it would not fit before the end of the file."""
    if at + END.size > len(tail):
        return None
    _, disk, directory_disk, disk_count, count, size, offset, length = END.unpack_from(tail, at)
    comment = tail[at + END.size : at + END.size + length]
    if len(comment) < length:
        return None
    return _End(
        position=tail_offset + at,
        disk=disk,
        directory_disk=directory_disk,
        disk_count=disk_count,
        count=count,
        size=size,
        offset=offset,
        comment=comment,
    )


def _no_end(file: RawFile, ends: list[_End]) -> Fault:
    """Return why the file does not end as an archive does; `ends` are records near its end."""
    head = file.read(0, _SNIFFED)
    if not ends and not head.startswith((LOCAL_SIGNATURE, END_SIGNATURE)):
        return Fault("not-a-zip", f"{_looks_like(head)}, {file.size:,} bytes")
    whole = [end for end in ends if _whole(file, end)] or _find_whole(file)
    if whole:
        excess = file.size - _length_to(whole[-1])
        return Fault("trailing-data", f"{excess:,} bytes follow the end of the archive")
    return Fault(
        "not-a-zip", f"the archive is cut short: it has no end record, {file.size:,} bytes"
    )


def _looks_like(head: bytes) -> str:
    if not head:
        return "is not a ZIP archive but empty"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for beginning, kind in _BEGINNINGS:
        if start.startswith(beginning):
            return f"is not a ZIP archive: looks like {kind}"
    return "is not a ZIP archive"


def _whole(file: RawFile, end: _End) -> bool:
    """Say whether a directory from byte 0 on ends where this record begins."""
    return (
        end.offset + end.size == end.position
        and file.read(end.offset, 4) in (CENTRAL_SIGNATURE, END_SIGNATURE)
    ) or file.read(end.position - LOCATOR.size, 4) == LOCATOR_SIGNATURE


def _find_whole(file: RawFile) -> list[_End]:
    """Return the end records of whole archives, wherever they lie."""
    found = []
    for position in range(0, file.size, _BLOCK):
        block = file.read(position, _BLOCK + END.size + MAX16)
        for at in _places(block):
            end = _end_at(block, at, position) if at < _BLOCK else None
            if end and _whole(file, end):
                found.append(end)
    return found


def _check_comment(comment: bytes) -> None:
    signatures = (LOCAL_SIGNATURE, CENTRAL_SIGNATURE, END_SIGNATURE)
    if any(signature in comment for signature in (*signatures, END64_SIGNATURE)):
        raise Fault("trailing-data", "the archive's comment holds an archive")
    try:
        text = comment.decode()
    except UnicodeDecodeError:
        raise Fault("trailing-data", "the archive's comment is not text") from None
    if not text.replace("\n", "").replace("\r", "").replace("\t", "").isprintable():
        raise Fault("trailing-data", "the archive's comment has invisible characters")


def _directory(file: RawFile, end: _End) -> tuple[Directory, int]:
    """Return the directory and where the first end record begins."""
    position = end.position - LOCATOR.size
    raw = file.read(position, LOCATOR.size) if position >= 0 else b""
    if not raw.startswith(LOCATOR_SIGNATURE):
        if MAX32 in (end.size, end.offset):
            raise Fault("zip64", "the ZIP64 end record is missing")
        return Directory(offset=end.offset, size=end.size, count=end.count), end.position
    _, disk, offset, disks = LOCATOR.unpack(raw)
    if disk or disks != 1:
        raise Fault("zip64", "the ZIP64 locator says that the archive is split over disks")
    directory = _wide_directory(file, offset, position)
    for narrow, wide, limit in (
        (end.count, directory.count, MAX16),
        (end.size, directory.size, MAX32),
        (end.offset, directory.offset, MAX32),
    ):
        if narrow not in (limit, wide):
            raise Fault("zip64", "the end record and the ZIP64 end record contradict each other")
    return directory, offset


def _wide_directory(file: RawFile, offset: int, locator: int) -> Directory:
    """Return what the ZIP64 end record at `offset`, just before the locator, says."""
    raw = file.read(offset, END64.size) if offset + END64.size <= locator else b""
    if not raw.startswith(END64_SIGNATURE):
        raise Fault("zip64", "the ZIP64 locator does not point at the ZIP64 end record")
    _, length, _, needed, disk, directory_disk, disk_count, count, size, start = END64.unpack(raw)
    if length != END64.size - 12 or offset + END64.size != locator:
        raise Fault("zip64", "the ZIP64 end record is not followed by its locator")
    if needed > ZIP64_VERSION:
        raise Fault("version-needed", f"needs version {needed / 10} of the ZIP format")
    if disk or directory_disk or disk_count != count:
        raise Fault("zip64", "the ZIP64 end record says that the archive is split over disks")
    return Directory(offset=start, size=size, count=count)


def _misplaced(file: RawFile, directory: Directory, position: int) -> Fault:
    """Return why the directory does not end where the end records begin."""
    distance = position - directory.offset - directory.size
    stub = (file.read(distance, 4), file.read(directory.offset + distance, 4))
    if distance > 0 and stub == (LOCAL_SIGNATURE, CENTRAL_SIGNATURE):
        return prefixed(file, distance)
    where = f"{abs(distance):,} bytes {'before' if distance > 0 else 'behind'}"
    return Fault("end-record", f"the directory is said to end {where} the end record")


def prefixed(file: RawFile, length: int) -> Fault:
    """Return what to call the `length` bytes before the archive's first member."""
    start = max(0, length - END.size - MAX16)
    before = file.read(start, length - start)
    ends = (_end_at(before, at, start) for at in _places(before))
    if any(end and _length_to(end) == length for end in ends):
        return Fault("trailing-data", "a second archive follows the end of the first")
    return Fault("hidden-data", f"{length:,} bytes lie before the first member")
