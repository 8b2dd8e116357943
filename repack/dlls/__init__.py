"""What a DLL's name tells: the family it belongs to, its CUDA majors, who brings it."""

from repack.dlls.cures import cure, general_cures
from repack.dlls.rules import (
    Dll,
    Kind,
    classify,
    common_major,
    distribution,
    key_of,
    possible_majors,
)

__all__ = [
    "Dll",
    "Kind",
    "classify",
    "common_major",
    "cure",
    "distribution",
    "general_cures",
    "key_of",
    "possible_majors",
]
