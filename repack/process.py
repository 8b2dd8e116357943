"""Programs that are run: always with a time limit, and never left behind."""

import contextlib
import locale
import logging
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from repack.errors import ToolError, redact

_log = logging.getLogger(__name__)

_CHUNK = 2**16
#: Seconds between two looks whether we are to stop.
_TICK = 0.1
#: A daemon that a program leaves behind (as Wine does) keeps our pipe open: not waited for.
_GRACE = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """What came of a program; `output` is its stdout and stderr as they came."""

    args: tuple[str, ...]
    returncode: int
    output: str
    timed_out: bool
    seconds: float


def run(
    args: Sequence[str | Path],
    *,
    timeout: float,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stop: threading.Event | None = None,
) -> Finished:
    """Return what came of the program `args`, whatever its exit code.

    It reads nothing (stdin is empty) and is a group of its own, which is killed whole at the end,
    after `timeout` seconds, when `stop` is set, and when the caller is interrupted. `env` None:
    ours. Raises ToolError where the program cannot be started.
    """
    words = tuple(map(str, args))
    _log.debug("run: %s", redact(format_command(words)))
    began, timed_out = time.monotonic(), False
    process, output = _start(words, env, cwd), bytearray()
    # On Windows `communicate` gives no output, and does not end, while a daemon has the pipe.
    reader = threading.Thread(target=_read_output, args=(process.stdout, output), daemon=True)
    try:
        reader.start()
        while process.poll() is None and not timed_out and not (stop and stop.is_set()):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=_TICK)
            timed_out = process.poll() is None and time.monotonic() > began + timeout
    finally:
        _kill(process)
    reader.join(_GRACE)
    return Finished(
        args=words,
        returncode=process.returncode,
        output=_decode(bytes(output)),
        timed_out=timed_out,
        seconds=time.monotonic() - began,
    )


def format_command(words: Sequence[str]) -> str:
    """Return the words as one line that can be typed in a shell of this system."""
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)


def _start(
    words: tuple[str, ...], env: Mapping[str, str] | None, cwd: Path | None
) -> subprocess.Popen[bytes]:
    """Return the running program, in a process group of its own."""
    try:
        return subprocess.Popen(
            words,
            bufsize=0,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=cwd,
            start_new_session=sys.platform != "win32",
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
    except OSError as error:
        # The name of a missing folder is in `error` only.
        code = "tool-missing" if isinstance(error, FileNotFoundError) else "tool-failed"
        raise ToolError(f"{words[0]} cannot be run: {error}", code=code) from error


def _read_output(stream: IO[bytes], output: bytearray) -> None:
    """Put what the program prints into `output`; it has no end where a daemon keeps the pipe."""
    with stream, contextlib.suppress(OSError, ValueError):
        while chunk := stream.read(_CHUNK):
            output += chunk


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the program and everything in its group, and wait until it has ended."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        if sys.platform != "win32":
            # The group outlives its leader as long as it has members.
            os.killpg(process.pid, signal.SIGKILL)
        elif process.poll() is None:
            command = ["taskkill", "/T", "/F", "/PID", str(process.pid)]
            subprocess.run(command, check=False, capture_output=True, timeout=30)
    process.kill()
    process.wait()


def _decode(output: bytes) -> str:
    """Return program output as text; Windows programs end lines with CR LF.

    It is UTF-8, or what the system's code page makes of it: Python's own, into a pipe on Windows.
    """
    try:
        text = output.decode()
    except UnicodeDecodeError:
        text = output.decode(locale.getencoding(), "replace")
    return text.replace("\r\n", "\n")
