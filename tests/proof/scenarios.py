"""Scenarios: files in, values out; what a file may say stands in tests/scenarios/README.md."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

FOLDER = Path(__file__).parent.parent / "scenarios"

IMPORTS, FAILS, CRASHES = "imports", "fails", "crashes"
UNTOUCHED = "untouched"

PROGRAM = """\
import cv2
import numpy as np

image = np.zeros((48, 64, 3), np.uint8)
assert cv2.resize(image, (32, 24)).shape == (24, 32, 3)
print("OpenCV", cv2.__version__)
"""


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of a scenario's file."""


class Dlls(Table, frozen=True):
    """DLLs that lie in one directory of a machine.

    `families` are all files of NVIDIA's for `cuda` (None: the wheel's own), but only those of
    `only` where it is not empty, and none of `without`; `form` is what they are in place of the
    genuine ones.
    """

    into: str
    # Two keys that read well in a file are keywords of Python.
    families: tuple[str, ...] = msgspec.field(name="from")
    form: Literal["", "x86", "arm64", "truncated"] = msgspec.field(name="as", default="")
    cuda: int | None = None
    only: tuple[str, ...] = ("*",)
    without: tuple[str, ...] = ()


class Machine(Table, frozen=True):
    """What a Windows machine has, beside Python, NumPy and cv2, and what it lacks."""

    env: dict[str, str] = {}
    path: tuple[str, ...] = ()
    without: tuple[Literal["media-foundation"], ...] = ()
    dlls: tuple[Dlls, ...] = ()
    wheels: tuple[str, ...] = ()


class Wanted(Table, frozen=True):
    """What must be seen of one wheel; `answers` has the directory for each pattern of a DLL."""

    sees: Literal["imports", "fails"]
    says: tuple[str, ...] = ()
    answers: dict[str, str] = {}
    silent: tuple[str, ...] = ()


class Scenario(Table, frozen=True, eq=False):
    """One machine, the wheel (or a pattern of wheels), what must be seen of it in each mode."""

    name: str
    title: str
    why: str
    wheel: str
    text: str
    pythons: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()
    layout: Literal["plain", "venv", "conda", "store", "user-site"] = "plain"
    numpy: str = ""
    cwd: str = r"C:\Users\me"
    program: str = PROGRAM
    machine: Machine = Machine()
    wanted: dict[str, Wanted] = {}


def read_scenarios() -> list[Scenario]:
    """Return all scenarios by name."""
    scenarios = []
    for path in sorted(FOLDER.glob("*.toml")):
        text = path.read_text(encoding="utf-8")
        table = tomllib.loads(text)
        # A table that is no field of a scenario says what is wanted of a wheel in that mode.
        modes = [name for name in table if name not in Scenario.__struct_fields__]
        wanted = {mode: table.pop(mode) for mode in modes}
        table |= {"name": path.stem, "text": text, "wanted": wanted}
        scenarios.append(msgspec.convert(table, Scenario))
    return scenarios


def fill(text: str, places: Mapping[str, str]) -> str:
    """Return `text` with {python}, {site}, {version} and {digits} put in."""
    for name, value in places.items():
        text = text.replace(f"{{{name}}}", value)
    return text
