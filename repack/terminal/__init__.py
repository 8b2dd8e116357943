"""What a person sees while the work goes on: progress bars, log lines and tables, by rich."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from repack.progress import Progress, Task

__all__ = [
    "Console",
    "Lines",
    "console_for",
    "log_to",
    "progress_on",
    "show_lines",
    "show_table",
]

_log = logging.getLogger(__name__)
#: What is more than a step stands out without colour, and says whose word it is.
_PREFIXES = {logging.WARNING: "warning: ", logging.ERROR: "repack: error: "}


class _Line:
    """One piece of work, told by its beginning alone."""

    def advance(self, amount: int) -> None:
        """Say nothing: a log is no place for a moving figure."""

    def resize(self, total: int | None) -> None:
        """Say nothing."""

    def describe(self, text: str) -> None:
        """Say what is being done now."""
        _log.info("%s", text)


class Lines:
    """Progress as log lines, for a stderr that is not a terminal."""

    @contextmanager
    def task(self, text: str, *, total: int | None = None, unit: str = "bytes") -> Iterator[Task]:
        """Log the beginning of the piece of work `text`."""
        size = f" ({total / 1e6:.0f} MB)" if total and unit == "bytes" else ""
        _log.info("%s%s", text, size)
        yield _Line()


def console_for(stream: TextIO) -> Console:
    """Return a console on `stream`: colours on a terminal alone, and none there with NO_COLOR."""
    # FORCE_COLOR, which CI sets, would make rich take a log file for a terminal.
    terminal = None if stream.isatty() else False
    return Console(file=stream, force_terminal=terminal, highlight=False, soft_wrap=False)


def progress_on(console: Console) -> Progress:
    """Return bars where `console` is a terminal that can move its cursor, log lines elsewhere."""
    if not console.is_terminal or console.is_dumb_terminal:
        return Lines()
    # Bars take long to import, and a log has none.
    from repack.terminal.bars import Bars  # noqa: PLC0415

    return Bars(console)


class _Log(logging.Handler):
    """Writes log lines as they are, above the bars where there are any."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        level = _PREFIXES.get(record.levelno, "")
        self._console.print(Text(f"{level}{record.getMessage()}"), soft_wrap=True)


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
    """Print a table; cells are plain text, never markup.

    A terminal folds what is too wide for it. Elsewhere a row is one line, however long: nothing
    is cut, and a search finds the whole of it.
    """
    if title:
        show_lines(console, [title])
    if not console.is_terminal:
        show_lines(console, _aligned([headings, *rows]))
        return
    from rich.table import Table  # noqa: PLC0415 - see `progress_on`

    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(Text(heading), overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def show_lines(console: Console, lines: Sequence[str]) -> None:
    """Print lines as they are, however long."""
    for line in lines:
        console.print(Text(line), soft_wrap=True)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows as lines whose columns stand under one another."""
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            set_cell_size(cell, width) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]
