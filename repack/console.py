"""What a person sees: progress bars, log lines and tables."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TextIO

_log = logging.getLogger(__name__)

#: A line that is more than a step stands out without colour, and says who speaks.
_PREFIXES = {logging.WARNING: "warning: ", logging.ERROR: "repack: error: "}
_LEVELS = {-1: logging.WARNING, 0: logging.INFO}
#: Bell, backspace, vertical tab, form feed, carriage return and escape hide what stands before.
_HIDING = dict.fromkeys(map(ord, "\a\b\v\f\r\x1b"))


class Console:
    """Lines and tables on a stream: with colours on a terminal, as plain text elsewhere.

    `bars` are rich's progress bars, None where no cursor can be moved.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._terminal: Any = None
        self._make_table: Any = None
        self.bars: Any = None
        # FORCE_COLOR, which CI sets, would make rich take a log file for a terminal.
        if stream.isatty():
            self._use_rich()

    def _use_rich(self) -> None:
        # Elsewhere, as in CI, it would take more time than all that it is needed for.
        from rich import console, progress, table  # noqa: PLC0415

        terminal = console.Console(file=self.stream, highlight=False, markup=False, emoji=False)
        # TTY_COMPATIBLE=0 says of something that calls itself a terminal that it is none.
        if not terminal.is_terminal:
            return
        self._terminal = terminal
        self._make_table = partial(table.Table, box=None, pad_edge=False)
        if not terminal.is_dumb_terminal:
            self.bars = progress.Progress(
                progress.SpinnerColumn(),
                progress.TextColumn("{task.description}", markup=False),
                progress.BarColumn(bar_width=24),
                progress.TaskProgressColumn(),
                progress.TimeElapsedColumn(),
                progress.TimeRemainingColumn(compact=True),
                console=terminal,
                transient=True,
            )

    def show_line(self, line: str) -> None:
        """Write a line, however long, above the bars where there are any."""
        text = line.translate(_HIDING).expandtabs()
        if self._terminal:
            self._terminal.print(text, soft_wrap=True)
        else:
            self.stream.write(f"{text}\n")
            self.stream.flush()

    def show_table(self, rows: Sequence[Sequence[str]]) -> None:
        """Write the rows as a table, whose headings are the first.

        A terminal folds what is too wide for it. Elsewhere a row is one line, however long:
        nothing is cut, and a search finds the whole of it.
        """
        if self._terminal:
            table = self._make_table()
            for heading in rows[0]:
                table.add_column(heading, overflow="fold")
            for row in rows[1:]:
                table.add_row(*(cell.translate(_HIDING) for cell in row))
            self._terminal.print(table)
            return
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = (f"{cell:{width}}" for cell, width in zip(row, widths, strict=True))
            self.show_line("  ".join(cells).rstrip())


class Task:
    """One piece of work under way."""

    def __init__(self, show: Callable[..., object]) -> None:
        """Call `show` for each change, with `advance`, `total` or `description`."""
        self._show = show

    def advance(self, amount: int) -> None:
        """Say that `amount` more units are done."""
        self._show(advance=amount)

    def resize(self, total: int | None) -> None:
        """Say how many units there are in all; None when that is not known."""
        self._show(total=total)

    def describe(self, text: str) -> None:
        """Say in other words what is being done now."""
        self._show(description=text)


class Progress:
    """Shows the work under way: as bars on a terminal, as log lines elsewhere."""

    def __init__(self, console: Console | None = None) -> None:
        """Show it on `console`; where there is none it is a detail of the log."""
        self._level = logging.INFO if console else logging.DEBUG
        self._bars = console.bars if console else None

    @contextmanager
    def task(self, text: str, *, total: int | None = None, unit: str = "bytes") -> Iterator[Task]:
        """Show the piece of work `text` until the context ends; `unit` is "bytes" or "steps"."""
        bars = self._bars
        shown = f"{text} ({total / 1e6:.0f} MB)" if total and unit == "bytes" else text
        if not bars:
            _log.log(self._level, "%s", shown)
            yield Task(self._log_change)
            return
        bars.start()
        number = bars.add_task(shown, total=total)
        try:
            yield Task(partial(bars.update, number))
        finally:
            bars.remove_task(number)
            if not bars.task_ids:
                bars.stop()

    def _log_change(self, description: str = "", **_: object) -> None:
        """Log new words; a log is no place for a moving figure."""
        if description:
            _log.log(self._level, "%s", description)


SILENT = Progress()


def discard(stream: TextIO) -> None:
    """Let nothing more come out of a stream that failed: at exit, its buffer would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def log_to(console: Console, verbosity: int) -> None:
    """Send this package's log to `console`: warnings at -1, steps at 0, details at 1."""
    logger = logging.getLogger("repack")
    logger.handlers[:] = [_Handler(console)]
    logger.setLevel(_LEVELS.get(verbosity, logging.DEBUG))
    logger.propagate = False


class _Handler(logging.Handler):
    """Writes log lines as they are; a stream that takes nothing ends no job."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._console.show_line(f"{_PREFIXES.get(record.levelno, '')}{record.getMessage()}")
        except OSError:
            discard(self._console.stream)
