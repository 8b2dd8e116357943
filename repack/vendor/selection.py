"""NVIDIA's DLLs at hand, in directories of a toolkit and in its wheels, and which are carried."""

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import NamedTuple

from repack.config import Config, IndexSource
from repack.dlls.families import Dll, Kind, classify, index_requirement, key_of, may_be_shipped
from repack.dlls.pe import Image, read_image
from repack.errors import InputError
from repack.fetch import Supply
from repack.files import Memory, not_read
from repack.inspect import Analysis, analyse
from repack.inspect.binaries import find_needs
from repack.wheel.names import rename_wheel
from repack.wheel.reader import Wheel
from repack.wheel.writer import Part, make_part

_log = logging.getLogger(__name__)
#: What is loaded by name fits its own release alone: all comes from one supplier.
_OF_ONE_RELEASE = {"cudnn", "nvrtc"}
_LOADED_BY_CUDNN = ("cublasLt64_{}.dll", "nvrtc64_{}0_0.dll")
_LICENCE_NAMES = ("license", "licence", "eula", "notice")
#: A toolkit's licence lies beside `bin`, or beside what is around that.
_LEVELS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Supplier:
    """A directory of DLLs, or a wheel of NVIDIA's that came from `url`.

    `origin` is what a person knows it by, `label` what its folder of licences is called; `images`
    are its DLLs and `licences` its licence texts, by path, or by member of the wheel.
    """

    origin: str
    label: str
    images: Mapping[str, Image]
    licences: tuple[str, ...]
    wheel: Wheel | None = None
    url: str = ""

    def carry(self, place: str, path: str) -> Part:
        """Return a file as the member `path`: as it lies in the wheel, or to be deflated."""
        if self.wheel is None:
            return make_part(path, Path(place), deflate=True)
        archive, row = self.wheel.archive, self.wheel.record[place]
        return Part(name=path, content=archive, row=row, source=place)


class Choice(NamedTuple):
    """A DLL that may be put into the wheel: who has it, where, and what its tables say."""

    dll: Dll
    supplier: Supplier
    place: str
    image: Image


def select_dlls(
    analysis: Analysis, config: Config, supply: Supply
) -> tuple[dict[str, Choice], Analysis, list[Supplier]]:
    """Return what the wheel is to carry, by member, the analysis of it with that, and all who have.

    The directories of the configuration come first, then its wheels; with `vendor.dlls = "auto"`
    the index's for what is in none. Raises InputError where a DLL that is needed at load time is
    nowhere, or lacks a function that is asked of it.
    """
    settings = config.vendor
    platform = min(tag.platform for tag in analysis.wheel.filename.tags)
    suppliers = [
        _read_directory(folder, f"nvidia-{number}")
        for number, folder in enumerate(settings.dll_dirs, start=1)
    ]
    requirements = [] if settings.dlls == "auto" else [*settings.dlls]
    fetched: set[str] = set()
    while True:
        suppliers += [_fetch_wheel(requirement, platform, supply) for requirement in requirements]
        fetched.update(requirements)
        chosen, complete = _complete(analysis, _list_choices(analysis, config, suppliers))
        requirements = sorted(_list_requirements(complete, chosen, config) - fetched)
        if settings.dlls != "auto" or not requirements:
            break
    for fault in _find_faults(complete, chosen, config, suppliers):
        raise InputError(
            fault,
            code="no-dll",
            file=analysis.wheel.path.name,
            hint="name a directory of the CUDA that the wheel was built with in vendor.dll-dirs, "
            "or its wheels in vendor.dlls; or leave the family out of vendor.families",
        )
    return chosen, complete, suppliers


def is_asked_for(dll: Dll, config: Config) -> bool:
    """Return whether its family is to be in the wheel."""
    return config.vendor.families == "all" or dll.family in config.vendor.families


def may_carry(dll: Dll, config: Config) -> bool:
    """Return whether it may be in the wheel: by its family, and NVIDIA's licence or the user's."""
    allowed = may_be_shipped(dll) or dll.key in map(key_of, config.allow.unlisted_dlls)
    return allowed and dll.is_cuda and is_asked_for(dll, config)


def _read_directory(folder: Path, label: str) -> Supplier:
    """Return NVIDIA's DLLs in a directory; raises InputError where it is none."""
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".dll")
    except OSError as error:
        raise not_read(folder, error) from error
    images = {}
    for path in paths:
        if classify(path.name).is_nvidia:
            try:
                images[str(path)] = read_image(path)
            except (InputError, OSError) as error:
                # A toolkit has more than is needed; what is needed will be missing.
                _log.warning("left out: %s", error)
    around = (
        _find_licences(str(path) for path in place.glob("*") if path.is_file())
        for place in (folder, *folder.parents)[:_LEVELS]
    )
    return Supplier(
        origin=str(folder), label=label, images=images, licences=next(filter(None, around), ())
    )


