"""The file that an archive is written to: copied into by the kernel, hashed behind the writer."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, final

from repack.errors import InputError
from repack.files import not_read

if TYPE_CHECKING:
    from types import TracebackType
    from typing import BinaryIO

    from repack.console import Task

#: Fewer bytes are read and written: a call to the kernel for each would cost more.
_WORTH_A_CALL = 1 << 16
_MOST_PENDING = 1 << 20
_BUFFER = 1 << 18
#: So much the kernel copies at a time; between, progress is shown and the hash moves on.
_STEP = 4 << 20

#: Linux has it since 4.5; every other system, and file systems that cannot, read and write.
_copy_file_range = getattr(os, "copy_file_range", None)
_fadvise = getattr(os, "posix_fadvise", None)
#: So much is written before the disk is told to begin.
_WRITEBACK = 8 << 20


@final
class Output:
    """Writes a file from its beginning on; a second thread hashes what will not change."""

    def __init__(self, file: BinaryIO, task: Task | None = None) -> None:
        """Write to `file`, which is empty; `task` advances by bytes."""
        #: In bytes, where the next ones go.
        self.position = 0
        self._descriptor = file.fileno()
        self._task = task
        self._pending = bytearray()
        self._held = False
        self._begun = 0
        self._hashing = _Hashing(Path(file.name))

    def __enter__(self) -> Output:
        """Begin to hash."""
        self._hashing.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the thread, whatever happened."""
        self._hashing.abandon()

    def write(self, content: bytes | memoryview) -> None:
        """Write `content`, soon; raises OSError."""
        self._pending += content
        self.position += len(content)
        if len(self._pending) >= _MOST_PENDING:
            self._flush()

    def copy(self, source: BinaryIO, path: Path, offset: int, length: int) -> None:
        """Write `length` bytes of the unbuffered file `source`, at `path`, from `offset` on.

        Raises OSError where they cannot be written, InputError where they cannot be read.
        """
        end = offset + length
        if length >= _WORTH_A_CALL and _copy_file_range is not None:
            self._flush()
            while offset < end and (count := self._copy_some(source, offset, end - offset)):
                offset += count
                self.position += count
                self._publish(count)
        if offset < end:
            self._copy_by_hand(source, path, offset, end)

    def hold(self) -> None:
        """Let nothing from here on be hashed before `release`: it may change yet."""
        self._flush()
        self._held = True

    def patch(self, offset: int, content: bytes) -> None:
        """Write `content` over what was written at `offset`."""
        self._flush()
        os.lseek(self._descriptor, offset, os.SEEK_SET)
        self._write_out(content)
        os.lseek(self._descriptor, 0, os.SEEK_END)

    def release(self) -> None:
        """Let everything be hashed again."""
        self._held = False
        self._publish(0)

    def finish(self) -> str:
        """Return the SHA-256 in hex of the whole file, which is on the disk then."""
        self._flush()
        self._hashing.end()
        # The disk is waited for while the rest is hashed.
        os.fsync(self._descriptor)
        return self._hashing.result()

    def _copy_some(self, source: BinaryIO, offset: int, length: int) -> int:
        """Return how many bytes the kernel copied; 0 where it will not."""
        assert _copy_file_range is not None  # noqa: S101 - for the type checker
        try:
            return int(
                _copy_file_range(source.fileno(), self._descriptor, min(length, _STEP), offset)
            )
        except OSError:
            # Whether another file system, a lack of space or a bad disk: by hand, it shows.
            return 0

    def _copy_by_hand(self, source: BinaryIO, path: Path, offset: int, end: int) -> None:
        while offset < end:
            try:
                source.seek(offset)
                piece = source.read(min(end - offset, _BUFFER))
            except OSError as error:
                raise not_read(path, error) from error
            if not piece:
                raise InputError("was cut short while it was copied", code="changed", file=path)
            self.write(piece)
            offset += len(piece)

    def _flush(self) -> None:
        if self._pending:
            count = len(self._pending)
            self._write_out(self._pending)
            self._pending.clear()
            self._publish(count)

    def _write_out(self, content: bytes | bytearray) -> None:
        left = memoryview(content)
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
        finally:
            left.release()

    def _publish(self, count: int) -> None:
        written = self.position - len(self._pending)
        if not self._held:
            self._hashing.advance(written)
        if written - self._begun >= _WRITEBACK:
            _begin_writeback(self._descriptor, self._begun, written - self._begun)
            self._begun = written
        if self._task is not None:
            self._task.advance(count)


def _begin_writeback(descriptor: int, offset: int, length: int) -> None:
    """Let the disk begin to write, so that the final fsync has less to wait for."""
    if _fadvise is not None:
        # Linux drops only clean pages at this advice, and none of these is; the dirty ones it
        # begins to write. Measured: a third off the whole splice.
        with contextlib.suppress(OSError):
            _fadvise(descriptor, offset, length, os.POSIX_FADV_DONTNEED)


class _Hashing:
    """Hashes a file in a thread of its own, as far as it is known not to change."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._news = threading.Condition()
        self._limit = 0
        self._ended = False
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="hashing")

    def start(self) -> None:
        self._result = self._pool.submit(self._run)

    def advance(self, limit: int) -> None:
        """Say that nothing before `limit` will change."""
        with self._news:
            self._limit = limit
            self._news.notify()

    def end(self) -> None:
        """Say that the file ends at the limit."""
        with self._news:
            self._ended = True
            self._news.notify()

    def abandon(self) -> None:
        """End the thread; after the result, that is nothing."""
        with self._news:
            self._limit = 0
        self.end()
        self._pool.shutdown()

    def result(self) -> str:
        """Return the digest in hex; raises OSError."""
        return self._result.result()

    def _run(self) -> str:
        digest = hashlib.sha256()
        buffer = memoryview(bytearray(_BUFFER))
        done = 0
        with self._path.open("rb", buffering=0) as file:
            while (limit := self._next(done)) > done:
                while done < limit:
                    count = file.readinto(buffer[: limit - done])
                    if not count:
                        raise OSError(errno.EIO, "what was written cannot be read")
                    digest.update(buffer[:count])
                    done += count
        return digest.hexdigest()

    def _next(self, done: int) -> int:
        """Return how far the file may be hashed now; no further than `done` when it ends."""
        with self._news:
            self._news.wait_for(lambda: self._limit > done or self._ended)
            return self._limit
