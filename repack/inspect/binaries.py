"""Looks into a wheel's binaries while its content passes by, in constant memory."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, final

from repack.dlls import LeftOutError, Spooled, mere_code, read_image
from repack.errors import InputError
from repack.inspect.floors import numpy_floor
from repack.wheel import read_pieces

if TYPE_CHECKING:
    from types import TracebackType

    from repack.dlls import Image
    from repack.wheel import Archive, Member, Sink

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
    because its tables point to and fro. Its code is left out, as far as tables do not need it.
    """

    def __init__(self, file: Path) -> None:
        """Begin for the wheel `file`."""
        self.images: dict[str, Image] = {}
        self.numpy: dict[str, str] = {}
        self.numpy_floors: dict[str, str] = {}
        self._errors: dict[str, InputError] = {}
        self._too_short: list[Member] = []
        self._file = file
        self._open: dict[int, tuple[Member, Spooled]] = {}

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
        return self._begin(thread, member, whole=False)

    def complete(self, archive: Archive) -> None:
        """Read again, and whole, those binaries whose tables lie in what was left out."""
        thread = threading.get_ident()
        for each in list(self._open):
            self._finish(each)
        for member in self._too_short:
            if (receive := self._begin(thread, member, whole=True)) is not None:
                for piece in read_pieces(archive, member):
                    receive(piece)
            self._finish(thread)

    def _begin(self, thread: int, member: Member, *, whole: bool) -> Sink | None:
        if not member.name.lower().endswith(_BINARIES):
            return None
        path = Path(self._folder.name, str(thread))
        spooled = Spooled(path, None if whole else mere_code)
        self._open[thread] = member, spooled
        if not member.name.lower().endswith(_MODULE):
            return spooled.write
        rest = b""

        def receive(chunk: bytes) -> None:
            nonlocal rest
            written = spooled.write(chunk)
            if not written or self.numpy.get(member.name) == "2":
                rest = b""
                return
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
        if thread not in self._open:
            return
        member, spooled = self._open.pop(thread)
        spooled.close()
        if not read:
            return
        try:
            self._read(member.name, spooled)
        except LeftOutError:
            self._too_short.append(member)
        except InputError as error:
            # What RECORD says of the member comes first: the file may simply be damaged.
            self._errors[member.name] = error

    def _read(self, name: str, spooled: Spooled) -> None:
        """Keep what the whole of a binary, but for its code, says."""
        self.images[name] = read_image(
            spooled.path, name=name, file=self._file, left_out=spooled.left_out
        )
        if name in self.numpy:
            floor = numpy_floor(spooled.path, whole=not spooled.left_out)
            if floor:
                self.numpy_floors[name] = floor
