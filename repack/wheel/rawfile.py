"""An archive's bytes, read where one asks for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from repack.errors import InputError
from repack.files import not_read
from repack.wheel.faults import GET_ANOTHER

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO


@dataclass(frozen=True, kw_only=True, slots=True)
class RawFile:
    """An open archive; `stream` is unbuffered, its position nobody's."""

    path: Path
    stream: BinaryIO
    #: In bytes.
    size: int

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes there, fewer only at the end of the file."""
        length = min(length, self.size - offset)
        if offset < 0 or length <= 0:
            return b""
        parts = []
        try:
            self.stream.seek(offset)
            while length and (part := self.stream.read(length)):
                parts.append(part)
                length -= len(part)
        except OSError as error:
            raise not_read(self.path, error) from error
        return b"".join(parts)

    def refusal(
        self, code: str, what: str, member: str = "", hint: str = GET_ANOTHER
    ) -> InputError:
        """Return the error that refuses this file."""
        return InputError(what, code=code, file=self.path, member=member, hint=hint)
