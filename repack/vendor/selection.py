"""Which DLLs a wheel is to carry: those at hand that its modules lead to."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import NamedTuple

from repack.config import Config
from repack.dlls.families import Dll, Kind, classify, index_requirement, key_of, may_be_shipped
from repack.dlls.pe import Image
from repack.errors import InputError
from repack.inspect.analysis import Analysis
from repack.inspect.binaries import find_needs
from repack.vendor.suppliers import Supplier

_CARRIED = {Kind.CUDA, Kind.CUDNN}
#: What is loaded by name fits its own release alone: all comes from one supplier.
_OF_ONE_RELEASE = {"cudnn", "nvrtc"}
_LOADED_BY_CUDNN = ("cublasLt64_{}.dll", "nvrtc64_{}0_0.dll")


class Choice(NamedTuple):
    """A DLL that may be put into the wheel: who has it, where, and what its tables say."""

    dll: Dll
    supplier: Supplier
    place: str
    image: Image


def select_dlls(
    analysis: Analysis,
    config: Config,
    suppliers: list[Supplier],
    fetch: Callable[[str], Supplier],
    folder: str,
) -> tuple[dict[str, Choice], Analysis]:
    """Return what the wheel is to carry in `folder`, by member, and the analysis of it with that.

    Of `suppliers` the first comes first; with `vendor.dlls = "auto"`, `fetch` adds wheels for what
    none has. Raises InputError where a DLL that is needed at load time is nowhere, or lacks a
    function that is asked of it.
    """
    fetched: set[str] = set()
    while True:
        at_hand = _list_choices(analysis, config, suppliers, folder)
        chosen, complete = _complete(analysis, at_hand)
        missing = [need for need in complete.toolkit_needs if may_carry(need.dll, config)]
        requirements = _requirements(complete, chosen, config) - fetched
        if config.vendor.dlls != "auto" or not requirements:
            break
        fetched |= requirements
        suppliers += map(fetch, sorted(requirements))
    for need in missing:
        if not need.delayed:
            places = ", ".join(supplier.origin for supplier in suppliers) or "nothing"
            raise InputError(
                f"{need.dll.name}, which {need.needed_by[0]} needs, was not found; looked into: "
                f"{places}",
                code="no-dll",
                file=analysis.wheel.path.name,
                hint="name a directory that holds it under vendor.dll-dirs, or leave its family "
                "out of vendor.families",
            )
    _check_symbols(complete, chosen)
    return chosen, complete


def is_asked_for(dll: Dll, config: Config) -> bool:
    """Return whether its family is to be in the wheel."""
    return config.vendor.families == "all" or dll.family in config.vendor.families


def may_carry(dll: Dll, config: Config) -> bool:
    """Return whether it may be in the wheel: by its family, and NVIDIA's licence or the user's."""
    allowed = may_be_shipped(dll) or dll.key in map(key_of, config.allow.unlisted_dlls)
    return allowed and dll.kind in _CARRIED and is_asked_for(dll, config)


def _list_choices(
    analysis: Analysis, config: Config, suppliers: Sequence[Supplier], folder: str
) -> dict[str, Choice]:
    """Return by member what may be carried, is at hand, and is not in the wheel."""
    taken = {key_of(PurePath(member).name) for member in analysis.images}
    owners: dict[str, Supplier] = {}
    choices = {}
    for supplier in suppliers:
        for place, image in supplier.images.items():
            name = PurePath(place).name
            dll = classify(name)
            if not may_carry(dll, config) or dll.key in taken:
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
    images = {**analysis.images, **{member: at_hand[member].image for member in at_hand}}
    reached = {need.in_wheel for need in find_needs(analysis.native, images)}
    chosen = {member: at_hand[member] for member in sorted(at_hand) if member in reached}
    # What a chosen DLL imports is needed as soon as that is loaded, whenever this may be.
    needs = find_needs((*analysis.native, *chosen), images)
    return chosen, replace(analysis, images=images, needs=needs)


def _requirements(complete: Analysis, chosen: Mapping[str, Choice], config: Config) -> set[str]:
    """Return which wheels of the index may hold what is missing."""
    missing = [need.dll for need in complete.toolkit_needs]
    if any(choice.dll.kind is Kind.CUDNN for choice in chosen.values()):
        names = [name.format(complete.cuda_major) for name in _LOADED_BY_CUDNN]
        keys = {choice.dll.key for choice in chosen.values()}
        missing += [classify(name) for name in names if key_of(name) not in keys]
    major = complete.cuda_major or 0
    return {index_requirement(dll, major) for dll in missing if may_carry(dll, config)} - {""}


def _check_symbols(complete: Analysis, chosen: Mapping[str, Choice]) -> None:
    """Raise InputError where a chosen DLL lacks what is asked of it: Windows' error 127."""
    for need in complete.needs:
        choice = chosen.get(need.in_wheel or "")
        exports = choice.image.exports if choice else complete.symbols(need)
        missing = sorted(set(complete.symbols(need)).difference(exports))
        named = [symbol for symbol in missing if not symbol.startswith("#")]
        if choice and named:
            raise InputError(
                f"{choice.dll.name} of {choice.supplier.origin} has no {named[0]}, which "
                f"{' or '.join(need.needed_by)} asks for",
                code="symbol-missing",
                file=complete.wheel.path.name,
                hint="take the release of CUDA that the wheel was built with, under vendor.dlls or "
                "vendor.dll-dirs",
            )
