"""Lines in a stream that is no terminal: a pipe, a file, a log of CI."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from repack.progress import Progress, Task

_log = logging.getLogger(__name__)
#: Bell, backspace, vertical tab, form feed and carriage return would hide what stands before them.
_HIDING = dict.fromkeys(map(ord, "\a\b\v\f\r"))


class Plain:
    """Writes to a stream that is no terminal."""

    def __init__(self, stream: TextIO) -> None:
        """Write to `stream`."""
        self._stream = stream

    def show_line(self, line: str) -> None:
        """Write a line, however long."""
        self._stream.write(f"{line.translate(_HIDING).expandtabs()}\n")
        self._stream.flush()

    def show_table(self, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Write each row as one line: nothing is cut, and a search finds the whole of it."""
        for line in _aligned([headings, *rows]):
            self.show_line(line)

    def progress(self) -> Progress:
        """Return progress as log lines."""
        return Lines()


class Lines:
    """Progress as log lines, for a stderr that is not a terminal."""

    @contextmanager
    def task(self, text: str, *, total: int | None = None, unit: str = "bytes") -> Iterator[Task]:
        """Log the beginning of the piece of work `text`."""
        size = f" ({total / 1e6:.0f} MB)" if total and unit == "bytes" else ""
        _log.info("%s%s", text, size)
        yield _Line()


class _Line:
    """One piece of work, told by its beginning alone."""

    def advance(self, amount: int) -> None:
        """Say nothing: a log is no place for a moving figure."""

    def resize(self, total: int | None) -> None:
        """Say nothing."""

    def describe(self, text: str) -> None:
        """Say what is being done now."""
        _log.info("%s", text)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows as lines whose columns stand under one another."""
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def _width(text: str) -> int:
    """Return how many columns `text` takes up where letters all have one width, or two."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # noqa: PLC0415 - rich is slow to import, and seldom needed

    return cell_len(text)
