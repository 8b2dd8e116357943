"""A PE file on its way onto the disk, with holes where nothing is looked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from repack.dlls.pe import Span

#: In bytes; headers are far shorter.
_HEAD = 4096


@final
class Spooled:
    """Takes a file piece by piece; `left_out` is what of it does not lie at `path`."""

    def __init__(self, path: Path, leave_out: Callable[[bytes], tuple[Span, ...]] | None) -> None:
        """Begin; `leave_out` tells by the file's beginning what not to keep, None keeps all."""
        self.path = path
        self.left_out: tuple[Span, ...] = ()
        self._leave_out = leave_out
        self._stream = path.open("wb")
        self._position = 0

    def write(self, piece: bytes) -> bool:
        """Take the next piece, and return whether it was kept."""
        if self._leave_out is not None:
            # A first piece that does not hold all headers is no large module's.
            self.left_out = self._leave_out(piece) if len(piece) >= _HEAD else ()
            self._leave_out = None
        start, end = self._position, self._position + len(piece)
        self._position = end
        if any(first <= start and end <= last for first, last in self.left_out):
            return False
        self._stream.seek(start)
        self._stream.write(piece)
        return True

    def close(self) -> None:
        """Give the file its full length; a second time, that is nothing."""
        if not self._stream.closed:
            self._stream.truncate(self._position)
            self._stream.close()
