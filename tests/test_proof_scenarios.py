"""Scenarios are read strictly: what a file says is what is laid out and what is judged."""

from __future__ import annotations

from pathlib import Path

import pytest
from proof.proving import runs_of
from proof.scenarios import FOLDER, Scenario, ScenarioError, filled, parse_scenario, read_scenarios
from proof.wheels import CONTROLS, SUPPORTED, WHEELS, pythons_of

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


def test_a_scenario_is_run_on_pythons_that_its_wheel_is_for() -> None:
    for run in runs_of(read_scenarios("wine")):
        known = {*pythons_of(run.scenario.wheel), *SUPPORTED, *CONTROLS}
        assert run.python in known, run.scenario.name


def test_the_tests_part_is_a_part_of_the_whole() -> None:
    scenarios = read_scenarios("wine")
    whole, part = (
        {(run.scenario.name, run.python, run.wheel) for run in runs_of(scenarios, quick=quick)}
        for quick in (False, True)
    )
    assert part
    assert part < whole


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        pytest.param('wheel = "sample-12"', "", "wheel", id="no-wheel"),
        pytest.param('sees = "imports"', 'sees = "works"', "'works'", id="an-end-unheard-of"),
        pytest.param('sees = "imports"', 'seen = "imports"', "seen", id="a-key-unheard-of"),
        pytest.param('why = "w"', 'why = "w"\nlayout = "mac"', "'mac'", id="a-layout-unheard-of"),
        pytest.param('why = "w"', 'why = "w"\nquick = ["3.14"]', "'3.14'", id="quick-elsewhere"),
        pytest.param("[untouched]", "[other]", "untouched", id="not-what-the-untouched-does"),
        pytest.param(
            "[untouched]",
            "[machine]\nwithout = ['sound']\n[untouched]",
            "'sound'",
            id="a-lack-unheard-of",
        ),
        pytest.param(
            "[untouched]",
            "[[machine.dlls]]\nfrom = ['npp']\n[untouched]",
            "into",
            id="dlls-that-lie-nowhere",
        ),
        pytest.param(
            "[untouched]",
            "[[machine.dlls]]\nfrom = ['npp']\ninto = 'C:'\nas = 'old'\n[untouched]",
            "'old'",
            id="a-form-unheard-of",
        ),
        pytest.param("[patch]", "[patch", "made-up.toml", id="no-toml"),
    ],
)
def test_a_mistake_in_a_scenario_is_named(old: str, new: str, said: str, tmp_path: Path) -> None:
    read(SOUND, tmp_path)
    with pytest.raises(ScenarioError, match=said):
        read(SOUND.replace(old, new), tmp_path)


def test_what_is_seen_otherwise_on_one_system_is_wanted_there_alone(tmp_path: Path) -> None:
    text = SOUND + 'says = ["a"]\nwine = { sees = "fails", says = ["b"] }\n'
    (wine, windows) = (read(text, tmp_path, system) for system in ("wine", "windows"))
    assert wine.wanted["patch"].sees == "fails"
    assert wine.wanted["patch"].says == ("b",)
    assert windows.wanted["patch"].sees == "imports"


def test_places_are_put_in_and_other_braces_stay() -> None:
    places = {"python": "C:\\P", "site": "C:\\S", "version": "3.12", "digits": "312"}
    assert filled("{python}\\{digits} {site} {x} {0}", places) == "C:\\P\\312 C:\\S {x} {0}"
