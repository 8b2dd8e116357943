"""What a DLL's name tells, what one PE file holds, and small DLLs written from nothing."""

from repack.dlls.cures import cure, general_cures
from repack.dlls.licences import may_be_shipped
from repack.dlls.partners import Partner, companions, partners, parts_of
from repack.dlls.pe import (
    Image,
    Import,
    LeftOutError,
    Span,
    mere_code,
    mere_content,
    read_exports,
    read_image,
    read_passed_numbers,
)
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
from repack.dlls.spooling import Spooled
from repack.dlls.writing import make_dll

__all__ = [
    "Cuda",
    "Dll",
    "Image",
    "Import",
    "Kind",
    "LeftOutError",
    "Partner",
    "Span",
    "Spooled",
    "classify",
    "common_major",
    "companions",
    "cure",
    "distribution",
    "general_cures",
    "key_of",
    "make_dll",
    "may_be_shipped",
    "mere_code",
    "mere_content",
    "partners",
    "parts_of",
    "possible_majors",
    "read_exports",
    "read_image",
    "read_passed_numbers",
    "required",
]
