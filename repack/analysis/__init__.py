"""Looks through a wheel: which DLLs it needs, of which CUDA, and what should be said of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from repack.analysis.binaries import Binaries
from repack.analysis.values import Analysis, Finding, Need
from repack.errors import InputError
from repack.wheels import read_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from repack.progress import Task
    from repack.wheels import WheelName

__all__ = ["Analysis", "Finding", "Need", "analyse", "require_cv2", "require_windows"]


def analyse(path: Path, *, allow_startup_hook: bool = False, task: Task | None = None) -> Analysis:
    """Return what the wheel at `path` is, checked wholly; raises InputError.

    Every .pyd and .dll in it must be a PE file ("not-pe"). `task` advances by bytes of the file.
    """
    with Binaries(path) as binaries:
        wheel = read_wheel(
            path, sink=binaries.sink, allow_startup_hook=allow_startup_hook, task=task
        )
        binaries.complete(wheel.archive)
    if binaries.error is not None:
        raise binaries.error
    # Imported meanwhile, where somebody else had that done; the reading needs none of it.
    from repack.analysis.judging import judged  # noqa: PLC0415

    return judged(wheel, binaries)


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
