"""The oldest NumPy that a module runs with: NumPy's headers compile it into every import of it."""

from __future__ import annotations

import mmap
import re
from typing import TYPE_CHECKING

from repack.dlls import LeftOutError, read_passed_numbers

if TYPE_CHECKING:
    from pathlib import Path

# What a module says of too old a NumPy. The headers from 1.25 on write that version into the text;
# those before have it made from a number at run time.
_TEXT = re.compile(rb"C-API version 0x%x \(NumPy (\d+\.\d+)\) but the running")
_OLD_TEXT = b"module compiled against API version 0x%x"

# NumPy's list of its C API versions, and the first release with each.
_RELEASES = {
    0x7: "1.7",
    0x8: "1.8",
    0x9: "1.9",
    0xA: "1.10",
    0xB: "1.13",
    0xC: "1.14",
    0xD: "1.16",
    0xE: "1.20",
    0xF: "1.22",
    0x10: "1.23",
    0x11: "1.25",
}


def numpy_floor(path: Path, *, whole: bool = True) -> str | None:
    """Return the oldest NumPy ("1.16") that the module at `path` accepts, None: it does not say.

    Raises LeftOutError where its code tells, and the file is not `whole`.
    """
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as map_:
        if found := _TEXT.search(map_):
            return found[1].decode("ascii")
        if map_.find(_OLD_TEXT) < 0:
            return None
    if not whole:
        raise LeftOutError
    numbers = read_passed_numbers(path, _OLD_TEXT)
    return _RELEASES.get(max(numbers)) if numbers else None
