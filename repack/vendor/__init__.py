"""What a mode adds to a wheel: NVIDIA's wheels as requirements, its DLLs, stand-ins."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import PurePath
from typing import TypeAlias

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import parse_wheel_filename

from repack.config import Config
from repack.dlls.families import (
    Dll,
    Kind,
    classify,
    index_requirement,
    key_of,
    may_be_shipped,
    missing_parts,
)
from repack.dlls.writing import ANSWERS, make_stand_in
from repack.errors import FetchError, InputError
from repack.fetch import Listing, Supply
from repack.inspect import Analysis
from repack.inspect.findings import STAND_INS, make_finding
from repack.plan import Supplement, emitted_version
from repack.record import Cargo, Finding
from repack.vendor.delvewheel import repair
from repack.vendor.sbom import FILENAME, make_sbom
from repack.vendor.selection import Choice, Supplier, is_asked_for, may_carry, select_dlls
from repack.wheel.writer import Part, make_part

#: Takes a requirement and a platform, and returns what the newest wheel holds, None for unknown.
ListWheel: TypeAlias = Callable[[str, str], Listing | None]

#: What NVIDIA's own wheels of today state as their License-Expression.
_LICENCE = "LicenseRef-NVIDIA-Proprietary"
#: The extra that brings cuDNN, where the binary can do without it.
_EXTRA = "dnn"
#: Libraries whose wheels never have a lower version than the toolkit that they came with.
_AS_THE_TOOLKIT = {"cublas", "cudart", "nvjitlink", "nvrtc"}
#: What `msvc-runtime` brings; Python has vcruntime140.dll and vcruntime140_1.dll itself.
_VC_RUNTIME = re.compile(
    r"(msvcp140|concrt140|vcomp140|vcamp140|vccorlib140|vcruntime140_(?!1\.))\w*\.dll"
)


def make_supplement(
    config: Config, analysis: Analysis, supply: Supply, *, url: str, timestamp: int
) -> Supplement:
    """Return what the mode adds to the patches.

    `url` is where anybody may get the source, `timestamp` the time in the SBOM. Raises RepackError
    where something that the mode needs cannot be had, or may not be done.
    """
    stand_ins = make_stand_ins(analysis) if config.build.driver_stub else Supplement()
    ending = ".stub" if stand_ins.carried else ""
    supplement = Supplement()
    if config.build.mode == "depend":
        supplement = require_distributions(analysis, supply.list_wheel)
    elif config.build.mode == "vendor":
        version = emitted_version(config.build, analysis, f"vendored{ending}")
        describe = partial(make_sbom, analysis.wheel, version, url, timestamp)
        supplement = carry_dlls(config, analysis, supply, describe)
    return replace(
        supplement,
        label=f"{supplement.label}{ending}",
        carried=(*supplement.carried, *stand_ins.carried),
        cargo=(*supplement.cargo, *stand_ins.cargo),
        findings=(*supplement.findings, *stand_ins.findings),
    )


# Required


def require_distributions(analysis: Analysis, list_wheel: ListWheel) -> Supplement:
    """Return what the wheel has to require; raises InputError where no distribution has a DLL.

    That is exactly the distributions of the DLLs that the binary asks for: what those load in
    their turn, NVIDIA's wheels require themselves. The driver is none of pip's business. Raises
    FetchError where the index has no such wheel.
    """
    needs = [need for need in analysis.needs if need.in_wheel is None]
    always = {need.dll.kind for need in needs if not need.delayed}
    names: dict[tuple[str, str], set[str]] = {}
    for need in needs:
        is_extra = need.dll.kind is Kind.CUDNN and Kind.CUDNN not in always
        marker = f'; extra == "{_EXTRA}"' if is_extra else ""
        requirement = _find_requirement(need.dll, analysis)
        if requirement or (need.dll.is_cuda and not need.delayed):
            names.setdefault((marker, requirement), set()).add(need.dll.key)
    requires = []
    for marker, requirement in sorted(names):
        dlls = names[marker, requirement]
        narrowed = requirement and _narrow(requirement, dlls, analysis, list_wheel)
        if not narrowed:
            raise InputError(
                f"NVIDIA has no wheels with {', '.join(sorted(dlls))}",
                code="no-distribution",
                file=analysis.wheel.path.name,
                hint="use --mode patch, and a toolkit on each machine",
            )
        requires.append(narrowed + marker)
    extras = (_EXTRA,) if any(marker for marker, _ in names) else ()
    return Supplement(label="depend", requires=tuple(requires), extras=extras)


def _find_requirement(dll: Dll, analysis: Analysis) -> str:
    """Return what brings the DLL, before anybody has looked into a wheel; "" for nothing."""
    if dll.kind is Kind.VC_RUNTIME and _VC_RUNTIME.fullmatch(dll.key):
        return "msvc-runtime<15,>=14"
    name = index_requirement(dll, analysis.cuda_major) if dll.is_cuda else ""
    if not name or not analysis.cuda[1:] or dll.family not in _AS_THE_TOOLKIT:
        return name
    requirement = Requirement(name)
    requirement.specifier &= SpecifierSet(">={}.{}".format(*analysis.cuda))
    return str(requirement)


def _narrow(requirement: str, dlls: set[str], analysis: Analysis, list_wheel: ListWheel) -> str:
    """Return the requirement, ended at the first version from the newest on that lacks a DLL.

    "" where every version lacks one.
    """
    narrowed = Requirement(requirement)
    for platform in sorted({tag.platform for tag in analysis.wheel.filename.tags}):
        wide = narrowed.specifier
        while True:
            try:
                listing = list_wheel(str(narrowed), platform)
            except FetchError as error:
                if narrowed.specifier == wide or error.code != "no-such-version":
                    raise
                return ""
            if listing is None or dlls <= {key_of(PurePath(name).name) for name in listing.members}:
                break
            _, version, _, _ = parse_wheel_filename(listing.filename)
            narrowed.specifier = wide & SpecifierSet(f"<{version}")
    return str(narrowed)


# Carried


def carry_dlls(
    config: Config,
    analysis: Analysis,
    supply: Supply,
    describe: Callable[[list[tuple[Choice, Cargo]]], bytes],
) -> Supplement:
    """Return the DLLs that the wheel is to carry, with licences and the SBOM that `describe` makes.

    Raises InputError where a DLL is nowhere or too old, FetchError, and ToolError where delvewheel,
    if it is asked for, sees another wheel than we do.
    """
    wheel = analysis.wheel
    chosen, complete, suppliers = select_dlls(analysis, config, supply)
    used = {choice.supplier.origin: choice.supplier for choice in chosen.values()}
    findings = (
        *_check_choices(config, complete, chosen.values()),
        *_check_suppliers(suppliers, used.values()),
    )
    if not chosen:
        return Supplement(findings=findings)
    dlls = [choice.supplier.carry(choice.place, member) for member, choice in chosen.items()]
    if config.vendor.engine == "delvewheel":
        repair(analysis, complete, dlls, supply.cache.folder("repaired"))
    parts = [
        (choice, _describe_cargo(dll, choice.dll.family, choice.supplier.origin))
        for dll, choice in zip(dlls, chosen.values(), strict=True)
    ]
    licences = [
        supplier.carry(place, f"{wheel.dist_info}/licenses/{supplier.label}/{PurePath(place).name}")
        for supplier in used.values()
        for place in supplier.licences
    ]
    sbom = f"{wheel.dist_info}/sboms/{FILENAME}"
    return Supplement(
        label="vendored",
        carried=(*dlls, *licences, make_part(sbom, describe(parts))),
        cargo=tuple(cargo for _, cargo in parts),
        licence=_LICENCE,
        left=complete.toolkit_needs,
        findings=findings,
    )


def _check_choices(
    config: Config, complete: Analysis, chosen: Collection[Choice]
) -> Iterator[Finding]:
    if not chosen:
        yield make_finding("nothing-to-vendor", "")
    if f"{complete.wheel.dist_info}/DELVEWHEEL" in complete.wheel.names:
        yield make_finding("already-vendored", "")
    for need in complete.toolkit_needs:
        name = need.dll.name
        if is_asked_for(need.dll, config) and not may_carry(need.dll, config):
            yield make_finding("not-listed", name, name, need.needed_by[0])
    keys = {choice.dll.key for choice in chosen}
    for choice in chosen:
        name = choice.dll.name
        if not may_be_shipped(choice.dll):
            yield make_finding("unlisted-shipped", name, name)
        if missing := missing_parts(choice.dll, keys):
            yield make_finding("vendored-incomplete", name, name, ", ".join(missing))


def _check_suppliers(
    suppliers: Iterable[Supplier], used: Collection[Supplier]
) -> Iterator[Finding]:
    for supplier in suppliers:
        for name in (PurePath(place).name for place in supplier.images):
            if classify(name).kind is Kind.DRIVER:
                yield make_finding("driver-not-shipped", name, name, supplier.origin)
        if supplier in used and not supplier.licences:
            yield make_finding("licence-missing", "", supplier.origin)


def make_stand_ins(analysis: Analysis) -> Supplement:
    """Return stand-ins for the driver's DLLs that the binary imports.

    It does not load without these, driver or not. A DLL that can have none gets a finding.
    """
    carried, findings = [], []
    for need in analysis.needs:
        if need.dll.kind is not Kind.DRIVER or need.in_wheel is not None:
            continue
        key, asker = need.dll.key, need.needed_by[0]
        if key in ANSWERS and analysis.images[asker].machine == "x86-64":
            path = f"{STAND_INS}/{key.removesuffix('.dll')}/{key}"
            carried.append(make_part(path, make_stand_in(key, need.symbols)))
        else:
            findings.append(make_finding("no-stand-in", asker, need.dll.name))
    cargo = [_describe_cargo(dll, "driver", "a stand-in that repack wrote") for dll in carried]
    return Supplement(carried=tuple(carried), cargo=tuple(cargo), findings=tuple(findings))


def _describe_cargo(dll: Part, family: str, origin: str) -> Cargo:
    """Return what the record has of a DLL; how small a deflated one gets is not known yet."""
    return Cargo(
        member=dll.name,
        family=family,
        origin=origin,
        size=dll.row.size,
        packed=None if dll.deflate else dll.size,
        sha256=dll.row.hex,
    )
