"""What a mode adds to a wheel beside the patches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from repack.record import Cargo, Finding
from repack.wheel import Carried


@dataclass(frozen=True, kw_only=True, slots=True)
class Supplement:
    """What a mode adds to each wheel, beside the patches.

    `files` are members by name, those of .dist-info under the source's; `label` says what was
    done; `licence` is the SPDX identifier for what is carried; `left_out` are the DLLs that are
    left to the machine. The run-time module has to know of `folders` with DLLs, of `stand_ins`,
    key of a DLL -> folder, and of `families`, family -> DLLs, that the binaries do not ask for
    themselves.
    """

    label: str = "patched"
    files: Mapping[str, bytes] = field(default_factory=dict)
    carried: tuple[Carried, ...] = ()
    cargo: tuple[Cargo, ...] = ()
    requires: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    licence: str = ""
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
        licence=first.licence or second.licence,
        folders=(*first.folders, *second.folders),
        stand_ins={**first.stand_ins, **second.stand_ins},
        families={**first.families, **second.families},
        findings=(*first.findings, *second.findings),
        left_out=(*first.left_out, *second.left_out),
    )
