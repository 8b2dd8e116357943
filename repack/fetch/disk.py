"""Faults of the cache's disk, as sentences."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from repack.errors import OutputError
from repack.files import not_written

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NO_ROOM_HINT = "make room, or let REPACK_CACHE name a folder on a larger disk"


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an OSError of the block into an OutputError about `path` in the cache."""
    try:
        yield
    except OSError as error:
        said = not_written(path, error)
        full = said.code == "no-space"
        hint = NO_ROOM_HINT if full else "let REPACK_CACHE name a folder you may write to"
        raise OutputError(said.what, code=said.code, file=path, hint=hint) from error
