"""A folder on a disk or a file share as the place of a static index.

No symbolic links, no names that Windows forbids: any file share will do.
"""

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import filelock

from repack import files
from repack.console import Progress
from repack.errors import InputError, OutputError

_LOCK = ".repack.lock"
#: Seconds: who publishes may have to copy gigabytes to a slow share first.
_LONGEST_WAIT = 1800
_CHUNK = 1 << 20


class Folder:
    """The files of a folder, by their paths relative to it.

    All that is made in it may be read and written by whoever may read and write the folder,
    whatever the umask: a web server, the others of a group.
    """

    #: Whether all of a file can be read for little.
    near = True

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self.name = str(self._path)

    def locate(self, key: str) -> str:
        """Return the path of the file."""
        return str(self._path / key)

    def sizes(self) -> Mapping[str, int]:
        """Return the size of every file in the folder and the folders in it, by its key."""
        sizes = {}
        for folder, names, filenames in os.walk(self._path, onerror=_raise_unreadable):
            names[:] = [name for name in names if not name.startswith(".")]
            for path in (Path(folder, name) for name in filenames if not name.startswith(".")):
                with contextlib.suppress(FileNotFoundError):
                    sizes[path.relative_to(self._path).as_posix()] = path.stat().st_size
        return dict(sorted(sizes.items()))

    def read(self, key: str) -> bytes | None:
        """Return the content, None where there is no such file."""
        path = self._path / key
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise files.not_read(path, error) from error

    def sha256(self, key: str) -> str:
        """Return the SHA-256 of the content in hex."""
        return files.sha256_of(self._path / key)

    def write(self, key: str, content: bytes) -> None:
        """Make `content` the content of the file, at once."""
        path = self._make_parent(key)
        with files.replacing(path) as stream:
            stream.write(content)
            self._follow_mode(stream.fileno())

    def update(self, key: str, change: Callable[[bytes | None], bytes]) -> bool:
        """Return whether the content had to be replaced by what `change` makes of it.

        The caller holds the lock.
        """
        before = self.read(key)
        after = change(before)
        if after != before:
            self.write(key, after)
        return after != before

    def put(self, key: str, source: Path, sha256: str) -> None:
        """Make the file a copy of `source`, hashed on the way.

        A link would be cheaper, and change with what it links to: `cp` writes into the old file.
        """
        digest = hashlib.sha256()
        with _open_source(source) as original, files.replacing(self._make_parent(key)) as copy:
            while chunk := original.read(_CHUNK):
                digest.update(chunk)
                copy.write(chunk)
            if digest.hexdigest() != sha256:
                raise changed_source(source, digest.hexdigest(), sha256)
            self._follow_mode(copy.fileno())

    def delete(self, key: str) -> None:
        """Remove the file; it may be gone already."""
        path = self._path / key
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise files.not_written(path, error) from error

    @contextlib.contextmanager
    def hold_lock(self, progress: Progress) -> Iterator[None]:
        """Keep every other process from changing the folder; waits for one that does."""
        path = self._make_parent(_LOCK)
        lock = filelock.FileLock(path, mode=self._mode() & 0o666)
        try:
            _acquire(lock, path, progress)
        except OSError as error:
            raise files.not_written(path, error) from error
        try:
            for folder in (self._path, *self._path.iterdir()):
                if folder.is_dir():
                    files.sweep(folder)
            yield
        finally:
            lock.release()

    def _make_parent(self, key: str) -> Path:
        """Return the path of the file, whose folder is there now."""
        path = self._path / key
        try:
            if not self._path.exists():
                self._path.mkdir(parents=True)
                # As its parent is for its group, and never closed to a web server by a umask.
                parent = self._path.parent.stat().st_mode
                _set_mode(self._path, 0o755 | (parent & 0o2020) | self._mode() & stat.S_ISGID)
            if not path.parent.exists():
                path.parent.mkdir()
                _set_mode(path.parent, self._mode())
        except OSError as error:
            raise files.not_written(path.parent, error) from error
        return path

    def _mode(self) -> int:
        return stat.S_IMODE(self._path.stat().st_mode)

    def _follow_mode(self, descriptor: int) -> None:
        """Let a new file be read and written by whoever may enter and change the folder."""
        # Some mounts (FAT, SMB) keep no modes.
        if hasattr(os, "fchmod"):
            with contextlib.suppress(PermissionError):
                os.fchmod(descriptor, self._mode() & 0o666 | stat.S_IRUSR | stat.S_IWUSR)


def changed_source(source: Path, actual: str, sha256: str) -> InputError:
    """Return the error for a wheel that is written to while it is published."""
    return InputError(
        f"it changed while it was copied: its SHA-256 is {actual}, not {sha256}",
        code="changed",
        file=source,
        hint="publish again, once nobody writes to it",
    )


def _raise_unreadable(error: OSError) -> None:
    """Raise InputError for a folder that cannot be read; a missing one is empty."""
    if not isinstance(error, FileNotFoundError):
        raise files.not_read(Path(error.filename), error) from error


def _set_mode(path: Path, mode: int) -> None:
    with contextlib.suppress(PermissionError):
        path.chmod(mode)


def _open_source(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise files.not_read(path, error) from error


def _acquire(lock: filelock.BaseFileLock, path: Path, progress: Progress) -> None:
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
