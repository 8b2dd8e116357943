"""What a run of the proof saw, as values and as `proof.json`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """Which file answered for one DLL, as the loader itself says."""

    dll: str
    file: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One wheel on one Python of one machine.

    `wheel` is "untouched" or how `repack` made it ("patch", "vendor", ...). `wanted` and `seen` say
    in a line each what was to be seen and what was; `faults` are the differences, and none of them
    is what `right` means. `message` is the whole text of the exception, "" where there was none;
    `answers` are the CUDA DLLs of the trace; `log` is all that the process printed.
    """

    python: str
    wheel: str
    wanted: str
    seen: str
    faults: tuple[str, ...] = ()
    message: str = ""
    answers: tuple[Answer, ...] = ()
    log: str = ""
    seconds: float = 0.0

    @property
    def right(self) -> bool:
        """Whether all was seen that was to be seen."""
        return not self.faults


@dataclass(frozen=True, kw_only=True, slots=True)
class Story:
    """One scenario and its cells; `text` is the file that describes the machine."""

    name: str
    title: str
    why: str
    text: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Proof:
    """All that one run saw; `system` is what the Windows binaries ran on."""

    repack: str
    system: str
    stories: tuple[Story, ...]

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All cells of all scenarios."""
        return tuple(cell for story in self.stories for cell in story.cells)

    @property
    def right(self) -> int:
        """How many cells are right."""
        return sum(cell.right for cell in self.cells)

    @property
    def figure(self) -> str:
        """The result in four words."""
        return f"{self.right} right of {len(self.cells)}"


def to_json(proof: Proof) -> str:
    """Return `proof.json`."""
    stories = [
        {
            **{name: getattr(story, name) for name in ("name", "title", "why", "text")},
            "cells": [{**asdict(cell), "right": cell.right} for cell in story.cells],
        }
        for story in proof.stories
    ]
    told = {
        "version": VERSION,
        "repack": proof.repack,
        "system": proof.system,
        "right": proof.right,
        "of": len(proof.cells),
        "scenarios": stories,
    }
    return json.dumps(told, indent=1, ensure_ascii=False) + "\n"


def from_json(text: str) -> Proof:
    """Return the proof that a `proof.json` holds."""
    told = json.loads(text)
    return Proof(
        repack=told["repack"],
        system=told["system"],
        stories=tuple(map(_story, told["scenarios"])),
    )


def _story(told: dict[str, Any]) -> Story:
    return Story(**{**told, "cells": tuple(map(_cell, told["cells"]))})


def _cell(told: dict[str, Any]) -> Cell:
    known = {each.name: told[each.name] for each in fields(Cell)}
    answers = tuple(Answer(**answer) for answer in known["answers"])
    return Cell(**{**known, "answers": answers, "faults": tuple(known["faults"])})
