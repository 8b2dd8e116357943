"""One PE file: machine, imports, delay-loads, exports; and small DLLs written from nothing."""

from repack.pe.reading import Image, Import, read_exports, read_image, read_passed_numbers
from repack.pe.writing import make_dll

__all__ = ["Image", "Import", "make_dll", "read_exports", "read_image", "read_passed_numbers"]
