"""The folder where fetched files are kept, for any number of processes at once."""

import contextlib
import hashlib
import logging
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

import filelock
import platformdirs

from repack.console import SILENT, Progress
from repack.errors import FetchError, OutputError, UsageError
from repack.files import Memory, not_written, replace, sha256_of, workspace
from repack.lock import Pin

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Cache:
    """`files/<sha256>/<filename>`: a file once in it never changes.

    Beside it lie `incoming/` (what has not fully arrived), `answers/` (which file a source was
    last) and `locks/`. `progress` shows what takes time.
    """

    root: Path
    progress: Progress = SILENT

    @classmethod
    def default(cls, progress: Progress = SILENT) -> Self:
        """Return the user's cache: `REPACK_CACHE`, or where the platform keeps such things."""
        folder = os.environ.get("REPACK_CACHE", "")
        if "://" in folder:
            raise UsageError("REPACK_CACHE is a URL: the cache is a folder of this machine")
        if folder:
            return cls(Path(folder).expanduser().absolute(), progress)
        return cls(platformdirs.user_cache_path("repack", appauthor=False), progress)

    def folder(self, name: str) -> Path:
        """Return the folder `name` of the cache, made if need be, and if it may be."""
        # A build of a file that is here needs no cache; whoever writes there is told.
        with contextlib.suppress(OSError):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        return self.root / name

    @contextlib.contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Keep every other process and thread from doing the same; waits for one that does."""
        path = self.folder("locks") / f"{_digest(key)}.lock"
        lock = filelock.FileLock(path)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            with self.progress.task("Waiting for another repack that does the same", unit="steps"):
                lock.acquire()
        except OSError as error:
            reason = f"cannot be written: {error.strerror}"
            hint = "let REPACK_CACHE name a folder that you may write to"
            raise OutputError(reason, code="cache", file=path, hint=hint) from error
        try:
            yield
        finally:
            lock.release()

    def make_once(self, folder: Path, fill: Callable[[Path], object]) -> Path:
        """Return `folder`, which `fill` has filled, now or before: whole, or it is not there.

        Safe for several processes at once. Raises OutputError.
        """
        if folder.is_dir():
            return folder
        with self.lock(f"folder {folder}"):
            if not folder.is_dir():
                try:
                    folder.parent.mkdir(parents=True, exist_ok=True)
                    with workspace(folder.parent) as place:
                        fill(place)
                        replace(place, folder)
                except OSError as error:
                    raise not_written(folder, error) from error
        return folder

    def place(self, sha256: str, filename: str) -> Path:
        """Return where the file of that hash and name lies, if it is there."""
        return self.root / "files" / sha256 / filename

    def find(self, sha256: str, filename: str) -> Path | None:
        """Return the file, if it is here with its whole content; a damaged one is removed."""
        path = self.place(sha256, filename)
        if not path.is_file():
            return None
        with self.progress.task(f"Checking {filename}", total=path.stat().st_size) as task:
            if sha256_of(path, task=task) == sha256:
                return path
        _log.warning("%s was damaged in the cache and is fetched anew", path)
        path.unlink(missing_ok=True)
        return None

    def partial(self, key: str) -> Path:
        """Return where the beginning of the file of the source `key` lies."""
        return self.folder("incoming") / f"{_digest(key)}.part"

    def add(self, path: Path, sha256: str, filename: str) -> Path:
        """Move the file at `path`, just downloaded, to its place, and return that."""
        destination = self.place(sha256, filename)
        destination.parent.mkdir(parents=True, exist_ok=True)
        with path.open("rb+") as stream:
            os.fsync(stream.fileno())
        replace(path, destination)
        return destination

    def remember(self, pin: Pin) -> None:
        """Keep which file a source was, for `recall`."""
        Memory(self.root / "answers").keep(_digest(pin.key), pin)

    def recall(self, key: str) -> Pin | None:
        """Return which file the source `key` was when it was last asked for."""
        return Memory(self.root / "answers").recall(_digest(key), Pin)


@contextlib.contextmanager
def open_wheel(file: Path | IO[bytes], name: str) -> Iterator[zipfile.ZipFile]:
    """Give the archive of a wheel that came from an index; `name` is what errors call it.

    Raises FetchError where it, or what the block reads of it, is damaged.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            yield archive
    # All that zipfile raises: RuntimeError of what is encrypted or packed in another way,
    # ValueError of a name that is no text.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
        reason, hint = f"is not a whole wheel: {error}", "pin another version, or build it again"
        raise FetchError(reason, code="not-a-wheel", file=name, hint=hint) from None


def _digest(key: str) -> str:
    """Return a file name for `key`, whatever its letters."""
    return hashlib.sha256(key.encode(errors="backslashreplace")).hexdigest()[:32]
