"""One PE file: machine, imports, delay-loads, exports; and small DLLs written from nothing."""

from repack.pe.reading import (
    Image,
    Import,
    LeftOutError,
    mere_code,
    read_exports,
    read_image,
    read_passed_numbers,
)
from repack.pe.writing import make_dll

__all__ = [
    "Image",
    "Import",
    "LeftOutError",
    "make_dll",
    "mere_code",
    "read_exports",
    "read_image",
    "read_passed_numbers",
]
