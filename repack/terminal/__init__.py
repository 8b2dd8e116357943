"""What a person sees while the work goes on: progress bars, log lines and tables."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol, TextIO

from repack.terminal.plain import Lines, Plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from repack.progress import Progress

__all__ = [
    "Console",
    "Lines",
    "console_for",
    "log_to",
    "progress_on",
    "show_lines",
    "show_table",
]

#: What is more than a step stands out without colour, and says whose word it is.
_PREFIXES = {logging.WARNING: "warning: ", logging.ERROR: "repack: error: "}


class Console(Protocol):
    """Where lines and tables go."""

    def show_line(self, line: str) -> None:
        """Write a line, however long."""

    def show_table(self, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Write a table."""

    def progress(self) -> Progress:
        """Return what shows there which work is under way."""


def console_for(stream: TextIO) -> Console:
    """Return a console on `stream`: colours on a terminal alone, and none there with NO_COLOR."""
    # FORCE_COLOR, which CI sets, would make rich take a log file for a terminal; and where there
    # is no terminal, rich would take long to import for nothing.
    if not stream.isatty():
        return Plain(stream)
    from repack.terminal.screen import Screen  # noqa: PLC0415

    return Screen(stream)


def progress_on(console: Console) -> Progress:
    """Return bars where `console` is a terminal that can move its cursor, log lines elsewhere."""
    return console.progress()


class _Log(logging.Handler):
    """Writes log lines as they are, above the bars where there are any."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        level = _PREFIXES.get(record.levelno, "")
        self._console.show_line(f"{level}{record.getMessage()}")


def log_to(console: Console, verbosity: int) -> None:
    """Send this package's log to `console`: warnings at -1, steps at 0, details at 1."""
    level = {-1: logging.WARNING, 0: logging.INFO}.get(verbosity, logging.DEBUG)
    logger = logging.getLogger("repack")
    logger.handlers[:] = [_Log(console)]
    logger.setLevel(level)
    logger.propagate = False


def show_table(
    console: Console, title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]
) -> None:
    """Print a table under its title; cells are plain text, never markup.

    A terminal folds what is too wide for it. Elsewhere a row is one line, however long: nothing
    is cut, and a search finds the whole of it.
    """
    if title:
        console.show_line(title)
    console.show_table(headings, rows)


def show_lines(console: Console, lines: Sequence[str]) -> None:
    """Print lines as they are, however long."""
    for line in lines:
        console.show_line(line)
