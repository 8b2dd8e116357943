"""The folder where fetched files are kept, for any number of processes at once."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import filelock
import msgspec
import platformdirs

from repack.console import Progress
from repack.errors import InputError, OutputError, UsageError
from repack.files import Memory, not_written, replace, sha256_of, sweep
from repack.lock import Pin

_log = logging.getLogger(__name__)
#: Seconds that a partial file waits for whoever may go on with it.
_KEPT_FOR = 14 * 86400.0


class Answer(msgspec.Struct, frozen=True):
    """The pin of a source when it was last asked for, and the time of that."""

    pin: Pin
    time: float


@dataclass(frozen=True, slots=True)
class Cache:
    """`files/<sha256>/<filename>`: a file once in it never changes.

    Beside it lie `incoming/` (what has not fully arrived), `answers/` (which file a source was
    last) and `locks/`. The first use in a process hashes the whole file, so that a bad disk is
    seen; `sizes_only` looks at sizes alone, for whoever writes nothing. Where the cache may only
    be read, what it has is used.
    """

    root: Path
    sizes_only: bool = False
    #: Files that were hashed, each as it was then: path, inode, size and time of change.
    verified: set[tuple[object, ...]] = field(default_factory=set, compare=False, repr=False)

    @classmethod
    def default(cls) -> Cache:
        """Return the user's cache: `REPACK_CACHE`, or where the platform keeps such things."""
        folder = os.environ.get("REPACK_CACHE", "")
        if "://" in folder:
            raise UsageError("REPACK_CACHE is a URL: the cache is a folder of this machine")
        if folder:
            return cls(Path(folder).expanduser().absolute())
        return cls(platformdirs.user_cache_path("repack", appauthor=False))

    def folder(self, name: str) -> Path:
        """Return the folder `name` of the cache, made if need be, and if it may be."""
        with wrap_write_errors(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
        # A cache that may only be read; whoever writes there is told.
        with contextlib.suppress(OSError):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        return self.root / name

    def place(self, sha256: str, filename: str) -> Path:
        """Return where the file of that hash and name lies, if it is there."""
        return self.root / "files" / sha256 / filename

    def partial(self, key: str) -> Path:
        """Return where the beginning of the file of the source `key` lies; others are swept."""
        incoming = self.folder("incoming")
        sweep(incoming)
        for path in incoming.glob("*.*"):
            # Another process may be done with it at this moment.
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < time.time() - _KEPT_FOR:
                    path.unlink()
        return incoming / f"{_digest(key)}.part"

    @contextlib.contextmanager
    def lock(self, key: str, progress: Progress) -> Iterator[None]:
        """Keep every other process and thread from doing the same; waits for one that does."""
        path = self.folder("locks") / f"{_digest(key)}.lock"
        lock = filelock.FileLock(path)
        with wrap_write_errors(path):
            try:
                lock.acquire(timeout=0)
            except filelock.Timeout:
                with progress.task("Waiting for another repack that does the same", unit="steps"):
                    lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def find(self, pin: Pin, progress: Progress) -> Path | None:
        """Return the file of `pin`, if it is here; a damaged one is removed."""
        path = self.place(pin.sha256, pin.filename)
        if not path.is_file():
            return None
        stat = path.stat()
        state = (path, stat.st_ino, stat.st_size, stat.st_mtime_ns)
        is_right = stat.st_size == pin.size
        if is_right and not self.sizes_only and state not in self.verified:
            with progress.task(f"Checking {pin.filename}", total=pin.size) as task:
                try:
                    is_right = sha256_of(path, task=task) == pin.sha256
                except (OSError, InputError) as error:
                    _log.warning("%s: %s", path, error)
                    is_right = False
        if is_right:
            self.verified.add(state)
            return path
        _log.warning("%s was damaged in the cache and is fetched anew", path)
        with wrap_write_errors(path):
            path.unlink(missing_ok=True)
        return None

    def add(self, path: Path, sha256: str, filename: str) -> Path:
        """Move the file at `path`, just downloaded, to its place, and return that."""
        destination = self.place(sha256, filename)
        with wrap_write_errors(destination):
            with path.open("rb+") as stream:
                os.fsync(stream.fileno())
            destination.parent.mkdir(parents=True, exist_ok=True)
            replace(path, destination)
        return destination

    def remember(self, pin: Pin) -> None:
        """Keep which file a source was, for `recall`."""
        answer = Answer(pin=pin, time=time.time())
        Memory(self.folder("answers")).keep(_digest(pin.key), msgspec.to_builtins(answer))

    def recall(self, key: str, *, since: float) -> Pin | None:
        """Return which file the source `key` was when it was last asked for, if after `since`."""
        memory = Memory(self.root / "answers")
        answer = memory.recall(_digest(key), lambda value: msgspec.convert(value, Answer))
        return answer.pin if answer and answer.pin.key == key and answer.time >= since else None


@contextlib.contextmanager
def wrap_write_errors(path: Path) -> Iterator[None]:
    """Turn an OSError of the block into an OutputError about `path` in the cache."""
    try:
        yield
    except OSError as error:
        fault = not_written(path, error)
        hint = "let REPACK_CACHE name a folder you may write to"
        if fault.code == "no-space":
            hint = "make room, or let REPACK_CACHE name a folder on a larger disk"
        raise OutputError(fault.what, code=fault.code, file=path, hint=hint) from error


def _digest(key: str) -> str:
    """Return a file name for `key`, whatever its letters."""
    return hashlib.sha256(key.encode()).hexdigest()[:32]
