"""Fetches files for the steps of a build, each once, and pins them in the lock."""

import threading
from pathlib import Path

from repack import fetch
from repack.config import IndexSource
from repack.console import Progress
from repack.errors import FetchError
from repack.fetch import Cache, Fetchable, Fetched, Listing
from repack.lock import Lock, Pin, difference, read_lock, write_lock

#: NVIDIA's wheels hold no Python and are the same for each.
_ANY_PYTHON = "3.12"


class Supply:
    """Fetches files as the lock pins them, and collects the pins of new ones.

    `update` asks anew for everything that the lock pins. Safe for several threads.
    """

    def __init__(
        self, cache: Cache, lock: Path, *, offline: bool, update: bool, progress: Progress
    ) -> None:
        """Read the pins of the file `lock`; a file that is not there pins nothing."""
        self.cache = cache
        self.offline = offline
        self.progress = progress
        self._path = lock
        self._before = read_lock(lock)
        self._obeyed = Lock() if update else self._before
        self._kept = self._obeyed
        self._now = self._before
        self._update = update
        self._turn = threading.Lock()

    def fetch(self, source: Fetchable, *, pinned: bool = True) -> Fetched:
        """Return the file that `source` names; `pinned` False takes it as it is, this once."""
        fetched = fetch.fetch(
            source,
            lock=self._obeyed if pinned else None,
            cache=self.cache,
            offline=self.offline,
            progress=self.progress,
        )
        if pinned:
            self._pin(fetched.pin)
        return fetched

    def wheel(self, requirement: str, python: str) -> Fetched:
        """Return the index's wheel for `requirement` on one Windows Python."""
        return self.fetch(IndexSource(requirement=requirement, python=python))

    def list_wheel(self, requirement: str, platform: str) -> Listing | None:
        """Return which files the index's wheel for `requirement` holds; None for not known."""
        listing = fetch.list_wheel(
            IndexSource(requirement=requirement, python=_ANY_PYTHON, platform=platform),
            lock=self._obeyed,
            cache=self.cache,
            offline=self.offline,
            progress=self.progress,
        )
        if listing is not None and listing.pin is not None:
            self._pin(listing.pin)
        return listing

    def _pin(self, pin: Pin) -> None:
        with self._turn:
            self._now = self._now.with_pin(pin)
            self._obeyed = self._obeyed.with_pin(pin)

    @property
    def pins(self) -> tuple[Pin, ...]:
        """What the lock pinned before anything was fetched, or when it was last written."""
        return self._before.pins

    def keep(self) -> tuple[str, ...]:
        """Write what is new into the lock, and return what changed since the last time, as lines.

        What another process has pinned meanwhile stays. Raises FetchError where it has pinned one
        of these as another file.
        """
        with self._turn:
            changes = difference(self._before, self._now)
            if changes:
                with self.cache.lock(f"pins of {self._path.absolute()}", self.progress):
                    write_lock(self._path, self._with_news(read_lock(self._path)))
            self._before, self._kept = self._now, self._obeyed
        return changes

    def forget(self) -> None:
        """Drop the pins since the last `keep`: a build that failed pins nothing."""
        with self._turn:
            self._now, self._obeyed = self._before, self._kept

    def _with_news(self, there: Lock) -> Lock:
        """Return the pins of the lock file and the new ones."""
        for pin in self._now.pins:
            if pin == self._before.pin(pin.key):
                continue
            theirs = there.pin(pin.key)
            if not self._update and theirs is not None and theirs.sha256 != pin.sha256:
                raise FetchError(
                    f"{pin.key} was fetched as {pin.filename} with SHA-256 {pin.sha256}, and "
                    f"another build has pinned {theirs.filename} with {theirs.sha256} meanwhile",
                    code="lock",
                    file=self._path,
                    hint="build again: it takes what is pinned",
                )
            there = there.with_pin(pin)
        return there
