"""A file of this machine, taken where it lies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from repack.errors import InputError
from repack.fetch.content import check_any_name, check_archive
from repack.fetch.values import Fetched
from repack.files import sha256_of

if TYPE_CHECKING:
    from pathlib import Path

    from repack.config import FileSource
    from repack.console import Progress
    from repack.fetch.values import Wanted


def read_local(source: FileSource, wanted: Wanted, progress: Progress) -> Fetched:
    """Return the file where it lies, once it was seen to be the wanted one."""
    path = locate(source, wheel=wanted.wheel)
    size = path.stat().st_size
    with progress.task(f"Hashing {path.name}", total=size) as task:
        sha256 = sha256_of(path, task=task)
    wanted.check(size, sha256, file=path)
    return Fetched(path=path, pin=wanted.pinned(path.name, f"file:{path.name}", size, sha256))


def locate(source: FileSource, *, wheel: bool = True) -> Path:
    """Return the file where it lies, whatever its hash; raises where it can be no wheel."""
    path = source.path
    if not path.is_file():
        reason = "is no file" if path.exists() else "there is no such file"
        reason = "is a folder, not a wheel" if path.is_dir() else reason
        raise InputError(reason, code="no-file", file=path, hint="name a wheel file")
    check_any_name(path.name, file=path, wheel=wheel)
    check_archive(path, file=path)
    return path
