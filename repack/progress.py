"""How the steps tell what they are doing; who shows it is not their business."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager


class Task(Protocol):
    """One piece of work under way."""

    def advance(self, amount: int) -> None:
        """Say that `amount` more units are done."""

    def resize(self, total: int | None) -> None:
        """Say how many units there are in all; None when that is not known."""

    def describe(self, text: str) -> None:
        """Say in other words what is being done now."""


class Progress(Protocol):
    """Shows the pieces of work that are under way."""

    def task(
        self, text: str, *, total: int | None = None, unit: str = "bytes"
    ) -> AbstractContextManager[Task]:
        """Return a context that shows the piece of work `text`; `unit` is "bytes" or "steps"."""


class _Silent:
    """Shows nothing."""

    def advance(self, amount: int) -> None:
        """Show nothing."""

    def resize(self, total: int | None) -> None:
        """Show nothing."""

    def describe(self, text: str) -> None:
        """Show nothing."""

    @contextmanager
    def task(self, text: str, *, total: int | None = None, unit: str = "bytes") -> Iterator[Task]:
        """Show nothing of it."""
        del text, total, unit
        yield self


SILENT: Progress = _Silent()
