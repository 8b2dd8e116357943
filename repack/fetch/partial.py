"""The beginning of a download, kept so that the next try or the next run goes on from there."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, BinaryIO

from repack.errors import OutputError
from repack.fetch.disk import NO_ROOM_HINT, writing
from repack.files import replacing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from repack.console import Task

_BLOCK = 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class Control:
    """Of what a partial file is the beginning.

    `url` is the one that was asked for first: where a redirect led expires. `validator` is the
    server's mark of this content, or None where it gave none that is good for a range.
    """

    url: str
    validator: str | None
    weak: bool
    """Whether the server's own mark says that equal marks need not mean equal bytes."""
    total: int | None


class Partial:
    """The bytes so far of one URL: a file, and beside it the control file."""

    def __init__(self, folder: Path, key: str, url: str) -> None:
        """Take up what an earlier run has left; what does not fit together is forgotten.

        `key` is the one whose lock is held: another source may lead to the same URL.
        """
        stem = hashlib.sha256(f"{key}\n{url}".encode()).hexdigest()[:32]
        self.path = folder / f"{stem}.part"
        self.url = url
        self._control_path = folder / f"{stem}.json"
        self._hash = hashlib.sha256()
        self.size = 0
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self.control = self._read_control()
        if self.control is not None:
            self._take_up()

    @property
    def sha256(self) -> str:
        """The SHA-256 of the bytes so far."""
        return self._hash.hexdigest()

    def begin(self, control: Control, task: Task) -> None:
        """Forget all bytes and begin anew with what `control` says.

        The old bytes go before the new control file comes: in no order of events may the bytes
        of one content stand beside the mark of another.
        """
        self.discard(task)
        with writing(self.path):
            self.path.touch()
            with replacing(self._control_path) as stream:
                stream.write(json.dumps(asdict(control)).encode())
        self.control = control

    def discard(self, task: Task | None = None) -> None:
        """Forget all bytes."""
        if task is not None:
            task.advance(-self.size)
        with writing(self.path):
            self.path.unlink(missing_ok=True)
            self._control_path.unlink(missing_ok=True)
        self._hash, self.size, self.control = hashlib.sha256(), 0, None

    @contextlib.contextmanager
    def appending(self) -> Iterator[BinaryIO]:
        """Open the file for `append`; whatever comes then lies on the disk at the end."""
        with writing(self.path), self.path.open("r+b") as stream:
            if stream.seek(0, 2) != self.size:
                # A write that failed half-way.
                stream.truncate(self.size)
                stream.seek(self.size)
            yield stream

    def append(self, stream: BinaryIO, content: bytes) -> None:
        """Write the next bytes."""
        with writing(self.path):
            stream.write(content)
            stream.flush()
        self._hash.update(content)
        self.size += len(content)

    def finish(self) -> Path:
        """Return the whole file, safe on the disk, to be moved to where it belongs."""
        with writing(self.path):
            with self.path.open("r+b") as stream:
                os.fsync(stream.fileno())
            self._control_path.unlink(missing_ok=True)
        return self.path

    def first_bytes(self) -> bytes:
        """Return how the file begins."""
        with self.path.open("rb") as stream:
            return stream.read(4096)

    def check_room(self, needed: int) -> None:
        """Raise where the disk has no room for `needed` more bytes."""
        free = shutil.disk_usage(self.path.parent).free
        if free < needed:
            raise OutputError(
                f"no room: {_amount(needed)} are needed and {_amount(free)} are free",
                code="no-space",
                file=self.path.parent,
                hint=NO_ROOM_HINT,
            )

    def _read_control(self) -> Control | None:
        """Return what the control file says, if it is one and of this URL."""
        try:
            said = json.loads(self._control_path.read_bytes())
            control = Control(
                url=str(said["url"]),
                validator=None if said["validator"] is None else str(said["validator"]),
                weak=bool(said["weak"]),
                total=None if said["total"] is None else int(said["total"]),
            )
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return control if control.url == self.url else None

    def _take_up(self) -> None:
        """Hash the bytes that an earlier run has left."""
        try:
            with self.path.open("rb") as stream:
                while block := stream.read(_BLOCK):
                    self._hash.update(block)
                    self.size += len(block)
        except OSError:
            self._hash, self.size, self.control = hashlib.sha256(), 0, None


def _amount(size: int) -> str:
    return f"{size / 1e6:.0f} MB" if size >= 10**6 else f"{size} bytes"
