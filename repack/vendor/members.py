"""What vendor mode puts into a wheel: NVIDIA's DLLs as they are, its licences, an SBOM."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePath

from repack.config import Config
from repack.console import Progress
from repack.dlls import Kind, classify, index_requirement, may_be_shipped, parts_of
from repack.errors import ConfigError
from repack.fetch import Cache, Fetched
from repack.inspect import Analysis
from repack.plan import Supplement
from repack.record import Cargo, Finding
from repack.vendor import delvewheel
from repack.vendor.sbom import FILENAME, make_sbom
from repack.vendor.selection import NOT_LISTED, Choice, Selection, dlls_to_supply, select_dlls
from repack.vendor.suppliers import Supplier, directory_supplier, wheel_supplier
from repack.wheel import Carried, rename_wheel

#: What NVIDIA's own wheels of today state as their License-Expression.
_LICENCE = "LicenseRef-NVIDIA-Proprietary"
_NOTHING = Finding(
    code="nothing-to-vendor",
    message="no CUDA DLL is put into the wheel: it needs none that may be put into it",
    hint="--mode patch does the same",
)


def find_suppliers(
    config: Config,
    analysis: Analysis,
    fetch_wheel: Callable[[str], Fetched],
    cache: Cache,
    progress: Progress,
) -> list[Supplier]:
    """Return the directories that are configured, then wheels with what these do not hold.

    `fetch_wheel` takes a requirement. Raises ConfigError where no CUDA major says which wheels.
    """
    suppliers = [directory_supplier(folder) for folder in config.vendor.dll_dirs]
    requirements = config.vendor.dlls
    if requirements == "auto":
        known = {key for supplier in suppliers for key in supplier.dlls}
        missing = [dll for dll in dlls_to_supply(analysis, config) if dll.key not in known]
        if missing and analysis.cuda_major is None:
            raise ConfigError(
                "which CUDA the wheel was built with cannot be told from its binaries",
                code="no-cuda-major",
                file=analysis.wheel.path.name,
                hint="name the DLLs' directory under vendor.dll-dirs",
            )
        names = {index_requirement(dll, analysis.cuda_major or 0) for dll in missing}
        requirements = tuple(sorted(names - {""}))
    wheels = [fetch_wheel(requirement) for requirement in requirements]
    return [*suppliers, *(wheel_supplier(wheel, cache, progress) for wheel in wheels)]


def carry_dlls(  # noqa: PLR0913, PLR0917 - what a build knows of itself
    config: Config,
    analysis: Analysis,
    suppliers: Sequence[Supplier],
    cache: Cache,
    version: str,
    url: str,
    timestamp: int,
) -> Supplement:
    """Return the DLLs that the wheel is to carry, with all that goes with them.

    `version` is that of the new wheels, `url` where the source is from, `timestamp` the time in
    the SBOM. Raises InputError where a DLL is nowhere or too old, ToolError where delvewheel,
    where it is asked for, sees another wheel than we do.
    """
    selection = select_dlls(analysis, suppliers, config)
    findings = tuple(_findings(analysis, suppliers, selection))
    if not selection.chosen:
        return Supplement(label="patched", findings=(*findings, _NOTHING))
    folder = f"{rename_wheel(analysis.wheel.filename, version='0').distribution}.libs"
    dlls = [_make_carried(f"{folder}/{choice.file.name}", choice) for choice in selection.chosen]
    if config.vendor.engine == "delvewheel":
        rows = {choice.dll.key: dll.row for choice, dll in zip(selection.chosen, dlls, strict=True)}
        delvewheel.repair(analysis, selection, rows, cache.folder("repaired"))
    cargo = tuple(map(_cargo, selection.chosen, dlls))
    parts = list(zip(cargo, selection.chosen, strict=True))
    sbom = make_sbom(analysis.wheel, version, url, parts, timestamp)
    return Supplement(
        label="vendored",
        files={f"{analysis.wheel.dist_info}/sboms/{FILENAME}": sbom},
        carried=(*dlls, *_licences(analysis, selection)),
        cargo=cargo,
        licence=_LICENCE,
        families=_left_families(selection),
        findings=findings,
        left_out=tuple(left.dll.name for left in selection.left_out),
    )


def _make_carried(path: str, choice: Choice) -> Carried:
    place = choice.file.place
    return Carried(path=path, entry=choice.supplier.entry(place), row=choice.supplier.row(place))


def _cargo(choice: Choice, dll: Carried) -> Cargo:
    return Cargo(
        member=dll.path,
        family=choice.dll.family,
        origin=choice.supplier.origin,
        size=choice.file.size,
        packed=choice.file.packed,
        sha256=dll.row.hex,
    )


def _suppliers_of(selection: Selection) -> list[Supplier]:
    """Return the suppliers that something is taken from, each once."""
    return list({choice.supplier.origin: choice.supplier for choice in selection.chosen}.values())


def _licences(analysis: Analysis, selection: Selection) -> Iterator[Carried]:
    for number, supplier in enumerate(_suppliers_of(selection), start=1):
        name = supplier.origin.replace(" ", "-") if supplier.archive else f"nvidia-{number}"
        for place in supplier.licences:
            path = f"{analysis.wheel.dist_info}/licenses/{name}/{PurePath(place).name}"
            yield Carried(path=path, entry=supplier.entry(place), row=supplier.row(place))


def _left_families(selection: Selection) -> dict[str, tuple[str, ...]]:
    """Return, by family, the DLLs left to the machine without which a chosen one does not load."""
    families: dict[str, tuple[str, ...]] = {}
    for left in selection.left_out:
        if left.required:
            families[left.dll.family] = (*families.get(left.dll.family, ()), left.dll.name)
    return families


def _findings(
    analysis: Analysis, suppliers: Sequence[Supplier], selection: Selection
) -> Iterator[Finding]:
    wheel = analysis.wheel
    if f"{wheel.dist_info}/DELVEWHEEL" in wheel.names:
        yield Finding(
            code="already-vendored",
            message="delvewheel has put DLLs into it before; they stay as they are",
            hint="start from the wheel as it was built, to choose them anew",
        )
    for left in selection.left_out:
        if left.reason == NOT_LISTED:
            yield Finding(
                code="not-listed",
                member=left.dll.name,
                message=f"{left.dll.name}, which {left.asker} needs, is not put into the wheel: "
                "NVIDIA's licence does not list it among what may be passed on",
                hint="it is looked for on the machine; name it in allow.unlisted-dlls if you have "
                "leave to pass it on",
            )
    keys = {choice.dll.key for choice in selection.chosen}
    for choice in selection.chosen:
        yield from _about_choice(choice, keys)
    used = _suppliers_of(selection)
    for supplier in suppliers:
        yield from _about_supplier(supplier, used=supplier in used)


def _about_choice(choice: Choice, keys: set[str]) -> Iterator[Finding]:
    name = choice.dll.name
    if not may_be_shipped(choice.dll):
        yield Finding(
            code="unlisted-shipped",
            message=f"{name} is put into the wheel, because allow.unlisted-dlls names it; NVIDIA's "
            "licence does not list it among what may be passed on",
            member=name,
            hint="be sure that you have leave to pass it on",
        )
    missing = [part for part in parts_of(choice.dll) if part not in keys]
    if missing:
        yield Finding(
            code="vendored-incomplete",
            message=f"{choice.supplier.origin} has {name} without {', '.join(missing)}, which that "
            "loads by name while it runs",
            member=name,
            hint="name a whole cuDNN under vendor.dlls or vendor.dll-dirs",
        )


def _about_supplier(supplier: Supplier, *, used: bool) -> Iterator[Finding]:
    for dll in supplier.dlls.values():
        if classify(dll.name).kind is Kind.DRIVER:
            yield Finding(
                code="driver-not-shipped",
                member=dll.name,
                message=f"{dll.name} in {supplier.origin} is not put into the wheel: it is the "
                "driver's, and fits that driver alone",
                hint="--driver-stub helps machines that have no driver",
            )
    if used and not supplier.licences:
        yield Finding(
            code="licence-missing",
            message=f"there is no licence text with the DLLs of {supplier.origin}, and NVIDIA's "
            "licence asks for it",
            hint="put its EULA.txt beside them",
        )
