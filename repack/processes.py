"""Programs that are run: always with a time limit, and never left behind."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from repack.errors import ToolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

_log = logging.getLogger(__name__)

# A program that prints without end must not fill our memory: the newest output is kept.
KEPT_OUTPUT = 4 * 2**20
# A line without an end is cut here.
_LONGEST_LINE = 2**16
# How often a wait looks up: whether the program has ended, whether we are asked to stop.
_TICK = 0.1
# A daemon that a program leaves behind (as Wine does) keeps our pipe open; we do not wait for it.
_GRACE = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """What came of a program; `output` is its stdout and stderr as they came."""

    args: tuple[str, ...]
    returncode: int
    output: str
    timed_out: bool
    seconds: float


def run(  # noqa: PLR0913 - each is an independent setting of one run
    args: Sequence[str | Path],
    *,
    timeout: float,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    on_line: Callable[[str], None] | None = None,
    stop: threading.Event | None = None,
) -> Finished:
    """Return what came of the program `args`, whatever its exit code.

    It reads nothing (stdin is empty) and is a group of its own, which is killed whole after
    `timeout` seconds, when `stop` is set, and when the caller is interrupted. `env` None: ours.
    `on_line` gets each line without its end, in the caller's thread. Raises ToolError where the
    program cannot be started.
    """
    words = tuple(str(word) for word in args)
    _log.debug("run: %s", shlex.join(words))
    began = time.monotonic()
    process = _start(words, env, cwd)
    try:
        output, timed_out = _follow(process, began + timeout, on_line, stop)
    except BaseException:
        _kill(process)
        raise
    seconds = time.monotonic() - began
    _log.debug("ended with %s after %.1f s: %s", process.returncode, seconds, words[0])
    return Finished(
        args=words,
        returncode=process.returncode,
        output=output,
        timed_out=timed_out,
        seconds=seconds,
    )


@contextlib.contextmanager
def kept_running(
    args: Sequence[str | Path], *, env: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Keep the program `args` running beside the block.

    Its stdin is a pipe that nothing comes through and that ends with the block, or with us: a
    program that reads it ends when we are killed, too. Nobody sees what it says.
    """
    process = _start(
        tuple(map(str, args)), env, None, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        if process.stdin is not None:
            process.stdin.close()
        _kill(process)


def _start(
    words: tuple[str, ...],
    env: Mapping[str, str] | None,
    cwd: Path | None,
    *,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.PIPE,
) -> subprocess.Popen[bytes]:
    """Return the running program, in a process group of its own."""
    try:
        return subprocess.Popen(
            words,
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.STDOUT,
            env=None if env is None else dict(env),
            cwd=cwd,
            start_new_session=sys.platform != "win32",
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
    except OSError as error:
        raise ToolError(
            f"{words[0]} cannot be run: {error.strerror or error}",
            code="tool-missing" if isinstance(error, FileNotFoundError) else "tool-failed",
            file=error.filename if error.filename and str(error.filename) != words[0] else "",
        ) from error


def _follow(
    process: subprocess.Popen[bytes],
    deadline: float,
    on_line: Callable[[str], None] | None,
    stop: threading.Event | None,
) -> tuple[str, bool]:
    """Return the output, and whether the time was up; the program has ended then."""
    kept = _Kept()
    lines = _reading(process)
    while True:
        timed_out = time.monotonic() >= deadline
        if timed_out or (stop is not None and stop.is_set()):
            _kill(process)
            _drain(lines, kept, on_line)
            return kept.text(), timed_out
        with contextlib.suppress(queue.Empty):
            line = lines.get(timeout=max(0.0, min(_TICK, deadline - time.monotonic())))
            if line is None:
                break
            _take(line, kept, on_line)
            continue
        if process.poll() is not None:
            _drain(lines, kept, on_line)
            _kill(process)
            return kept.text(), False
    # All output is there; a program that closes its output and goes on has until the deadline.
    return kept.text(), _waited_in_vain(process, deadline, stop)


def _waited_in_vain(
    process: subprocess.Popen[bytes], deadline: float, stop: threading.Event | None
) -> bool:
    """Return whether a program without output had to be killed at the deadline."""
    while process.poll() is None:
        late = time.monotonic() >= deadline
        if late or (stop is not None and stop.is_set()):
            _kill(process)
            return late
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_TICK)
    return False


def _reading(process: subprocess.Popen[bytes]) -> queue.SimpleQueue[bytes | None]:
    """Return a queue that gets each line of output, then None."""
    lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def read(stream: IO[bytes]) -> None:
        with stream, contextlib.suppress(OSError, ValueError):
            while line := stream.readline(_LONGEST_LINE):
                lines.put(line)
        lines.put(None)

    threading.Thread(target=read, args=(process.stdout,), daemon=True).start()
    return lines


def _drain(
    lines: queue.SimpleQueue[bytes | None], kept: _Kept, on_line: Callable[[str], None] | None
) -> None:
    """Take what an ended program still had to say."""
    until = time.monotonic() + _GRACE
    with contextlib.suppress(queue.Empty):
        while (line := lines.get(timeout=max(0.0, until - time.monotonic()))) is not None:
            _take(line, kept, on_line)


def _take(line: bytes, kept: _Kept, on_line: Callable[[str], None] | None) -> None:
    """Keep one line and hand it on."""
    kept.add(line)
    if on_line is not None:
        on_line(_text(line).rstrip("\n"))


class _Kept:
    """The newest lines of an output, up to KEPT_OUTPUT bytes."""

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque()
        self._size = 0
        self._dropped = False

    def add(self, line: bytes) -> None:
        """Keep `line`; the oldest lines go when there are too many."""
        self._lines.append(line)
        self._size += len(line)
        while self._size > KEPT_OUTPUT:
            self._size -= len(self._lines.popleft())
            self._dropped = True

    def text(self) -> str:
        """Return all that is kept as text."""
        mark = "[earlier output dropped]\n" if self._dropped else ""
        return mark + _text(b"".join(self._lines))


def _text(data: bytes) -> str:
    """Return program output as text; Windows programs end lines with CR LF."""
    return data.decode("utf-8", "replace").replace("\r\n", "\n")


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the program and everything in its group, and wait until it has ended."""
    if sys.platform == "win32":
        _kill_tree(process)
    else:
        # The group outlives its leader as long as it has members.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _kill_tree(process: subprocess.Popen[bytes]) -> None:
    """End the program and what it started, on Windows."""
    if process.poll() is not None:
        return
    with contextlib.suppress(OSError):
        subprocess.run(
            ["taskkill", "/T", "/F", "/PID", str(process.pid)],  # noqa: S607 - System32's
            check=False,
            capture_output=True,
            timeout=30,
        )
    process.kill()
