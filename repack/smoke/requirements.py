"""What has to be installed beside a wheel before it can be imported."""

import email
import zipfile
from collections.abc import Sequence
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from repack.wheel import select_requirements


def requirements_for(requires: Sequence[str], python: str, *, numpy_abi: str | None) -> list[str]:
    """Return the index requirements of a wheel with these Requires-Dist lines on `python`.

    NumPy is always among them, since cv2 imports it; and it is never one that the ABI, which
    the binary was built for, rules out ("1", "2" or None for not known).
    """
    specifiers: dict[str, set[str]] = {"numpy": {"<2"} if numpy_abi == "1" else set()}
    for requirement in select_requirements(requires, python):
        name = canonicalize_name(requirement.name)
        specifiers.setdefault(name, set()).update(filter(None, [str(requirement.specifier)]))
    return [f"{name}{','.join(sorted(specifiers[name]))}" for name in sorted(specifiers)]


def requirements_of(wheel: Path, python: str) -> list[str]:
    """Return the index requirements of a wheel file, which is known, on a Windows `python`."""
    with zipfile.ZipFile(wheel) as archive:
        (member,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        requires = email.message_from_bytes(archive.read(member)).get_all("Requires-Dist", [])
    return [
        f"{requirement.name}{requirement.specifier}"
        for requirement in select_requirements(requires, python)
    ]


def distribution_of(requirement: str) -> str:
    """Return the normalised name of what is required."""
    return canonicalize_name(Requirement(requirement).name)
