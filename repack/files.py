"""Files that are there whole or not at all, whatever happens on the way."""

import contextlib
import errno
import hashlib
import json
import logging
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from repack.console import Task
from repack.errors import InputError, OutputError

if sys.platform != "win32":
    import fcntl

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

_CHUNK = 1 << 20

#: Temporary files, and folders that others make, are `.{name}.{pid}-{random}.tmp`.
_TEMPORARY = re.compile(r"\..+\.(?P<pid>[0-9]{1,10})-[0-9a-f]{8,32}\.tmp")
#: A file name may have 255 bytes; the temporary one is longer than the one it stands for.
_NAME_KEPT = 100
#: Windows: an antivirus or indexer holds a new file for moments (ERROR_ACCESS_DENIED,
#: ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION); conan and others retry as well.
_HELD_FOR_MOMENTS = (5, 32, 33)
_RETRIES = 8
_FIRST_PAUSE = 0.02
#: Error number -> code, reason and hint.
_REASONS = {
    errno.ENOSPC: ("no-space", "no space left on the disk", "free some space"),
    errno.EDQUOT: ("no-space", "the disk quota is used up", "free some space"),
    errno.EFBIG: ("no-space", "the file would be too large", "raise the limit on file sizes"),
    errno.EROFS: ("read-only", "the file system is read-only", "write to another folder"),
    errno.EACCES: ("no-permission", "permission denied", "give the folder write permission"),
    errno.EPERM: ("no-permission", "not permitted", "give the folder write permission"),
    errno.ENOTDIR: ("not-a-folder", "a part of its path is a file", "write to another folder"),
    errno.EEXIST: ("in-the-way", "a file of that name is in the way", "remove it"),
    errno.EISDIR: ("is-a-folder", "a folder of that name is in the way", "remove it"),
    errno.ENAMETOOLONG: ("name-too-long", "the name is too long", "write to a shorter path"),
    errno.ENOENT: ("no-folder", "the folder does not exist", "make the folder first"),
}


def not_written(destination: Path, error: OSError) -> OutputError:
    """Return the one-line error for `error`, met while `destination` was written."""
    other = f"{error.strerror or error} (error {error.errno})"
    code, reason, hint = _REASONS.get(error.errno or 0, ("not-written", other, "try again"))
    return OutputError(f"cannot be written: {reason}", code=code, file=destination, hint=hint)


def not_read(source: Path, error: OSError) -> InputError:
    """Return the one-line error for `error`, met while `source` was read."""
    if isinstance(error, FileNotFoundError):
        return InputError("there is no such file", code="missing-file", file=source)
    reason = error.strerror or str(error)
    return InputError(f"cannot be read: {reason}", code="unreadable", file=source)


@contextmanager
def replacing(destination: Path) -> Iterator[BinaryIO]:
    """Give a file to write; it becomes `destination` when the block ends well, else it is gone.

    The bytes are on the disk before the name is. OSErrors, those of the block as well, become
    an OutputError of one line.
    """
    try:
        with _make_temporary(destination, _open_new_file) as temporary:
            with temporary.open("wb+") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            _rename(temporary, destination)
    except OSError as error:
        raise not_written(destination, error) from error


def replace(temporary: Path, destination: Path) -> None:
    """Rename `temporary`, closed and synced, to `destination`, which it replaces."""
    try:
        _rename(temporary, destination)
    except OSError as error:
        raise not_written(destination, error) from error


@contextmanager
def workspace(folder: Path) -> Iterator[Path]:
    """Give a new folder inside `folder`, removed at the end; a later sweep does it if need be."""
    with _make_temporary(folder / "work", _open_new_folder) as path:
        yield path


def sweep(folder: Path) -> None:
    """Remove the temporary files, and folders so named, in `folder` whose process is gone."""
    with contextlib.suppress(OSError):
        for path in list(folder.iterdir()):
            match = _TEMPORARY.fullmatch(path.name)
            if match and _remove_abandoned(path, int(match["pid"])):
                _log.info("removed %s, left by a run that was ended", path)


