"""What goes into a wheel: repack's own files and edits, then those of a team's folders."""

from repack.patching.applying import BUILD_MODULE, Patched, patch_wheel, read_build
from repack.patching.config import machine_directories
from repack.patching.overlays import builtin_folder, read_overlay

__all__ = [
    "BUILD_MODULE",
    "Patched",
    "builtin_folder",
    "machine_directories",
    "patch_wheel",
    "read_build",
    "read_overlay",
]
