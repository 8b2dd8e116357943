"""What a wheel requires on a Windows Python, whichever machine asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


def windows_environment(python: str) -> dict[str, str]:
    """Return the environment that markers are evaluated for on a 64-bit Windows `python`."""
    version = python.removesuffix("t")
    return {
        "implementation_name": "cpython",
        "implementation_version": f"{version}.0",
        "os_name": "nt",
        "platform_machine": "AMD64",
        "platform_python_implementation": "CPython",
        "platform_release": "10",
        "platform_system": "Windows",
        "platform_version": "10.0.19045",
        "python_full_version": f"{version}.0",
        "python_version": version,
        "sys_platform": "win32",
    }


def applicable(
    requires: Iterable[str], python: str, extras: Collection[str] = ()
) -> list[Requirement]:
    """Return those of the Requires-Dist lines that hold on a Windows `python` with `extras`.

    They come without their markers, which have done their work. A line that nobody understands
    is nobody's requirement.
    """
    environment = windows_environment(python)
    given = ("", *sorted(extras))
    held = []
    for line in requires:
        try:
            wanted = Requirement(line)
            marker = wanted.marker
            if marker and not any(marker.evaluate({**environment, "extra": x}) for x in given):
                continue
        except (InvalidRequirement, UndefinedComparison, UndefinedEnvironmentName):
            continue
        wanted.marker = None
        held.append(wanted)
    return held
