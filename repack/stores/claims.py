"""A lock that lies in a bucket: claims, which are objects that their owner renews.

Whoever writes its claim first and then sees no other living one, owns the bucket; of two that see
each other neither does, one withdraws (Dekker's rule; buckets show a new object to all who list
after it was written). So no conditional write is needed, which many stores lack; and a claim's age
is the difference of two times of the store's own clock.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
import uuid
from typing import TYPE_CHECKING

from repack.errors import OutputError, RepackError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from repack.console import Progress
    from repack.stores.driver import Driver

FOLDER = ".repack-claims"
#: Seconds without renewal after which a claim is that of a killed process.
_LIFE = 60.0
_RENEWED_EVERY = 15.0
_LONGEST_WAIT = 1800.0
_PAUSE = 0.5
_AGAIN = "run again: what was written stays, and no page names what was not"


class Claim:
    """This process's claim on the files of one driver."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._key = f"{FOLDER}/{uuid.uuid4().hex}"
        self._stop = threading.Event()
        self._renewed = 0.0

    @contextlib.contextmanager
    def held(self, progress: Progress) -> Iterator[None]:
        """Keep all others away for the block; waits for one that is at work."""
        try:
            if not self._alone():
                with progress.task("Waiting for another repack that publishes there", unit="steps"):
                    self._wait()
            thread = threading.Thread(target=self._renew_often, daemon=True)
            thread.start()
            try:
                yield
            finally:
                self._stop.set()
                thread.join()
        finally:
            # It dies by itself where it cannot be removed; what the block raised is to be seen.
            with contextlib.suppress(RepackError):
                self._driver.delete(self._key)

    def check(self) -> None:
        """Raise where the claim may have been given up for dead: before each write."""
        if self._is_fresh():
            return
        if self._driver.modified(self._key) is None or not self._alone():
            raise OutputError(
                "this process was held up so long that another may have taken its place",
                code="lock-lost",
                file=self._driver.place,
                hint=_AGAIN,
            )

    def _wait(self) -> None:
        end = time.monotonic() + _LONGEST_WAIT
        while time.monotonic() < end:
            time.sleep(_PAUSE * (0.5 + random.random()))  # noqa: S311 - no secret, but a jitter
            if self._alone():
                return
        raise OutputError(
            f"another process has held this lock for {_LONGEST_WAIT / 60:.0f} minutes",
            code="locked",
            file=self._driver.url(FOLDER),
            hint="end the repack that hangs",
        )

    def _alone(self) -> bool:
        """Write the claim and return whether it is the only living one; else one withdraws."""
        now = self._renew()
        others = [key for key in self._driver.sizes(FOLDER) if key != self._key]
        living = [key for key in others if self._lives(key, now)]
        if living and self._key > min(living):
            self._driver.delete(self._key)
        return not living

    def _renew(self) -> float:
        """Write the claim and return when that was by the store's clock."""
        began = time.monotonic()
        self._driver.write(self._key, b"")
        self._renewed = began
        return self._driver.modified(self._key) or 0.0

    def _lives(self, key: str, now: float) -> bool:
        """Return whether that claim is alive; a dead one is removed."""
        then = self._driver.modified(key)
        if then is None:
            return False
        if now - then < _LIFE:
            return True
        self._driver.delete(key)
        return False

    def _renew_often(self) -> None:
        while not self._stop.wait(_RENEWED_EVERY):
            # Whoever writes next checks, and says what is wrong.
            with contextlib.suppress(RepackError):
                if self._is_fresh() and self._driver.modified(self._key) is not None:
                    self._renew()

    def _is_fresh(self) -> bool:
        """Return whether nobody can have given the claim up for dead."""
        return time.monotonic() - self._renewed < _LIFE / 2
