"""`--mode vendor`: NVIDIA's DLLs in the wheel, as they are, with their licence and an SBOM."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from repack import files
from repack.cargo import Supplement
from repack.dlls import Kind, classify, may_be_shipped, parts_of
from repack.errors import ToolError
from repack.record import Cargo, Finding
from repack.vendor import delvewheel
from repack.vendor.choosing import NOT_LISTED, choose
from repack.vendor.suppliers import row_of
from repack.wheel import Carried, entry_of, renamed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from repack.dlls import Image
    from repack.fetch import Cache
    from repack.inspect import Analysis
    from repack.vendor.choosing import Choice, Chosen, Rules
    from repack.vendor.sbom import Content, File
    from repack.vendor.suppliers import Supplier
    from repack.wheel import RecordEntry

#: The C++ run-time is Windows' own business, or `msvc-runtime`'s.
_VC_RUNTIME = ("msvcp140*", "vcruntime140*", "concrt140*", "vcomp140*", "vccorlib140*")
_DELVEWHEEL = "DELVEWHEEL"
_LICENCES = {Kind.CUDNN: "NVIDIA cuDNN Software License Agreement"}
_EULA = "NVIDIA CUDA Toolkit End User License Agreement"
_NOTHING = Finding(
    code="nothing-to-vendor",
    message="no CUDA DLL is put into the wheel: it needs none that may be put into it",
    hint="--mode patch does the same",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """What the SBOM says of the whole: the version that is made, and where its source is from."""

    version: str
    url: str
    timestamp: int


def vendored(
    analysis: Analysis,
    suppliers: Sequence[Supplier],
    rules: Rules,
    origin: Origin,
    cache: Cache,
) -> Supplement:
    """Return the DLLs that the wheel is to carry, with all that goes with them.

    delvewheel is asked as well, and has to agree. Raises InputError where a DLL is nowhere, or is
    too old; ToolError where delvewheel cannot be had or sees another wheel than we do.
    """
    choice = choose(analysis, suppliers, rules)
    findings = tuple(_findings(analysis, suppliers, choice))
    if not choice.chosen:
        return Supplement(label="patched", findings=(*findings, _NOTHING))
    _check_decision(analysis, suppliers, choice, cache)
    folder = f"{renamed(analysis.wheel.filename, version='0').distribution}.libs"
    rows = {one.dll.key: row_of(one.part, cache) for one in choice.chosen}
    dlls = [_carried(folder, one, rows[one.dll.key]) for one in choice.chosen]
    return Supplement(
        label="vendored",
        files=_sbom(analysis, choice, folder, rows, origin),
        carried=(*dlls, *_licences(analysis, choice)),
        cargo=tuple(_cargo(folder, one, rows[one.dll.key]) for one in choice.chosen),
        folders=(folder,),
        families=_left_families(choice),
        findings=findings,
        left_out=tuple(one.dll.name for one in choice.left_out),
    )


def _carried(folder: str, one: Chosen, row: RecordEntry) -> Carried:
    path = f"{folder}/{one.part.name}"
    return Carried(path=path, entry=one.supplier.entry(one.part.place), row=row)


def _cargo(folder: str, one: Chosen, row: RecordEntry) -> Cargo:
    return Cargo(
        member=f"{folder}/{one.part.name}",
        family=one.dll.family,
        origin=one.supplier.origin,
        size=one.part.size,
        packed=one.part.packed,
        sha256=row.hex,
    )


def _suppliers_of(choice: Choice) -> list[Supplier]:
    """Return the suppliers that something is taken from, each once."""
    return list({one.supplier.origin: one.supplier for one in choice.chosen}.values())


def _licences(analysis: Analysis, choice: Choice) -> Iterator[Carried]:
    """Yield the licence texts of all suppliers that something is taken from."""
    folder = f"{analysis.wheel.dist_info}/licenses"
    for number, supplier in enumerate(_suppliers_of(choice), start=1):
        short = supplier.origin.replace(" ", "-") if supplier.archive else f"nvidia-{number}"
        for place in supplier.licences:
            path = f"{folder}/{short}/{PurePath(place).name}"
            row = entry_of(supplier.read(place))
            yield Carried(path=path, entry=supplier.entry(place), row=row)


def _sbom(
    analysis: Analysis,
    choice: Choice,
    folder: str,
    rows: Mapping[str, RecordEntry],
    origin: Origin,
) -> dict[str, bytes]:
    from repack.vendor import sbom  # noqa: PLC0415 - slow to import, and seldom needed

    wheel = analysis.wheel
    name = wheel.filename.name
    source = sbom.File(
        name=name,
        version=str(wheel.filename.version),
        filename=wheel.path.name,
        url=origin.url,
        sha256=wheel.sha256,
    )
    content = sbom.make_sbom(
        sbom.File(name=name, version=origin.version),
        source,
        [_content(folder, one, rows[one.dll.key]) for one in choice.chosen],
        timestamp=origin.timestamp,
    )
    return {f"{wheel.dist_info}/sboms/{sbom.FILENAME}": content}


def _content(folder: str, one: Chosen, row: RecordEntry) -> Content:
    from repack.vendor import sbom  # noqa: PLC0415 - as above

    return sbom.Content(
        member=f"{folder}/{one.part.name}",
        family=one.dll.family,
        version=one.supplier.version,
        sha256=row.hex,
        licence=_LICENCES.get(one.dll.kind, _EULA),
        wheel=_file(one.supplier),
    )


def _file(supplier: Supplier) -> File | None:
    from repack.vendor import sbom  # noqa: PLC0415 - as above

    if supplier.archive is None:
        return None
    return sbom.File(
        name=supplier.origin.partition(" ")[0],
        version=supplier.version,
        filename=supplier.filename,
        url=supplier.url,
        sha256=supplier.sha256,
    )


def _left_families(choice: Choice) -> dict[str, tuple[str, ...]]:
    """Return, by family, the DLLs left to the machine without which a chosen one does not load."""
    families: dict[str, list[str]] = {}
    for one in choice.left_out:
        if one.needed:
            families.setdefault(one.dll.family, []).append(one.dll.name)
    return {family: tuple(sorted(names)) for family, names in families.items()}


def _findings(
    analysis: Analysis, suppliers: Sequence[Supplier], choice: Choice
) -> Iterator[Finding]:
    wheel = analysis.wheel
    if f"{wheel.dist_info}/{_DELVEWHEEL}" in wheel.names:
        yield Finding(
            code="already-vendored",
            message="delvewheel has put DLLs into it before; they stay as they are",
            hint="start from the wheel as it was built, to choose them anew",
        )
    for one in choice.left_out:
        if one.reason == NOT_LISTED:
            yield Finding(
                code="not-listed",
                member=one.dll.name,
                message=f"{one.dll.name}, which {one.asked_by} needs, is not put into the wheel: "
                "NVIDIA's licence does not list it among what may be passed on",
                hint="it is looked for on the machine; name it in allow.unlisted-dlls if you have "
                "leave to pass it on",
            )
    for each in choice.chosen:
        if not may_be_shipped(each.dll):
            yield Finding(
                code="unlisted-shipped",
                message=f"{each.dll.name} is put into the wheel, because allow.unlisted-dlls names "
                "it; NVIDIA's licence does not list it among what may be passed on",
                member=each.dll.name,
                hint="be sure that you have leave to pass it on",
            )
    yield from _incomplete(choice)
    for supplier in suppliers:
        yield from _about_supplier(supplier, choice)


def _incomplete(choice: Choice) -> Iterator[Finding]:
    there = {one.dll.key for one in choice.chosen}
    for one in choice.chosen:
        missing = [part for part in parts_of(one.dll) if part not in there]
        if missing:
            yield Finding(
                code="vendored-incomplete",
                message=f"{one.supplier.origin} has {one.dll.name} without {', '.join(missing)}, "
                "which that loads by name while it runs",
                member=one.dll.name,
                hint="name a whole cuDNN under vendor.dlls or vendor.dll-dirs",
            )


def _about_supplier(supplier: Supplier, choice: Choice) -> Iterator[Finding]:
    for part in supplier.parts.values():
        if classify(part.name).kind is Kind.DRIVER:
            yield Finding(
                code="driver-not-shipped",
                member=part.name,
                message=f"{part.name} in {supplier.origin} is not put into the wheel: it is the "
                "driver's, and fits that driver alone",
                hint="--driver-stub helps machines that have no driver",
            )
    if not supplier.licences and supplier in _suppliers_of(choice):
        yield Finding(
            code="licence-missing",
            message=f"there is no licence text with the DLLs of {supplier.origin}, and NVIDIA's "
            "licence asks for it",
            hint="put its EULA.txt beside them",
        )


def _check_decision(
    analysis: Analysis, suppliers: Sequence[Supplier], choice: Choice, cache: Cache
) -> None:
    """Raise ToolError unless delvewheel would take what we take by import tables."""
    expected = _by_import(analysis, choice)
    decided = _decided(analysis, suppliers, choice, cache)
    if decided != expected:
        more = [f"would put in {name}" for name in sorted(decided - expected)]
        less = [f"would leave out {name}" for name in sorted(expected - decided)]
        raise ToolError(
            f"delvewheel {', '.join([*more, *less])}, repack would not",
            code="delvewheel-differs",
            file=analysis.wheel.path.name,
            hint="report it, with the wheel's name and both versions",
        )


def _by_import(analysis: Analysis, choice: Choice) -> frozenset[str]:
    """Return the keys of the chosen DLLs that import tables lead to."""
    chosen = {one.dll.key: one.part.image for one in choice.chosen}
    found: set[str] = set()
    waiting = [need.dll.key for need in analysis.needs if need.in_wheel is None]
    while waiting:
        key = waiting.pop()
        if key in chosen and key not in found:
            found.add(key)
            image = chosen[key]
            tables = (*image.imports, *image.delay_imports)
            waiting += [classify(wanted.dll).key for wanted in tables]
    return frozenset(found)


def _decided(
    analysis: Analysis, suppliers: Sequence[Supplier], choice: Choice, cache: Cache
) -> frozenset[str]:
    """Return what delvewheel would take; it is asked once about the same files."""
    machine = choice.chosen[0].part.image.machine
    images = {
        member: analysis.images[member]
        for member in sorted({*analysis.native, *_askers(analysis)})
        if analysis.images[member].machine == machine
    }
    at_hand: dict[str, Image] = {
        part.name: part.image
        for supplier in reversed(suppliers)
        for part in supplier.parts.values()
        if part.image.machine == machine
    }
    chosen = {one.dll.key for one in choice.chosen}
    outside = {need.dll.key for need in analysis.needs if need.in_wheel is None}
    left = sorted({*outside, *(one.dll.key for one in choice.left_out)} - chosen)
    exclude = (*_VC_RUNTIME, *left)
    key = hashlib.sha256(repr((analysis.wheel.path.name, images, at_hand, exclude)).encode())
    memory, name = files.Memory(cache.folder("decisions")), key.hexdigest()[:32]
    known = memory.recall(name, frozenset[str])
    if known is not None:
        return known
    files.sweep(memory.folder)
    decided = delvewheel.decide(
        analysis.wheel, images, at_hand, exclude=exclude, folder=memory.folder
    )
    memory.keep(name, sorted(decided))
    return decided


def _askers(analysis: Analysis) -> Collection[str]:
    return {member for need in analysis.needs for member in need.needed_by}
