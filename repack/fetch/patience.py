"""How long, and how often, a fault of the network is borne."""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, TypeVar

from repack.errors import FetchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from repack.console import Task

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")


class PassingFault(Exception):  # noqa: N818 - not an error yet: the next try may succeed
    """Something that may be over in a moment; `pause` is how long the server asks us to wait."""

    def __init__(self, reason: str, *, pause: float | None = None) -> None:
        """Keep what happened."""
        super().__init__(reason)
        self.pause = pause


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """The limits, in seconds where nothing else is said, and the clock they are measured by."""

    tries: int = 6
    """In a row without a new byte: a download that gets on, however slowly, is never given up."""
    first_pause: float = 0.5
    longest_pause: float = 8.0
    longest_retry_after: float = 60.0
    connect: float = 10.0
    read: float = 30.0
    """Between two bytes, not for the whole."""
    answer: float = 900.0
    """For the word on a large file that was sent: the server may be looking through it."""
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random
    """A number from 0 to 1, so that many clients do not come back at the same moment."""
    now: Callable[[], float] = time.time

    def retry_after(self, headers: Mapping[str, str]) -> float | None:
        """Return the wait that a server asks for, in seconds or until an HTTP date; capped."""
        said = headers.get("Retry-After", "").strip()
        if said.isdecimal():
            seconds = float(said)
        else:
            try:
                moment = parsedate_to_datetime(said)
            except (TypeError, ValueError, IndexError):
                return None
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)
            seconds = moment.timestamp() - self.now()
        return min(max(seconds, 0.0), self.longest_retry_after)

    def persist(
        self,
        attempt: Callable[[], _Result],
        *,
        what: str,
        task: Task,
        reached: Callable[[], int] = lambda: 0,
        kept: str = "what has arrived is kept",
    ) -> _Result:
        """Return what `attempt` gives, trying again after each `PassingFault`.

        `reached` is the furthest byte that has arrived; getting further renews the tries. `kept`
        says what another run need not do again.
        """
        failures, furthest = 0, reached()
        while True:
            try:
                return attempt()
            except PassingFault as caught:
                fault = caught
            failures = 1 if reached() > furthest else failures + 1
            furthest = max(furthest, reached())
            if failures >= self.tries:
                raise FetchError(
                    f"{fault}, {self.tries} times in a row",
                    code="network",
                    file=what,
                    hint="look at the connection, HTTPS_PROXY and NO_PROXY, and run again"
                    + (f": {kept}" if kept else ""),
                ) from fault
            pause = self._pause(failures) if fault.pause is None else fault.pause
            _log.info("%s: %s; trying again in %.1f s", what, fault, pause)
            task.describe(f"{fault}; trying again in {pause:.0f} s")
            self.sleep(pause)

    def pauses(self) -> Iterator[float]:
        """Yield the waits between tries, for what a server answers and is not there yet."""
        return (self._pause(failures) for failures in range(1, self.tries))

    def _pause(self, failures: int) -> float:
        """Return the wait before the next try: doubled each time, and never twice the same."""
        longest = min(self.first_pause * 2.0 ** (failures - 1), self.longest_pause)
        return longest * (0.5 + self.jitter() / 2)
