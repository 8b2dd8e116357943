"""Looks into a wheel's binaries while its content passes by, in constant memory."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, final

from repack.analysis.floors import numpy_floor
from repack.errors import InputError
from repack.pe import read_image

if TYPE_CHECKING:
    from types import TracebackType
    from typing import BinaryIO

    from repack.archives import Member, Sink
    from repack.pe import Image

_MODULE = ".pyd"
_BINARIES = (_MODULE, ".dll")

# What NumPy's headers import at run time: those of 2.x look for numpy._core first, and for 1.x's
# place after it; before 1.16 the module was called multiarray.
_NUMPY = re.compile(rb"numpy\.(_?)core\.(?:_multiarray_umath|multiarray)\0")
_LONGEST_MARK = len(b"numpy._core._multiarray_umath\0")


@final
class Binaries:
    """Receives a wheel's members, keeps what is told by the binaries among them.

    Each binary lies in a temporary file, one at a time in each thread that hands members over,
    because its tables point to and fro.
    """

    def __init__(self, file: Path) -> None:
        """Begin for the wheel `file`."""
        self.images: dict[str, Image] = {}
        self.numpy: dict[str, str] = {}
        self.numpy_floors: dict[str, str] = {}
        self._errors: dict[str, InputError] = {}
        self._file = file
        self._open: dict[int, _Spooled] = {}

    def __enter__(self) -> Binaries:
        self._folder = TemporaryDirectory(prefix="repack-")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        try:
            for thread in list(self._open):
                self._finish(thread, read=kind is None)
        finally:
            self._folder.cleanup()

    @property
    def error(self) -> InputError | None:
        """What is wrong with a binary, the first by name."""
        return self._errors[min(self._errors)] if self._errors else None

    def sink(self, member: Member) -> Sink | None:
        """Return who receives the member's content; this thread's last one is complete now."""
        thread = threading.get_ident()
        self._finish(thread)
        if not member.name.lower().endswith(_BINARIES):
            return None
        path = Path(self._folder.name, str(thread))
        stream = path.open("wb")
        self._open[thread] = _Spooled(name=member.name, path=path, stream=stream)
        if not member.name.lower().endswith(_MODULE):
            return stream.write
        rest = b""

        def receive(chunk: bytes) -> None:
            nonlocal rest
            stream.write(chunk)
            if self.numpy.get(member.name) != "2":
                # A mark may lie across the edge of two chunks.
                self._look_for_numpy(member.name, rest + chunk[:_LONGEST_MARK])
                self._look_for_numpy(member.name, chunk)
                rest = (rest + chunk[-_LONGEST_MARK:])[-_LONGEST_MARK:]

        return receive

    def _look_for_numpy(self, name: str, content: bytes) -> None:
        for mark in _NUMPY.finditer(content):
            if mark[1]:
                self.numpy[name] = "2"
                return
            self.numpy.setdefault(name, "1")

    def _finish(self, thread: int, *, read: bool = True) -> None:
        """Read the binary that a thread has handed over, if it has."""
        spooled = self._open.pop(thread, None)
        if spooled is None:
            return
        spooled.stream.close()
        if not read:
            return
        try:
            image = read_image(spooled.path, name=spooled.name, file=self._file)
        except InputError as error:
            # What RECORD says of the member comes first: the file may simply be damaged.
            self._errors[spooled.name] = error
        else:
            self.images[spooled.name] = image
            floor = numpy_floor(spooled.path) if spooled.name in self.numpy else None
            if floor:
                self.numpy_floors[spooled.name] = floor


@dataclass(frozen=True, kw_only=True, slots=True)
class _Spooled:
    """A binary on its way into a file."""

    name: str
    path: Path
    stream: BinaryIO
