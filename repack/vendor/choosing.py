"""Decides which DLLs a wheel is to carry: pure, from what it needs and what suppliers have."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from repack.dlls import Kind, classify, key_of, may_be_shipped, partners
from repack.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from repack.dlls import Dll, Image, Partner
    from repack.inspect import Analysis, Need
    from repack.vendor.suppliers import Part, Supplier

Families: TypeAlias = "tuple[str, ...] | Literal['all']"
#: Why a DLL is not put into the wheel: its family was not asked for, NVIDIA's licence does not
#: list it, or no supplier has it.
NOT_ASKED, NOT_LISTED, NOWHERE = "not-asked", "not-listed", "nowhere"
_KINDS = {Kind.CUDA, Kind.CUDNN}
_SHOWN = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """What may be put into the wheel: these families; and those unlisted DLLs, by their keys."""

    families: Families = "all"
    unlisted: frozenset[str] = frozenset()

    def refusal(self, dll: Dll) -> str:
        """Return why `dll` may not be put into the wheel, "" where it may."""
        if self.families != "all" and dll.family not in self.families:
            return NOT_ASKED
        return "" if may_be_shipped(dll) or dll.key in self.unlisted else NOT_LISTED


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """A DLL that the wheel carries, and where it comes from."""

    dll: Dll
    part: Part
    supplier: Supplier


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftOut:
    """A DLL that is left to the machine; `asked_by` needs it, at load time where `needed`."""

    dll: Dll
    reason: str
    asked_by: str
    needed: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """What the wheel carries and what it does not, sorted by name."""

    chosen: tuple[Chosen, ...]
    left_out: tuple[LeftOut, ...]


def wanted_dlls(analysis: Analysis, rules: Rules) -> tuple[Dll, ...]:
    """Return the DLLs that suppliers should have: what is imported, and what that loads by name.

    Of what is loaded by name, a name that stands for all of its family.
    """
    needs = [need.dll for need in _needs(analysis) if not rules.refusal(need.dll)]
    by_name = []
    if any(dll.kind is Kind.CUDNN for dll in needs) and (major := analysis.cuda_major):
        by_name = [classify(f"cublasLt64_{major}.dll"), classify(f"nvrtc64_{major}0_0.dll")]
    return (*needs, *(dll for dll in by_name if not rules.refusal(dll)))


def choose(analysis: Analysis, suppliers: Sequence[Supplier], rules: Rules) -> Choice:
    """Return which DLLs of `suppliers`, the first first, the wheel is to carry.

    Those that its binaries import and nobody in the wheel answers for, those that these import or
    load by name, and so on. Raises InputError where one that is needed at load time is nowhere.
    """
    walk = _Walk(analysis=analysis, suppliers=suppliers, rules=rules)
    for need in _needs(analysis):
        walk.want(need.dll, asked_by=need.needed_by[0], needed=not need.delayed)
    choice = Choice(
        chosen=tuple(walk.chosen[key] for key in sorted(walk.chosen)),
        left_out=tuple(walk.left_out[key] for key in sorted(walk.left_out)),
    )
    _check_symbols(analysis, choice)
    return choice


def _needs(analysis: Analysis) -> list[Need]:
    return [need for need in analysis.needs if need.in_wheel is None and need.dll.kind in _KINDS]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Walk:
    """A walk from what the wheel needs to all that this needs in its turn."""

    analysis: Analysis
    suppliers: Sequence[Supplier]
    rules: Rules
    chosen: dict[str, Chosen] = field(default_factory=dict)
    left_out: dict[str, LeftOut] = field(default_factory=dict)

    def want(
        self, dll: Dll, *, asked_by: str, needed: bool, places: Sequence[Supplier] = ()
    ) -> None:
        """Choose `dll`, and what goes with it, or note why not."""
        if dll.kind not in _KINDS or dll.key in self.chosen or dll.key in self.left_out:
            return
        reason = self.rules.refusal(dll)
        found = None if reason else self._found(dll, places or self.suppliers)
        if found is not None:
            self.chosen[dll.key] = found
            self._follow(found)
            return
        if needed and not reason:
            raise self._nowhere(dll, asked_by)
        left_out = LeftOut(dll=dll, reason=reason or NOWHERE, asked_by=asked_by, needed=needed)
        self.left_out[dll.key] = left_out

    def _follow(self, found: Chosen) -> None:
        for name, needed in _imported(found.part.image):
            self.want(classify(name), asked_by=found.part.name, needed=needed)
        for partner in partners(found.dll, self.analysis.cuda_major):
            self._want_partner(partner, found)

    def _want_partner(self, partner: Partner, found: Chosen) -> None:
        places = [found.supplier] if partner.beside else self.suppliers
        for supplier in places:
            names = [
                part.name for key, part in supplier.parts.items() if partner.names.fullmatch(key)
            ]
            for name in sorted(names):
                self.want(classify(name), asked_by=found.part.name, needed=False, places=[supplier])
            if names:
                return

    def _found(self, dll: Dll, places: Sequence[Supplier]) -> Chosen | None:
        for supplier in places:
            if part := supplier.parts.get(dll.key):
                return Chosen(dll=dll, part=part, supplier=supplier)
        return None

    def _nowhere(self, dll: Dll, asked_by: str) -> InputError:
        looked = ", ".join(supplier.origin for supplier in self.suppliers) or "there is none"
        return InputError(
            f"{dll.name}, which {asked_by} needs, is nowhere to be had; looked into: {looked}",
            code="no-dll",
            file=self.analysis.wheel.path.name,
            hint="name a directory that holds it under vendor.dll-dirs, or leave its family out "
            "of vendor.families",
        )


def _imported(image: Image) -> Iterator[tuple[str, bool]]:
    """Yield the DLLs that an image asks for, and whether at load time."""
    for table, needed in ((image.imports, True), (image.delay_imports, False)):
        for wanted in table:
            yield wanted.dll, needed


def _check_symbols(analysis: Analysis, choice: Choice) -> None:
    """Raise InputError where a chosen DLL lacks what is asked of it: Windows' error 127."""
    exported = {one.dll.key: frozenset(one.part.exports) for one in choice.chosen}
    images: Mapping[str, Image] = {
        **{member: analysis.images[member] for member in _reached(analysis)},
        **{one.part.name: one.part.image for one in choice.chosen},
    }
    for one in choice.chosen:
        for asker, image in images.items():
            lacking = _asked(image, one.dll.key) - exported[one.dll.key]
            if lacking:
                raise _too_old(analysis, one, asker, lacking)


def _asked(image: Image, key: str) -> frozenset[str]:
    """Return the symbols, by name, that an image asks of a DLL."""
    return frozenset(
        symbol
        for table in (image.imports, image.delay_imports)
        for wanted in table
        if key_of(wanted.dll) == key
        for symbol in wanted.symbols
        if not symbol.startswith("#")
    )


def _reached(analysis: Analysis) -> set[str]:
    return {member for need in analysis.needs for member in need.needed_by}


def _too_old(analysis: Analysis, one: Chosen, asker: str, lacking: Collection[str]) -> InputError:
    shown, more = sorted(lacking)[:_SHOWN], len(lacking) - _SHOWN
    names = ", ".join(shown) + (f" and {more} more" if more > 0 else "")
    return InputError(
        f"{one.part.name} of {one.supplier.origin} has no {names}, which {asker} asks for",
        code="symbol-missing",
        file=analysis.wheel.path.name,
        hint="take the release of CUDA that the wheel was built with, under vendor.dlls or "
        "vendor.dll-dirs",
    )
