"""Scenarios: files in, values out; what a file may say stands in tests/scenarios/README.md."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

_T = TypeVar("_T")

FOLDER = Path(__file__).parent.parent / "scenarios"

IMPORTS, FAILS, HANGS, CRASHES = "imports", "fails", "hangs", "crashes"
LAYOUTS = ("plain", "venv", "conda", "store", "user-site")
#: What a file can be in place of the genuine one.
FORMS = ("", "x86", "arm64", "truncated", "older")
LACKING = ("media-foundation",)
UNTOUCHED = "untouched"
SYSTEMS = ("wine", "windows")

PROGRAM = """\
import cv2
import numpy as np

image = np.zeros((48, 64, 3), np.uint8)
assert cv2.resize(image, (32, 24)).shape == (24, 32, 3)
print("OpenCV", cv2.__version__)
"""


class ScenarioError(ValueError):
    """A scenario that cannot be read: our own mistake, and said with the file's name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Dlls:
    """DLLs that lie in one directory of a machine.

    `families` are all files of NVIDIA's for `cuda` (None: the wheel's own), but only those of
    `only` where it is not empty, and none of `without`; `form` is what they are instead of
    themselves. Of a DLL that is "older", the symbols in `lacks` are gone.
    """

    into: str
    families: tuple[str, ...]
    cuda: int | None = None
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    form: str = ""
    lacks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Further:
    """A wheel in the same site-packages, put there before cv2 or after it."""

    requirement: str
    after: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class TextFile:
    """A text file of a machine."""

    path: str
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """What a Windows machine has, beside Python, NumPy and cv2, and what it lacks."""

    env: Mapping[str, str] = field(default_factory=dict)
    path: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    dlls: tuple[Dlls, ...] = ()
    wheels: tuple[Further, ...] = ()
    files: tuple[TextFile, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What must be seen of one wheel; `answers` are pairs of a DLL's pattern and a directory.

    `foreign` are DLLs that another package has loaded before: cv2 takes them as they are.
    """

    sees: str
    says: tuple[str, ...] = ()
    answers: tuple[tuple[str, str], ...] = ()
    silent: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Scenario:
    """One machine, one wheel, and what must be seen of it untouched and fixed."""

    name: str
    title: str
    why: str
    wheel: str
    text: str
    pythons: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()
    layout: str = "plain"
    numpy: str = ""
    cwd: str = r"C:\Users\me"
    program: str = PROGRAM
    machine: Machine = field(default_factory=Machine)
    wanted: Mapping[str, Wanted] = field(default_factory=dict)


def read_scenarios(system: str, folder: Path = FOLDER) -> tuple[Scenario, ...]:
    """Return all scenarios of a folder by name, as they are on `system` ("wine", "windows")."""
    return tuple(parse_scenario(path, system) for path in sorted(folder.glob("*.toml")))


def parse_scenario(path: Path, system: str) -> Scenario:
    """Return the scenario that the file `path` describes; raises ScenarioError."""
    text = path.read_text(encoding="utf-8")
    try:
        told = tomllib.loads(text)
        return _scenario(told, name=path.stem, text=text, system=system)
    except (KeyError, TypeError, ValueError) as error:
        raise ScenarioError(f"{path.name}: {error!r}") from error


def filled(text: str, places: Mapping[str, str]) -> str:
    """Return `text` with {python}, {site}, {version} and {digits} put in."""
    for name, value in places.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def _scenario(told: dict[str, Any], *, name: str, text: str, system: str) -> Scenario:
    """Return the scenario of a file; a table in it that is no part of one says what is wanted."""
    known = {each.name for each in fields(Scenario)}
    machine = _machine(told.pop("machine", {}))
    own = {key: value for key, value in told.items() if key in known}
    wanted = {mode: _wanted(told[mode], system) for mode in told if mode not in known}
    scenario = _read(Scenario, own, name=name, text=text, machine=machine, wanted=wanted)
    _check(scenario)
    return scenario


def _check(scenario: Scenario) -> None:
    faults = [
        *_strangers("layout", [scenario.layout], LAYOUTS),
        *_strangers("machine.without", scenario.machine.without, LACKING),
        *_strangers("as", [dlls.form for dlls in scenario.machine.dlls], FORMS),
        *_strangers("sees", [wanted.sees for wanted in scenario.wanted.values()], (IMPORTS, FAILS)),
    ]
    if scenario.pythons:
        faults += _strangers("quick", scenario.quick, scenario.pythons)
    if UNTOUCHED not in scenario.wanted or len(scenario.wanted) == 1:
        faults.append("says what must be seen untouched and fixed")
    if faults:
        raise ScenarioError("; ".join(faults))


def _strangers(key: str, values: Sequence[str], known: Sequence[str]) -> Iterator[str]:
    yield from (f"{key}: {value!r} is none of {known}" for value in values if value not in known)


def _machine(told: dict[str, Any]) -> Machine:
    dlls = tuple(map(_dlls, told.pop("dlls", [])))
    wheels = tuple(_read(Further, each) for each in told.pop("wheels", []))
    files = tuple(_read(TextFile, each) for each in told.pop("files", []))
    return _read(Machine, told, dlls=dlls, wheels=wheels, files=files)


def _dlls(told: dict[str, Any]) -> Dlls:
    # Two keys that read well in a file are words of Python's own.
    return _read(Dlls, told, families=tuple(told.pop("from")), form=told.pop("as", ""))


def _wanted(told: dict[str, Any], system: str) -> Wanted:
    own = {each: told.pop(each, {}) for each in SYSTEMS}
    told |= own[system]
    return _read(Wanted, told, answers=tuple(sorted(told.pop("answers", {}).items())))


def _read(kind: type[_T], told: dict[str, Any], **more: object) -> _T:
    """Return the value that a table describes; a key that it does not have is a TypeError."""
    plain = {key: tuple(value) if isinstance(value, list) else value for key, value in told.items()}
    return kind(**{**plain, **more})
