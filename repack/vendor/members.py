"""What vendor mode puts into a wheel: NVIDIA's DLLs as they are, its licences, an SBOM."""

from collections.abc import Collection, Iterator, Sequence
from functools import partial
from pathlib import PurePath

from repack.config import Config
from repack.dlls.families import Kind, classify, may_be_shipped, missing_parts
from repack.fetch import Supply
from repack.inspect.analysis import Analysis
from repack.inspect.findings import make_finding
from repack.plan import Supplement
from repack.record import Cargo, Finding
from repack.vendor.delvewheel import repair
from repack.vendor.sbom import FILENAME, make_sbom
from repack.vendor.selection import Choice, is_asked_for, may_carry, select_dlls
from repack.vendor.suppliers import Supplier, fetch_supplier, read_directory
from repack.wheel.names import rename_wheel
from repack.wheel.writer import Carried, Copied

#: What NVIDIA's own wheels of today state as their License-Expression.
_LICENCE = "LicenseRef-NVIDIA-Proprietary"


def carry_dlls(  # noqa: PLR0913 - what a build knows of itself
    config: Config, analysis: Analysis, supply: Supply, *, version: str, url: str, timestamp: int
) -> Supplement:
    """Return the DLLs that the wheel is to carry, with all that goes with them.

    `version` is that of the new wheels, `url` where the source is from, `timestamp` the time in
    the SBOM. Raises InputError where a DLL is nowhere or too old, FetchError, and ToolError where
    delvewheel, if it is asked for, sees another wheel than we do.
    """
    wheel, settings = analysis.wheel, config.vendor
    folder = f"{rename_wheel(wheel.filename, version='0').distribution}.libs"
    fetch = partial(fetch_supplier, supply=supply)
    requirements = () if settings.dlls == "auto" else settings.dlls
    suppliers = [*map(read_directory, settings.dll_dirs), *map(fetch, requirements)]
    chosen, complete = select_dlls(analysis, config, suppliers, fetch, folder)
    used = list({choice.supplier.origin: choice.supplier for choice in chosen.values()}.values())
    findings = (
        *_check_selection(config, complete, chosen.values()),
        *_check_suppliers(suppliers, used),
    )
    if not chosen:
        return Supplement(label="patched", findings=findings)
    dlls = [choice.supplier.carry(choice.place, member) for member, choice in chosen.items()]
    if settings.engine == "delvewheel":
        repair(analysis, complete, dlls, supply.cache.folder("repaired"))
    cargo = tuple(
        describe_cargo(dll, choice.dll.family, choice.supplier.origin)
        for dll, choice in zip(dlls, chosen.values(), strict=True)
    )
    sbom = make_sbom(wheel, version, url, zip(chosen.values(), cargo, strict=True), timestamp)
    left = complete.toolkit_needs
    return Supplement(
        label="vendored",
        files={f"{wheel.dist_info}/sboms/{FILENAME}": sbom},
        carried=(*dlls, *_carry_licences(f"{wheel.dist_info}/licenses", used)),
        cargo=cargo,
        licence=_LICENCE,
        findings=findings,
        left_out=tuple(need.dll.name for need in left),
        needed=tuple(need.dll.name for need in left if not need.delayed),
    )


def describe_cargo(dll: Carried, family: str, origin: str) -> Cargo:
    """Return what the record has of a DLL; how small a deflated one gets is not known yet."""
    entry, size = dll.entry, dll.row.size
    if isinstance(entry, Copied):
        packed: int | None = entry.member.compressed_size
    else:
        packed = None if entry.deflate else size
    return Cargo(
        member=dll.entry.name,
        family=family,
        origin=origin,
        size=size,
        packed=packed,
        sha256=dll.row.hex,
    )


def _carry_licences(folder: str, suppliers: Sequence[Supplier]) -> Iterator[Carried]:
    for number, supplier in enumerate(suppliers, start=1):
        name = supplier.origin.replace(" ", "-") if supplier.wheel else f"nvidia-{number}"
        for place in supplier.licences:
            yield supplier.carry(place, f"{folder}/{name}/{PurePath(place).name}")


def _check_selection(
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


def _check_suppliers(suppliers: Sequence[Supplier], used: Sequence[Supplier]) -> Iterator[Finding]:
    for supplier in suppliers:
        for name in (PurePath(place).name for place in supplier.images):
            if classify(name).kind is Kind.DRIVER:
                yield make_finding("driver-not-shipped", name, name, supplier.origin)
        if supplier in used and not supplier.licences:
            yield make_finding("licence-missing", "", supplier.origin)
