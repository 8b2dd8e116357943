"""NVIDIA's DLLs at hand: in directories of a toolkit, and in its wheels."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from repack.config import Vendor
from repack.dlls import Dll, Image, index_requirement, key_of, read_image
from repack.fetch import Fetched
from repack.fetch.supply import Supply
from repack.files import Memory, not_read
from repack.inspect import read_binaries
from repack.wheel import Added, Carried, Copied, Wheel, entry_of

#: NVIDIA's wheels hold no Python and are the same for each.
_ANY_PYTHON = "3.12"
_LICENCE_NAMES = ("license", "licence", "eula", "notice")
#: A toolkit's licence lies beside `bin`, or beside what is around that.
_LEVELS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Supplier:
    """A directory, or a wheel of NVIDIA's with its `images` by member.

    `origin` is what a person knows it by; `places` are its DLLs by key, and `licences` its licence
    texts: paths, or members of the wheel.
    """

    origin: str
    places: Mapping[str, str]
    licences: tuple[str, ...]
    images: Mapping[str, Image] = field(default_factory=dict)
    wheel: Wheel | None = None
    fetched: Fetched | None = None

    def read_image(self, place: str) -> Image:
        """Return what the tables of a DLL say; raises InputError for what is none."""
        return self.images.get(place) or read_image(Path(place))

    def carry(self, place: str, path: str) -> Carried:
        """Return a file as the member `path`: as it lies in the wheel, or to be deflated."""
        if self.wheel is None:
            added = Added(name=path, content=Path(place), deflate=True)
            return Carried(path=path, entry=added, row=entry_of(Path(place)))
        archive = self.wheel.archive
        (member,) = (member for member in archive.members if member.name == place)
        copied = Copied(member=member, name=path, archive=archive)
        return Carried(path=path, entry=copied, row=self.wheel.record[place])


class Suppliers:
    """All that may supply a DLL, the first first: directories, then wheels."""

    def __init__(self, settings: Vendor, cuda_major: int | None, supply: Supply) -> None:
        """Take what `settings` name; raises InputError for a directory that is none."""
        self.all = [_read_directory(folder) for folder in settings.dll_dirs]
        self._cuda_major, self._supply = cuda_major or 0, supply
        self._fetched: set[str] = set()
        self._is_auto = settings.dlls == "auto"
        for requirement in () if settings.dlls == "auto" else settings.dlls:
            self._fetch(requirement)

    def find(self, dll: Dll) -> Supplier | None:
        """Return who has `dll`; with `vendor.dlls = "auto"` its wheel is fetched where nobody has.

        Raises FetchError.
        """
        for supplier in self.all:
            if dll.key in supplier.places:
                return supplier
        requirement = index_requirement(dll, self._cuda_major) if self._is_auto else ""
        if not requirement or requirement in self._fetched:
            return None
        self._fetch(requirement)
        return self.find(dll)

    def _fetch(self, requirement: str) -> None:
        self._fetched.add(requirement)
        fetched = self._supply.wheel(requirement, _ANY_PYTHON)
        with self._supply.progress.task(f"Looking into {fetched.path.name}", total=None):
            self.all.append(_read_wheel(fetched, Memory(self._supply.cache.folder("seen"))))


def _read_wheel(fetched: Fetched, memory: Memory) -> Supplier:
    """Return what a wheel holds; its content is verified, and looked into, once."""
    wheel, binaries = read_binaries(fetched.path, sha256=fetched.sha256, memory=memory)
    return Supplier(
        origin=f"{wheel.filename.name} {wheel.filename.version}",
        places=_by_key(binaries.images),
        licences=_find_licences(name for name in wheel.names if ".dist-info/" in name),
        images=binaries.images,
        wheel=wheel,
        fetched=fetched,
    )


def _read_directory(folder: Path) -> Supplier:
    try:
        paths = [str(path) for path in sorted(folder.iterdir()) if path.suffix.lower() == ".dll"]
    except OSError as error:
        raise not_read(folder, error) from error
    around = (
        _find_licences(str(path) for path in place.glob("*") if path.is_file())
        for place in (folder, *folder.parents)[:_LEVELS]
    )
    return Supplier(
        origin=str(folder), places=_by_key(paths), licences=next(filter(None, around), ())
    )


def _by_key(places: Iterable[str]) -> dict[str, str]:
    return {key_of(PurePath(place).name): place for place in places}


def _find_licences(places: Iterable[str]) -> tuple[str, ...]:
    """Return those of the files that are called as licence texts are."""
    return tuple(
        place for place in sorted(places) if PurePath(place).name.lower().startswith(_LICENCE_NAMES)
    )
