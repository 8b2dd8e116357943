"""A folder on a disk or a file share.

No symbolic links, no names that Windows forbids: any file share will do. The lock is `filelock`'s,
as in the cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from repack import files
from repack.errors import InputError, OutputError
from repack.stores.store import checked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import filelock

    from repack.console import Progress

_LOCK = ".repack.lock"
#: Seconds: who publishes may have to copy gigabytes to a slow share first.
_LONGEST_WAIT = 1800
_CHUNK = 1 << 20


class LocalStore:
    """The files of a folder, by their paths relative to it."""

    near = True

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder).absolute()

    @property
    def place(self) -> str:
        """The folder's path."""
        return str(self._folder)

    def locate(self, key: str) -> str:
        """Return the path of the file."""
        return str(self._path(key))

    def sizes(self) -> Mapping[str, int]:
        """Return the size of every file in the folder and the folders in it, by its key."""
        return dict(sorted(self._found()))

    def read(self, key: str) -> bytes | None:
        """Return the content, None where there is no such file."""
        path = self._path(key)
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise files.not_read(path, error) from error

    def sha256(self, key: str) -> str:
        """Return the SHA-256 of the content in hex."""
        return files.sha256_of(self._path(key))

    @contextlib.contextmanager
    def local(self, key: str) -> Iterator[Path]:
        """Give the file itself."""
        path = self._path(key)
        if not path.is_file():
            raise InputError("there is no such file", code="missing-file", file=path)
        yield path

    def write(self, key: str, content: bytes) -> None:
        """Make `content` the content of the file, at once."""
        with files.replacing(self._made(key)) as stream:
            stream.write(content)

    def put(self, key: str, source: Path, sha256: str) -> None:
        """Make the file a copy of `source`, hashed on the way.

        A link would be cheaper, and change with what it links to: `cp` writes into the old file.
        """
        digest = hashlib.sha256()
        with _opened(source) as original, files.replacing(self._made(key)) as copy:
            while chunk := original.read(_CHUNK):
                digest.update(chunk)
                copy.write(chunk)
            if digest.hexdigest() != sha256:
                raise InputError(
                    f"it changed while it was copied: SHA-256 {digest.hexdigest()}, not {sha256}",
                    code="changed",
                    file=source,
                    hint="publish again, once nobody writes to it",
                )

    def delete(self, key: str) -> None:
        """Remove the file, and the folder that it was the last one in."""
        path = self._path(key)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise files.not_written(path, error) from error
        if path.parent != self._folder:
            with contextlib.suppress(OSError):
                path.parent.rmdir()

    @contextlib.contextmanager
    def lock(self, progress: Progress) -> Iterator[None]:
        """Keep every other process from changing the folder; waits for one that does."""
        import filelock  # noqa: PLC0415 - only who publishes to a folder locks one

        path = self._made(_LOCK)
        lock = filelock.FileLock(path)
        try:
            _acquire(lock, path, progress)
        except OSError as error:
            raise files.not_written(path, error) from error
        try:
            self._sweep()
            yield
        finally:
            lock.release()

    def _path(self, key: str) -> Path:
        if "\\" in key or ":" in key:  # which Windows would take for another folder or disk
            message = f"{key!r} is no key"
            raise ValueError(message)
        return self._folder.joinpath(*checked(key).split("/"))

    def _made(self, key: str) -> Path:
        """Return the path of the file, whose folder is there now."""
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise files.not_written(path.parent, error) from error
        return path

    def _found(self) -> Iterator[tuple[str, int]]:
        for folder, names, found in os.walk(self._folder):
            names[:] = [name for name in names if not name.startswith(".")]
            for name in found:
                path = Path(folder, name)
                if not name.startswith(".") and path.is_file():
                    yield path.relative_to(self._folder).as_posix(), path.stat().st_size

    def _sweep(self) -> None:
        files.sweep(self._folder)
        for folder in self._folder.iterdir():
            if folder.is_dir():
                files.sweep(folder)


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise files.not_read(path, error) from error


def _acquire(lock: filelock.BaseFileLock, path: Path, progress: Progress) -> None:
    import filelock  # noqa: PLC0415 - as above

    with contextlib.suppress(filelock.Timeout):
        lock.acquire(timeout=0)
        return
    with progress.task("Waiting for another repack that publishes there", unit="steps"):
        try:
            lock.acquire(timeout=_LONGEST_WAIT)
        except filelock.Timeout:
            raise OutputError(
                f"another process has held this lock for {_LONGEST_WAIT // 60} minutes",
                code="locked",
                file=path,
                hint="end the repack that hangs",
            ) from None
