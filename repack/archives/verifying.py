"""An archive's content, checked and hashed in one pass."""

from __future__ import annotations

import hashlib
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from isal import isal_zlib

from repack.archives.faults import GET_ANOTHER
from repack.archives.members import DEFLATED, Archive, Member
from repack.errors import InputError
from repack.files import not_read

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import BinaryIO, Protocol

    from repack.progress import Task

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


#: Takes a member's content, piece by piece.
Sink = Callable[[bytes], object]

#: At a time, in bytes: larger pieces fall out of the processor's cache.
_PACKED, _INFLATED = 1 << 16, 1 << 18
_RAW_DEFLATE = -15
_SHARES = 2
#: Below so many bytes, threads cost more than they save.
_WORTH_THREADS = 8 << 20
#: Up to so many bytes, zlib inflates: ISA-L, three times as fast, takes streams with incomplete
#: Huffman codes, which zlib, and so pip, refuses. Neither gives other content than the other.
_STRICTLY = 1 << 20
# The stub calls the class an instance.
_ISAL_ERROR: type[Exception] = isal_zlib.IsalError  # type: ignore[assignment]
_NOT_DEFLATE = (zlib.error, _ISAL_ERROR)


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How much an archive may inflate to, in bytes."""

    #: Whatever the archive's own size: a genuine CUDA wheel has some gigabytes.
    total: int = 64 << 30
    #: Below this, no ratio is looked at; so the rule of the public index.
    floor: int = 64 << 20
    ratio: int = 50


LIMITS = Limits()


def no_sink(member: Member) -> Sink | None:
    """Return None: nobody wants the content of `member`."""
    del member
    return None


def verify(
    archive: Archive,
    *,
    algorithms: Mapping[str, str] | None = None,
    sink: Callable[[Member], Sink | None] = no_sink,
    limits: Limits = LIMITS,
    task: Task | None = None,
) -> dict[str, str]:
    """Return each file's digest in hex; all content was inflated and agrees with the headers.

    `algorithms` maps members to hash names where it is not sha256. `sink` is asked for each file
    who takes its content; what it takes may yet prove wrong at the end. Two threads may ask it at
    once, each for files of its own, one after the other in the order in which they lie. `task`
    advances by bytes of the archive. Raises InputError: bomb, bad-data, size-lie, crc.
    """
    check_limits(archive, limits)
    work = _Work(archive=archive, algorithms=algorithms or {}, sink=sink, task=task)
    with ThreadPoolExecutor(max_workers=_SHARES, thread_name_prefix="verifying") as pool:
        try:
            done = [pool.submit(work.verified, share) for share in _shares(archive.members)]
            outcomes = [each.result() for each in done]
        except BaseException:
            work.stop.set()
            raise
    faults = [each for each in outcomes if isinstance(each, _Found)]
    if faults:
        raise min(faults, key=lambda fault: fault.offset).error
    return {
        name: digest for each in outcomes if isinstance(each, dict) for name, digest in each.items()
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    """What is wrong with the first bad member of a share, and where that lies."""

    offset: int
    error: InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class _Work:
    """What is done with each member."""

    archive: Archive
    algorithms: Mapping[str, str]
    sink: Callable[[Member], Sink | None]
    task: Task | None
    stop: threading.Event = field(default_factory=threading.Event)

    def verified(self, share: Sequence[Member]) -> dict[str, str] | _Found:
        """Return the digests of the files in `share`, or what is wrong with the first bad one."""
        digests: dict[str, str] = {}
        with self.archive.open() as file:
            for member in share:
                try:
                    digest = self._digest(file, member)
                except InputError as error:
                    return _Found(offset=member.offset, error=error)
                if not member.directory:
                    digests[member.name] = digest
        return digests

    def _digest(self, file: BinaryIO, member: Member) -> str:
        digest = hashlib.new(self.algorithms.get(member.name, "sha256"))
        taker = None if member.directory else self.sink(member)
        for chunk in contents(file, self.archive, member):
            digest.update(chunk)
            if taker is not None:
                taker(chunk)
            if self.stop.is_set():
                break
        if self.task is not None:
            self.task.advance(member.compressed_size)
        return digest.hexdigest()


def _shares(members: Sequence[Member]) -> list[list[Member]]:
    """Return the members in as many shares as are worth a thread, each in the order they lie.

    Inflating, checksums and hashes let other threads run: a second one was measured to save a
    quarter of the time. The largest members are dealt first, to whoever has the least.
    """
    if sum(member.size for member in members) < _WORTH_THREADS:
        return [sorted(members, key=lambda member: member.offset)]
    shares: list[list[Member]] = [[] for _ in range(_SHARES)]
    sizes = [0] * _SHARES
    for member in sorted(members, key=lambda member: (-member.size, member.offset)):
        least = sizes.index(min(sizes))
        shares[least].append(member)
        sizes[least] += member.size
    return [sorted(share, key=lambda member: member.offset) for share in shares]


def read_member(archive: Archive, name: str, *, limit: int = 16 << 20) -> bytes:
    """Return the content of the member `name`, at most `limit` bytes; raises InputError."""
    member = archive.member(name)
    if member is None:
        raise InputError("is not in the archive", code="no-member", file=archive.path, member=name)
    if member.size > limit:
        raise _refusal(
            archive, member, "too-large", f"{member.size:,} bytes, more than {limit:,} wanted"
        )
    with archive.open() as file:
        return b"".join(contents(file, archive, member))


def check_limits(archive: Archive, limits: Limits) -> None:
    """Raise InputError bomb if the members say that they inflate to more than `limits` allow."""
    total = sum(member.size for member in archive.members)
    if total > limits.total or total > max(limits.floor, limits.ratio * archive.size):
        raise InputError(
            f"inflates from {archive.size:,} bytes to {total:,}",
            code="bomb",
            file=archive.path,
            hint=GET_ANOTHER,
        )


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
