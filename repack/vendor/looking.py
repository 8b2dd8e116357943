"""Looks into the DLLs of a wheel of NVIDIA's while its content is verified."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from repack.dlls import LeftOutError, Spooled, mere_content, read_exports, read_image
from repack.wheel import read_pieces

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from repack.dlls import Image, Span
    from repack.wheel import Archive, Member, Sink


@dataclass(frozen=True, kw_only=True, slots=True)
class Looked:
    """What one DLL says of itself."""

    image: Image
    exports: tuple[str, ...]


@final
class Looks:
    """Receives a wheel's members; each DLL lies in `folder`, one at a time for each thread.

    Only what its tables lie in is kept there: the rest may be hundreds of megabytes.
    """

    def __init__(self, file: Path, folder: Path) -> None:
        """Begin for the wheel `file`."""
        self._file = file
        self._folder = folder
        self._open: dict[int, tuple[Member, Spooled]] = {}
        self._found: dict[str, Looked] = {}
        self._too_short: list[Member] = []

    def sink(self, member: Member) -> Sink | None:
        """Return who receives the member's content; this thread's last one is complete now."""
        thread = threading.get_ident()
        self._finish(thread)
        if member.directory or not member.name.lower().endswith(".dll"):
            return None
        return self._begin(thread, member, mere_content)

    def found(self, archive: Archive) -> dict[str, Looked]:
        """Return what was found, sorted by member, once all content was received.

        Those whose tables lie in what was left out are read again from `archive`, and whole.
        """
        for thread in list(self._open):
            self._finish(thread)
        thread = threading.get_ident()
        for member in self._too_short:
            receive = self._begin(thread, member, None)
            for piece in read_pieces(archive, member):
                receive(piece)
            self._finish(thread)
        return dict(sorted(self._found.items()))

    def close(self) -> None:
        """Let go of what a failure has left open."""
        for _, spooled in self._open.values():
            spooled.close()

    def _begin(
        self, thread: int, member: Member, leave_out: Callable[[bytes], tuple[Span, ...]] | None
    ) -> Sink:
        spooled = Spooled(self._folder / f"{thread}.dll", leave_out)
        self._open[thread] = member, spooled
        return spooled.write

    def _finish(self, thread: int) -> None:
        if thread not in self._open:
            return
        member, spooled = self._open.pop(thread)
        spooled.close()
        path, left_out = spooled.path, spooled.left_out
        try:
            image = read_image(path, name=member.name, file=self._file, left_out=left_out)
            exports = read_exports(path, left_out=left_out)
        except LeftOutError:
            self._too_short.append(member)
        else:
            self._found[member.name] = Looked(image=image, exports=exports)
