"""What a DLL's name tells, what one PE file holds, and small DLLs written from nothing."""

from repack.dlls.families import (
    FAMILIES,
    Dll,
    Kind,
    classify,
    cure,
    distribution,
    general_cures,
    index_requirement,
    key_of,
    may_be_shipped,
    possible_majors,
)
from repack.dlls.partners import companions, missing_parts, partners
from repack.dlls.pe import Image, read_exports, read_image
from repack.dlls.writing import make_dll

__all__ = [
    "FAMILIES",
    "Dll",
    "Image",
    "Kind",
    "classify",
    "companions",
    "cure",
    "distribution",
    "general_cures",
    "index_requirement",
    "key_of",
    "make_dll",
    "may_be_shipped",
    "missing_parts",
    "partners",
    "possible_majors",
    "read_exports",
    "read_image",
]
