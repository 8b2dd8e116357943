"""What a person sees: bars on a terminal, plain lines everywhere else, nothing cut in a pipe."""

import io
import logging
import re
import time

import pytest

from repack.console import Console, Progress, log_to

ESCAPE = "\x1b"
LONG = "ImportError: DLL load failed while importing cv2: " + "the module was not found. " * 30


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def worked(stream: io.StringIO) -> str:
    """Return what a piece of work wrote that took long enough to be seen."""
    console = Console(stream)
    log_to(console, 0)
    with Progress(console).task("Downloading x.whl", total=4_000_000) as task:
        task.advance(1_000_000)
        if ESCAPE in stream.getvalue():
            time.sleep(0.3)
        task.describe("Trying again")
        logging.getLogger("repack.fetch").info("a step")
    return stream.getvalue()


def test_work_is_bars_on_a_terminal_in_colours_unless_none_are_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = worked(Terminal())
    assert "Downloading x.whl (4 MB)" in shown
    assert "25%" in shown
    assert f"{ESCAPE}[3" in shown
    monkeypatch.setenv("NO_COLOR", "1")
    assert f"{ESCAPE}[3" not in worked(Terminal())


@pytest.mark.parametrize(
    ("stream", "variables"),
    [
        (io.StringIO(), {}),
        (io.StringIO(), {"FORCE_COLOR": "1", "TTY_COMPATIBLE": "1"}),
        (Terminal(), {"TERM": "dumb"}),
    ],
)
def test_work_is_plain_lines_in_a_pipe_a_log_that_asks_for_colours_and_a_dumb_terminal(
    stream: io.StringIO, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert worked(stream) == "Downloading x.whl (4 MB)\nTrying again\na step\n"


def test_the_screen_is_as_it_was_when_all_has_ended_or_failed() -> None:
    stream = Terminal()
    progress = Progress(Console(stream))
    with progress.task("One"), progress.task("Two"):
        pass
    with pytest.raises(KeyboardInterrupt), progress.task("Three"):
        raise KeyboardInterrupt
    hidden, shown = f"{ESCAPE}[?25l", f"{ESCAPE}[?25h"
    assert stream.getvalue().count(hidden) == stream.getvalue().count(shown) == 2
    assert stream.getvalue().rindex(shown) > stream.getvalue().rindex("Three")


def test_the_log_has_as_much_as_is_wanted() -> None:
    lines = ["detail", "[bold]step[/bold] :smile:", "warning: odd", "repack: error: bad"]
    for verbosity, first in ((-1, 2), (0, 1), (1, 0)):
        stream = io.StringIO()
        log_to(Console(stream), verbosity)
        log = logging.getLogger("repack.somewhere")
        log.debug("detail")
        log.info("[bold]step[/bold] :smile:")
        log.warning("odd")
        log.error("bad")
        assert stream.getvalue().splitlines() == lines[first:]


def test_a_table_is_folded_and_not_cut_on_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    stream = Terminal()
    Console(stream).show_table([("Python", "what it did"), ("3.12", LONG)])
    lines = re.sub(rf"{ESCAPE}\[\d+m", "", stream.getvalue()).splitlines()
    assert max(map(len, lines)) <= 60
    shown = "".join(line[8:] for line in lines[1:])
    assert shown.replace(" ", "") == LONG.replace(" ", "")


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()], ids=["pipe", "terminal"])
def test_lines_are_shown_as_they_are_but_nothing_moves_the_cursor(stream: io.StringIO) -> None:
    console = Console(stream)
    for line in (LONG, "[bold]b[/bold]", "", "a\tb", "C:\\x\r\a\b\v\f\x1bhidden"):
        console.show_line(line)
    assert stream.getvalue() == f"{LONG}\n[bold]b[/bold]\n\na       b\nC:\\xhidden\n"
    console.show_table([("a", "b"), ("3.12", "[red]x[/red] :smile:")])
    assert "[red]x[/red] :smile:" in stream.getvalue()
