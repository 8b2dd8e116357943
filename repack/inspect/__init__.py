"""Looks through a wheel: which DLLs it needs, of which CUDA, and what should be said of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from repack.errors import InputError
from repack.files import sha256_of
from repack.inspect.binaries import Binaries
from repack.inspect.memory import Memory, Seen
from repack.inspect.values import Analysis, Need
from repack.wheel import read_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from repack.console import Task
    from repack.wheel import Wheel, WheelName

__all__ = [
    "Analysis",
    "Memory",
    "Need",
    "analyse",
    "require_cv2",
    "require_original",
    "require_windows",
]


def analyse(
    path: Path,
    *,
    allow_startup_hook: bool = False,
    task: Task | None = None,
    memory: Memory | None = None,
) -> Analysis:
    """Return what the wheel at `path` is, checked wholly; raises InputError.

    Every .pyd and .dll in it must be a PE file ("not-pe"). `task` advances by bytes of the file.
    The content of a wheel that `memory` knows by its hash is not compared with RECORD once more.
    """
    known = _known(path, memory)
    if known is not None:
        seen, sha256 = known
        wheel = read_wheel(path, checked=sha256, allow_startup_hook=allow_startup_hook)
    else:
        wheel, seen = _looked_through(path, task, allow_startup_hook=allow_startup_hook)
        if memory is not None:
            memory.keep(wheel.size, wheel.sha256, seen)
    # Imported meanwhile, where somebody else had that done; the reading needs none of it.
    from repack.inspect.judging import judged  # noqa: PLC0415

    return judged(wheel, seen)


def _known(path: Path, memory: Memory | None) -> tuple[Seen, str] | None:
    """Return what was seen earlier in this very file, and its hash."""
    try:
        size = path.stat().st_size
    except OSError:
        return None  # whoever reads it says so
    if memory is None or not memory.has_size(size):
        return None
    sha256 = sha256_of(path)
    seen = memory.recall(size, sha256)
    return None if seen is None else (seen, sha256)


def _looked_through(
    path: Path, task: Task | None, *, allow_startup_hook: bool
) -> tuple[Wheel, Seen]:
    with Binaries(path) as binaries:
        wheel = read_wheel(
            path, sink=binaries.sink, allow_startup_hook=allow_startup_hook, task=task
        )
        binaries.complete(wheel.archive)
    if binaries.error is not None:
        raise binaries.error
    return wheel, Seen(
        images=dict(sorted(binaries.images.items())),
        numpy=binaries.numpy,
        numpy_floors=binaries.numpy_floors,
    )


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


def require_original(analysis: Analysis) -> None:
    """Raise InputError "repacked" for a wheel that repack has emitted."""
    from repack.inspect.configs import read_build  # noqa: PLC0415 - as above

    build = read_build(analysis.wheel)
    if build is None:
        return
    original = build.get("original") or {}
    name, sha256 = original.get("filename", "wheel"), original.get("sha256", "not known")
    raise InputError(
        "repack has made it",
        code="repacked",
        file=analysis.wheel.path,
        hint=f"build from the original {name} (sha256 {sha256})",
    )