def sha256_of(path: Path, *, task: Task | None = None) -> str:
    """Return the SHA-256 of the file's content in hex; `task` hears of each byte."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_CHUNK))
    try:
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                digest.update(buffer[:count])
                if task is not None:
                    task.advance(count)
    except OSError as error:
        raise not_read(path, error) from error
    return digest.hexdigest()


def link_or_copy(source: Path, destination: Path) -> None:
    """Make `destination` the same file as `source`, or a copy where links cannot be made."""
    temporary = _temporary_name(destination)
    try:
        os.link(source.resolve(), temporary)
    except OSError:
        _copy(source, destination)
        return
    try:
        replace(temporary, destination)
    finally:
        # Two names of one file: POSIX renames nothing and leaves both.
        _remove(temporary)


@dataclass(frozen=True, slots=True)
class Memory:
    """JSON values by key, each a file of `folder`; a damaged one counts for none."""

    folder: Path

    def recall(self, key: str, parse: Callable[[Any], _T]) -> _T | None:
        """Return what `parse` makes of the value of `key`, None where there is none."""
        try:
            return parse(json.loads(self._path(key).read_bytes()))
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return None

    def keep(self, key: str, value: object) -> None:
        """Remember `value` under `key`, if the folder may be written to."""
        with contextlib.suppress(OSError, OutputError):
            self.folder.mkdir(parents=True, exist_ok=True)
            with replacing(self._path(key)) as stream:
                stream.write(json.dumps(value).encode())

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.json"


def _copy(source: Path, destination: Path) -> None:
    try:
        original = source.open("rb")
    except OSError as error:
        raise not_read(source, error) from error
    with original, replacing(destination) as copy:
        shutil.copyfileobj(original, copy, _CHUNK)


def _temporary_name(destination: Path) -> Path:
    kept = destination.name.encode()[:_NAME_KEPT].decode(errors="ignore")
    return destination.with_name(f".{kept}.{os.getpid()}-{os.urandom(6).hex()}.tmp")


@contextmanager
def _make_temporary(destination: Path, open_new: Callable[[Path], int]) -> Iterator[Path]:
    """Give what is new beside `destination`, removed at the end; no sweep takes it before."""
    path, descriptor = _temporary_name(destination), None
    try:
        # An interrupt may come between any two steps.
        while (descriptor := _open_locked(path, open_new)) is None:
            path = _temporary_name(destination)
        yield path
    finally:
        if descriptor is not None:
            os.close(descriptor)
        _remove(path)


def _open_locked(path: Path, open_new: Callable[[Path], int]) -> int | None:
    """Return the descriptor that holds the lock of the new `path`, None where a sweep was faster.

    It may come between making and locking, and take what is new for a leftover.
    """
    descriptor = open_new(path)
    if _lock(descriptor) is not False and path.exists():
        return descriptor
    os.close(descriptor)
    _remove(path)
    return None


def _open_new_file(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    if sys.platform == "win32":
        # An open file could not be renamed there, and nobody locks.
        os.close(descriptor)
        return os.open(os.devnull, os.O_RDONLY)
    # Whatever the umask; some mounts (FAT, SMB) keep no modes.
    with contextlib.suppress(PermissionError):
        os.fchmod(descriptor, 0o644)
    return descriptor


def _open_new_folder(path: Path) -> int:
    try:
        path.mkdir()
    except OSError as error:
        raise not_written(path.parent, error) from error
    try:
        return os.open(path, os.O_RDONLY)
    except OSError:
        # Windows opens no folder. Elsewhere a sweep has removed it, and the caller sees that.
        return os.open(os.devnull, os.O_RDONLY)


def _lock(descriptor: int) -> bool | None:
    """Return whether this process now holds the lock; None where there are no locks.

    The system drops the lock when the process ends, however it ends, and a process number
    that was given to another process meanwhile, or counts in another container, misleads no one.
    """
    is_ours: bool | None = None
    if sys.platform != "win32":
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_ours = True
        except OSError as error:
            is_ours = False if isinstance(error, BlockingIOError) else None
    return is_ours


def _rename(temporary: Path, destination: Path) -> None:
    """Rename, again where Windows refuses for a moment, and sync the folder."""
    for attempt in range(_RETRIES):
        try:
            temporary.replace(destination)
            break
        except OSError as error:
            is_last = attempt == _RETRIES - 1
            if is_last or getattr(error, "winerror", None) not in _HELD_FOR_MOMENTS:
                raise
            time.sleep(_FIRST_PAUSE * 2**attempt)
    if sys.platform != "win32":
        # Some folders cannot be opened, some file systems cannot sync them; the rename is done.
        with contextlib.suppress(OSError):
            descriptor = os.open(destination.parent, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


if sys.platform == "win32":

    def _remove_abandoned(path: Path, process: int) -> bool:
        """Return whether the process that made the file or folder is gone, and that is too."""
        import ctypes  # noqa: PLC0415 - needed on Windows alone

        # os.kill(process, 0) would send Ctrl-C there.
        synchronize, wait_timeout, access_denied = 0x00100000, 0x102, 5
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.OpenProcess.restype = ctypes.c_void_p
        handle = kernel.OpenProcess(synchronize, 0, process)
        if not handle:
            return ctypes.get_last_error() != access_denied and _remove(path)
        is_alive = kernel.WaitForSingleObject(ctypes.c_void_p(handle), 0) == wait_timeout
        kernel.CloseHandle(ctypes.c_void_p(handle))
        return not is_alive and _remove(path)

else:

    def _remove_abandoned(path: Path, process: int) -> bool:
        """Return whether nobody held the lock of the file or folder, and it is gone now."""
        del process  # a lock tells more
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return False
        try:
            # Where there are no locks, nobody knows whose it is.
            return _lock(descriptor) is True and _remove(path)
        finally:
            os.close(descriptor)


def _remove(path: Path) -> bool:
    """Return whether the file or folder is gone."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()
    return not path.exists()
