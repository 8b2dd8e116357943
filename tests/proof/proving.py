"""Lays out every machine of every scenario, runs it, and holds what was seen against the wanted."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from proof.disks import Occupied, windows_disk, wine_disk
from proof.dlls import find_dlls, find_members
from proof.judging import faults, wanted_line
from proof.machines import Pieces, lay_out, places_of
from proof.packages import Parts, install_required, install_wheel
from proof.results import Cell, Story
from proof.running import Seen, run_program
from proof.scenarios import LACKING, UNTOUCHED, Scenario, Wanted
from proof.wheels import NotMadeError, cuda_of, fixed_wheel, pythons_of, untouched_wheel
from repack.console import Progress
from repack.errors import RepackError
from repack.fetch import Supply
from repack.inspect.analysis import analyse
from repack.pythons import Pythons
from repack.pythons.interpreter import Interpreter
from repack.smoke.outfit import requirements_for

#: What the machines are made of is pinned there.
LOCK = Path(__file__).with_name("proof.lock")
ON_WINDOWS = sys.platform == "win32"
#: Seconds for one program: a failing import of a genuine build takes up to 40 under Wine.
LIMIT = 150.0
NVIDIA = "nvidia-"


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


class Prover:
    """Fills cells. Safe for several threads; all that is fetched or made is kept in the cache."""

    def __init__(self, supply: Supply, pythons: Pythons, limit: float = LIMIT) -> None:
        """`limit` is in seconds, for each program."""
        self._parts = Parts(supply)
        self._pythons = pythons
        self._limit = limit

    def cell(self, run: Run) -> Cell:
        """Return what was seen of one wheel on one Python."""
        places = places_of(run.scenario, run.python)
        wanted = wanted_line(run.wanted, places)
        try:
            seen = self._seen(run)
        except (NotMadeError, Occupied, RepackError) as error:
            reason = f"could not be tried: {error}"
            return Cell(
                python=run.python, wheel=run.wheel, wanted=wanted, seen=reason, faults=(reason,)
            )
        return Cell(
            python=run.python,
            wheel=run.wheel,
            wanted=wanted,
            seen=seen.line,
            faults=faults(run.wanted, seen, places),
            message=seen.message,
            answers=tuple(dict.fromkeys(str(it.file) for it in seen.loaded if it.concerns_cuda)),
            log=seen.printed,
            seconds=round(seen.seconds, 1),
        )

    def _seen(self, run: Run) -> Seen:
        interpreter = self._pythons.provide(run.python)
        pieces = collect_pieces(self._parts, run, interpreter)
        machines = self._parts.folder / "machines"
        with windows_disk(interpreter) if ON_WINDOWS else wine_disk(interpreter, machines) as disk:
            ready = lay_out(run.scenario, pieces, disk, self._limit, wine=not ON_WINDOWS)
            return run_program(ready, self._limit)


def collect_pieces(parts: Parts, run: Run, interpreter: Interpreter) -> Pieces:
    """Return the files that the machine is made of, fetched or made where they are not yet."""
    machine, name = run.scenario.machine, run.scenario.wheel
    if run.wheel == UNTOUCHED:
        wheel = untouched_wheel(parts, name)
    else:
        wheel = fixed_wheel(parts, name, run.wheel, run.python)
    before = [further.requirement for further in machine.wheels if not further.after]
    after = [further.requirement for further in machine.wheels if further.after]
    beside = [*_find_required(parts, wheel, run), *before]
    # NVIDIA's are laid out by their members.
    nvidias = [requirement for requirement in (*beside, *after) if requirement.startswith(NVIDIA)]

    def install(requirements: Iterable[str]) -> list[Path]:
        others = [requirement for requirement in requirements if requirement not in nvidias]
        return [install_required(parts, requirement, interpreter) for requirement in others]

    return Pieces(
        interpreter=interpreter,
        packages=[*install(beside), install_wheel(parts, wheel, interpreter), *install(after)],
        dlls=[(dlls, find_dlls(parts, dlls, cuda_of(name))) for dlls in machine.dlls],
        members={
            member: file
            for requirement in nvidias
            for member, file in find_members(parts, requirement).items()
        },
    )


def _find_required(parts: Parts, wheel: Path, run: Run) -> list[str]:
    """Return what pip would install beside the wheel; the scenario may name the NumPy."""
    analysis = parts.once(wheel, lambda: analyse(wheel))
    required = requirements_for(analysis.wheel.requires, run.python)
    if not run.scenario.numpy:
        return required
    return [run.scenario.numpy, *(line for line in required if not line.startswith("numpy"))]


def runs_of(scenarios: Iterable[Scenario], *, quick: bool = False) -> list[Run]:
    """Return all cells to be filled, or only those of the tests."""
    return [
        Run(scenario=scenario, python=python, wheel=wheel)
        for scenario in scenarios
        if not (ON_WINDOWS and set(scenario.machine.without) & set(LACKING))
        for python in (scenario.quick if quick else scenario.pythons or pythons_of(scenario.wheel))
        for wheel in scenario.wanted
    ]


def prove(prover: Prover, runs: Sequence[Run], jobs: int, progress: Progress) -> Mapping[Run, Cell]:
    """Return the cell of each run; `jobs` are made at a time."""
    with (
        progress.task("Proving", total=len(runs), unit="steps") as task,
        ThreadPoolExecutor(max_workers=jobs) as pool,
    ):

        def one(run: Run) -> Cell:
            task.describe(f"{run.scenario.name}, Python {run.python}, {run.wheel}")
            cell = prover.cell(run)
            task.advance(1)
            return cell

        try:
            return dict(zip(runs, pool.map(one, runs), strict=True))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def stories(scenarios: Iterable[Scenario], cells: Mapping[Run, Cell]) -> tuple[Story, ...]:
    """Return each scenario with its cells; one that has none is left out."""
    told = (
        Story(
            name=scenario.name,
            title=scenario.title,
            why=scenario.why.strip(),
            text=scenario.text,
            cells=tuple(cell for run, cell in cells.items() if run.scenario.name == scenario.name),
        )
        for scenario in scenarios
    )
    return tuple(story for story in told if story.cells)
