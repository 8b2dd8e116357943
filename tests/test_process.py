"""Programs that are run: what comes of them, and that they end whatever happens."""

import _thread
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from platforms import POSIX

from repack import process
from repack.errors import ToolError

CHILD = (
    "import subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "print(child.pid, flush=True)\n"
)


def run_python(code: str, timeout: float = 30) -> process.Finished:
    return process.run([sys.executable, "-c", code], timeout=timeout)


def test_a_program_comes_back_with_all_its_output_as_text() -> None:
    code = """import sys
print("error", file=sys.stderr, flush=True)
sys.stdout.buffer.write(b'a\\r\\nb\\xff\\n')
"""
    assert run_python(code).output == "error\na\nb\ufffd\n"


def test_a_missing_program_is_named() -> None:
    with pytest.raises(ToolError, match=r"^no-such-program cannot be run: .*\[tool-missing\]"):
        process.run(["no-such-program"], timeout=5)


def has_ended(pid: int) -> bool:
    """A killed process that is not our child takes a moment to be gone."""
    until = time.monotonic() + 5
    stat = Path(f"/proc/{pid}/stat")
    while time.monotonic() < until:
        if not stat.exists() or ") Z " in stat.read_text(encoding="utf-8"):
            return True
        time.sleep(0.02)
    return False


#: What a program does after it has started another.
RESTS = {
    "ends": "",
    "hangs with its output closed": "import os; os.close(1); os.close(2); time.sleep(60)",
}


@POSIX
@pytest.mark.parametrize("rest", RESTS.values(), ids=RESTS)
def test_what_a_program_started_ends_with_it(rest: str) -> None:
    finished = run_python(CHILD + rest, timeout=2)
    assert finished.timed_out is bool(rest)
    assert finished.seconds < 15
    assert has_ended(int(finished.output))


@POSIX
def test_an_interrupted_caller_leaves_nothing_running(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    tell = f"open({str(pid)!r}, 'w').write(f'{{child.pid}}.')"

    def interrupt() -> None:
        while not (pid.exists() and pid.read_text(encoding="utf-8").endswith(".")):
            time.sleep(0.02)
        _thread.interrupt_main()

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        run_python(f"{CHILD}{tell}\ntime.sleep(60)")
    assert has_ended(int(pid.read_text(encoding="utf-8").rstrip(".")))


@POSIX
def test_a_daemon_that_keeps_the_output_open_does_not_hold_us_up() -> None:
    daemon = CHILD.replace("60)'])", "8)'], start_new_session=True)")
    finished = run_python(daemon + "print('the end', end='')")
    assert finished.output.endswith("\nthe end")
    assert not finished.timed_out
    assert finished.seconds < 5
    os.kill(int(finished.output.splitlines()[0]), signal.SIGKILL)
