"""Files that are there whole or not at all, whatever happens on the way."""

import codecs
import contextlib
import errno
import hashlib
import logging
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec

from repack.console import Task
from repack.errors import InputError, OutputError

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

_CHUNK = 1 << 20
#: What is not finished is `.repack-{process}-{machine}{random}.tmp`.
_TEMPORARY = re.compile(r"\.repack-([0-9]{1,10})-([0-9a-f]{8})[0-9a-f]{8}\.tmp")
_LONGEST_RUN = 24 * 60 * 60  # seconds
#: Windows: an antivirus or indexer holds a new file for moments (ERROR_ACCESS_DENIED,
#: ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION); conan and others retry as well.
_HELD_FOR_MOMENTS = (5, 32, 33)
_PAUSES = (0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28)  # seconds


def not_written(destination: Path, error: OSError) -> OutputError:
    """Return the one-line error for `error`, met while `destination` was written."""
    code, hint = "not-written", "give write permission, or write to another folder"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        code, hint = "no-space", "free some space"
    reason = f"cannot be written: {error.strerror or error}"
    return OutputError(reason, code=code, file=destination, hint=hint)


def not_read(source: Path, error: OSError) -> InputError:
    """Return the one-line error for `error`, met while `source` was read."""
    if isinstance(error, FileNotFoundError):
        return InputError("there is no such file", code="missing-file", file=source)
    reason = f"cannot be read: {error.strerror or error}"
    hint = "give read permission" if isinstance(error, PermissionError) else ""
    return InputError(reason, code="unreadable", file=source, hint=hint)


def decode_text(content: bytes, errors: str = "strict") -> str:
    """Return the text of a file of UTF-8, or of what Windows' editors and PowerShell write.

    They begin it with a byte order mark, which tells UTF-16. Raises UnicodeDecodeError.
    """
    is_utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if is_utf_16 else "utf-8-sig", errors)


@contextlib.contextmanager
def replacing(destination: Path) -> Iterator[BinaryIO]:
    """Give a file to write; it becomes `destination` when the block ends well, else it is gone.

    The bytes are on the disk before the name is. OSErrors, those of the block as well, become
    an OutputError of one line.
    """
    temporary = _name_temporary(destination.parent)
    try:
        with temporary.open("xb+") as file:
            # Whatever the umask; some mounts (FAT, SMB) keep no modes.
            with contextlib.suppress(PermissionError):
                temporary.chmod(0o644)
            yield file
            file.flush()
            os.fsync(file.fileno())
        replace(temporary, destination)
    except OSError as error:
        raise not_written(destination, error) from error
    finally:
        _remove(temporary)


def write(path: Path, content: bytes) -> None:
    """Make `content` the content of the file at once; an equal file is left alone."""
    if not (path.is_file() and path.read_bytes() == content):
        with replacing(path) as file:
            file.write(content)


def replace(temporary: Path, destination: Path) -> None:
    """Rename `temporary`, closed and synced, to `destination`, which it replaces."""
    for pause in (*_PAUSES, None):
        try:
            temporary.replace(destination)
            break
        except OSError as error:
            # Windows refuses for a moment.
            if pause is None or getattr(error, "winerror", None) not in _HELD_FOR_MOMENTS:
                raise not_written(destination, error) from error
            time.sleep(pause)
    # Windows opens no folder, some file systems cannot sync one; the rename is done.
    with contextlib.suppress(OSError):
        descriptor = os.open(destination.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def workspace(folder: Path) -> Iterator[Path]:
    """Give a new folder inside `folder`, removed at the end, by the next run if need be."""
    sweep(folder)
    path = _name_temporary(folder)
    # An interrupt may come as soon as the folder is there.
    try:
        try:
            path.mkdir()
        except OSError as error:
            raise not_written(folder, error) from error
        yield path
    finally:
        _remove(path)


def sweep(folder: Path) -> None:
    """Remove the temporary files and folders in `folder` that a killed process has left."""
    with contextlib.suppress(OSError):
        for path in list(folder.iterdir()):
            match = _TEMPORARY.fullmatch(path.name)
            if match and not _is_in_use(path, int(match[1]), match[2]):
                _remove(path)
                _log.info("removed %s, left by a run that was ended", path)


def _is_in_use(path: Path, process: int, machine: str) -> bool:
    """Return whether somebody may still work at the temporary file or folder `path`.

    Process numbers of another machine or container say nothing here, and on Windows asking for
    one could end it: there, what is older than any run is not in use.
    """
    if machine != _identify_machine() or sys.platform == "win32":
        return path.lstat().st_mtime > time.time() - _LONGEST_RUN
    try:
        os.kill(process, 0)
    except OSError as error:
        return isinstance(error, PermissionError)
    return True


@cache
def _identify_machine() -> str:
    """Return eight digits of this machine, or of this container on it."""
    name = platform.node()
    with contextlib.suppress(OSError):
        name += str(Path("/proc/self/ns/pid").readlink())
    return hashlib.sha256(name.encode()).hexdigest()[:8]


def _name_temporary(folder: Path) -> Path:
    mark = f"{_identify_machine()}{os.urandom(4).hex()}"
    return folder / f".repack-{os.getpid()}-{mark}.tmp"


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):
        path.unlink()


def sha256_of(path: Path, *, task: Task | None = None) -> str:
    """Return the SHA-256 of the file's content in hex; `task` hears of each byte."""
    digest = hashlib.sha256()
    try:
        with path.open("rb", buffering=0) as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                if task is not None:
                    task.advance(len(chunk))
    except OSError as error:
        raise not_read(path, error) from error
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Memory:
    """Values by key, each a JSON file of `folder`; a damaged one counts for none."""

    folder: Path

    def recall(self, key: str, kind: type[_T]) -> _T | None:
        """Return the value of `key`, None where there is none of that kind."""
        try:
            return msgspec.json.decode((self.folder / f"{key}.json").read_bytes(), type=kind)
        except (OSError, ValueError, RecursionError):
            return None

    def keep(self, key: str, value: object) -> None:
        """Remember `value` under `key`, if the folder may be written to and it is text."""
        with contextlib.suppress(OSError, OutputError, UnicodeEncodeError):
            self.folder.mkdir(parents=True, exist_ok=True)
            write(self.folder / f"{key}.json", msgspec.json.encode(value))
