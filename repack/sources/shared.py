"""The part of the cache that a team shares: files by SHA-256 under a URL, in a bucket mostly.

It saves downloads and is no condition of any: what goes wrong there is a warning, and after the
first the rest of the run does without. Nothing in it is believed; every file is hashed on arrival.
"""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from repack.errors import RepackError
from repack.stores import open_driver

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from repack.console import Progress
    from repack.stores.driver import Driver

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class SharedCache:
    """`files/<sha256>/<filename>` under `url`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._driver: Driver | None = None
        self._given_up = False

    def size(self, sha256: str, filename: str) -> int | None:
        """Return the size of the file, None where it is not there."""
        return self._try(lambda driver: driver.size(_key(sha256, filename)))

    def copy(self, sha256: str, filename: str, stream: BinaryIO, progress: Progress) -> bool:
        """Write the file to `stream`; return whether it is there and right.

        A damaged one is removed, so that nobody else has to fetch it to see that.
        """
        key = _key(sha256, filename)

        def copied(driver: Driver) -> bool:
            digest = hashlib.sha256()
            size = driver.size(key)
            if size is None:
                return False
            with progress.task(f"Taking {filename} from the shared cache", total=size) as task:
                for chunk in driver.chunks(key, task):
                    digest.update(chunk)
                    stream.write(chunk)
            if digest.hexdigest() == sha256:
                return True
            _log.warning("%s was damaged in the shared cache and is fetched anew", driver.url(key))
            driver.delete(key)
            return False

        return self._try(copied) or False

    def offer(self, path: Path, sha256: str, filename: str, progress: Progress) -> None:
        """Put the file there for others, unless it is there."""
        key = _key(sha256, filename)

        def put(driver: Driver) -> None:
            size = path.stat().st_size
            if driver.size(key) == size:
                return
            with progress.task(f"Putting {filename} into the shared cache", unit="steps"):
                driver.upload(key, path)

        self._try(put)

    def _try(self, act: Callable[[Driver], _T]) -> _T | None:
        """Return what `act` does; None after a fault, of this time or an earlier one."""
        if self._given_up:
            return None
        try:
            if self._driver is None:
                self._driver = open_driver(self.url)
            return act(self._driver)
        except (RepackError, FileNotFoundError) as error:
            self._given_up = True
            _log.warning("%s; going on without the shared cache", error)
            return None


def _key(sha256: str, filename: str) -> str:
    return f"files/{sha256}/{filename}"
