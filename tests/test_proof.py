"""A part of the proof, on genuine Windows Pythons; `nox -s proof` is the whole of it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import pytest
from proof.proving import Prover, Run, prove, runs_of
from proof.results import Cell
from proof.scenarios import Wanted, read_scenarios
from proof.wheels import Wheels
from prove import LOCK, main

from repack.build import read_timestamp
from repack.console import SILENT
from repack.fetch import Cache
from repack.fetch.supply import Supply
from repack.pythons import Pythons, Unavailable
from repack.wheel import read_member, read_wheel, rewrite_members, splice

pytestmark = [pytest.mark.network, pytest.mark.wine, pytest.mark.timeout(3000)]

RUNS = runs_of(read_scenarios("wine"), quick=True)
PYTHON = "3.12"
MACHINES = str(Path("tests", "proof", "machines"))


def name_of(run: Run) -> str:
    return f"{run.scenario.name}-{run.python}-{run.wheel}"


@pytest.fixture(scope="module")
def supply() -> Supply:
    return Supply(Cache.default(), LOCK, offline=False, update=False, progress=SILENT)


@pytest.fixture(scope="module")
def pythons(supply: Supply) -> Iterator[Pythons]:
    with Pythons(cache=supply.cache, progress=SILENT) as pythons:
        yield pythons


@pytest.fixture(scope="module")
def cells(supply: Supply, pythons: Pythons) -> Mapping[Run, Cell]:
    return prove(Prover(supply, pythons), RUNS, os.cpu_count() or 1, SILENT)


@pytest.mark.parametrize("run", RUNS, ids=name_of)
def test_a_machine_shows_what_must_be_seen(run: Run, cells: Mapping[Run, Cell]) -> None:
    cell = cells[run]
    assert not cell.faults, f"{cell.message}\n{cell.log}"


def scenario_run(wheel: str, **changes: object) -> Run:
    """A run of the plainest scenario, with changes."""
    scenario = next(each for each in read_scenarios("wine") if each.name == "cuda-path")
    return Run(scenario=msgspec.structs.replace(scenario, **changes), python=PYTHON, wheel=wheel)


@pytest.mark.parametrize(
    ("program", "seen"),
    [
        pytest.param("while True: pass", "hangs: it had not ended after 5 s", id="hangs"),
        pytest.param(
            "import faulthandler; faulthandler._sigsegv()", "crashed in the program", id="crashes"
        ),
    ],
)
def test_a_program_that_does_not_end_well_is_shown_as_such_and_leaves_nothing(
    program: str, seen: str, supply: Supply, pythons: Pythons
) -> None:
    machines = supply.cache.folder("tests") / "proof" / "machines"
    prover = Prover(supply, pythons, limit=5)
    before = set(machines.iterdir())
    cell = prover.cell(scenario_run("untouched", program=program))
    assert seen in cell.seen
    assert not cell.right
    assert set(machines.iterdir()) <= before


def test_no_process_of_a_machine_is_left(supply: Supply, pythons: Pythons) -> None:
    program = (
        "import subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    )
    Prover(supply, pythons, limit=60).cell(scenario_run("untouched", program=program))
    environs = (path.parent for path in Path("/proc").glob("[0-9]*/environ"))
    prefixes = {text for each in environs for text in environment(each) if MACHINES in text}
    assert not prefixes


def environment(process: Path) -> list[str]:
    try:
        return process.joinpath("environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def test_a_missing_tool_is_shown_as_such(
    supply: Supply, pythons: Pythons, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = Unavailable(version=PYTHON, reason="Wine is not installed", hint="apt-get install x")
    monkeypatch.setattr(pythons, "provide", lambda _version: missing)
    cell = Prover(supply, pythons).cell(scenario_run("untouched"))
    assert cell.seen == "could not be tried: Wine is not installed; apt-get install x"
    assert not cell.right


def test_a_way_of_fixing_that_is_not_there_yet_is_not_right(
    supply: Supply, pythons: Pythons
) -> None:
    wanted = {"unheard-of": Wanted(sees="imports")}
    cell = Prover(supply, pythons).cell(scenario_run("unheard-of", wanted=wanted))
    assert "unheard-of" in cell.seen
    assert not cell.right


LIE = rb"""

def _lie(loading, enter=Loading.__enter__):
    enter(loading)
    choices = loading.attempt.search.choices
    choices[:] = [choice._replace(directory="C:\\elsewhere") for choice in choices]


Loading.__enter__ = _lie
"""


class Lying(Wheels):
    """Makes wheels whose run-time module claims a directory that it did not register."""

    def fixed(self, name: str, mode: str, python: str) -> Path:
        wheel = read_wheel(super().fixed(name, mode, python))
        text = read_member(wheel.archive, "cv2/cuda_dlls.py") + LIE
        entries = rewrite_members(wheel, wheel.filename, {"cv2/cuda_dlls.py": text})
        folder = self.folder / "lies"
        folder.mkdir(exist_ok=True)
        splice(wheel.archive, entries, folder / wheel.path.name, timestamp=read_timestamp())
        return folder / wheel.path.name


def test_a_module_that_lies_about_its_choice_is_caught(supply: Supply, pythons: Pythons) -> None:
    prover = Prover(supply, pythons)
    run = scenario_run("patch")
    assert prover.cell(run).right
    prover.wheels = Lying(supply, prover.wheels.folder)
    faults = prover.cell(run).faults
    assert faults
    assert all(" from C:\\elsewhere; the loader took " in fault for fault in faults)


def test_the_command_says_how_much_is_right_and_writes_what_was_seen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--only", "path-on-python-3.7", "--jobs", "1", "-o", str(tmp_path)]
    assert main(options) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "2 right of 2"
    told = json.loads((tmp_path / "proof.json").read_text(encoding="utf-8"))
    assert (told["right"], told["of"]) == (2, 2)
    assert (tmp_path / "index.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
