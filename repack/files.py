"""Files that are there whole or not at all, whatever happens on the way."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import re
import shutil
import stat
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from repack.errors import InputError, OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from repack.progress import Task

if sys.platform != "win32":
    import fcntl

_log = logging.getLogger(__name__)

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

_REASONS = {
    errno.ENOSPC: ("no-space", "no space left on the disk", "free some space, or write elsewhere"),
    errno.EDQUOT: ("no-space", "the disk quota is used up", "free some space, or write elsewhere"),
    errno.EFBIG: (
        "no-space",
        "the file would be larger than the system allows",
        "raise the limit on file sizes, or write elsewhere",
    ),
    errno.EROFS: ("read-only", "the file system is read-only", "write to another folder"),
    errno.EACCES: (
        "no-permission",
        "permission denied",
        "give the folder write permission, or write to another one",
    ),
    errno.EPERM: (
        "no-permission",
        "operation not permitted",
        "give the folder write permission, or write to another one",
    ),
    errno.ENOTDIR: (
        "not-a-folder",
        "a part of its path is a file, not a folder",
        "write to another folder",
    ),
    errno.EEXIST: ("in-the-way", "a file of that name is in the way", "remove it"),
    errno.EISDIR: ("is-a-folder", "a folder of that name is in the way", "remove it"),
    errno.ENAMETOOLONG: ("name-too-long", "the name is too long", "write to a shorter path"),
    errno.ENOENT: ("no-folder", "the folder does not exist", "make the folder first"),
}


def not_written(destination: Path, error: OSError) -> OutputError:
    """Return the one-line error for `error`, met while `destination` was written."""
    said = f"{error.strerror or error} (error {error.errno})"
    code, reason, hint = _REASONS.get(error.errno or 0, ("not-written", said, "try again"))
    return OutputError(f"cannot be written: {reason}", code=code, file=destination, hint=hint)


def not_read(source: Path, error: OSError) -> InputError:
    """Return the one-line error for `error`, met while `source` was read."""
    if isinstance(error, FileNotFoundError):
        return InputError("there is no such file", code="missing-file", file=source)
    reason = error.strerror or str(error)
    return InputError(f"cannot be read: {reason}", code="unreadable", file=source)


@contextmanager
def replacing(destination: Path, *, mode: int = 0o644) -> Iterator[BinaryIO]:
    """Give a file to write; it becomes `destination` when the block ends well, else it is gone.

    The bytes are on the disk before the name is. OSErrors, those of the block as well, become
    an OutputError of one line.
    """
    temporary: Path | None = None
    try:
        temporary, file = _new_temporary(destination)
        with file:
            _set_mode(file.fileno(), mode)
            yield file
            file.flush()
            os.fsync(file.fileno())
            if sys.platform != "win32":
                # Still locked: no sweep can come between.
                _rename(temporary, destination)
        if sys.platform == "win32":
            _rename(temporary, destination)
        temporary = None
    except OSError as error:
        raise not_written(destination, error) from error
    finally:
        if temporary is not None:
            _remove(temporary)


def replace(temporary: Path, destination: Path) -> None:
    """Rename `temporary`, closed and synced, to `destination`, which it replaces."""
    try:
        _rename(temporary, destination)
    except OSError as error:
        raise not_written(destination, error) from error


@contextmanager
def workspace(folder: Path) -> Iterator[Path]:
    """Give a new folder inside `folder`, removed at the end; a later sweep does it if need be."""
    path = _temporary_name(folder / "work")
    lock: int | None = None
    try:
        # An interrupt may come between any two steps.
        while (lock := _new_locked_folder(path)) is None:
            path = _temporary_name(folder / "work")
        yield path
    finally:
        if lock is not None and lock >= 0:
            os.close(lock)
        shutil.rmtree(path, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove the temporary files, and folders so named, in `folder` whose process is gone."""
    try:
        leftovers = [path for path in folder.iterdir() if _TEMPORARY.fullmatch(path.name)]
    except OSError:
        return
    for path in leftovers:
        if _abandoned(path):
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


