"""An archive's structure, checked whole: one reading, which every installer shares.

What installers, indexes and operating systems are known to disagree on is refused; the cases
are the tests' table `hostile`.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from repack.errors import InputError, shown
from repack.files import not_read
from repack.wheel.ends import LOCAL_SIGNATURE, Directory, find_directory, prefixed
from repack.wheel.faults import GET_ANOTHER, Fault
from repack.wheel.headers import (
    DESCRIPTOR_FLAG,
    LOCAL,
    Listed,
    Local,
    read_listed,
    read_local,
)
from repack.wheel.members import STORED, Archive, Member
from repack.wheel.names import check_collisions
from repack.wheel.rawfile import RawFile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

#: Most extra fields are shorter; a longer one costs a second read.
_EXTRA_GUESS = 64
_NAME_SHOWN = 400
_DESCRIPTOR_SIGNATURE = b"PK\7\x08"


def open_archive(path: Path) -> Archive:
    """Return the archive's members; its structure is right, its content not yet looked at.

    Raises InputError, whose code is a word of the table in the tests (`bad-path`, `overlap`...).
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise InputError(
                "is not a file", code="not-a-file", file=path, hint="name a wheel file"
            )
        with path.open("rb", buffering=0) as stream:
            found = os.fstat(stream.fileno())
            members = _read_members(RawFile(path=path, stream=stream, size=found.st_size))
    except OSError as error:
        raise not_read(path, error) from error
    except Fault as fault:
        raise InputError(
            fault.what,
            code=fault.code,
            file=path,
            member=_shortened(fault.member),
            hint=GET_ANOTHER,
        ) from None
    return Archive(path=path, size=found.st_size, members=members, modified=found.st_mtime_ns)


def _shortened(name: str) -> str:
    """Return a name, which may have 65,535 bytes, so that a line can hold it."""
    return name if len(name) <= _NAME_SHOWN else f"{name[:_NAME_SHOWN]}..."


def _read_members(file: RawFile) -> tuple[Member, ...]:
    directory = find_directory(file)
    listing = _read_directory(file, directory)
    check_collisions(listed.name for listed in listing)
    placed = _place(file, directory, listing)
    return tuple(placed[listed.offset] for listed in listing)


def _read_directory(file: RawFile, directory: Directory) -> list[Listed]:
    raw = file.read(directory.offset, directory.size)
    listing: list[Listed] = []
    at = 0
    while at < len(raw):
        listed, at = read_listed(raw, at)
        listing.append(listed)
    if len(listing) != directory.count:
        raise Fault(
            "end-record",
            f"{len(listing)} members are listed where the end record says {directory.count}",
        )
    return listing


def _place(file: RawFile, directory: Directory, listing: Sequence[Listed]) -> dict[int, Member]:
    """Return the members by the offset of their headers: from byte 0 on, without a gap."""
    for listed in listing:
        _check_place(listed, directory.offset)
    placed: dict[int, Member] = {}
    position = 0
    previous = ""
    for listed in sorted(listing, key=lambda listed: listed.offset):
        raw = file.read(listed.offset, LOCAL.size + len(listed.raw_name) + _EXTRA_GUESS)
        if not raw.startswith(LOCAL_SIGNATURE):
            raise _missing(listed)
        if listed.offset < position:
            raise Fault("overlap", f"lies upon {shown(previous)}", listed.name)
        if listed.offset > position:
            raise _gap(file, position, listed.offset)
        member, position = _placed(file, listed, raw, directory.offset)
        placed[listed.offset] = member
        previous = listed.name
    if position < directory.offset:
        raise _gap(file, position, directory.offset)
    return placed


def _placed(file: RawFile, listed: Listed, raw: bytes, limit: int) -> tuple[Member, int]:
    """Return the member and where it ends, which is not behind `limit`; `raw` begins with it."""
    try:
        local = read_local(_whole_header(file, listed, raw), listed)
        offset = listed.offset + local.length
        end = offset + listed.compressed_size
        length = _descriptor(file, listed, local, end) if listed.flags & DESCRIPTOR_FLAG else 0
        _check_end(listed, end + length, limit)
    except Fault as fault:
        raise Fault(fault.code, fault.what, listed.name) from None
    member = Member(
        name=listed.name,
        size=listed.size,
        compressed_size=listed.compressed_size,
        crc=listed.crc,
        method=listed.method,
        offset=offset,
        mode=listed.mode,
        directory=listed.directory,
        descriptor=length,
    )
    return member, end + length


def _whole_header(file: RawFile, listed: Listed, raw: bytes) -> bytes:
    """Return the member's own header, of which `raw` is the beginning, with nothing behind it."""
    if len(raw) < LOCAL.size:
        return raw
    length = LOCAL.size + sum(LOCAL.unpack_from(raw)[-2:])
    return file.read(listed.offset, length) if length > len(raw) else raw[:length]


def _check_place(listed: Listed, limit: int) -> None:
    """Raise Fault unless a member may begin there, and be so large, before `limit`."""
    if listed.offset + LOCAL.size > limit:
        raise _missing(listed)
    _check_end(listed, listed.offset + LOCAL.size + listed.compressed_size, limit)


def _check_end(listed: Listed, end: int, limit: int) -> None:
    if end > limit:
        code = "zip64" if listed.wide else "overlap"
        raise Fault(code, "reaches into the directory behind the members", listed.name)


def _missing(listed: Listed) -> Fault:
    return Fault("missing-member", "is listed, but not in the archive", listed.name)


def _descriptor(file: RawFile, listed: Listed, local: Local, at: int) -> int:
    """Return the length of the data descriptor at `at`, with or without its signature."""
    width = 8 if local.wide else 4
    values = ((listed.crc, 4), (listed.compressed_size, width), (listed.size, width))
    try:
        expected = b"".join(value.to_bytes(size, "little") for value, size in values)
    except OverflowError:
        raise Fault("data-descriptor", "its data descriptor cannot hold its sizes") from None
    if listed.method == STORED and listed.size:
        # Whoever reads it as a stream cannot know where it ends; uv refuses it as well.
        raise Fault("data-descriptor", "is stored with a data descriptor behind it")
    found = file.read(at, len(expected) + len(_DESCRIPTOR_SIGNATURE))
    if found == _DESCRIPTOR_SIGNATURE + expected:
        return len(found)
    if found.startswith(expected) and not found.startswith(_DESCRIPTOR_SIGNATURE):
        return len(expected)
    raise Fault("data-descriptor", "its data descriptor is wrong or absent")


def _gap(file: RawFile, start: int, end: int) -> Fault:
    """Return what to call the bytes between `start` and `end` that belong to no member."""
    if start == 0 and (fault := prefixed(file, end)).code == "trailing-data":
        return fault
    raw = file.read(start, min(end - start, LOCAL.size))
    if len(raw) == LOCAL.size and raw.startswith(LOCAL_SIGNATURE):
        length = LOCAL.unpack(raw)[-2]
        name = file.read(start + LOCAL.size, length).decode("utf-8", "backslashreplace")
        return Fault("unlisted-member", "is in the archive, but not listed", name)
    return Fault("hidden-data", f"{end - start:,} bytes from {start:,} on belong to no member")
