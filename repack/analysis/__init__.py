"""Looks through a wheel: which DLLs it needs, of which CUDA, and what should be said of it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from packaging.version import Version

from repack.analysis.binaries import Binaries
from repack.analysis.configs import Texts, read_texts
from repack.analysis.findings import cuda_dlls, find, is_cuda
from repack.analysis.needs import follow
from repack.analysis.values import Analysis, Finding, Need
from repack.dlls import common_major, possible_majors
from repack.errors import InputError
from repack.wheels import read_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from repack.wheels import WheelName

__all__ = ["Analysis", "Finding", "Need", "analyse", "require_cv2", "require_windows"]


def analyse(path: Path, *, allow_startup_hook: bool = False) -> Analysis:
    """Return what the wheel at `path` is, checked wholly; raises InputError.

    Every .pyd and .dll in it must be a PE file ("not-pe").
    """
    with Binaries(path) as binaries:
        wheel = read_wheel(path, sink=binaries.sink, allow_startup_hook=allow_startup_hook)
    if binaries.error is not None:
        raise binaries.error
    native = tuple(sorted(name for name in binaries.images if name.lower().endswith(".pyd")))
    analysis = Analysis(
        wheel=wheel,
        native=native,
        images=dict(sorted(binaries.images.items())),
        needs=follow(native, binaries.images),
        numpy=max(
            (binaries.numpy[name] for name in native if name in binaries.numpy), default=None
        ),
        numpy_floor=max(
            (binaries.numpy_floors[name] for name in native if name in binaries.numpy_floors),
            key=Version,
            default=None,
        ),
    )
    texts = read_texts(wheel)
    major, version = _cuda(analysis, texts)
    analysis = replace(analysis, abi3=_is_abi3(analysis), cuda_major=major, cuda_version=version)
    return replace(analysis, findings=find(analysis, texts))


def require_windows(name: WheelName) -> None:
    """Raise InputError "not-windows" for a wheel that no Windows Python would install."""
    platforms = sorted({tag.platform for tag in name.tags})
    if not any(platform.startswith("win") for platform in platforms):
        raise InputError(
            f"it is for {', '.join(platforms)}, not for Windows",
            code="not-windows",
            file=str(name),
            hint="take the file that ends in win_amd64.whl",
        )


def require_cv2(analysis: Analysis) -> None:
    """Raise InputError "no-cv2" for a wheel that has no module cv2 of OpenCV's."""
    if not analysis.cv2:
        raise InputError(
            "there is no cv2*.pyd in it, so it is no OpenCV for Python",
            code="no-cv2",
            file=analysis.wheel.path,
            hint="take a wheel of opencv-python or opencv-contrib-python",
        )


def _is_abi3(analysis: Analysis) -> bool:
    """Return whether the modules are linked to the stable ABI alone."""
    names = {
        wanted.dll.lower()
        for member in analysis.native
        for wanted in analysis.images[member].imports
        if re.fullmatch(r"python\d+t?\.dll", wanted.dll.lower())
    }
    return bool(names) and names <= {"python3.dll", "python3t.dll"}


def _cuda(analysis: Analysis, texts: Texts) -> tuple[int | None, tuple[int, int] | None]:
    """Return CUDA's major, and its version: the binary decides, the texts may say more."""
    if not is_cuda(analysis):
        return None, None
    dlls = cuda_dlls(analysis)
    majors = possible_majors(dlls)
    fitting = [
        (major, minor)
        for _, (major, minor) in texts.claims
        if major is not None and (majors is None or major in majors)
    ]
    told = common_major(dlls) or (fitting[0][0] if fitting else None)
    exact = ((major, minor) for major, minor in fitting if minor is not None)
    return told, next((version for version in exact if version[0] == told), None)
