"""The folder where fetched files are kept, for any number of processes at once.

Locks are `filelock`'s: kept by the maintainers of tox, used by virtualenv and many more, and
each system's own file locks (flock, LockFileEx) lie beneath, which a killed process lets go.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import platformdirs

from repack.errors import InputError, OutputError, UsageError
from repack.fetch.disk import writing
from repack.files import replace, replacing, sha256_of, sweep
from repack.lock import Pin
from repack.stores import is_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import filelock

    from repack.console import Progress

_log = logging.getLogger(__name__)
_LONGEST_WAIT = 3600.0
#: Seconds that a partial file waits for whoever may go on with it.
_KEPT_FOR = 14 * 86400.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a source was when it was last asked for, and when that was."""

    pin: Pin
    time: float


@dataclass(frozen=True, slots=True)
class Cache:
    """`files/<sha256>/<filename>`: a file once in it never changes.

    Beside it lie `incoming/` (what has not fully arrived), `answers/` (which file a source was
    last) and `locks/`. Every use hashes the whole file: OpenSSL does 1.8 GB a second, so that the
    largest wheel costs under a second, and a stamp of size and time would not see a bad disk.
    `sizes_only` looks at sizes alone, for whoever writes nothing.
    """

    root: Path
    sizes_only: bool = False

    @classmethod
    def default(cls) -> Cache:
        """Return the user's cache: `REPACK_CACHE`, or where the platform keeps such things.

        Raises UsageError where that is a URL.
        """
        named = os.environ.get("REPACK_CACHE", "")
        if is_url(named):
            raise UsageError("REPACK_CACHE is a URL: the cache is a folder of this machine")
        if named:
            return cls(Path(named).expanduser().absolute())
        return cls(platformdirs.user_cache_path("repack", appauthor=False))

    @property
    def incoming(self) -> Path:
        """The folder of partial files."""
        return self.root / "incoming"

    def folder(self, name: str) -> Path:
        """Return the folder `name` of the cache, made if need be, for another room's things."""
        with writing(self.root):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        return self.root / name

    @contextlib.contextmanager
    def lock(self, key: str, progress: Progress) -> Iterator[None]:
        """Keep every other process and thread from doing the same; waits for one that does."""
        path = self.folder("locks") / f"{_digest(key)}.lock"
        import filelock  # noqa: PLC0415 - a build from a file locks nothing

        lock = filelock.FileLock(path)
        with writing(path):
            try:
                lock.acquire(timeout=0)
            except filelock.Timeout:
                self._wait(lock, path, progress)
        try:
            yield
        finally:
            lock.release()

    def _wait(self, lock: filelock.BaseFileLock, path: Path, progress: Progress) -> None:
        import filelock  # noqa: PLC0415 - as above

        with progress.task("Waiting for another repack that fetches the same", unit="steps"):
            try:
                lock.acquire(timeout=_LONGEST_WAIT)
            except filelock.Timeout:
                raise OutputError(
                    f"another process has held this lock for {_LONGEST_WAIT / 60:.0f} minutes",
                    code="locked",
                    file=path,
                    hint="end the repack that hangs",
                ) from None

    def find(self, pin: Pin, progress: Progress) -> Path | None:
        """Return the file that `pin` speaks of, if it is here; one that was damaged is removed."""
        path = self.place(pin.sha256, pin.filename)
        if self.sizes_only and path.is_file() and path.stat().st_size == pin.size:
            return path
        try:
            with progress.task(f"Checking {pin.filename}", total=pin.size) as task:
                right = path.stat().st_size == pin.size and sha256_of(path, task=task) == pin.sha256
        except FileNotFoundError:
            return None
        except (OSError, InputError) as error:
            _log.warning("%s: %s", path, error)
            right = False
        if right:
            return path
        _log.warning("%s was damaged in the cache and is fetched anew", path)
        with writing(path):
            path.unlink(missing_ok=True)
        return None

    def add(self, path: Path, sha256: str, filename: str) -> Path:
        """Move the file at `path`, just downloaded, to its place, and return that."""
        destination = self.place(sha256, filename)
        with writing(destination):
            destination.parent.mkdir(parents=True, exist_ok=True)
            replace(path, destination)
        return destination

    def place(self, sha256: str, filename: str) -> Path:
        """Return where the file of that hash and name lies, if it is there."""
        return self.root / "files" / sha256 / filename

    def remember(self, answer: Answer) -> None:
        """Keep which file a source was, for `recall`."""
        sweep(self.folder("answers"))
        with replacing(self._answer_path(answer.pin.key)) as stream:
            stream.write(msgspec.json.encode(answer))

    def recall(self, key: str) -> Answer | None:
        """Return which file the source `key` was when it was last asked for."""
        try:
            answer = msgspec.json.decode(self._answer_path(key).read_bytes(), type=Answer)
        except (OSError, ValueError):
            return None
        return answer if answer.pin.key == key else None

    def forget_abandoned(self) -> None:
        """Remove what has not fully arrived, and has not got on for two weeks."""
        parts: dict[str, list[Path]] = {}
        for path in self.incoming.glob("*"):
            parts.setdefault(path.stem, []).append(path)
        for paths in parts.values():
            # Another process may be done with one at this moment.
            with contextlib.suppress(OSError):
                if max(path.stat().st_mtime for path in paths) < time.time() - _KEPT_FOR:
                    _remove(paths)

    @contextlib.contextmanager
    def workspace(self, key: str) -> Iterator[Path]:
        """Give an empty folder for the work on `key`, whose lock has to be held.

        One that a killed process left is emptied by whoever works on the same next.
        """
        path = self.folder("incoming") / _digest(key)
        with writing(path):
            if path.exists():
                shutil.rmtree(path)
            path.mkdir()
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def _answer_path(self, key: str) -> Path:
        return self.root / "answers" / f"{_digest(key)}.json"


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
        _log.info("removed %s, which nobody has gone on with", path)


def _digest(key: str) -> str:
    """Return a file name for `key`, whatever its letters."""
    return hashlib.sha256(key.encode()).hexdigest()[:32]
