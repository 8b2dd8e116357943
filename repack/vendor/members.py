"""What vendor mode puts into a wheel: NVIDIA's DLLs as they are, its licences, an SBOM."""

from collections.abc import Iterator, Sequence
from pathlib import PurePath

from repack.config import Config
from repack.dlls import Kind, classify, may_be_shipped, missing_parts
from repack.fetch.supply import Supply
from repack.inspect import Analysis
from repack.plan import Supplement
from repack.record import Cargo, Finding
from repack.vendor.delvewheel import repair
from repack.vendor.sbom import FILENAME, make_sbom
from repack.vendor.selection import Choice, Request, is_allowed, is_asked_for, select_dlls
from repack.vendor.suppliers import Supplier, Suppliers
from repack.wheel import Carried, Copied, rename_wheel

#: What NVIDIA's own wheels of today state as their License-Expression.
_LICENCE = "LicenseRef-NVIDIA-Proprietary"
#: Code -> message and hint.
_TEXTS = {
    "already-vendored": (
        "delvewheel has put DLLs into it before; they stay as they are",
        "start from the wheel as it was built, to choose them anew",
    ),
    "driver-not-shipped": (
        "{} of {} is not put into the wheel: it is the driver's, and fits that driver alone",
        "--driver-stub helps machines that have no driver",
    ),
    "licence-missing": (
        "there is no licence text with the DLLs of {}, and NVIDIA's licence asks for it",
        "put its EULA.txt beside them",
    ),
    "not-listed": (
        "{}, which {} needs, is not put into the wheel: NVIDIA's licence does not list it",
        "it is looked for on the machine; with leave to pass it on, name it in allow.unlisted-dlls",
    ),
    "nothing-to-vendor": (
        "no CUDA DLL is put into the wheel: it needs none that may be put into it",
        "--mode patch does the same",
    ),
    "unlisted-shipped": (
        "{} is put into the wheel, though NVIDIA's licence does not list it: allow.unlisted-dlls",
        "be sure that you have leave to pass it on",
    ),
    "vendored-incomplete": (
        "{} of {} comes without {}, which it loads by name while it runs",
        "name a whole cuDNN under vendor.dlls or vendor.dll-dirs",
    ),
}


def carry_dlls(  # noqa: PLR0913 - what a build knows of itself
    config: Config, analysis: Analysis, supply: Supply, *, version: str, url: str, timestamp: int
) -> Supplement:
    """Return the DLLs that the wheel is to carry, with all that goes with them.

    `version` is that of the new wheels, `url` where the source is from, `timestamp` the time in
    the SBOM. Raises InputError where a DLL is nowhere or too old, FetchError, and ToolError where
    delvewheel, if it is asked for, sees another wheel than we do.
    """
    suppliers = Suppliers(config.vendor, analysis.cuda_major, supply)
    chosen, left_out = select_dlls(analysis, config, suppliers)
    used = list({choice.supplier.origin: choice.supplier for choice in chosen}.values())
    findings = [
        *_check_selection(config, analysis, chosen, left_out),
        *_check_suppliers(suppliers, used),
    ]
    if not chosen:
        return Supplement(label="patched", findings=tuple(findings))
    wheel = analysis.wheel
    folder = f"{rename_wheel(wheel.filename, version='0').distribution}.libs"
    dlls = [choice.supplier.carry(choice.place, f"{folder}/{choice.name}") for choice in chosen]
    if config.vendor.engine == "delvewheel":
        repair(analysis, chosen, dlls, supply.cache.folder("repaired"))
    cargo = tuple(map(_describe, chosen, dlls))
    sbom = make_sbom(wheel, version, url, zip(chosen, cargo, strict=True), timestamp)
    families: dict[str, tuple[str, ...]] = {}
    for left in left_out:
        if left.required:
            families[left.dll.family] = (*families.get(left.dll.family, ()), left.dll.name)
    return Supplement(
        label="vendored",
        files={f"{wheel.dist_info}/sboms/{FILENAME}": sbom},
        carried=(*dlls, *_carry_licences(f"{wheel.dist_info}/licenses", used)),
        cargo=cargo,
        licence=_LICENCE,
        families=families,
        findings=tuple(findings),
        left_out=tuple(left.dll.name for left in left_out),
    )


def _describe(choice: Choice, dll: Carried) -> Cargo:
    entry = dll.entry
    return Cargo(
        member=dll.path,
        family=choice.dll.family,
        origin=choice.supplier.origin,
        size=dll.row.size,
        packed=entry.member.compressed_size if isinstance(entry, Copied) else None,
        sha256=dll.row.hex,
    )


def _carry_licences(folder: str, suppliers: Sequence[Supplier]) -> Iterator[Carried]:
    for number, supplier in enumerate(suppliers, start=1):
        name = supplier.origin.replace(" ", "-") if supplier.wheel else f"nvidia-{number}"
        for place in supplier.licences:
            yield supplier.carry(place, f"{folder}/{name}/{PurePath(place).name}")


def _finding(code: str, *words: str) -> Finding:
    """Return the finding whose message has `words` in it, and is about the first."""
    message, hint = _TEXTS[code]
    return Finding(code=code, message=message.format(*words), member="".join(words[:1]), hint=hint)


def _check_selection(
    config: Config, analysis: Analysis, chosen: Sequence[Choice], left_out: Sequence[Request]
) -> Iterator[Finding]:
    if not chosen:
        yield _finding("nothing-to-vendor")
    if f"{analysis.wheel.dist_info}/DELVEWHEEL" in analysis.wheel.names:
        yield _finding("already-vendored")
    for dll, asker, *_ in left_out:
        if is_asked_for(dll, config) and not is_allowed(dll, config):
            yield _finding("not-listed", dll.name, asker)
    keys = {choice.dll.key for choice in chosen}
    for choice in chosen:
        if not may_be_shipped(choice.dll):
            yield _finding("unlisted-shipped", choice.name)
        if missing := missing_parts(choice.dll, keys):
            parts = ", ".join(missing)
            yield _finding("vendored-incomplete", choice.name, choice.supplier.origin, parts)


def _check_suppliers(suppliers: Suppliers, used: Sequence[Supplier]) -> Iterator[Finding]:
    for supplier in suppliers.all:
        for place in supplier.places.values():
            name = PurePath(place).name
            if classify(name).kind is Kind.DRIVER:
                yield _finding("driver-not-shipped", name, supplier.origin)
        if supplier in used and not supplier.licences:
            yield _finding("licence-missing", supplier.origin)
