"""What a person sees while the work goes on: rich's progress bars, log lines and tables."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.progress import Task as RichTask

    from repack.progress import Task

__all__ = [
    "Bars",
    "Console",
    "Lines",
    "console_for",
    "log_to",
    "progress_on",
    "show_lines",
    "show_table",
]

_log = logging.getLogger(__name__)
#: A pipe has no width; a table cut at 80 columns would hide the very message it is for.
_PIPE_WIDTH = 200


class _ByUnit(ProgressColumn):
    """Shows bytes as bytes with a rate, and steps as "3/14"."""

    def __init__(self) -> None:
        super().__init__()
        self._bytes = DownloadColumn(binary_units=False)
        self._speed = TransferSpeedColumn()
        self._steps = MofNCompleteColumn()

    def render(self, task: RichTask) -> Text:
        """Return the figures of one piece of work."""
        if task.total is None and not task.completed:
            return Text("")
        if task.fields.get("unit") == "bytes":
            return Text(" ").join([self._bytes.render(task), self._speed.render(task)])
        return self._steps.render(task)


class _Bar:
    """One piece of work, shown as a bar."""

    def __init__(self, bars: Progress, task: TaskID) -> None:
        self._bars = bars
        self._task = task

    def advance(self, amount: int) -> None:
        """Move the bar."""
        self._bars.advance(self._task, amount)

    def resize(self, total: int | None) -> None:
        """Set the length of the bar."""
        self._bars.update(self._task, total=total)

    def describe(self, text: str) -> None:
        """Set the words beside the bar."""
        self._bars.update(self._task, description=text)


class Bars:
    """Progress bars on stderr; each piece of work is one line while it lasts."""

    def __init__(self, console: Console) -> None:
        """Draw on `console`."""
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            _ByUnit(),
            TimeElapsedColumn(),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
        )

    @contextmanager
    def task(self, text: str, *, total: int | None = None, unit: str = "bytes") -> Iterator[Task]:
        """Show the piece of work `text` as a bar until the context ends."""
        if not self._bars.live.is_started:
            self._bars.start()
        task = self._bars.add_task(text, total=total, unit=unit)
        try:
            yield _Bar(self._bars, task)
        finally:
            self._bars.remove_task(task)
            if not self._bars.task_ids:
                self._bars.stop()


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
    """Return a console on `stream`; colours and bars only on a terminal, none with NO_COLOR."""
    width = None if stream.isatty() else _PIPE_WIDTH
    return Console(file=stream, width=width, highlight=False, soft_wrap=False)


def progress_on(console: Console) -> Bars | Lines:
    """Return bars where `console` is a terminal, log lines elsewhere."""
    return Bars(console) if console.is_terminal else Lines()


class _Log(logging.Handler):
    """Writes log lines as they are, above the bars where there are any."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; what is more than a step stands out without colour."""
        level = f"{record.levelname.lower()}: " if record.levelno > logging.INFO else ""
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
    """Print a table; cells are plain text, never markup."""
    table = Table(title=Text(title), title_justify="left", box=None, pad_edge=False)
    for heading in headings:
        table.add_column(Text(heading), overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def show_lines(console: Console, lines: Sequence[str]) -> None:
    """Print lines as they are, however long."""
    for line in lines:
        console.print(Text(line), soft_wrap=True)
