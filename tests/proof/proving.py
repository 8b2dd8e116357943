"""Lays out every machine of every scenario, runs it, and holds what was seen against the wanted."""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import groupby
from pathlib import Path, PureWindowsPath
from typing import TypeVar

from proof.disks import wine_disk
from proof.machines import Outcome, lay_out, places_of, run_program
from proof.parts import (
    WHEELS,
    find_dlls,
    find_members,
    folder_of,
    get_wheel,
    install_wheel,
    pythons_of,
)
from proof.results import Cell, Story
from proof.scenarios import IMPORTS, Scenario, Wanted, fill
from repack.console import Progress
from repack.errors import RepackError
from repack.fetch import Supply
from repack.inspect import analyse
from repack.pythons import Interpreter, Pythons
from repack.smoke.trial import requirements_for

#: What the machines are made of is pinned there.
LOCK = Path(__file__).with_name("proof.lock")
#: Seconds for one program: a failing import of a genuine build takes up to 40 under Wine.
LIMIT = 150.0
NVIDIA = "nvidia-"

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One cell that is to be filled: a wheel, made in one mode, on one Python of a machine."""

    scenario: Scenario
    wheel: str
    python: str
    mode: str

    def __str__(self) -> str:
        wheels = [] if self.wheel == self.scenario.wheel else [self.wheel]
        return "-".join([self.scenario.name, *wheels, self.python, self.mode])


def fill_cell(supply: Supply, pythons: Pythons, run: Run) -> Cell:
    """Return what was seen of one wheel on one Python."""
    places = places_of(run.scenario, run.python)
    wanted = run.scenario.wanted[run.mode]
    try:
        outcome = _try(supply, pythons.provide(run.python), run)
    except (AssertionError, RepackError) as error:
        outcome = Outcome(end="fails", line=f"could not be tried: {error}")
        faults: tuple[str, ...] = (outcome.line,)
    else:
        faults = find_faults(wanted, outcome, places)
    dlls = dict.fromkeys(str(dll.file) for dll in outcome.loaded if dll.concerns_cuda)
    return Cell(
        python=run.python,
        wheel=run.mode if run.wheel == run.scenario.wheel else f"{run.mode}, {run.wheel}",
        wanted=wanted.sees,
        seen=outcome.line,
        faults=faults,
        message=outcome.message,
        answers=tuple(dlls),
        log=outcome.printed,
        seconds=round(outcome.seconds, 1),
    )


def _try(supply: Supply, interpreter: Interpreter, run: Run) -> Outcome:
    scenario = run.scenario
    wheel = get_wheel(supply, run.wheel, run.mode, run.python)
    # NVIDIA's are laid out by their members.
    required = [*_list_required(wheel, run.python, scenario.numpy), *scenario.machine.wheels]
    others = [line for line in required if not line.startswith(NVIDIA)]
    wheels = [*(supply.wheel(line, run.python).path for line in others), wheel]
    packages = [install_wheel(supply, path, interpreter) for path in wheels]
    dlls: list[tuple[str, Mapping[str, Path]]]
    dlls = [("{site}", find_members(supply, line)) for line in required if line not in others]
    dlls += [(dll.into, find_dlls(supply, dll, run.wheel)) for dll in scenario.machine.dlls]
    folder = folder_of(supply, "machines")
    folder.mkdir(parents=True, exist_ok=True)
    with wine_disk(interpreter, folder) as disk:
        lay_out(scenario, disk, interpreter, packages, dlls)
        return run_program(scenario, disk, interpreter, LIMIT)


@functools.cache
def _list_required(wheel: Path, python: str, numpy: str) -> list[str]:
    """Return what pip would install beside a wheel; a scenario may name the NumPy."""
    required = requirements_for(analyse(wheel).wheel.requires, python)
    others = [line for line in required if not line.startswith("numpy")]
    return [numpy, *others] if numpy else required


def find_faults(wanted: Wanted, outcome: Outcome, places: Mapping[str, str]) -> tuple[str, ...]:
    """Return each difference in a line; none where all is right."""
    texts = [fill(text, places) for text in wanted.says]
    told = f"{outcome.message}\n{outcome.printed}"
    faults = [f"it does not say {text!r}" for text in texts if text not in told]
    if outcome.end != wanted.sees:
        faults.append(f"it {outcome.end}, and should not: {outcome.line}")
    if outcome.end == wanted.sees:
        faults += _judge_files(wanted, outcome, places)
    return tuple(faults)


def _judge_files(wanted: Wanted, outcome: Outcome, places: Mapping[str, str]) -> Iterator[str]:
    """Yield where another file answered for a DLL than the one that should, none, or two."""
    for pattern, name in wanted.answers.items():
        folder = PureWindowsPath(fill(name, places))
        files = [dll.file for dll in outcome.loaded if fnmatchcase(dll.name, pattern.lower())]
        if not files:
            yield f"no {pattern} was loaded"
        for file in files:
            if file.parent != folder:
                yield f"{file.name} came from {file.parent}, not from {folder}"
    for dll in outcome.loaded:
        for name in wanted.silent:
            if dll.file.is_relative_to(PureWindowsPath(fill(name, places))):
                yield f"{dll.file} was loaded, and nothing of its directory should be"
        if dll.concerns_cuda and dll.is_second and outcome.end == IMPORTS:
            yield f"{dll.file.name} was loaded twice, the second time from {dll.file.parent}"


def list_runs(scenarios: Iterable[Scenario], *, quick: bool = False) -> list[Run]:
    """Return all cells to be filled, or only those of the tests."""
    return [
        Run(scenario=scenario, wheel=wheel, python=python, mode=mode)
        for scenario in scenarios
        for wheel in WHEELS
        if fnmatchcase(wheel, scenario.wheel)
        for python in (scenario.quick if quick else scenario.pythons or pythons_of(wheel))
        for mode in scenario.wanted
    ]


def do_all(
    name: str,
    tasks: Sequence[Task],
    do_one: Callable[[Task], Result],
    jobs: int,
    progress: Progress,
) -> list[Result]:
    """Return what comes of each task; `jobs` of them are done at a time."""
    with (
        progress.task(name, total=len(tasks), unit="steps") as bar,
        ThreadPoolExecutor(max_workers=jobs) as pool,
    ):

        def do(task: Task) -> Result:
            result = do_one(task)
            bar.advance(1)
            return result

        try:
            return list(pool.map(do, tasks))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def tell_stories(runs: Sequence[Run], cells: Sequence[Cell]) -> list[Story]:
    """Return each scenario with its cells."""
    told = groupby(zip(runs, cells, strict=True), lambda pair: pair[0].scenario)
    return [
        Story(
            name=scenario.name,
            title=scenario.title,
            why=scenario.why.strip(),
            text=scenario.text,
            cells=tuple(cell for _, cell in pairs),
        )
        for scenario, pairs in told
    ]
