from __future__ import annotations

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


def run_python(code: str, **options: object) -> process.Finished:
    settings: dict[str, object] = {"timeout": 30.0, **options}
    return process.run([sys.executable, "-c", code], **settings)  # type: ignore[arg-type]


def test_output_is_stdout_and_stderr_as_they_came() -> None:
    finished = run_python(
        "import sys; print('one', flush=True); print('two', file=sys.stderr, flush=True);"
        "print('three')"
    )
    assert finished.output == "one\ntwo\nthree\n"
    assert (finished.returncode, finished.timed_out) == (0, False)


def test_an_exit_code_is_data_and_not_an_error() -> None:
    assert run_python("raise SystemExit(7)").returncode == 7


def test_windows_line_ends_and_bytes_that_are_no_text_are_understood() -> None:
    finished = run_python(r"import sys; sys.stdout.buffer.write(b'a\r\nb\xff\n')")
    assert finished.output == "a\nb�\n"


def test_each_line_is_handed_on() -> None:
    lines: list[str] = []
    run_python(r"import sys; sys.stdout.buffer.write(b'a\r\n\nb\n')", on_line=lines.append)
    assert lines == ["a", "", "b"]


def test_it_has_nothing_to_read() -> None:
    assert run_python("import sys; print(repr(sys.stdin.read()))").output == "''\n"


def test_the_environment_is_the_one_given(tmp_path: Path) -> None:
    env = {**os.environ, "REPACK_TEST": "x"}
    finished = run_python(
        "import os; print(os.environ['REPACK_TEST'], os.getcwd())", env=env, cwd=tmp_path
    )
    assert finished.output == f"x {tmp_path}\n"


def test_a_missing_program_is_a_tool_error() -> None:
    with pytest.raises(ToolError, match=r"^no-such-program cannot be run: .*\[tool-missing\]"):
        process.run(["no-such-program"], timeout=5)


def test_a_missing_working_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="gone") as caught:
        run_python("", cwd=tmp_path / "gone")
    assert caught.value.file == str(tmp_path / "gone")


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("print('begun', flush=True); time.sleep(60)", id="while silent"),
        pytest.param("while True: print('begun', flush=True)", id="while talking"),
        pytest.param(
            "print('begun', flush=True); os.close(1); os.close(2); time.sleep(60)",
            id="with its output closed",
        ),
        pytest.param(
            "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
            "print('begun', flush=True); time.sleep(60)",
            id="deaf to polite requests",
        ),
    ],
)
def test_a_program_that_does_not_end_is_ended(code: str) -> None:
    began = time.monotonic()
    finished = run_python(f"import os, time\n{code}", timeout=1.5)
    assert finished.timed_out
    assert finished.returncode != 0
    assert "begun" in finished.output
    assert time.monotonic() - began < 15


def is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def has_ended(pid: int) -> bool:
    """A killed process that is not our child takes a moment to be gone."""
    until = time.monotonic() + 5
    while is_alive(pid) and time.monotonic() < until:
        time.sleep(0.02)
    return not is_alive(pid)


CHILD = (
    "import subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "print(child.pid, flush=True)\n"
)


@posix_only
def test_what_a_program_started_ends_with_it() -> None:
    finished = run_python(CHILD + "time.sleep(60)", timeout=1.5)
    assert has_ended(int(finished.output))


@posix_only
def test_a_child_left_behind_does_not_hold_us_up() -> None:
    began = time.monotonic()
    finished = run_python(CHILD)
    assert (finished.returncode, finished.timed_out) == (0, False)
    assert time.monotonic() - began < 15
    assert has_ended(int(finished.output))


@posix_only
def test_an_interrupted_caller_leaves_nothing_running() -> None:
    pids: list[int] = []

    def interrupt(line: str) -> None:
        pids.append(int(line))
        _thread.interrupt_main()

    with pytest.raises(KeyboardInterrupt):
        run_python(CHILD + "time.sleep(60)", on_line=interrupt)
    assert has_ended(pids[0])


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


def kept_code(said: Path) -> str:
    """A program that writes its number into a file and then waits for the end of its input."""
    return (
        "import os, sys\n"
        f"open({str(said)!r}, 'w').write(str(os.getpid()) + '.')\n"
        "sys.stdin.read()\n"
    )


def number_in(said: Path) -> int:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        if said.exists() and said.read_text(encoding="utf-8").endswith("."):
            return int(said.read_text(encoding="utf-8").rstrip("."))
        time.sleep(0.02)
    raise AssertionError("it did not start")


@posix_only
def test_a_program_kept_running_ends_with_the_block(tmp_path: Path) -> None:
    said = tmp_path / "pid"
    with process.kept_running([sys.executable, "-c", kept_code(said)]):
        pid = number_in(said)
        assert is_alive(pid)
    assert has_ended(pid)


@posix_only
def test_a_program_kept_running_ends_when_we_are_killed(tmp_path: Path) -> None:
    said = tmp_path / "pid"
    keeper = (
        "import sys, time\n"
        "from repack import process\n"
        f"with process.kept_running([sys.executable, '-c', {kept_code(said)!r}]):\n"
        "    time.sleep(60)\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert run_python(keeper, timeout=3, env=env).timed_out
    assert has_ended(number_in(said))