def _fetch_wheel(requirement: str, platform: str, supply: Supply) -> Supplier:
    """Return what a wheel of the index holds; it is verified, and looked into, once."""
    # NVIDIA's wheels hold no Python and are the same for each.
    fetched = supply.fetch(IndexSource(requirement=requirement, platform=platform))
    memory = Memory(supply.cache.folder("seen"))
    with supply.progress.task(f"Looking into {fetched.path.name}", total=None):
        analysis = analyse(fetched.path, sha256=fetched.sha256, memory=memory)
    wheel = analysis.wheel
    return Supplier(
        origin=f"{wheel.filename.name} {wheel.filename.version}",
        label=f"{wheel.filename.name}-{wheel.filename.version}",
        images=analysis.images,
        licences=_find_licences(name for name in wheel.names if ".dist-info/" in name),
        wheel=wheel,
        url=fetched.pin.url,
    )


def _find_licences(places: Iterable[str]) -> tuple[str, ...]:
    """Return those of the files that are called as licence texts are."""
    named = sorted((PurePath(place).name.lower(), place) for place in places)
    return tuple(place for name, place in named if name.startswith(_LICENCE_NAMES))


def _list_choices(
    analysis: Analysis, config: Config, suppliers: Sequence[Supplier]
) -> dict[str, Choice]:
    """Return by member what may be carried, is at hand for its processor, and is not in it."""
    folder = f"{rename_wheel(analysis.wheel.filename, version='0').distribution}.libs"
    taken = {key_of(PurePath(member).name) for member in analysis.images}
    machines = {image.machine for image in analysis.images.values()}
    owners: dict[str, Supplier] = {}
    choices = {}
    for supplier in suppliers:
        for place, image in supplier.images.items():
            name = PurePath(place).name
            dll = classify(name)
            if not may_carry(dll, config) or dll.key in taken or image.machine not in machines:
                continue
            owner = owners.setdefault(dll.family, supplier)
            if owner is supplier or dll.family not in _OF_ONE_RELEASE:
                taken.add(dll.key)
                choices[f"{folder}/{name}"] = Choice(dll, supplier, place, image)
    return choices


def _complete(
    analysis: Analysis, at_hand: Mapping[str, Choice]
) -> tuple[dict[str, Choice], Analysis]:
    """Return those that the wheel's modules lead to, and the analysis of the wheel with them."""
    images = {**analysis.images, **{member: choice.image for member, choice in at_hand.items()}}
    reached = {need.in_wheel for need in find_needs(analysis.native, images)}
    chosen = {member: at_hand[member] for member in sorted(at_hand) if member in reached}
    # What a chosen DLL imports is needed as soon as that is loaded, whenever this may be.
    needs = find_needs((*analysis.native, *chosen), images)
    return chosen, replace(analysis, images=images, needs=needs)


def _list_requirements(
    complete: Analysis, chosen: Mapping[str, Choice], config: Config
) -> set[str]:
    """Return which wheels of the index may hold what is missing."""
    missing = [need.dll for need in complete.toolkit_needs]
    if any(choice.dll.kind is Kind.CUDNN for choice in chosen.values()):
        names = [name.format(complete.cuda_major) for name in _LOADED_BY_CUDNN]
        keys = {choice.dll.key for choice in chosen.values()}
        missing += [classify(name) for name in names if key_of(name) not in keys]
    major = complete.cuda_major
    return {index_requirement(dll, major) for dll in missing if may_carry(dll, config)} - {""}


def _find_faults(
    complete: Analysis,
    chosen: Mapping[str, Choice],
    config: Config,
    suppliers: Collection[Supplier],
) -> Iterator[str]:
    """Yield what is needed at load time and nowhere, or lacks what is asked of it (error 127)."""
    for need in complete.needs:
        choice = chosen.get(need.in_wheel or "")
        askers = " or ".join(need.needed_by)
        if choice:
            missing = sorted({*need.symbols}.difference(choice.image.exports))
            for symbol in missing:
                if not symbol.startswith("#"):
                    origin = choice.supplier.origin
                    yield f"{need.dll.name} of {origin} has no {symbol}, which {askers} asks for"
        elif need.in_wheel is None and may_carry(need.dll, config) and not need.delayed:
            machine = complete.images[need.needed_by[0]].machine
            places = ", ".join(supplier.origin for supplier in suppliers) or "nothing"
            yield (
                f"{need.dll.name}, which {askers} needs, was not found for {machine}; looked into: "
                f"{places}"
            )
