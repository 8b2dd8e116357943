"""Lays out every machine of every scenario, runs it, and holds what was seen against the wanted."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from proof.disks import ON_WINDOWS, windows_disk, wine_disk
from proof.judging import describe_wanted, find_faults
from proof.machines import Outcome, lay_out, places_of, run_program
from proof.parts import (
    Parts,
    cuda_of,
    find_dlls,
    find_members,
    get_wheel,
    install_required,
    install_wheel,
    pythons_of,
)
from proof.results import Cell, Story
from proof.scenarios import Scenario, Wanted
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
    """One cell that is to be filled: a wheel on one Python of a scenario's machine."""

    scenario: Scenario
    python: str
    wheel: str

    @property
    def wanted(self) -> Wanted:
        """What must be seen."""
        return self.scenario.wanted[self.wheel]

    def __str__(self) -> str:
        return f"{self.scenario.name}-{self.python}-{self.wheel}"


class Prover:
    """Fills cells. Safe for several threads; all that is fetched or made is kept in the cache."""

    def __init__(self, supply: Supply, pythons: Pythons) -> None:
        self.parts = Parts(supply)
        self._pythons = pythons

    def fill_cell(self, run: Run) -> Cell:
        """Return what was seen of one wheel on one Python."""
        places = places_of(run.scenario, run.python)
        wanted = describe_wanted(run.wanted, places)
        try:
            outcome = self._try(run)
        except (AssertionError, RepackError) as error:
            outcome = Outcome(end="fails", line=f"could not be tried: {error}")
            faults: tuple[str, ...] = (outcome.line,)
        else:
            faults = find_faults(run.wanted, outcome, places)
        return Cell(
            python=run.python,
            wheel=run.wheel,
            wanted=wanted,
            seen=outcome.line,
            faults=faults,
            message=outcome.message,
            answers=tuple(
                dict.fromkeys(str(dll.file) for dll in outcome.loaded if dll.concerns_cuda)
            ),
            log=outcome.printed,
            seconds=round(outcome.seconds, 1),
        )

    def _try(self, run: Run) -> Outcome:
        interpreter = self._pythons.provide(run.python)
        packages, dlls = collect_parts(self.parts, run, interpreter)
        folder = self.parts.folder / "machines"
        folder.mkdir(parents=True, exist_ok=True)
        with windows_disk(interpreter) if ON_WINDOWS else wine_disk(interpreter, folder) as disk:
            lay_out(run.scenario, disk, interpreter, packages, dlls)
            return run_program(run.scenario, disk, interpreter, LIMIT)


def collect_parts(
    parts: Parts, run: Run, interpreter: Interpreter
) -> tuple[list[Path], list[tuple[str, Mapping[str, Path]]]]:
    """Return the installed wheels, in order, and the DLLs of each folder of the machine."""
    machine, name = run.scenario.machine, run.scenario.wheel
    wheel = get_wheel(parts, name, run.wheel, run.python)
    before = [further.requirement for further in machine.wheels if not further.after]
    after = [further.requirement for further in machine.wheels if further.after]
    beside = [*_find_required(parts, wheel, run), *before]

    def install(requirements: Iterable[str]) -> list[Path]:
        # NVIDIA's are laid out by their members.
        others = [line for line in requirements if not line.startswith(NVIDIA)]
        return [install_required(parts, line, interpreter) for line in others]

    packages = [*install(beside), install_wheel(parts, wheel, interpreter), *install(after)]
    nvidias = [line for line in (*beside, *after) if line.startswith(NVIDIA)]
    dlls: list[tuple[str, Mapping[str, Path]]]
    dlls = [("{site}", find_members(parts, line)) for line in nvidias]
    dlls += [(wanted.into, find_dlls(parts, wanted, cuda_of(name))) for wanted in machine.dlls]
    return packages, dlls


def _find_required(parts: Parts, wheel: Path, run: Run) -> list[str]:
    """Return what pip would install beside the wheel; the scenario may name the NumPy."""
    analysis = parts.once(wheel, lambda: analyse(wheel))
    required = requirements_for(analysis.wheel.requires, run.python)
    if not run.scenario.numpy:
        return required
    return [run.scenario.numpy, *(line for line in required if not line.startswith("numpy"))]


def list_runs(scenarios: Iterable[Scenario], *, quick: bool = False) -> list[Run]:
    """Return all cells to be filled, or only those of the tests."""
    return [
        Run(scenario=scenario, python=python, wheel=wheel)
        for scenario in scenarios
        if not (ON_WINDOWS and scenario.machine.without)
        for python in (scenario.quick if quick else scenario.pythons or pythons_of(scenario.wheel))
        for wheel in scenario.wanted
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
    by_scenario: dict[Scenario, list[Cell]] = {}
    for run, cell in zip(runs, cells, strict=True):
        by_scenario.setdefault(run.scenario, []).append(cell)
    return [
        Story(
            name=scenario.name,
            title=scenario.title,
            why=scenario.why.strip(),
            text=scenario.text,
            cells=tuple(by_scenario[scenario]),
        )
        for scenario in by_scenario
    ]
