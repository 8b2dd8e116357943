"""What a person can do where a DLL that no CUDA directory holds is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from repack.dlls.rules import Dll

_CURES = {
    "driver": "install the NVIDIA display driver (it brings them into System32, so that no "
    "directory helps)",
    "opencl": "install the driver of your graphics card",
    "vulkan": "install the driver of your graphics card",
    "media-foundation": "add Media Foundation to this Windows: on Windows N the optional feature "
    '"Media Feature Pack", on Windows Server: Install-WindowsFeature Server-Media-Foundation',
    "vc-runtime": "python -m pip install --upgrade msvc-runtime, or install the Visual C++ "
    "2015-2022 Redistributable",
    "python": "repair this Python, or copy the DLL beside python.exe from a complete one",
}


def cure(dll: Dll) -> str:
    """Return what brings `dll` onto a machine, "" where that is not known by its family."""
    return _CURES.get(dll.family, "")
