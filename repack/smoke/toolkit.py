"""NVIDIA's DLLs out of their wheels, laid out as a toolkit's `bin` is."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from repack.archives import open_archive, verify
from repack.files import link_or_copy, replace, sweep, workspace

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from repack.archives import Member, Sink
    from repack.progress import Progress
    from repack.sources import Cache, Fetched


def toolkit_of(wheels: Sequence[Fetched], cache: Cache, progress: Progress) -> Path:
    """Return a folder with the DLLs of all `wheels`, unpacked once and kept in the cache.

    A wheel's layout does not matter (`nvidia/npp/bin`, `nvidia/cu13/bin/x86_64`): its DLLs do.
    """
    digest = hashlib.sha256("\n".join(sorted(wheel.sha256 for wheel in wheels)).encode())
    parent = cache.folder("toolkits")
    folder = parent / digest.hexdigest()[:32] / "bin"
    if folder.is_dir():
        return folder
    with cache.lock(f"toolkit {folder}", progress):
        if folder.is_dir():
            return folder
        sweep(parent)
        with workspace(parent) as place:
            (place / "bin").mkdir()
            for wheel in wheels:
                for dll in _unpacked(wheel, cache, progress).iterdir():
                    link_or_copy(dll, place / "bin" / dll.name)
            folder.parent.mkdir(exist_ok=True)
            replace(place / "bin", folder)
    return folder


def _unpacked(wheel: Fetched, cache: Cache, progress: Progress) -> Path:
    """Return the folder of one wheel's DLLs."""
    parent = cache.folder("dlls")
    folder = parent / wheel.sha256
    if folder.is_dir():
        return folder
    with cache.lock(f"dlls {wheel.sha256}", progress):
        if folder.is_dir():
            return folder
        sweep(parent)
        with workspace(parent) as place:
            (place / "dlls").mkdir()
            _unpack(wheel.path, place / "dlls", progress)
            replace(place / "dlls", folder)
    return folder


def _unpack(path: Path, folder: Path, progress: Progress) -> None:
    """Write the DLLs of a wheel into `folder`; nothing else in it is written anywhere."""
    archive = open_archive(path)
    dlls = {member.name for member in archive.members if _is_dll(member)}
    size = sum(member.size for member in archive.members)
    with ExitStack() as files, progress.task(f"Unpacking {path.name}", total=size) as task:

        def sink(member: Member) -> Sink | None:
            task.advance(member.size)
            if member.name not in dlls:
                return None
            stream = files.enter_context((folder / PurePosixPath(member.name).name).open("wb"))

            def write(content: bytes) -> None:
                stream.write(content)

            return write

        verify(archive, sink=sink)


def _is_dll(member: Member) -> bool:
    return not member.directory and member.name.lower().endswith(".dll")
