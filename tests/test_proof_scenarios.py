"""Scenarios are read strictly: what a file says is what is laid out and what is judged."""

from pathlib import Path

import pytest
from proof.disks import Occupied, windows_disk
from proof.proving import runs_of
from proof.scenarios import FOLDER, read_scenarios
from proof.wheels import CONTROLS, SUPPORTED, WHEELS, pythons_of

from repack.pythons import Interpreter


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
