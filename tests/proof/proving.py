"""Lays out every machine of every scenario, runs it, and holds what was seen against the wanted."""

import sys
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from proof.disks import Occupied, WindowsDisk, WineDisk, windows_disk, wine_disk
from proof.dlls import Store
from proof.judging import faults, wanted_line
from proof.machines import Parts, lay_out, places_of
from proof.packages import Packages
from proof.results import Answer, Cell, Story
from proof.running import Seen, run_program
from proof.scenarios import LACKING, UNTOUCHED, Scenario, Wanted
from proof.wheels import NotMadeError, Wheels, cuda_of, pythons_of
from repack.console import Progress
from repack.errors import RepackError
from repack.fetch.supply import Supply
from repack.inspect import Analysis, analyse
from repack.pythons import Interpreter, Pythons
from repack.smoke import requirements_for

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
        self._folder = supply.cache.folder("tests") / "proof"
        self._pythons = pythons
        self._limit = limit
        self._turns: defaultdict[object, threading.Lock] = defaultdict(threading.Lock)
        self._analyses: dict[Path, Analysis] = {}
        self.wheels = Wheels(supply, self._folder)
        self._packages = Packages(supply, self._folder / "packages")
        self._store = Store(supply, self._folder / "dlls")
        for name in ("packages", "dlls", "machines"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)

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
            answers=_answers(seen),
            log=seen.printed,
            seconds=round(seen.seconds, 1),
        )

    def _seen(self, run: Run) -> Seen:
        interpreter = self._pythons.provide(run.python)
        parts = self._parts(run, interpreter)
        with self._disk(interpreter) as disk:
            ready = lay_out(run.scenario, parts, disk, self._limit, wine=not ON_WINDOWS)
            return run_program(ready, self._limit)

    def _disk(
        self, interpreter: Interpreter
    ) -> AbstractContextManager[WineDisk] | AbstractContextManager[WindowsDisk]:
        if ON_WINDOWS:
            return windows_disk(interpreter)
        return wine_disk(interpreter, self._folder / "machines")

    def _parts(self, run: Run, interpreter: Interpreter) -> Parts:
        """Return the files that the machine is made of, fetched or made where they are not yet."""
        machine, python = run.scenario.machine, run.python
        name = run.scenario.wheel
        wheel = self.wheels.untouched(name)
        if run.wheel != UNTOUCHED:
            wheel = self.wheels.fixed(name, run.wheel, python)
        before = [each.requirement for each in machine.wheels if not each.after]
        after = [each.requirement for each in machine.wheels if each.after]
        beside = [*self._required(wheel, run), *before]
        packages = [
            *self._installed(beside, interpreter),
            self._packages.installed(wheel, interpreter),
            *self._installed(after, interpreter),
        ]
        nvidias = (each for each in (*beside, *after) if each.startswith(NVIDIA))
        return Parts(
            interpreter=interpreter,
            packages=packages,
            dlls=[(each, self._store.files(each, cuda_of(name))) for each in machine.dlls],
            members={
                member: file
                for requirement in nvidias
                for member, file in self._store.wheel_layout(requirement).items()
            },
        )

    def _installed(self, requirements: Iterable[str], interpreter: Interpreter) -> list[Path]:
        """Return folders with the wheels installed; NVIDIA's are laid out by their members."""
        return [
            self._packages.required(requirement, interpreter)
            for requirement in requirements
            if not requirement.startswith(NVIDIA)
        ]

    def _required(self, wheel: Path, run: Run) -> list[str]:
        """Return what pip would install beside the wheel; the scenario may name the NumPy."""
        with self._turns[wheel]:
            if wheel not in self._analyses:
                self._analyses[wheel] = analyse(wheel)
        analysis = self._analyses[wheel]
        required = requirements_for(analysis.wheel.requires, run.python)
        if not run.scenario.numpy:
            return required
        return [run.scenario.numpy, *(each for each in required if not each.startswith("numpy"))]


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


def _answers(seen: Seen) -> tuple[Answer, ...]:
    files = dict.fromkeys(str(each.file) for each in seen.loaded if each.concerns_cuda)
    return tuple(Answer(dll=file.rpartition("\\")[2], file=file) for file in files)
