"""Work handed on to another thread, some megabytes behind whoever makes it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar, final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor, Future

_Item = TypeVar("_Item")

#: In bytes, what is handed on at once: waking the other thread for less costs more than it saves.
_BATCH = 1 << 20
#: So many batches may wait, lest the memory fill where the other thread is the slower one.
_MOST_WAITING = 3


@final
class Handing(Generic[_Item]):
    """Has items taken by another thread, one after the other, a batch at a time."""

    def __init__(self, take: Callable[[_Item], object], pool: Executor) -> None:
        """Have each item taken by `take` in a thread of `pool`."""
        self._take = take
        self._pool = pool
        self._batch: list[_Item] = []
        self._size = 0
        self._waiting: deque[Future[None]] = deque()

    def hand_on(self, item: _Item) -> None:
        """Have `item` taken soon; raises what the taking of an earlier one raised."""
        self._batch.append(item)
        self._size += len(item) if isinstance(item, bytes) else 0
        if self._size >= _BATCH:
            self._send()

    def finish(self) -> None:
        """Wait until all was taken."""
        self._send()
        while self._waiting:
            self._waiting.popleft().result()

    def _send(self) -> None:
        if len(self._waiting) == _MOST_WAITING:
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(_take_all, self._take, self._batch))
        self._batch, self._size = [], 0


def _take_all(take: Callable[[_Item], object], batch: Sequence[_Item]) -> None:
    for item in batch:
        take(item)
