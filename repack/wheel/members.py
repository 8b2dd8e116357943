"""What is known of an archive once its structure was checked."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from repack.errors import InputError
from repack.files import not_read

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import BinaryIO

STORED = 0
DEFLATED = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One file or folder of an archive."""

    #: With forward slashes; that of a folder ends in one.
    name: str
    #: In bytes, of the content.
    size: int
    #: In bytes, as it lies in the archive.
    compressed_size: int
    crc: int
    #: STORED or DEFLATED.
    method: int
    #: Where the content begins in the archive, as it lies there.
    offset: int
    #: Unix permissions and file type; 0 where the archive tells none.
    mode: int
    directory: bool
    #: Length of the data descriptor behind the content: 0, 12, 16, 20 or 24.
    descriptor: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Archive:
    """A ZIP archive whose structure was checked; its content only by `verify`."""

    path: Path
    #: In bytes, of the whole file.
    size: int
    #: In the directory's order.
    members: tuple[Member, ...]
    #: Of the file when its structure was checked, in nanoseconds.
    modified: int = 0
    _by_name: Mapping[str, Member] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the members by name."""
        object.__setattr__(self, "_by_name", {member.name: member for member in self.members})

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all members, in the directory's order."""
        return tuple(member.name for member in self.members)

    def member(self, name: str) -> Member | None:
        """Return the member called exactly `name`, or None."""
        return self._by_name.get(name)

    def open(self) -> BinaryIO:
        """Return the file, open and unbuffered; an InputError if it was exchanged meanwhile."""
        try:
            file = self.path.open("rb", buffering=0)
        except OSError as error:
            raise not_read(self.path, error) from error
        found = os.fstat(file.fileno())
        if (found.st_size, found.st_mtime_ns) != (self.size, self.modified):
            file.close()
            raise InputError(
                "was changed while it was in use", code="changed", file=self.path, hint="run again"
            )
        return file
