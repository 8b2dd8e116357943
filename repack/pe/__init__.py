"""One PE file: machine, imports, delay-loads, exports; and small DLLs written from nothing."""

from repack.pe.reading import (
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
from repack.pe.spooling import Spooled
from repack.pe.writing import make_dll

__all__ = [
    "Image",
    "Import",
    "LeftOutError",
    "Span",
    "Spooled",
    "make_dll",
    "mere_code",
    "mere_content",
    "read_exports",
    "read_image",
    "read_passed_numbers",
]
