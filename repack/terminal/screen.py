"""A terminal, by rich."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from rich.console import Console as RichConsole
from rich.text import Text

from repack.terminal.plain import Lines, Plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from repack.progress import Progress


class Screen:
    """Writes to a terminal: with colours, unless NO_COLOR says otherwise."""

    def __init__(self, stream: TextIO) -> None:
        """Write to `stream`."""
        self._stream = stream
        self._rich = RichConsole(file=stream, highlight=False, soft_wrap=False)

    def show_line(self, line: str) -> None:
        """Write a line, however long, above the bars where there are any."""
        self._rich.print(Text(line), soft_wrap=True)

    def show_table(self, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Write a table, what is too wide for it folded; cells are plain text, never markup."""
        if not self._rich.is_terminal:
            # TTY_COMPATIBLE=0 says so of something that calls itself one.
            Plain(self._stream).show_table(headings, rows)
            return
        from rich.table import Table  # noqa: PLC0415 - slow to import, and few commands show one

        table = Table(box=None, pad_edge=False)
        for heading in headings:
            table.add_column(Text(heading), overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        self._rich.print(table)

    def progress(self) -> Progress:
        """Return bars where the terminal can move its cursor, log lines elsewhere."""
        if not self._rich.is_terminal or self._rich.is_dumb_terminal:
            return Lines()
        from repack.terminal.bars import Bars  # noqa: PLC0415 - slow to import

        return Bars(self._rich)
