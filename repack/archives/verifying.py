"""An archive's content, checked and hashed in one pass."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from repack.archives.contents import contents
from repack.archives.faults import GET_ANOTHER
from repack.archives.handing import Handing
from repack.archives.members import Archive, Member
from repack.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Protocol

    from repack.progress import Task

    class _Digest(Protocol):
        """A hash of hashlib's."""

        def update(self, data: bytes, /) -> None:
            """Take more bytes."""

        def hexdigest(self) -> str:
            """Return the hash of all bytes."""


#: Takes a member's content, piece by piece.
Sink = Callable[[bytes], object]
#: Waits for the digests in hex; raises InputError.
Outcome: TypeAlias = "Callable[[], dict[str, str]]"

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
    who takes its content, in the order in which they lie, and in a thread of its own; what is
    taken may yet prove wrong at the end. `task` advances by bytes of the archive. Raises
    InputError: bomb, bad-data, size-lie, crc.
    """
    with verifying(archive, algorithms=algorithms, sink=sink, limits=limits, task=task) as outcome:
        return outcome()


@contextmanager
def verifying(
    archive: Archive,
    *,
    algorithms: Mapping[str, str] | None = None,
    sink: Callable[[Member], Sink | None] = no_sink,
    limits: Limits = LIMITS,
    task: Task | None = None,
) -> Iterator[Outcome]:
    """Do what `verify` does beside the block, which is given what waits for the outcome.

    An error that ends the block ends the work.
    """
    check_limits(archive, limits)
    work = _Work(archive=archive, algorithms=algorithms or {}, sink=sink, task=task)
    if sum(member.size for member in archive.members) < _WORTH_THREADS:
        yield work.in_this_thread
        return
    with ThreadPoolExecutor(max_workers=2, thread_name_prefix="verifying") as pool:
        inflating = pool.submit(work.in_threads, pool)
        try:
            yield inflating.result
        except BaseException:
            work.stop.set()
            raise


@dataclass(frozen=True, kw_only=True, slots=True)
class _Work:
    """What is done with each member."""

    archive: Archive
    algorithms: Mapping[str, str]
    sink: Callable[[Member], Sink | None]
    task: Task | None
    stop: threading.Event = field(default_factory=threading.Event)

    def in_this_thread(self) -> dict[str, str]:
        """Return the digests of all files."""
        hashing = _Hashing(self.algorithms, self.sink)
        self._inflate(hashing.take)
        return hashing.digests()

    def in_threads(self, pool: ThreadPoolExecutor) -> dict[str, str]:
        """Return the digests of all files, which another thread of `pool` hashes.

        Measured: inflating here and everything else there takes three fifths of the time.
        """
        hashing = _Hashing(self.algorithms, self.sink)
        handing = Handing(hashing.take, pool)
        self._inflate(handing.hand_on)
        handing.finish()
        return hashing.digests()

    def _inflate(self, take: Callable[[Member | bytes], object]) -> None:
        """Have each file taken: the member, then its content; folders are checked alone."""
        with self.archive.open() as file:
            for member in sorted(self.archive.members, key=lambda member: member.offset):
                if not member.directory:
                    take(member)
                for piece in contents(file, self.archive, member):
                    take(piece)
                    if self.stop.is_set():
                        return
                if self.task is not None:
                    self.task.advance(member.compressed_size)


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