def _new_temporary(destination: Path) -> tuple[Path, BinaryIO]:
    """Return a new, locked file beside `destination`."""
    while True:
        path = _temporary_name(destination)
        file = path.open("xb+")
        if _locked(file.fileno()) and path.exists():
            return path, file
        # A sweep came between the two calls and took it for a leftover.
        file.close()
        _remove(path)


def _new_locked_folder(path: Path) -> int | None:
    """Return the descriptor that holds the lock of the new folder `path`; -1 on Windows.

    None where a sweep came between two steps and took it for a leftover.
    """
    try:
        path.mkdir()
        if sys.platform == "win32":
            return -1
        lock = os.open(path, os.O_RDONLY)
    except FileNotFoundError as error:
        if path.parent.is_dir():
            return None
        raise not_written(path.parent, error) from error
    except OSError as error:
        raise not_written(path.parent, error) from error
    if _locked(lock) and path.exists():
        return lock
    os.close(lock)
    return None


def _rename(temporary: Path, destination: Path) -> None:
    _replace_patiently(temporary, destination)
    if sys.platform != "win32":
        _sync_folder(destination.parent)


def _replace_patiently(temporary: Path, destination: Path) -> None:
    pause = _FIRST_PAUSE
    for _ in range(_RETRIES):
        try:
            temporary.replace(destination)
        except OSError as error:
            if getattr(error, "winerror", None) not in _HELD_FOR_MOMENTS:
                raise
            time.sleep(pause)
            pause *= 2
        else:
            return
    temporary.replace(destination)


def _sync_folder(folder: Path) -> None:
    # Some folders cannot be opened, some file systems cannot sync them; the rename is done.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _set_mode(descriptor: int, mode: int) -> None:
    if sys.platform != "win32":
        # Some mounts (FAT, SMB) keep no modes.
        with contextlib.suppress(PermissionError):
            os.fchmod(descriptor, mode)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _locked(descriptor: int) -> bool:
    """Say whether this process now holds the lock; True also where there are no locks.

    The system drops the lock when the process ends, however it ends, and a process number
    that was given to another process meanwhile, or counts in another container, misleads no one.
    """
    if sys.platform != "win32":
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return True
    return True


def _abandoned(path: Path) -> bool:
    """Say whether the temporary file or folder was nobody's and is removed now."""
    if sys.platform == "win32":
        # An open file cannot be removed there; a closed one about to be renamed is kept.
        return not _process_lives(path) and _removed(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        mode = os.fstat(descriptor).st_mode
        return (
            (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
            and _unclaimed(descriptor, path)
            and _removed(path)
        )
    finally:
        os.close(descriptor)


def _unclaimed(descriptor: int, path: Path) -> bool:
    """Say whether no process holds the lock; the process number decides where there are none."""
    if sys.platform != "win32":
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return not _process_lives(path)
    return True


def _process_lives(path: Path) -> bool:
    """Say whether there is a process of the number in the temporary file's name."""
    found = _TEMPORARY.fullmatch(path.name)
    pid = int(found["pid"]) if found else 0
    if sys.platform == "win32":
        return _windows_process_lives(pid)
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


if sys.platform == "win32":

    def _windows_process_lives(pid: int) -> bool:
        # os.kill(pid, 0) would send Ctrl-C there.
        import ctypes  # noqa: PLC0415 - needed on Windows alone

        synchronize, wait_timeout = 0x00100000, 0x102
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.OpenProcess.restype = ctypes.c_void_p
        handle = kernel.OpenProcess(synchronize, 0, pid)
        if not handle:
            access_denied = 5
            return ctypes.get_last_error() == access_denied
        try:
            return bool(kernel.WaitForSingleObject(ctypes.c_void_p(handle), 0) == wait_timeout)
        finally:
            kernel.CloseHandle(ctypes.c_void_p(handle))


def _removed(path: Path) -> bool:
    try:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError:
        return False
    return True
