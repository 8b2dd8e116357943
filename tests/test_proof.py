"""A part of the proof, on genuine Windows Pythons; `nox -s proof` is the whole of it."""

import os
from collections.abc import Mapping

import pytest
from proof.proving import LOCK, Prover, Run, do_all, list_runs
from proof.results import Cell
from proof.scenarios import read_scenarios

from repack.console import SILENT
from repack.fetch import Supply
from repack.fetch.cache import Cache
from repack.pythons import Pythons

pytestmark = [pytest.mark.network, pytest.mark.wine, pytest.mark.timeout(3000)]

RUNS = list_runs(read_scenarios("wine"), quick=True)


@pytest.fixture(scope="module")
def cells() -> Mapping[Run, Cell]:
    supply = Supply(Cache.default(), LOCK, offline=False, update=False, progress=SILENT)
    with Pythons(supply) as pythons:
        fill_cell = Prover(supply, pythons).fill_cell
        results = do_all("Proving", RUNS, fill_cell, os.cpu_count() or 1, SILENT)
    return dict(zip(RUNS, results, strict=True))


@pytest.mark.parametrize("run", RUNS, ids=str)
def test_a_machine_shows_what_must_be_seen(run: Run, cells: Mapping[Run, Cell]) -> None:
    cell = cells[run]
    assert not cell.faults, f"{cell.message}\n{cell.log}"
