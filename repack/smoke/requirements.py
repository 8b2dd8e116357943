"""What has to be installed beside a wheel before it can be imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def requirements_for(requires: Sequence[str], python: str, *, numpy_abi: str | None) -> list[str]:
    """Return the index requirements of a wheel with these Requires-Dist lines on `python`.

    NumPy is always among them, since cv2 imports it; and it is never one that the ABI, which
    the binary was built for, rules out ("1", "2" or None for not known).
    """
    specifiers: dict[str, list[str]] = {}
    for wanted in _wanted(requires, python):
        specifiers.setdefault(canonicalize_name(wanted.name), []).append(str(wanted.specifier))
    specifiers.setdefault("numpy", []).append("<2" if numpy_abi == "1" else "")
    return [
        f"{name}{','.join(sorted({part for part in parts if part}))}"
        for name, parts in sorted(specifiers.items())
    ]


def _wanted(requires: Sequence[str], python: str) -> Iterable[Requirement]:
    """Yield the requirements that hold on a Windows `python`; extras are nobody's need here."""
    environment = {
        "extra": "",
        "implementation_name": "cpython",
        "os_name": "nt",
        "platform_machine": "AMD64",
        "platform_python_implementation": "CPython",
        "platform_system": "Windows",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": "win32",
    }
    for line in requires:
        try:
            wanted = Requirement(line)
        except InvalidRequirement:
            continue
        if wanted.marker is None or wanted.marker.evaluate(environment):
            yield wanted
