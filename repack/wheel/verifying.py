"""An archive's content, checked and hashed in one pass."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from repack.errors import InputError
from repack.wheel.contents import contents
from repack.wheel.faults import GET_ANOTHER
from repack.wheel.handing import Handing
from repack.wheel.members import Archive, Member

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from concurrent.futures import Executor
    from typing import Protocol

    from repack.console import Task

    class _Digest(Protocol):
        """A hash of hashlib's."""

        def update(self, data: bytes, /) -> None:
            """Take more bytes."""

        def hexdigest(self) -> str:
            """Return the hash of all bytes."""


#: Takes a member's content, piece by piece.
Sink = Callable[[bytes], object]

#: So many threads are worth it.
SHARES = 2
#: Below so many bytes, threads cost more than they save.
_WORTH_THREADS = 8 << 20


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
    work = Work(archive=archive, algorithms=algorithms or {}, sink=sink, task=task)
    with (
        ThreadPoolExecutor(max_workers=SHARES, thread_name_prefix="verifying") as pool,
        verifying(work, pool) as outcome,
    ):
        return outcome()


@contextmanager
def verifying(work: Work, pool: Executor) -> Iterator[Callable[[], dict[str, str]]]:
    """Have the work of `verify` done by `pool` beside the block, which is given what waits for it.

    An error that ends the block ends the work.
    """
    try:
        done = [pool.submit(work.verified, share) for share in _shares(work.archive.members)]
        yield lambda: _digests([each.result() for each in done])
    except BaseException:
        work.stop.set()
        raise


def _digests(outcomes: Sequence[dict[str, str] | _Found]) -> dict[str, str]:
    """Return the digests of all shares; raises what is wrong with the first bad member."""
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
class Work:
    """What is done with each member; the parts are those of `verify`."""

    archive: Archive
    algorithms: Mapping[str, str]
    sink: Callable[[Member], Sink | None] = no_sink
    task: Task | None = None
    stop: threading.Event = field(default_factory=threading.Event)

    def verified(self, share: Sequence[Member]) -> dict[str, str] | _Found:
        """Return the digests of the files in `share`, or what is wrong with the first bad one."""
        hashing = _Hashing(self.algorithms, self.sink)
        if len(share) > 1 or share[0].size < _WORTH_THREADS:
            return self._inflated(share, hashing.take) or hashing.digests()
        # The one member that is more than half of all, and inflating it is most of the work.
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="hashing") as pool:
            handing = Handing(hashing.take, pool)
            found = self._inflated(share, handing.hand_on)
            handing.finish()
        return found or hashing.digests()

    def _inflated(
        self, share: Sequence[Member], take: Callable[[Member | bytes], object]
    ) -> _Found | None:
        """Have each file of `share` taken, the member and then its content."""
        with self.archive.open() as file:
            for member in share:
                if not member.directory:
                    take(member)
                try:
                    for piece in contents(file, self.archive, member):
                        take(piece)
                        if self.stop.is_set():
                            return None
                except InputError as error:
                    return _Found(offset=member.offset, error=error)
                if self.task is not None:
                    self.task.advance(member.compressed_size)
        return None


class _Hashing:
    """Hashes the files that are handed over, and passes their content on."""

    def __init__(
        self, algorithms: Mapping[str, str], sink: Callable[[Member], Sink | None]
    ) -> None:
        self._algorithms = algorithms
        self._sink = sink
        self._digests: dict[str, _Digest] = {}
        self._takers: list[Sink] = []

    def take(self, item: Member | bytes) -> None:
        """Begin with a member, or take the next piece of its content."""
        if isinstance(item, Member):
            digest = hashlib.new(self._algorithms.get(item.name, "sha256"))
            taker = self._sink(item)
            self._digests[item.name] = digest
            self._takers = [digest.update] if taker is None else [digest.update, taker]
        else:
            for taker in self._takers:
                taker(item)

    def digests(self) -> dict[str, str]:
        """Return the digests in hex."""
        return {name: digest.hexdigest() for name, digest in self._digests.items()}


def _shares(members: Sequence[Member]) -> list[list[Member]]:
    """Return the members in as many shares as are worth a thread, each in the order they lie.

    Inflating, checksums and hashes let other threads run. The largest members are dealt first, to
    whoever has the least.
    """
    if sum(member.size for member in members) < _WORTH_THREADS:
        return [sorted(members, key=lambda member: member.offset)] if members else []
    shares: list[list[Member]] = [[] for _ in range(SHARES)]
    sizes = [0] * SHARES
    for member in sorted(members, key=lambda member: (-member.size, member.offset)):
        least = sizes.index(min(sizes))
        shares[least].append(member)
        sizes[least] += member.size
    return [sorted(share, key=lambda member: member.offset) for share in shares if share]


def check_limits(archive: Archive, limits: Limits = LIMITS) -> None:
    """Raise InputError bomb if the members say that they inflate to more than `limits` allow."""
    total = sum(member.size for member in archive.members)
    if total > limits.total or total > max(limits.floor, limits.ratio * archive.size):
        raise InputError(
            f"inflates from {archive.size:,} bytes to {total:,}",
            code="bomb",
            file=archive.path,
            hint=GET_ANOTHER,
        )
