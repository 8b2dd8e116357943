"""NVIDIA's DLLs out of their wheels, laid out as a toolkit's `bin` is."""

from __future__ import annotations

import hashlib
import shutil
from contextlib import ExitStack
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from repack.files import link_or_copy, not_written, replace, sweep, workspace
from repack.wheel import open_archive, verify

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from repack.console import Progress
    from repack.fetch import Cache, Fetched
    from repack.wheel import Archive, Member, Sink


def toolkit_of(wheels: Sequence[Fetched], cache: Cache, progress: Progress) -> Path:
    """Return a folder with the DLLs of all `wheels`, unpacked once and kept in the cache.

    A wheel's layout does not matter (`nvidia/npp/bin`, `nvidia/cu13/bin/x86_64`): its DLLs do.
    One that has lost a DLL, or a part of one, since it was made is made anew.
    """
    archives = {wheel.sha256: open_archive(wheel.path) for wheel in wheels}
    digest = hashlib.sha256("\n".join(sorted(archives)).encode()).hexdigest()[:32]
    parent = cache.folder("toolkits")
    folder = parent / digest / "bin"
    wanted = {name: size for each in archives.values() for name, size in _dlls(each).items()}
    if _holds(folder, wanted):
        return folder
    with cache.lock(f"toolkit {folder}", progress):
        if _holds(folder, wanted):
            return folder
        parts = [_unpacked(key, each, cache, progress) for key, each in archives.items()]
        sweep(parent)
        with workspace(parent) as place:
            (place / "bin").mkdir()
            for dll in (dll for part in parts for dll in part.iterdir()):
                link_or_copy(dll, place / "bin" / dll.name)
            _put(place / "bin", folder)
    return folder


def _unpacked(key: str, archive: Archive, cache: Cache, progress: Progress) -> Path:
    """Return the folder of one wheel's DLLs."""
    parent = cache.folder("dlls")
    folder = parent / key
    if _holds(folder, _dlls(archive)):
        return folder
    with cache.lock(f"dlls {key}", progress):
        if _holds(folder, _dlls(archive)):
            return folder
        sweep(parent)
        with workspace(parent) as place:
            (place / "dlls").mkdir()
            _unpack(archive, place / "dlls", progress)
            _put(place / "dlls", folder)
    return folder


def _unpack(archive: Archive, folder: Path, progress: Progress) -> None:
    """Write the DLLs of a wheel into `folder`; nothing else in it is written anywhere."""
    with (
        ExitStack() as files,
        progress.task(f"Unpacking {archive.path.name}", total=archive.size) as task,
    ):

        def sink(member: Member) -> Sink | None:
            if not _is_dll(member):
                return None
            stream = files.enter_context((folder / PurePosixPath(member.name).name).open("wb"))

            def write(content: bytes) -> None:
                stream.write(content)

            return write

        try:
            verify(archive, sink=sink, task=task)
        except OSError as error:
            raise not_written(folder, error) from error


def _put(made: Path, folder: Path) -> None:
    """Move a finished folder to its place, where a damaged one may lie."""
    folder.parent.mkdir(exist_ok=True)
    if folder.exists():
        shutil.rmtree(folder)
    replace(made, folder)


def _holds(folder: Path, sizes: Mapping[str, int]) -> bool:
    """Return whether `folder` has files of these names and sizes."""
    try:
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except OSError:
        return False


def _dlls(archive: Archive) -> dict[str, int]:
    """Return the names of a wheel's DLLs and their sizes."""
    members = filter(_is_dll, archive.members)
    return {PurePosixPath(member.name).name: member.size for member in members}


def _is_dll(member: Member) -> bool:
    return not member.directory and member.name.lower().endswith(".dll")
