"""Which DLLs a wheel is to carry, by what it needs and what suppliers have."""

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import NamedTuple

from repack.config import Config
from repack.dlls import Dll, Image, Kind, classify, key_of, may_be_shipped, partners
from repack.errors import InputError
from repack.inspect import Analysis
from repack.vendor.suppliers import Supplier, Suppliers

_CARRIED = {Kind.CUDA, Kind.CUDNN}
_LOADED_BY_CUDNN = ("cublasLt64_{}.dll", "nvrtc64_{}0_0.dll")


class Request(NamedTuple):
    """A DLL that `asker` needs, at load time where `required`; of `beside` alone, if not None."""

    dll: Dll
    asker: str
    required: bool
    beside: Supplier | None = None


class Choice(NamedTuple):
    """A DLL that the wheel carries: who supplies it, where that has it, what its tables say.

    `by_name` where no import table led to it: it is loaded by name.
    """

    dll: Dll
    supplier: Supplier
    place: str
    image: Image
    by_name: bool

    @property
    def name(self) -> str:
        """The name of the file."""
        return PurePath(self.place).name


def select_dlls(
    analysis: Analysis, config: Config, suppliers: Suppliers
) -> tuple[list[Choice], list[Request]]:
    """Return which DLLs the wheel is to carry, and which it leaves to the machine, by name.

    Those that its binaries import and nothing in the wheel answers for, those that these import or
    load by name, and so on. Raises InputError where one that is needed at load time is nowhere, or
    lacks a function that is asked of it.
    """
    chosen: dict[str, Choice] = {}
    left_out: dict[str, Request] = {}
    needs = [need for need in analysis.needs if need.in_wheel is None]
    waiting = [Request(need.dll, need.needed_by[0], not need.delayed) for need in needs]
    # What a chosen DLL needs in its turn is appended meanwhile.
    for request in waiting:
        dll, key = request.dll, request.dll.key
        if dll.kind not in _CARRIED or key in chosen:
            continue
        refused = not is_asked_for(dll, config) or not is_allowed(dll, config)
        supplier = None if refused else request.beside or suppliers.find(dll)
        if supplier:
            place, by_name = supplier.places[key], request.beside is not None
            chosen[key] = Choice(dll, supplier, place, supplier.read_image(place), by_name)
            waiting += _list_imports(chosen[key])
            waiting += _list_partners(chosen[key], config, suppliers, analysis.cuda_major)
        elif request.required and not refused:
            raise _not_supplied(request, suppliers, analysis)
        elif key not in left_out or request.required:
            left_out[key] = request
    _check_symbols(analysis, chosen)
    left = sorted(left_out.keys() - chosen.keys())
    return [chosen[key] for key in sorted(chosen)], [left_out[key] for key in left]


def is_asked_for(dll: Dll, config: Config) -> bool:
    """Return whether its family is to be in the wheel."""
    return config.vendor.families == "all" or dll.family in config.vendor.families


def is_allowed(dll: Dll, config: Config) -> bool:
    """Return whether NVIDIA's licence lists it, or the user has leave to pass it on."""
    return may_be_shipped(dll) or dll.key in map(key_of, config.allow.unlisted_dlls)


def _list_imports(choice: Choice) -> Iterator[Request]:
    for imported in choice.image.imports:
        yield Request(classify(imported.dll), choice.name, required=True)
    for imported in choice.image.delay_imports:
        yield Request(classify(imported.dll), choice.name, required=False)


def _list_partners(
    choice: Choice, config: Config, suppliers: Suppliers, cuda_major: int | None
) -> Iterator[Request]:
    """Yield what the DLL loads by name, all that the first supplier has of it."""
    examples = _LOADED_BY_CUDNN if choice.dll.kind is Kind.CUDNN else ()
    for example in (classify(name.format(cuda_major)) for name in examples):
        if is_asked_for(example, config):
            # Has its wheel fetched, where nobody has it yet.
            suppliers.find(example)
    for partner in partners(choice.dll, cuda_major):
        for supplier in [choice.supplier] if partner.beside else suppliers.all:
            keys = sorted(filter(partner.names.fullmatch, supplier.places))
            for key in keys:
                dll = classify(PurePath(supplier.places[key]).name)
                yield Request(dll, choice.name, required=False, beside=supplier)
            if keys:
                break


def _not_supplied(request: Request, suppliers: Suppliers, analysis: Analysis) -> InputError:
    places = ", ".join(supplier.origin for supplier in suppliers.all) or "nothing"
    return InputError(
        f"{request.dll.name}, which {request.asker} needs, was not found; looked into: {places}",
        code="no-dll",
        file=analysis.wheel.path.name,
        hint="name a directory that holds it under vendor.dll-dirs, or leave its family out "
        "of vendor.families",
    )


def _check_symbols(analysis: Analysis, chosen: Mapping[str, Choice]) -> None:
    """Raise InputError where a chosen DLL lacks what is asked of it: Windows' error 127."""
    askers = sorted({member for need in analysis.needs for member in need.needed_by})
    images = {member: analysis.images[member] for member in askers}
    images |= {choice.name: choice.image for choice in chosen.values()}
    for asker, image in images.items():
        for imported in (*image.imports, *image.delay_imports):
            choice = chosen.get(key_of(imported.dll))
            exports = set(choice.image.exports if choice else imported.symbols)
            missing = [
                symbol
                for symbol in sorted(imported.symbols)
                if symbol not in exports and not symbol.startswith("#")
            ]
            if choice and missing:
                raise InputError(
                    f"{choice.name} of {choice.supplier.origin} has no {missing[0]}, which {asker} "
                    f"asks for ({len(missing)} functions are missing)",
                    code="symbol-missing",
                    file=analysis.wheel.path.name,
                    hint="take the release of CUDA that the wheel was built with, under "
                    "vendor.dlls or vendor.dll-dirs",
                )
