"""What a DLL's name tells: the family it belongs to, its CUDA majors, who brings it."""

from repack.dlls.cures import cure, general_cures
from repack.dlls.licences import may_be_shipped
from repack.dlls.partners import Partner, companions, partners, parts_of
from repack.dlls.requirements import Cuda, required
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
    "Cuda",
    "Dll",
    "Kind",
    "Partner",
    "classify",
    "common_major",
    "companions",
    "cure",
    "distribution",
    "general_cures",
    "key_of",
    "may_be_shipped",
    "partners",
    "parts_of",
    "possible_majors",
    "required",
]
