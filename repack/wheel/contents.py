"""A member's content, checked while it is read, in constant memory."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from isal import isal_zlib

from repack.errors import InputError
from repack.files import not_read
from repack.wheel.faults import GET_ANOTHER
from repack.wheel.members import DEFLATED, Archive, Member

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO, Protocol

    class _Inflater(Protocol):
        """What zlib's and ISA-L's inflaters have in common."""

        @property
        def eof(self) -> bool:
            """Whether the end of the data was seen."""

        @property
        def unconsumed_tail(self) -> bytes:
            """What was not looked at because enough came out."""

        def decompress(self, data: bytes, max_length: int, /) -> bytes:
            """Return at most `max_length` bytes."""


#: At a time, in bytes: larger pieces fall out of the processor's cache.
_PACKED, _INFLATED = 1 << 16, 1 << 18
_RAW_DEFLATE = -15
#: Up to so many bytes, zlib inflates: ISA-L, three times as fast, takes streams with incomplete
#: Huffman codes, which zlib, and so pip, refuses. Neither gives other content than the other.
_STRICTLY = 1 << 20
# The stub calls the class an instance.
_ISAL_ERROR: type[Exception] = isal_zlib.IsalError  # type: ignore[assignment]
_NOT_DEFLATE = (zlib.error, _ISAL_ERROR)


def read_member(archive: Archive, name: str, *, limit: int = 16 << 20) -> bytes:
    """Return the content of the member `name`, at most `limit` bytes; raises InputError."""
    member = archive.member(name)
    if member is None:
        raise InputError("is not in the archive", code="no-member", file=archive.path, member=name)
    if member.size > limit:
        raise _refusal(
            archive, member, "too-large", f"{member.size:,} bytes, more than {limit:,} wanted"
        )
    return b"".join(read_pieces(archive, member))


def read_pieces(archive: Archive, member: Member) -> Iterator[bytes]:
    """Yield the member's content piece by piece; raises InputError."""
    with archive.open() as file:
        yield from contents(file, archive, member)


def contents(file: BinaryIO, archive: Archive, member: Member) -> Iterator[bytes]:
    """Yield the member's content, never more than it announces; raises InputError at its end."""
    pieces = _pieces(file, archive, member)
    if member.method == DEFLATED and not (member.directory and not member.compressed_size):
        pieces = _inflated(pieces, archive, member)
    crc = 0
    for piece in pieces:
        crc = isal_zlib.crc32(piece, crc)
        yield piece
    if crc != member.crc:
        raise _refusal(
            archive, member, "crc", f"its checksum is {crc:08x}, not {member.crc:08x}: damaged"
        )


def _pieces(file: BinaryIO, archive: Archive, member: Member) -> Iterator[bytes]:
    """Yield the member's bytes as they lie."""
    left = member.compressed_size
    try:
        file.seek(member.offset)
        while left and (piece := file.read(min(left, _PACKED))):
            left -= len(piece)
            yield piece
    except OSError as error:
        raise not_read(archive.path, error) from error
    if left:
        raise _refusal(archive, member, "changed", "the file ends within it")


def _inflated(pieces: Iterator[bytes], archive: Archive, member: Member) -> Iterator[bytes]:
    strict = member.compressed_size <= _STRICTLY
    inflater = (zlib if strict else isal_zlib).decompressobj(_RAW_DEFLATE)
    left = member.size
    try:
        for packed in pieces:
            for piece in _steps(inflater, packed):
                left -= len(piece)
                if left < 0:
                    raise _lie(archive, member, "inflates to more")
                yield piece
            if inflater.eof:
                break
    except _NOT_DEFLATE:
        raise _refusal(archive, member, "bad-data", "is no DEFLATE data") from None
    if inflater.unused_data or next(pieces, b""):
        raise _refusal(archive, member, "size-lie", "has bytes behind the end of its data")
    if not inflater.eof:
        raise _refusal(archive, member, "bad-data", "its DEFLATE data has no end")
    if left:
        raise _lie(archive, member, "inflates to less")


def _steps(inflater: _Inflater, packed: bytes) -> Iterator[bytes]:
    """Yield what `packed` inflates to, a bounded piece at a time."""
    more = True
    while more and not inflater.eof:
        piece = inflater.decompress(packed, _INFLATED)
        packed = inflater.unconsumed_tail
        more = bool(packed) or len(piece) == _INFLATED
        if piece:
            yield piece


def _lie(archive: Archive, member: Member, what: str) -> InputError:
    return _refusal(archive, member, "size-lie", f"{what} than the {member.size:,} bytes announced")


def _refusal(archive: Archive, member: Member, code: str, what: str) -> InputError:
    return InputError(what, code=code, file=archive.path, member=member.name, hint=GET_ANOTHER)
