"""What a wheel carries for others, and what a mode adds to a wheel beside the patches."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from repack.analysis.carried import STAND_INS
from repack.dlls import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from repack.analysis import Analysis, Finding
    from repack.wheels import Carried


@dataclass(frozen=True, kw_only=True, slots=True)
class Cargo:
    """A DLL that a wheel carries for others: NVIDIA's, or a stand-in for the driver's.

    `packed` is its weight in the wheel, None where that is known only once it is written; both
    in bytes.
    """

    member: str
    family: str
    origin: str
    size: int
    packed: int | None
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Supplement:
    """What a mode adds to each wheel, beside the patches.

    `files` are members by name, those of .dist-info under the source's; `label` says what was
    done; `left_out` are the DLLs that are left to the machine. The run-time module has to know of
    `folders` with DLLs, of `stand_ins`, key of a DLL -> folder, and of `families`, family -> DLLs,
    that the binaries do not ask for themselves.
    """

    label: str = "patched"
    files: Mapping[str, bytes] = field(default_factory=dict)
    carried: tuple[Carried, ...] = ()
    cargo: tuple[Cargo, ...] = ()
    requires: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    stand_ins: Mapping[str, str] = field(default_factory=dict)
    families: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    left_out: tuple[str, ...] = ()


def joined(first: Supplement, second: Supplement) -> Supplement:
    """Return both in one; they have nothing in common."""
    return Supplement(
        label=f"{first.label}.{second.label}",
        files={**first.files, **second.files},
        carried=(*first.carried, *second.carried),
        cargo=(*first.cargo, *second.cargo),
        requires=(*first.requires, *second.requires),
        extras=(*first.extras, *second.extras),
        folders=(*first.folders, *second.folders),
        stand_ins={**first.stand_ins, **second.stand_ins},
        families={**first.families, **second.families},
        findings=(*first.findings, *second.findings),
        left_out=(*first.left_out, *second.left_out),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Laden:
    """What an earlier build has put into a wheel, by the names of `Supplement`."""

    folders: frozenset[str]
    stand_ins: Mapping[str, str]


def laden(analysis: Analysis) -> Laden:
    """Return what an earlier build has put into the wheel that the run-time module has to find.

    What lies beside a module needs no finding.
    """
    beside = {_folder(member) for member in analysis.native}
    folders, stand_ins = set(), {}
    for need in analysis.needs:
        folder = _folder(need.in_wheel or "")
        if need.dll.kind is Kind.DRIVER and folder.startswith(f"{STAND_INS}/"):
            stand_ins[need.dll.key] = folder
        elif need.dll.kind in {Kind.CUDA, Kind.CUDNN} and folder and folder not in beside:
            folders.add(folder)
    return Laden(folders=frozenset(folders), stand_ins=stand_ins)


def unladen(analysis: Analysis) -> Analysis:
    """Return the analysis of the wheel as it was before an earlier build put DLLs into it."""
    load = laden(analysis)
    folders = {*load.folders, *load.stand_ins.values()}
    needs = []
    for need in analysis.needs:
        askers = tuple(member for member in need.needed_by if _folder(member) not in folders)
        if askers:
            outside = _folder(need.in_wheel or "") in folders
            answer = None if outside else need.in_wheel
            needs.append(replace(need, needed_by=askers, in_wheel=answer))
    return replace(analysis, needs=tuple(needs))


def _folder(member: str) -> str:
    return member.rpartition("/")[0]
