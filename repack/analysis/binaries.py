"""Looks into a wheel's binaries while its content passes by, in constant memory."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, final

from repack.errors import InputError
from repack.pe import read_image

if TYPE_CHECKING:
    from types import TracebackType
    from typing import BinaryIO

    from repack.archives import Member, Sink
    from repack.pe import Image

_BINARIES = (".pyd", ".dll")

# What NumPy's headers import at run time: those of 2.x look for numpy._core first, and for 1.x's
# place after it; before 1.16 the module was called multiarray.
_NUMPY = re.compile(rb"numpy\.(_?)core\.(?:_multiarray_umath|multiarray)\0")
_LONGEST_MARK = len(b"numpy._core._multiarray_umath\0")


@final
class Binaries:
    """Receives a wheel's members, keeps what is told by the binaries among them.

    Each binary lies in a temporary file, one at a time, because its tables point to and fro.
    """

    def __init__(self, file: Path) -> None:
        """Begin for the wheel `file`."""
        self.images: dict[str, Image] = {}
        self.numpy: dict[str, str] = {}
        self.error: InputError | None = None
        self._file = file
        self._name = ""
        self._stream: BinaryIO | None = None

    def __enter__(self) -> Binaries:
        self._folder = TemporaryDirectory(prefix="repack-")
        self._path = Path(self._folder.name, "binary")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            if self._stream is not None:
                self._stream.close()
            self._folder.cleanup()

    def sink(self, member: Member) -> Sink | None:
        """Return who receives the member's content; the one before it is complete now."""
        self._finish()
        if not member.name.lower().endswith(_BINARIES):
            return None
        self._name = member.name
        self._stream = stream = self._path.open("wb")
        rest = b""

        def receive(chunk: memoryview | bytes) -> None:
            nonlocal rest
            stream.write(chunk)
            if self.numpy.get(member.name) != "2":
                # A mark may lie across the edge of two chunks.
                self._look_for_numpy(member.name, rest + bytes(chunk[:_LONGEST_MARK]))
                self._look_for_numpy(member.name, chunk)
                rest = (rest + bytes(chunk[-_LONGEST_MARK:]))[-_LONGEST_MARK:]

        return receive

    def _look_for_numpy(self, name: str, content: memoryview | bytes) -> None:
        for mark in _NUMPY.finditer(content):
            if mark[1]:
                self.numpy[name] = "2"
                return
            self.numpy.setdefault(name, "1")

    def _finish(self) -> None:
        """Read the binary that has been received, if one has."""
        if self._stream is None:
            return
        self._stream.close()
        self._stream = None
        try:
            self.images[self._name] = read_image(self._path, name=self._name, file=self._file)
        except InputError as error:
            # What RECORD says of the member comes first: the file may simply be damaged.
            self.error = self.error or error
