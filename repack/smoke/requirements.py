"""What has to be installed beside a wheel before it can be imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from repack.wheel import applicable, open_archive, parse_metadata, read_member

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def requirements_for(requires: Sequence[str], python: str, *, numpy_abi: str | None) -> list[str]:
    """Return the index requirements of a wheel with these Requires-Dist lines on `python`.

    NumPy is always among them, since cv2 imports it; and it is never one that the ABI, which
    the binary was built for, rules out ("1", "2" or None for not known).
    """
    specifiers: dict[str, list[str]] = {}
    for wanted in applicable(requires, python):
        specifiers.setdefault(canonicalize_name(wanted.name), []).append(str(wanted.specifier))
    specifiers.setdefault("numpy", []).append("<2" if numpy_abi == "1" else "")
    return [
        f"{name}{','.join(sorted({part for part in parts if part}))}"
        for name, parts in sorted(specifiers.items())
    ]


def requirements_of(wheel: Path, python: str) -> list[str]:
    """Return the index requirements of a wheel file on a Windows `python`."""
    archive = open_archive(wheel)
    (member,) = [name for name in archive.names if name.endswith(".dist-info/METADATA")]
    said = parse_metadata(read_member(archive, member))
    return [f"{wanted.name}{wanted.specifier}" for wanted in applicable(said.requires, python)]


def distribution_of(requirement: str) -> str:
    """Return the normalised name of what is required."""
    return canonicalize_name(Requirement(requirement).name)
