"""One PE file: machine, imports, delay-loads, exports; and small DLLs written from nothing."""

from repack.pe.writing import make_dll

__all__ = ["make_dll"]
