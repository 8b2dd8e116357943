"""A member's content, checked while it is read, in constant memory."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import BinaryIO

from zlib_ng import zlib_ng

from repack.console import Task
from repack.files import not_read
from repack.wheel.archive import DEFLATED, Archive, Member
from repack.wheel.names import refuse
from repack.wheel.record import RecordEntry, make_entry

#: Takes a member's content, piece by piece.
Sink = Callable[[bytes], object]

#: In bytes: what the processor's cache holds, inflated.
_PIECE = 1 << 16
_RAW_DEFLATE = -15
# The stub calls the class an instance.
_NOT_DEFLATE: type[Exception] = zlib_ng.error  # type: ignore[assignment]


def read_member(archive: Archive, name: str, *, limit: int = 16 << 20) -> bytes:
    """Return the content of the member `name`, at most `limit` bytes; raises InputError."""
    member = archive.member(name)
    if member is None:
        refuse(archive.path, "is not in the archive", "no-member", name)
    if member.size > limit:
        what = f"has {member.size:,} bytes, more than the {limit:,} that are read"
        refuse(archive.path, what, "too-large", name)
    with archive.open() as file:
        return b"".join(_read_content(file, archive, member))


def hash_members(
    archive: Archive,
    *,
    algorithms: Mapping[str, str] = MappingProxyType({}),
    sink: Callable[[Member], Sink | None] = lambda _: None,
    task: Task | None = None,
) -> Iterator[tuple[str, RecordEntry]]:
    """Yield each file's name and the row that RECORD has to have, once its content proved sound.

    `algorithms` maps members to hash names where it is not sha256. `sink` is asked for each file,
    in the order in which they lie, who takes its content; that may prove wrong at its end. `task`
    advances by bytes of the archive. Raises InputError: bad-data, size-lie, crc.
    """
    files = [member for member in archive.members if not member.directory]
    with archive.open() as file:
        for member in sorted(files, key=lambda member: member.offset):
            algorithm = algorithms.get(member.name, "sha256")
            digest, receive = hashlib.new(algorithm), sink(member)
            for piece in _read_content(file, archive, member):
                digest.update(piece)
                if receive is not None:
                    receive(piece)
            yield member.name, make_entry(digest.digest(), member.size, algorithm)
            if task is not None:
                task.advance(member.compressed_size)


def _read_content(file: BinaryIO, archive: Archive, member: Member) -> Iterator[bytes]:
    """Yield the member's content, never more than it announces."""
    inflater = zlib_ng.decompressobj(_RAW_DEFLATE) if member.method == DEFLATED else None
    crc, left = 0, member.size
    for packed in _read_packed(file, archive, member):
        try:
            # One byte more than announced is enough to know; a bomb makes 1,032 of each byte.
            piece = inflater.decompress(packed, left + 1) if inflater else packed
        except _NOT_DEFLATE:
            refuse(archive.path, "is no DEFLATE data", "bad-data", member.name)
        left -= len(piece)
        if left < 0 or (inflater and inflater.unused_data):
            break
        crc = zlib_ng.crc32(piece, crc)
        yield piece
    if left >= 0 and inflater and not inflater.eof:
        refuse(archive.path, "its DEFLATE data has no end", "bad-data", member.name)
    if left or (inflater and inflater.unused_data):
        what = f"inflates to other than the {member.size:,} bytes announced, or has more behind"
        refuse(archive.path, what, "size-lie", member.name)
    if crc != member.crc:
        what = f"its checksum is {crc:08x}, not {member.crc:08x}: damaged"
        refuse(archive.path, what, "crc", member.name)


def _read_packed(file: BinaryIO, archive: Archive, member: Member) -> Iterator[bytes]:
    """Yield the member's bytes as they lie."""
    left = member.compressed_size
    try:
        file.seek(member.offset)
        while left and (piece := file.read(min(left, _PIECE))):
            left -= len(piece)
            yield piece
    except OSError as error:
        raise not_read(archive.path, error) from error
    if left:
        refuse(archive.path, "the file ends within it", "changed", member.name)
