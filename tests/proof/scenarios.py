"""Scenarios: files in, values out; what a file may say stands in tests/scenarios/README.md."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

FOLDER = Path(__file__).parent.parent / "scenarios"

IMPORTS, FAILS, HANGS, CRASHES = "imports", "fails", "hangs", "crashes"
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
    genuine ones. Of a DLL that is "older", the symbols in `lacks` are gone.
    """

    into: str
    # Two keys that read well in a file are keywords of Python.
    families: tuple[str, ...] = msgspec.field(name="from")
    form: Literal["", "x86", "arm64", "truncated", "older"] = msgspec.field(name="as", default="")
    cuda: int | None = None
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()


class Further(Table, frozen=True):
    """A wheel in the same site-packages, put there before cv2 or after it."""

    requirement: str
    after: bool = False


class TextFile(Table, frozen=True):
    """A text file of a machine."""

    path: str
    text: str


class Machine(Table, frozen=True):
    """What a Windows machine has, beside Python, NumPy and cv2, and what it lacks."""

    env: dict[str, str] = {}
    path: tuple[str, ...] = ()
    without: tuple[Literal["media-foundation"], ...] = ()
    dlls: tuple[Dlls, ...] = ()
    wheels: tuple[Further, ...] = ()
    files: tuple[TextFile, ...] = ()


class Wanted(Table, frozen=True):
    """What must be seen of one wheel; `answers` has the directory for each pattern of a DLL.

    `foreign` are DLLs that another package has loaded before: cv2 takes them as they are.
    """

    sees: Literal["imports", "fails"]
    says: tuple[str, ...] = ()
    answers: dict[str, str] = {}
    silent: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()


class Scenario(Table, frozen=True, eq=False):
    """One machine, one wheel, and what must be seen of it untouched and fixed."""

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


def read_scenarios(system: str) -> tuple[Scenario, ...]:
    """Return all scenarios by name, as they are on `system` ("wine", "windows")."""
    return tuple(parse_scenario(path, system) for path in sorted(FOLDER.glob("*.toml")))


def parse_scenario(path: Path, system: str) -> Scenario:
    """Return the scenario that the file `path` describes; raises ValueError."""
    text = path.read_text(encoding="utf-8")
    table = tomllib.loads(text)
    # A table that is no field of a scenario says what is wanted of a wheel.
    modes = sorted(table.keys() - set(Scenario.__struct_fields__))
    wanted = {mode: _choose_system(table.pop(mode), system) for mode in modes}
    table |= {"name": path.stem, "text": text, "wanted": wanted}
    try:
        return msgspec.convert(table, Scenario)
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error


def _choose_system(table: dict[str, Any], system: str) -> dict[str, Any]:
    """Return the table of what is wanted, as it is on one system."""
    special = {name: table.pop(name, {}) for name in ("wine", "windows")}
    merged: dict[str, Any] = table | special[system]
    return merged


def fill(text: str, places: Mapping[str, str]) -> str:
    """Return `text` with {python}, {site}, {version} and {digits} put in."""
    for name, value in places.items():
        text = text.replace(f"{{{name}}}", value)
    return text
