"""Progress bars, for a terminal."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

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
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console
    from rich.progress import Task as RichTask

    from repack.progress import Task


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
