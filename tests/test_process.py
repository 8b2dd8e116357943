"""Programs that are run: what comes of them, and that they end whatever happens."""

import _thread
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from repack import process
from repack.errors import ToolError

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="looks at POSIX process ids")
CHILD = (
    "import subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "print(child.pid, flush=True)\n"
)


def run_python(code: str, **options: object) -> process.Finished:
    settings: dict[str, object] = {"timeout": 30.0, **options}
    return process.run([sys.executable, "-c", code], **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "output", "returncode"),
    [
        pytest.param("import sys; print(1, flush=True); print(2, file=sys.stderr, flush=True);"
                     "print(3)", "1\n2\n3\n", 0, id="stdout and stderr as they come"),
        pytest.param("raise SystemExit(7)", "", 7, id="an exit code is data"),
        pytest.param(r"import sys; sys.stdout.buffer.write(b'a\r\nb\xff\n')", "a\nb\ufffd\n", 0,
                     id="line ends of Windows, and no text"),
        pytest.param("import sys; print(repr(sys.stdin.read()))", "''\n", 0, id="nothing to read"),
    ],
)  # fmt: skip
def test_a_program_comes_back_with_its_output(code: str, output: str, returncode: int) -> None:
    finished = run_python(code)
    assert (finished.output, finished.returncode) == (output, returncode)
    assert not finished.timed_out


def test_environment_and_folder_are_those_given(tmp_path: Path) -> None:
    env = {**os.environ, "REPACK_TEST": "x"}
    code = "import os; print(os.environ['REPACK_TEST'], os.getcwd())"
    assert run_python(code, env=env, cwd=tmp_path).output == f"x {tmp_path}\n"


def test_a_missing_program_or_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"^no-such-program cannot be run: .*\[tool-missing\]"):
        process.run(["no-such-program"], timeout=5)
    with pytest.raises(ToolError, match="gone"):
        run_python("", cwd=tmp_path / "gone")


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("print('begun', flush=True); time.sleep(60)", id="while silent"),
        pytest.param("while True: print('begun', flush=True)", id="while talking"),
        pytest.param("print('begun', flush=True); os.close(1); os.close(2); time.sleep(60)",
                     id="with its output closed"),
        pytest.param("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
                     "print('begun', flush=True); time.sleep(60)", id="deaf to polite requests"),
    ],
)  # fmt: skip
def test_a_program_that_does_not_end_is_ended(code: str) -> None:
    finished = run_python(f"import os, time\n{code}", timeout=1.5)
    assert finished.timed_out
    assert finished.returncode != 0
    assert "begun" in finished.output
    assert finished.seconds < 15


def has_ended(pid: int) -> bool:
    """A killed process that is not our child takes a moment to be gone."""
    until = time.monotonic() + 5
    stat = Path(f"/proc/{pid}/stat")
    while time.monotonic() < until:
        if (
            not stat.exists()
            or stat.read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"
        ):
            return True
        time.sleep(0.02)
    return False


@posix_only
@pytest.mark.parametrize(
    ("rest", "timed_out"),
    [
        pytest.param("time.sleep(60)", True, id="of one that hangs"),
        pytest.param("", False, id="of one that has ended"),
    ],
)
def test_what_a_program_started_ends_with_it(rest: str, timed_out: bool) -> None:  # noqa: FBT001 - a row
    finished = run_python(CHILD + rest, timeout=3)
    assert finished.timed_out is timed_out
    assert finished.seconds < 15
    assert has_ended(int(finished.output))


@posix_only
def test_an_interrupted_caller_leaves_nothing_running(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    tell = f"open({str(pid)!r}, 'w').write(f'{{child.pid}}.')"
    code = CHILD.replace("print(child.pid, flush=True)", tell)

    def interrupt() -> None:
        while not (pid.exists() and pid.read_text(encoding="utf-8").endswith(".")):
            time.sleep(0.02)
        _thread.interrupt_main()

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        run_python(code + "time.sleep(60)")
    assert has_ended(int(pid.read_text(encoding="utf-8").rstrip(".")))


@posix_only
def test_a_daemon_that_keeps_the_output_open_does_not_hold_us_up() -> None:
    daemon = CHILD.replace("60)'])", "8)'], start_new_session=True)")
    finished = run_python(daemon + "print('the end', end='')")
    assert finished.output.endswith("\nthe end")
    assert not finished.timed_out
    assert finished.seconds < 5
    os.kill(int(finished.output.splitlines()[0]), signal.SIGKILL)


def test_a_stop_from_another_thread_ends_it() -> None:
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    finished = run_python("import time; time.sleep(60)", stop=stop)
    assert not finished.timed_out
    assert finished.returncode != 0
    assert finished.seconds < 15


def test_endless_output_keeps_only_its_newest_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "KEPT_OUTPUT", 1000)
    finished = run_python("for number in range(10000): print(number)")
    assert finished.output.startswith("[earlier output dropped]\n")
    assert finished.output.endswith("\n9998\n9999\n")
    assert len(finished.output) < 1100
