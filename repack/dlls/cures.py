"""What a person can do where a DLL is missing on a machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from repack.dlls.rules import Kind

if TYPE_CHECKING:
    from repack.dlls.rules import Dll

_CURES = {
    "driver": "install the NVIDIA display driver (it brings its DLLs into System32, so that no "
    "directory helps)",
    "opencl": "install the driver of your graphics card",
    "vulkan": "install the driver of your graphics card",
    "media-foundation": "add Media Foundation to this Windows: on Windows N the optional feature "
    '"Media Feature Pack", on Windows Server: Install-WindowsFeature Server-Media-Foundation',
    "windows": "install what it is a part of: Windows with the Desktop Experience (Server Core, "
    "Nano Server and container images lack it); on an old Windows, an update",
    "api-set": "update Windows, which it is a part of (api-ms-win-crt-*: by the Universal C "
    "Runtime of Windows Update), or take one with the Desktop Experience",
    "vc-runtime": "python -m pip install --upgrade msvc-runtime, or install the Visual C++ "
    "2015-2022 Redistributable",
    "python": "repair this Python, or copy the DLL beside python.exe from a complete one",
}


def general_cures() -> dict[str, str]:
    """Return what to do about DLLs that others need in their turn, by family."""
    return {family: _CURES[family] for family in ("api-set", "vc-runtime", "windows")}


def cure(dll: Dll, cuda: tuple[int, int | None] | None) -> str:
    """Return what brings `dll` of that CUDA onto a machine, "" where its family does not tell."""
    major, minor = cuda or ("", None)
    of = f"CUDA {major}".rstrip()
    if dll.kind is Kind.CUDA:
        best = "" if minor is None else f" (best {major}.{minor} or later)"
        return f"set CUDA_PATH to a toolkit of {of}{best}"
    if dll.kind is Kind.CUDNN:
        return f"set CUDNN_PATH to cuDNN {dll.version} for {of}"
    return _CURES.get(dll.family, "")
