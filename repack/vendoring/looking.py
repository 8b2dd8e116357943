"""Looks into the DLLs of a wheel of NVIDIA's while its content is verified."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from repack.pe import read_exports, read_image

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

    from repack.archives import Member, Sink
    from repack.pe import Image


@dataclass(frozen=True, kw_only=True, slots=True)
class Looked:
    """What one DLL says of itself."""

    image: Image
    exports: tuple[str, ...]


@final
class Looks:
    """Receives a wheel's members; each DLL lies in `folder`, one at a time for each thread."""

    def __init__(self, file: Path, folder: Path) -> None:
        """Begin for the wheel `file`."""
        self._file = file
        self._folder = folder
        self._open: dict[int, tuple[str, BinaryIO]] = {}
        self._found: dict[str, Looked] = {}

    def sink(self, member: Member) -> Sink | None:
        """Return who receives the member's content; this thread's last one is complete now."""
        thread = threading.get_ident()
        self._finish(thread)
        if member.directory or not member.name.lower().endswith(".dll"):
            return None
        stream = self._path(thread).open("wb")
        self._open[thread] = member.name, stream
        return stream.write

    def found(self) -> dict[str, Looked]:
        """Return what was found, sorted by member, once all content was received."""
        for thread in list(self._open):
            self._finish(thread)
        return dict(sorted(self._found.items()))

    def close(self) -> None:
        """Let go of what a failure has left open."""
        for _, stream in self._open.values():
            stream.close()

    def _path(self, thread: int) -> Path:
        return self._folder / f"{thread}.dll"

    def _finish(self, thread: int) -> None:
        name, stream = self._open.pop(thread, ("", None))
        if stream is None:
            return
        stream.close()
        path = self._path(thread)
        image = read_image(path, name=name, file=self._file)
        self._found[name] = Looked(image=image, exports=read_exports(path))
