"""What is tried, and what was seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from repack.lock import Pin
    from repack.record import Outcome


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """A wheel to be tried on one Python; `untouched` marks the wheel as it came."""

    wheel: Path
    sha256: str
    python: str
    untouched: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What a wheel did; `remembered` where an earlier run saw it.

    `beside` are the wheels of the index that it was tried with.
    """

    outcome: Outcome
    remembered: bool = False
    beside: tuple[Pin, ...] = ()
