"""A part of the proof, on genuine Windows Pythons; `nox -s proof` is the whole of it."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import pytest
from proof.proving import LOCK, Prover, Run, do_all, list_runs
from proof.results import Cell
from proof.scenarios import Wanted, read_scenarios
from prove import main

from repack.console import SILENT
from repack.fetch import Supply
from repack.fetch.cache import Cache
from repack.pythons import Pythons

pytestmark = [pytest.mark.network, pytest.mark.wine, pytest.mark.timeout(3000)]

RUNS = list_runs(read_scenarios("wine"), quick=True)


@pytest.fixture(scope="module")
def prover() -> Iterator[Prover]:
    supply = Supply(Cache.default(), LOCK, offline=False, update=False, progress=SILENT)
    with Pythons(supply) as pythons:
        yield Prover(supply, pythons)


@pytest.fixture(scope="module")
def cells(prover: Prover) -> Mapping[Run, Cell]:
    results = do_all("Proving", RUNS, prover.fill_cell, os.cpu_count() or 1, SILENT)
    return dict(zip(RUNS, results, strict=True))


@pytest.mark.parametrize("run", RUNS, ids=str)
def test_a_machine_shows_what_must_be_seen(run: Run, cells: Mapping[Run, Cell]) -> None:
    cell = cells[run]
    assert not cell.faults, f"{cell.message}\n{cell.log}"


def test_what_is_not_tried_is_wrong(prover: Prover) -> None:
    scenario = next(run.scenario for run in RUNS if run.scenario.name == "cuda-path")
    wanted = {"unheard-of": Wanted(sees="imports")}
    changed = msgspec.structs.replace(scenario, wanted=wanted)
    cell = prover.fill_cell(Run(scenario=changed, python="3.12", wheel="unheard-of"))
    assert "unheard-of" in cell.seen
    assert not cell.right


def test_the_command_says_how_much_is_right_and_writes_what_was_seen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--only", "path-on-python-3.7", "--jobs", "1", "-o", str(tmp_path)]
    assert main(options) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "2 right of 2"
    document = json.loads((tmp_path / "proof.json").read_text(encoding="utf-8"))
    assert (document["right"], document["of"]) == (2, 2)
    assert (tmp_path / "index.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
