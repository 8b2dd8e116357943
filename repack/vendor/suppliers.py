"""Where the DLLs to be vendored come from, and what is in each place: wheels and directories.

What a look into a gigabyte of DLLs has told is kept in the cache: a wheel of the same hash, and a
file of the same size and time, are not looked into again.
"""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from packaging.utils import parse_wheel_filename

from repack import files
from repack.dlls import Image, Kind, classify, key_of, read_exports, read_image
from repack.vendor.looking import Looks
from repack.wheel import (
    Added,
    Archive,
    Copied,
    RecordEntry,
    entry_of,
    open_archive,
    read_member,
    read_wheel,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from repack.console import Progress
    from repack.fetch import Cache, Fetched

#: Raise it when something else is told of a DLL.
_FORMAT = "1"
_LICENCE_NAMES = ("license", "licence", "eula", "notice")
#: A toolkit's licence lies beside `bin`, or beside what is around that.
_LEVELS = 3
_OF_NVIDIA = {Kind.CUDA, Kind.CUDNN, Kind.DRIVER}


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One DLL of a supplier: a member of its wheel, or a file of its directory.

    `packed` is its size in the wheel, None for a file; both in bytes. `row` is None for a file
    that nobody has read yet.
    """

    name: str
    place: str
    size: int
    packed: int | None
    image: Image
    exports: tuple[str, ...]
    row: RecordEntry | None

    @property
    def key(self) -> str:
        """The name as Windows compares it."""
        return key_of(self.name)


@dataclass(frozen=True, kw_only=True, slots=True)
class Supplier:
    """A wheel of NVIDIA's, or a directory, with the DLLs in it.

    `origin` is what a person knows it by; `version`, `url`, `sha256` and `archive` are a wheel's.
    `licences` are the members or files with the terms that its DLLs come under.
    """

    origin: str
    parts: Mapping[str, Part]
    licences: tuple[str, ...]
    filename: str = ""
    version: str = ""
    url: str = ""
    sha256: str = ""
    archive: Archive | None = None

    def entry(self, place: str) -> Copied | Added:
        """Return a member, or a file, as what is to be written into another wheel."""
        if self.archive is None:
            return Added(name=place, content=Path(place), deflate=True)
        member = self.archive.member(place)
        if member is None:
            raise ValueError(f"{self.origin} has no {place!r}")
        return Copied(member=member, archive=self.archive)

    def read(self, place: str) -> bytes:
        """Return the content of a member, or a file, that is small."""
        if self.archive is None:
            try:
                return Path(place).read_bytes()
            except OSError as error:
                raise files.not_read(Path(place), error) from error
        return read_member(self.archive, place)


def wheel_supplier(fetched: Fetched, cache: Cache, progress: Progress) -> Supplier:
    """Return what the wheel holds; it is checked wholly, against its own RECORD, once."""
    path = fetched.path
    name, version, _, _ = parse_wheel_filename(path.name)

    def look() -> dict[str, Any]:
        with progress.task(f"Looking into {path.name}", total=None):
            return _look_into(path, cache.folder("catalogues"))

    told = _remembered(cache, f"{fetched.sha256} {path.name}", look)
    archive = open_archive(path)
    parts = (_part(each, archive) for each in told["dlls"])
    return Supplier(
        origin=f"{name} {version}",
        parts={part.key: part for part in parts},
        licences=tuple(filter(_is_licence, archive.names)),
        filename=path.name,
        version=str(version),
        url=fetched.url,
        sha256=fetched.sha256,
        archive=archive,
    )


def folder_supplier(folder: Path, cache: Cache) -> Supplier:
    """Return what NVIDIA's DLLs in the directory are; raises InputError where one is none."""
    try:
        found = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".dll")
    except OSError as error:
        raise files.not_read(folder, error) from error
    known = (path for path in found if classify(path.name).kind in _OF_NVIDIA)
    parts = (_file_part(path, cache) for path in known)
    return Supplier(
        origin=str(folder),
        parts={part.key: part for part in parts},
        licences=_licences_around(folder),
    )


def row_of(part: Part, cache: Cache) -> RecordEntry:
    """Return the DLL's row for RECORD; a file is read for it once."""
    if part.row is not None:
        return part.row
    path = Path(part.place)
    told = _remembered(cache, f"{_identity(path)} row", lambda: asdict(entry_of(path)))
    return RecordEntry(**told)


def _look_into(path: Path, folder: Path) -> dict[str, Any]:
    files.sweep(folder)
    with files.workspace(folder) as place, closing(Looks(path, place)) as looks:
        wheel = read_wheel(path, sink=looks.sink)
        found = looks.found(wheel.archive)
    return {
        "dlls": [
            {
                "place": name,
                "image": asdict(looked.image),
                "exports": looked.exports,
                "row": asdict(wheel.record[name]),
            }
            for name, looked in found.items()
        ]
    }


def _part(told: Mapping[str, Any], archive: Archive) -> Part:
    member = archive.member(told["place"])
    if member is None:
        raise ValueError(f"{archive.path} has no {told['place']!r}")
    return Part(
        name=PurePosixPath(member.name).name,
        place=member.name,
        size=member.size,
        packed=member.compressed_size,
        image=Image.from_parts(told["image"]),
        exports=tuple(told["exports"]),
        row=RecordEntry(**told["row"]),
    )


def _file_part(path: Path, cache: Cache) -> Part:
    def look() -> dict[str, Any]:
        image = read_image(path, name="", file=path)
        return {"image": asdict(image), "exports": read_exports(path)}

    told = _remembered(cache, _identity(path), look)
    return Part(
        name=path.name,
        place=str(path),
        size=path.stat().st_size,
        packed=None,
        image=Image.from_parts(told["image"]),
        exports=tuple(told["exports"]),
        row=None,
    )


def _identity(path: Path) -> str:
    try:
        found = path.stat()
    except OSError as error:
        raise files.not_read(path, error) from error
    return f"{path} {found.st_size} {found.st_mtime_ns}"


def _remembered(cache: Cache, key: str, look: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what an earlier look has told of `key`, or that of a look now."""
    digest = hashlib.sha256(f"{_FORMAT} {key}".encode()).hexdigest()
    memory = files.Memory(cache.folder("catalogues"))
    told = memory.recall(digest[:32], dict[str, Any])
    if told is None:
        told = look()
        memory.keep(digest[:32], told)
    return told


def _is_licence(member: str) -> bool:
    folder, _, name = member.rpartition("/")
    inside = folder.endswith((".dist-info", ".dist-info/licenses"))
    return inside and name.lower().startswith(_LICENCE_NAMES)


def _licences_around(folder: Path) -> tuple[str, ...]:
    """Return the licence files of the toolkit that the directory belongs to, nearest first."""
    for place in (folder, *folder.parents)[:_LEVELS]:
        if found := tuple(_licence_files(place)):
            return found
    return ()


def _licence_files(folder: Path) -> Iterator[str]:
    try:
        found = sorted(folder.iterdir())
    except OSError:
        return
    for path in found:
        if path.name.lower().startswith(_LICENCE_NAMES) and path.is_file():
            yield str(path)
