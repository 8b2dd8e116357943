"""NVIDIA's DLLs at hand: in directories of a toolkit, and in its wheels."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

from repack.dlls.families import Kind, classify
from repack.dlls.pe import Image, read_image
from repack.fetch import Fetched, Supply
from repack.files import Memory, not_read
from repack.inspect.binaries import read_binaries
from repack.wheel.metadata import entry_of
from repack.wheel.reader import Wheel
from repack.wheel.writer import Added, Carried, Copied

_OF_NVIDIA = {Kind.CUDA, Kind.CUDNN, Kind.DRIVER}
#: NVIDIA's wheels hold no Python and are the same for each.
_ANY_PYTHON = "3.12"
_LICENCE_NAMES = ("license", "licence", "eula", "notice")
#: A toolkit's licence lies beside `bin`, or beside what is around that.
_LEVELS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Supplier:
    """A directory, or a wheel of NVIDIA's, which was fetched.

    `origin` is what a person knows it by; `images` are its DLLs and `licences` its licence texts,
    by path, or by member of the wheel.
    """

    origin: str
    images: Mapping[str, Image]
    licences: tuple[str, ...]
    wheel: Wheel | None = None
    fetched: Fetched | None = None

    def carry(self, place: str, path: str) -> Carried:
        """Return a file as the member `path`: as it lies in the wheel, or to be deflated."""
        if self.wheel is None:
            added = Added(name=path, content=Path(place), deflate=True)
            return Carried(added, entry_of(Path(place)))
        archive = self.wheel.archive
        (member,) = (member for member in archive.members if member.name == place)
        copied = Copied(member=member, name=path, archive=archive)
        return Carried(copied, self.wheel.record[place])


def fetch_supplier(requirement: str, supply: Supply) -> Supplier:
    """Return what a wheel of the index holds; it is verified, and looked into, once."""
    fetched = supply.wheel(requirement, _ANY_PYTHON)
    memory = Memory(supply.cache.folder("seen"))
    with supply.progress.task(f"Looking into {fetched.path.name}", total=None):
        wheel, binaries = read_binaries(fetched.path, sha256=fetched.sha256, memory=memory)
    return Supplier(
        origin=f"{wheel.filename.name} {wheel.filename.version}",
        images=binaries.images,
        licences=_find_licences(name for name in wheel.names if ".dist-info/" in name),
        wheel=wheel,
        fetched=fetched,
    )


def read_directory(folder: Path) -> Supplier:
    """Return NVIDIA's DLLs in a directory; raises InputError where it is none."""
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".dll")
    except OSError as error:
        raise not_read(folder, error) from error
    dlls = [path for path in paths if classify(path.name).kind in _OF_NVIDIA]
    around = (
        _find_licences(str(path) for path in place.glob("*") if path.is_file())
        for place in (folder, *folder.parents)[:_LEVELS]
    )
    return Supplier(
        origin=str(folder),
        images={str(path): read_image(path) for path in dlls},
        licences=next(filter(None, around), ()),
    )


def _find_licences(places: Iterable[str]) -> tuple[str, ...]:
    """Return those of the files that are called as licence texts are."""
    named = sorted((PurePath(place).name.lower(), place) for place in places)
    return tuple(place for name, place in named if name.startswith(_LICENCE_NAMES))
