"""Which DLLs a wheel is to carry, by what it needs and what suppliers have; nothing is read."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from repack.config import Config
from repack.dlls import Dll, Kind, classify, key_of, may_be_shipped, partners
from repack.errors import InputError
from repack.inspect import Analysis, Need
from repack.vendor.suppliers import SuppliedDll, Supplier

#: Why a DLL is not put into the wheel: its family was not asked for, NVIDIA's licence does not
#: list it, or no supplier has it.
NOT_ASKED, NOT_LISTED, NOWHERE = "not-asked", "not-listed", "nowhere"
_CARRIED = {Kind.CUDA, Kind.CUDNN}
_SHOWN = 4


class Request(NamedTuple):
    """A DLL that `asker` needs, at load time where `required`; `by_name` where it loads it so."""

    dll: Dll
    asker: str
    required: bool
    suppliers: Sequence[Supplier]
    by_name: bool = False


class Choice(NamedTuple):
    """A DLL that the wheel carries, and where it comes from."""

    dll: Dll
    file: SuppliedDll
    supplier: Supplier
    by_name: bool


class LeftOut(NamedTuple):
    """A DLL that is left to the machine; `asker` needs it, at load time where `required`."""

    dll: Dll
    reason: str
    asker: str
    required: bool


class Selection(NamedTuple):
    """What the wheel carries and what it does not, sorted by name."""

    chosen: tuple[Choice, ...]
    left_out: tuple[LeftOut, ...]


def refusal(dll: Dll, config: Config) -> str:
    """Return why `dll` may not be put into the wheel, "" where it may."""
    families = config.vendor.families
    if families != "all" and dll.family not in families:
        return NOT_ASKED
    allowed = dll.key in map(key_of, config.allow.unlisted_dlls)
    return "" if allowed or may_be_shipped(dll) else NOT_LISTED


def needs_outside(analysis: Analysis) -> list[Need]:
    """Return the needs for DLLs of CUDA and cuDNN that nothing in the wheel meets."""
    return [need for need in analysis.needs if need.in_wheel is None and need.dll.kind in _CARRIED]


def dlls_to_supply(analysis: Analysis, config: Config) -> list[Dll]:
    """Return the DLLs to look for: what is imported, and of what cuDNN loads a name for all."""
    dlls = [need.dll for need in needs_outside(analysis)]
    major = analysis.cuda_major
    if major and any(dll.kind is Kind.CUDNN and not refusal(dll, config) for dll in dlls):
        dlls += [classify(f"cublasLt64_{major}.dll"), classify(f"nvrtc64_{major}0_0.dll")]
    return [dll for dll in dlls if not refusal(dll, config)]


def select_dlls(analysis: Analysis, suppliers: Sequence[Supplier], config: Config) -> Selection:
    """Return which DLLs of `suppliers`, the first first, the wheel is to carry.

    Those that its binaries import and nothing in the wheel answers for, those that these import or
    load by name, and so on. Raises InputError where one that is needed at load time is nowhere, or
    lacks a function that is asked of it.
    """
    chosen: dict[str, Choice] = {}
    left_out: dict[str, LeftOut] = {}
    waiting = deque(
        Request(need.dll, need.needed_by[0], not need.delayed, suppliers)
        for need in needs_outside(analysis)
    )
    while waiting:
        request = waiting.popleft()
        key = request.dll.key
        if request.dll.kind not in _CARRIED or key in chosen:
            continue
        reason = refusal(request.dll, config)
        choice = None if reason else _find(request)
        if choice is not None:
            chosen[key] = choice
            waiting.extend(_imports_of(choice, suppliers))
            waiting.extend(_partners_of(choice, suppliers, analysis.cuda_major))
        elif request.required and not reason:
            raise _not_supplied(request, analysis)
        elif key not in left_out or request.required:
            reason = reason or NOWHERE
            left_out[key] = LeftOut(request.dll, reason, request.asker, request.required)
    _check_symbols(analysis, chosen)
    return Selection(
        tuple(chosen[key] for key in sorted(chosen)),
        tuple(left_out[key] for key in sorted(left_out)),
    )


def _find(request: Request) -> Choice | None:
    for supplier in request.suppliers:
        if file := supplier.dlls.get(request.dll.key):
            return Choice(request.dll, file, supplier, request.by_name)
    return None


def _imports_of(choice: Choice, suppliers: Sequence[Supplier]) -> Iterator[Request]:
    image = choice.file.image
    for table, required in ((image.imports, True), (image.delay_imports, False)):
        for imported in table:
            yield Request(classify(imported.dll), choice.file.name, required, suppliers)


def _partners_of(
    choice: Choice, suppliers: Sequence[Supplier], cuda_major: int | None
) -> Iterator[Request]:
    """Yield what the DLL loads by name, all that the first supplier has of it."""
    for partner in partners(choice.dll, cuda_major):
        for supplier in [choice.supplier] if partner.beside else suppliers:
            keys = sorted(key for key in supplier.dlls if partner.names.fullmatch(key))
            for key in keys:
                dll = classify(supplier.dlls[key].name)
                yield Request(
                    dll, choice.file.name, required=False, suppliers=[supplier], by_name=True
                )
            if keys:
                break


def _not_supplied(request: Request, analysis: Analysis) -> InputError:
    places = ", ".join(supplier.origin for supplier in request.suppliers) or "nothing"
    return InputError(
        f"{request.dll.name}, which {request.asker} needs, was not found; looked into: {places}",
        code="no-dll",
        file=analysis.wheel.path.name,
        hint="name a directory that holds it under vendor.dll-dirs, or leave its family out "
        "of vendor.families",
    )


def _check_symbols(analysis: Analysis, chosen: dict[str, Choice]) -> None:
    """Raise InputError where a chosen DLL lacks what is asked of it: Windows' error 127."""
    askers = {member for need in analysis.needs for member in need.needed_by}
    images = {member: analysis.images[member] for member in sorted(askers)}
    images |= {choice.file.name: choice.file.image for choice in chosen.values()}
    exports = {key: frozenset(choice.file.image.exports) for key, choice in chosen.items()}
    for asker, image in images.items():
        for imported in (*image.imports, *image.delay_imports):
            key = key_of(imported.dll)
            named = {symbol for symbol in imported.symbols if not symbol.startswith("#")}
            if key in chosen and (missing := named - exports[key]):
                raise _too_old(analysis, chosen[key], asker, missing)


def _too_old(analysis: Analysis, choice: Choice, asker: str, missing: Iterable[str]) -> InputError:
    names = sorted(missing)
    more = len(names) - _SHOWN
    text = ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
    return InputError(
        f"{choice.file.name} of {choice.supplier.origin} has no {text}, which {asker} asks for",
        code="symbol-missing",
        file=analysis.wheel.path.name,
        hint="take the release of CUDA that the wheel was built with, under vendor.dlls or "
        "vendor.dll-dirs",
    )
