"""Tries wheels on Windows Pythons: gets Python, NumPy, pip and DLLs, and remembers verdicts."""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event, Lock
from typing import TYPE_CHECKING

import msgspec

from repack import files
from repack.building.verdicts import Trial, Verdict
from repack.dlls import Kind, key_of
from repack.errors import RepackError, ToolError
from repack.plan import dll_requirements, unpublished_dlls
from repack.pythons import Pythons, Unavailable
from repack.smoke import (
    NOT_RUN,
    PASSED,
    Machine,
    Outcome,
    distribution_of,
    identity,
    requirements_for,
    requirements_of,
    run_smoke,
    toolkit_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from repack.building.supply import Supply
    from repack.config import Smoke
    from repack.fetch import Cache, Fetched
    from repack.inspect import Analysis
    from repack.pythons import Interpreter

#: What NVIDIA's wheels are resolved for: they hold no Python and are the same for each.
_ANY_PYTHON = "3.12"


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where trials are made: a machine, and what tells it from any other."""

    machine: Machine
    identity: str


def place_for(  # noqa: PLR0913 - what a machine is made of
    analysis: Analysis,
    settings: Smoke,
    supply: Supply,
    *,
    dll_dirs: Sequence[Path] = (),
    env: Mapping[str, str] | None = None,
    carried: tuple[str, ...] = (),
) -> Place:
    """Return a machine that has what the binary needs: its DLLs on PATH, stand-ins for a driver.

    `carried` are DLLs of the driver for which the wheel has stand-ins itself.

    Directories that are given take the place of NVIDIA's wheels. Raises RepackError where the
    DLLs cannot be had.
    """
    variables = dict(env or {})
    folders = tuple(dll_dirs) or settings.dll_dirs
    wanted = dll_requirements(analysis) if settings.dlls == "auto" else settings.dlls
    contents: list[object] = [_listing(folder) for folder in folders]
    if not folders and settings.dlls == "auto" and (nowhere := unpublished_dlls(analysis)):
        raise ToolError(
            f"NVIDIA has no wheels with {', '.join(nowhere)}",
            code="no-dlls",
            hint="name directories that hold them under smoke.dll-dirs, or with --dll-dir",
        )
    if not folders and wanted:
        wheels = [supply.wheel(requirement, _ANY_PYTHON) for requirement in wanted]
        contents = [fetched.sha256 for fetched in wheels]
        folders = (toolkit_of(wheels, supply.cache, supply.progress),)
    driver = driver_needs(analysis)
    return Place(
        machine=Machine(dll_dirs=folders, env=variables, driver=driver, carried=carried),
        identity=json.dumps([contents, sorted(variables.items()), sorted(driver.items()), carried]),
    )


def readable(folders: Sequence[Path]) -> Sequence[Path]:
    """Return the folders of DLLs that were named; raises ToolError where one cannot be read."""
    for folder in folders:
        _listing(folder)
    return folders


def driver_needs(analysis: Analysis) -> dict[str, tuple[str, ...]]:
    """Return the driver's DLLs that the binary imports at load time, each with the symbols."""
    driver = {
        need.dll.key: need.dll.name
        for need in analysis.needs
        if need.dll.kind is Kind.DRIVER and not need.delayed and need.in_wheel is None
    }
    symbols: dict[str, set[str]] = {name: set() for name in driver.values()}
    for image in analysis.images.values():
        for imported in image.imports:
            name = driver.get(key_of(imported.dll))
            if name:
                symbols[name] |= set(imported.symbols)
    return {name: tuple(sorted(wanted)) for name, wanted in sorted(symbols.items())}


def try_all(  # noqa: PLR0913 - all that trials are made of meets here
    trials: Sequence[Trial],
    analysis: Analysis,
    place: Callable[[], Place],
    settings: Smoke,
    supply: Supply,
    *,
    requires: Sequence[str] = (),
) -> dict[Trial, Verdict]:
    """Return what each wheel did; as many are tried at once as the machine has processors.

    `requires` are requirements beside those of the wheel that `analysis` is of.
    `place` is asked for once, and only if there is a Python to try a wheel on: its DLLs are large.
    """
    with (
        Pythons(
            cache=supply.cache,
            progress=supply.progress,
            given=settings.interpreters,
            offline=supply.offline,
        ) as pythons,
        supply.progress.task("Trying wheels", total=len(trials), unit="steps") as task,
        ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool,
    ):
        outfitter = _Outfitter(pythons, supply, analysis, place, requires)
        bench = _Bench(timeout=settings.timeout, cache=supply.cache, stop=Event())

        def one(trial: Trial) -> Verdict:
            verdict = bench.tried(trial, outfitter.outfit(trial.python))
            task.advance(1)
            return verdict

        try:
            return dict(zip(trials, pool.map(one, trials), strict=True))
        except BaseException:
            # An interrupt reaches this thread alone; the others would go on to their end.
            bench.stop.set()
            pool.shutdown(cancel_futures=True)
            raise


@dataclass(frozen=True, kw_only=True, slots=True)
class _Outfit:
    """A Python, its pip, and the wheels to be installed beside the one under test."""

    interpreter: Interpreter
    pip: Path
    beside: tuple[Fetched, ...]
    place: Place


class _Outfitter:
    """Gets a Python and what goes with it, once for all trials on it."""

    def __init__(
        self,
        pythons: Pythons,
        supply: Supply,
        analysis: Analysis,
        place: Callable[[], Place],
        requires: Sequence[str],
    ) -> None:
        self._requires = (*analysis.wheel.requires, *requires)
        self._pythons = pythons
        self._place = place
        self._placed: Place | None = None
        self._placing = Lock()
        self._supply = supply
        self._analysis = analysis
        self._turns: defaultdict[str, Lock] = defaultdict(Lock)
        self._had: dict[str, _Outfit | str] = {}

    def outfit(self, python: str) -> _Outfit | str:
        """Return what trials on `python` need, or the reason why it cannot be had."""
        with self._turns[python]:
            if python not in self._had:
                try:
                    self._had[python] = self._get(python)
                except RepackError as error:
                    self._had[python] = str(error)
            return self._had[python]

    def _get(self, python: str) -> _Outfit | str:
        interpreter = self._pythons.provide(python)
        if isinstance(interpreter, Unavailable):
            return f"{interpreter.reason}; {interpreter.hint}"
        wanted = requirements_for(self._requires, python, numpy_abi=self._analysis.numpy)
        return _Outfit(
            interpreter=interpreter,
            pip=self._supply.wheel("pip", python).path,
            beside=tuple(self._with_theirs(wanted, python)),
            place=self._whole_place(),
        )

    def _with_theirs(self, wanted: Sequence[str], python: str) -> Iterator[Fetched]:
        """Yield the wheels for the requirements, and those that NVIDIA's require in their turn."""
        waiting, seen = list(wanted), set()
        while waiting:
            requirement = waiting.pop(0)
            name = distribution_of(requirement)
            if name in seen:
                continue
            seen.add(name)
            fetched = self._supply.wheel(requirement, python)
            yield fetched
            if name.startswith("nvidia-"):
                waiting += requirements_of(fetched.path, python)

    def _whole_place(self) -> Place:
        with self._placing:
            if self._placed is None:
                self._placed = self._place()
            return self._placed


@dataclass(frozen=True, kw_only=True, slots=True)
class _Bench:
    """Where the trials of one call are made."""

    timeout: float
    cache: Cache
    stop: Event

    @property
    def memory(self) -> files.Memory:
        """What earlier trials showed, so that the same is not run again."""
        return files.Memory(self.cache.folder("verdicts"))

    def tried(self, trial: Trial, outfit: _Outfit | str) -> Verdict:
        """Return what a wheel did, now or when the very same was tried before."""
        if isinstance(outfit, str):
            return Verdict(outcome=Outcome(status=NOT_RUN, reason=outfit))
        python, pip = outfit.interpreter, outfit.pip
        beside = tuple(fetched.path for fetched in outfit.beside)
        pins = tuple(fetched.pin for fetched in outfit.beside)
        parts = [trial.sha256, outfit.place.identity, identity(python, beside, pip)]
        key = hashlib.sha256("\n".join(parts).encode()).hexdigest()
        known = self.memory.recall(key, lambda outcome: Outcome(**outcome))
        if known is not None:
            return Verdict(outcome=known, remembered=True, beside=pins)
        outcome = run_smoke(
            trial.wheel,
            python,
            beside=beside,
            pip=pip,
            machine=outfit.place.machine,
            timeout=self.timeout,
            cache=self.cache,
            stop=self.stop,
        )
        # Whoever builds again after a failure wants to see the fixed wheel tried again.
        kept = outcome.status == PASSED or (trial.untouched and outcome.repeatable)
        if kept and not self.stop.is_set():
            self.memory.keep(key, msgspec.structs.asdict(outcome))
        return Verdict(outcome=outcome, beside=pins)


def _listing(folder: Path) -> object:
    """Return what tells the content of a folder of DLLs from another: names, sizes, times."""
    try:
        found = [(path.name, path.stat()) for path in sorted(folder.iterdir())]
    except OSError as error:
        raise ToolError(
            f"cannot be read: {error.strerror or error}", file=folder, hint="correct --dll-dir"
        ) from error
    return [str(folder), *((name, stat.st_size, stat.st_mtime_ns) for name, stat in found)]
