"""NVIDIA's DLLs at hand: in its wheels, and in directories of a toolkit."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import msgspec
from packaging.utils import parse_wheel_filename

from repack import files
from repack.console import Progress
from repack.dlls import Image, Kind, classify, key_of, read_image
from repack.fetch import Cache, Fetched
from repack.inspect import read_binaries
from repack.wheel import (
    Added,
    Archive,
    Copied,
    Member,
    RecordEntry,
    entry_of,
    open_archive,
    read_member,
)

#: Raise it when something else is remembered of a DLL.
_FORMAT = "4"
_LICENCE_NAMES = ("license", "licence", "eula", "notice")
#: A toolkit's licence lies beside `bin`, or beside what is around that.
_LEVELS = 3
_OF_NVIDIA = {Kind.CUDA, Kind.CUDNN, Kind.DRIVER}


class SuppliedDll(NamedTuple):
    """One DLL of a supplier: `place` is the member of its wheel, or the path of a file.

    `size` and `packed`, the size in the wheel, are in bytes. A file of a directory has no `packed`,
    and no `row` until it is hashed.
    """

    place: str
    size: int
    packed: int | None
    image: Image
    row: RecordEntry | None

    @property
    def name(self) -> str:
        """The name of the file."""
        return PurePath(self.place).name


@dataclass(frozen=True, kw_only=True, slots=True)
class Supplier:
    """A wheel of NVIDIA's, or a directory (`wheel` and `archive` None), with its DLLs by key.

    `origin` is what a person knows it by; `licences` are the places of the licence texts.
    """

    origin: str
    dlls: Mapping[str, SuppliedDll]
    licences: tuple[str, ...]
    wheel: Fetched | None = None
    archive: Archive | None = None

    def entry(self, place: str) -> Copied | Added:
        """Return a member, to be copied as it lies, or a file, to be deflated."""
        if self.archive is None:
            return Added(name=place, content=Path(place), deflate=True)
        return Copied(member=_member(self.archive, place), archive=self.archive)

    def row(self, place: str) -> RecordEntry:
        """Return the row that RECORD has for a DLL or a licence text."""
        known = next((dll.row for dll in self.dlls.values() if dll.place == place), None)
        if known is not None:
            return known
        content = Path(place) if self.archive is None else read_member(self.archive, place)
        return entry_of(content)


def wheel_supplier(fetched: Fetched, cache: Cache, progress: Progress) -> Supplier:
    """Return what a wheel holds; its content is verified, and looked into, once."""
    path = fetched.path
    name, version, _, _ = parse_wheel_filename(path.name)
    memory = files.Memory(cache.folder("catalogues"))
    key = hashlib.sha256(f"{_FORMAT} {fetched.sha256} {path.name}".encode()).hexdigest()
    dlls = memory.recall(key, _parse_catalogue)
    if dlls is None:
        with progress.task(f"Looking into {path.name}", total=None):
            dlls = _look_into(path)
        memory.keep(key, msgspec.to_builtins(dlls))
    archive = open_archive(path)
    return Supplier(
        origin=f"{name} {version}",
        dlls={key_of(dll.name): dll for dll in dlls},
        licences=tuple(filter(_is_licence, archive.names)),
        wheel=fetched,
        archive=archive,
    )


def _parse_catalogue(value: Any) -> list[SuppliedDll]:  # noqa: ANN401 - JSON
    return msgspec.convert(value, list[SuppliedDll])


def _look_into(path: Path) -> list[SuppliedDll]:
    """Return the DLLs of a wheel that agrees with its RECORD."""
    wheel, binaries = read_binaries(path)
    members = {name: _member(wheel.archive, name) for name in binaries.images}
    return [
        SuppliedDll(name, member.size, member.compressed_size, image, wheel.record[name])
        for (name, member), image in zip(members.items(), binaries.images.values(), strict=True)
    ]


def _member(archive: Archive, name: str) -> Member:
    member = archive.member(name)
    if member is None:
        raise ValueError(f"{archive.path} has no {name!r}")
    return member


def directory_supplier(folder: Path) -> Supplier:
    """Return NVIDIA's DLLs in a directory; raises InputError where one is none."""
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".dll")
    except OSError as error:
        raise files.not_read(folder, error) from error
    dlls = {
        key_of(path.name): SuppliedDll(str(path), path.stat().st_size, None, read_image(path), None)
        for path in paths
        if classify(path.name).kind in _OF_NVIDIA
    }
    return Supplier(origin=str(folder), dlls=dlls, licences=_licences_around(folder))


def _is_licence(member: str) -> bool:
    folder, _, name = member.rpartition("/")
    inside = folder.endswith((".dist-info", ".dist-info/licenses"))
    return inside and name.lower().startswith(_LICENCE_NAMES)


def _licences_around(folder: Path) -> tuple[str, ...]:
    """Return the licence files of the toolkit that the directory belongs to, nearest first."""
    for place in (folder, *folder.parents)[:_LEVELS]:
        if paths := tuple(map(str, _licence_files(place))):
            return paths
    return ()


def _licence_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.lower().startswith(_LICENCE_NAMES) and path.is_file():
            yield path
