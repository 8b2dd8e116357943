"""A part of the proof, on genuine Windows Pythons; `nox -s proof` is the whole of it."""

import os
from collections.abc import Mapping
from functools import partial

import pytest
from loading import LOADERS
from proof.parts import GENERATIONS
from proof.proving import LOCK, Run, do_all, fill_cell, list_runs
from proof.results import Cell
from proof.scenarios import read_scenarios

from repack.console import SILENT
from repack.fetch import Supply
from repack.fetch.cache import Cache
from repack.pythons import Pythons

RUNS = list_runs(read_scenarios(), quick=True)


@pytest.fixture(scope="module")
def cells() -> Mapping[Run, Cell]:
    supply = Supply(Cache.default(), LOCK, offline=False, update=False)
    with Pythons(supply) as pythons:
        fill = partial(fill_cell, supply, pythons)
        results = do_all("Proving", RUNS, fill, os.cpu_count() or 1, SILENT)
    return dict(zip(RUNS, results, strict=True))


@pytest.mark.network
@pytest.mark.wine
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("run", RUNS, ids=str)
def test_a_machine_shows_what_must_be_seen(run: Run, cells: Mapping[Run, Cell]) -> None:
    cell = cells[run]
    assert not cell.faults, f"{cell.message}\n{cell.log}"


def test_the_proof_has_a_wheel_with_each_loader() -> None:
    assert GENERATIONS.keys() == {name.rpartition("-")[2] for name in LOADERS}
