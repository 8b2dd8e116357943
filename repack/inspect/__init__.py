"""Looks through a wheel: which DLLs it needs, of which CUDA, and what should be said of it."""

from repack.inspect.analysis import Analysis, require_cv2, require_original, require_windows
from repack.inspect.binaries import Binaries, find_numpy_abi, read_binaries
from repack.inspect.inspection import analyse, conclude
from repack.inspect.needs import Need, find_needs

__all__ = [
    "Analysis",
    "Binaries",
    "Need",
    "analyse",
    "conclude",
    "find_needs",
    "find_numpy_abi",
    "read_binaries",
    "require_cv2",
    "require_original",
    "require_windows",
]
