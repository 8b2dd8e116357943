"""Scenarios are read strictly: what a file says is what is laid out and what is judged."""

from pathlib import Path

import pytest
from proof.disks import Occupied, windows_disk
from proof.proving import runs_of
from proof.scenarios import FOLDER, Scenario, ScenarioError, parse_scenario, read_scenarios
from proof.wheels import CONTROLS, SUPPORTED, WHEELS, pythons_of

from repack.pythons import Interpreter

SOUND = """
title = "t"
why = "w"
wheel = "sample-12"
pythons = ["3.12"]

[untouched]
sees = "fails"

[patch]
sees = "imports"
"""


def read(text: str, folder: Path, system: str = "wine") -> Scenario:
    path = folder / "made-up.toml"
    path.write_text(text, encoding="utf-8")
    return parse_scenario(path, system)


@pytest.mark.parametrize("system", ["wine", "windows"])
def test_every_scenario_can_be_read(system: str) -> None:
    scenarios = read_scenarios(system)
    assert len(scenarios) == len(list(FOLDER.glob("*.toml")))
    assert {scenario.wheel for scenario in scenarios} <= WHEELS.keys()
    assert all(scenario.why for scenario in scenarios)


def test_the_tests_part_is_a_part_of_the_whole_on_pythons_that_its_wheels_are_for() -> None:
    scenarios = read_scenarios("wine")
    whole, part = (
        {(run.scenario.name, run.python, run.wheel) for run in runs_of(scenarios, quick=quick)}
        for quick in (False, True)
    )
    assert part
    assert part < whole
    for run in runs_of(scenarios):
        known = {*pythons_of(run.scenario.wheel), *SUPPORTED, *CONTROLS}
        assert run.python in known, run.scenario.name


AS_OLD = "[[machine.dlls]]\nfrom = ['npp']\ninto = 'C:'\nas = 'old'\n[untouched]"
#: A part of a sound file, what stands there in its place, and a word of what is said.
MISTAKES = {
    "a layout unheard of": ('why = "w"', 'why = "w"\nlayout = "mac"', "'mac'"),
    "quick elsewhere": ('why = "w"', 'why = "w"\nquick = ["3.14"]', "'3.14'"),
    "not what the untouched does": ("[untouched]", "[other]", "untouched"),
    "a form unheard of": ("[untouched]", AS_OLD, "'old'"),
    "no TOML": ("[patch]", "[patch", "made-up.toml"),
}


@pytest.mark.parametrize(("old", "new", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_a_scenario_is_named(old: str, new: str, said: str, tmp_path: Path) -> None:
    read(SOUND, tmp_path)
    with pytest.raises(ScenarioError, match=said):
        read(SOUND.replace(old, new), tmp_path)


def test_on_windows_what_was_laid_out_goes_and_what_was_there_stays(tmp_path: Path) -> None:
    python = Interpreter(version="3.12", full_version="3.12.1", python=tmp_path, origin="given")
    there = tmp_path / "nvcuda.dll"
    there.touch()
    with windows_disk(python) as disk:
        place = disk.place(str(tmp_path / "toolkit" / "bin")) / "nppc64_12.dll"
        disk.claim(place)
        place.parent.mkdir(parents=True)
        place.touch()
        with pytest.raises(Occupied, match=r"nvcuda\.dll"):
            disk.claim(disk.place(str(tmp_path)) / there.name)
    assert list(tmp_path.iterdir()) == [there]
