"""A part of the proof, on genuine Windows Pythons; `nox -s proof` is the whole of it."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import pytest
from proof.proving import LOCK, Prover, Run, prove, runs_of
from proof.results import Cell
from proof.scenarios import Wanted, read_scenarios
from prove import main

from repack.console import SILENT
from repack.fetch import Supply
from repack.fetch.cache import Cache
from repack.pythons import Pythons

pytestmark = [pytest.mark.network, pytest.mark.wine, pytest.mark.timeout(3000)]

RUNS = runs_of(read_scenarios("wine"), quick=True)
PYTHON = "3.12"


@pytest.fixture(scope="module")
def supply() -> Supply:
    return Supply(Cache.default(), LOCK, offline=False, update=False, progress=SILENT)


@pytest.fixture(scope="module")
def pythons(supply: Supply) -> Iterator[Pythons]:
    with Pythons(supply) as pythons:
        yield pythons


@pytest.fixture(scope="module")
def cells(supply: Supply, pythons: Pythons) -> Mapping[Run, Cell]:
    return prove(Prover(supply, pythons), RUNS, os.cpu_count() or 1, SILENT)


@pytest.mark.parametrize(
    "run", RUNS, ids=lambda run: f"{run.scenario.name}-{run.python}-{run.wheel}"
)
def test_a_machine_shows_what_must_be_seen(run: Run, cells: Mapping[Run, Cell]) -> None:
    cell = cells[run]
    assert not cell.faults, f"{cell.message}\n{cell.log}"


def scenario_run(wheel: str, **changes: object) -> Run:
    """A run of the plainest scenario, with changes."""
    scenario = next(each for each in read_scenarios("wine") if each.name == "cuda-path")
    return Run(scenario=msgspec.structs.replace(scenario, **changes), python=PYTHON, wheel=wheel)


def test_what_is_not_tried_is_wrong(supply: Supply, pythons: Pythons) -> None:
    wanted = {"unheard-of": Wanted(sees="imports")}
    cell = Prover(supply, pythons).cell(scenario_run("unheard-of", wanted=wanted))
    assert "unheard-of" in cell.seen
    assert not cell.right


def test_the_command_says_how_much_is_right_and_writes_what_was_seen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--only", "path-on-python-3.7", "--jobs", "1", "-o", str(tmp_path)]
    assert main(options) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "2 right of 2"
    told = json.loads((tmp_path / "proof.json").read_text(encoding="utf-8"))
    assert (told["right"], told["of"]) == (2, 2)
    assert (tmp_path / "index.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
