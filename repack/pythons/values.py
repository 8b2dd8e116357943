"""A Windows Python, or why there is none."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

ON_WINDOWS = os.name == "nt"


def _at_once() -> None:
    """Do nothing: on Windows a Python runs without preparation."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Interpreter:
    """A genuine Windows Python that can be run here."""

    #: "3.12", and "3.14t" for the free-threaded build.
    version: str
    #: "3.12.10"
    full_version: str
    #: python.exe
    python: Path
    #: What python.exe is run by: empty on Windows, Wine elsewhere.
    launcher: tuple[str, ...] = ()
    #: All that has to be in the environment for it to run; nothing else has to.
    env: Mapping[str, str] = field(default_factory=dict)
    #: How it was found: "py launcher", "registry", "uv", "given", "assembled".
    origin: str
    #: "x86-64", "x86" or "arm64"
    machine: str = "x86-64"
    #: To be called before it is run; what then takes time is done once. Raises ToolError.
    start: Callable[[], object] = field(default=_at_once, compare=False, repr=False)

    @property
    def command(self) -> tuple[str, ...]:
        """The words that start it."""
        return (*self.launcher, str(self.python))

    @property
    def identity(self) -> str:
        """A digest that changes whenever another Python is run, or is run by another Wine."""
        parts = (self.full_version, self.version, str(self.python), self.machine, *self.launcher)
        wine = self.env.get("WINEPREFIX", "")
        return hashlib.sha256("\n".join((*parts, wine)).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Unavailable:
    """Why there is no Windows Python of a version here, and the one thing to do about it."""

    version: str
    reason: str
    hint: str
