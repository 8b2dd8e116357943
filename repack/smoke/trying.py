"""Tries wheels on Windows Pythons: gets Python, NumPy and pip, and remembers verdicts."""

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from threading import Event

import msgspec

from repack.config import Smoke
from repack.errors import OutputError, RepackError, ToolError
from repack.fetch import Fetched
from repack.fetch.supply import Supply
from repack.files import Memory
from repack.inspect import Analysis
from repack.lock import Pin
from repack.plan import refusal
from repack.pythons import Interpreter, Pythons, Unavailable
from repack.record import FAILED, NOT_RUN, PASSED, Outcome
from repack.smoke.machine import Machine, list_folder, machine_for
from repack.smoke.requirements import distribution_of, requirements_for, requirements_of
from repack.smoke.running import run_smoke

# Raise it when wheels are tried in another way.
_FORMAT = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """A wheel to be tried on one Python; `untouched` marks the wheel as it came."""

    wheel: Path
    sha256: str
    python: str
    untouched: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What a wheel did; `remembered` where an earlier run saw it.

    `beside` are the wheels of the index that it was tried with.
    """

    outcome: Outcome
    remembered: bool = False
    beside: tuple[Pin, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Outfit:
    """A Python, its pip, and the wheels to be installed beside the one under test."""

    interpreter: Interpreter
    pip: Fetched
    beside: tuple[Fetched, ...]


def try_wheels(  # noqa: PLR0913 - the machine is made of all of these
    trials: Sequence[Trial],
    analysis: Analysis,
    settings: Smoke,
    supply: Supply,
    *,
    env: Mapping[str, str] | None = None,
    carried: tuple[str, ...] = (),
) -> dict[Trial, Verdict]:
    """Return what each wheel did; as many are tried at once as the machine has processors.

    `analysis` says what the wheels require and which DLLs they need of the machine; `env` are
    variables of it, `carried` the driver's DLLs for which the wheels have stand-ins. What cannot
    be tried has the reason in its verdict. Raises ToolError for a folder of DLLs that is named
    and cannot be read.
    """
    for folder in settings.dll_dirs:
        list_folder(folder)
    outfits: dict[str, _Outfit] = {}
    reasons: dict[str, str] = {}
    verdicts: dict[Trial, Verdict] = {}
    given, offline = settings.interpreters, supply.offline
    with Pythons(
        cache=supply.cache, progress=supply.progress, given=given, offline=offline
    ) as pythons:
        for python in dict.fromkeys(trial.python for trial in trials):
            try:
                outfits[python] = _equip(pythons.provide(python), analysis, supply)
            except RepackError as error:
                reasons[python] = str(error)
        if outfits:
            # Only now: its DLLs are large.
            try:
                machine = machine_for(analysis, settings, supply, env or {}, carried)
            except RepackError as error:
                reasons |= dict.fromkeys(outfits, str(error))
            else:
                possible = {
                    trial: outfits[trial.python] for trial in trials if trial.python in outfits
                }
                verdicts = _try_all(possible, machine, settings, supply)
    for trial in trials:
        if trial not in verdicts:
            outcome = Outcome(status=NOT_RUN, reason=reasons[trial.python])
            verdicts[trial] = Verdict(outcome=outcome)
    return verdicts


def _equip(interpreter: Interpreter | Unavailable, analysis: Analysis, supply: Supply) -> _Outfit:
    """Return what trials on a Python need; raises RepackError where that cannot be had.

    NVIDIA's wheels require others of theirs in their turn.
    """
    if isinstance(interpreter, Unavailable):
        raise ToolError(interpreter.reason, hint=interpreter.hint)
    python = interpreter.version
    waiting = requirements_for(analysis.wheel.requires, python, numpy_abi=analysis.numpy)
    beside: dict[str, Fetched] = {}
    while waiting:
        requirement = waiting.pop(0)
        name = distribution_of(requirement)
        if name not in beside:
            beside[name] = supply.wheel(requirement, python)
            if name.startswith("nvidia-"):
                waiting += requirements_of(beside[name].path, python)
    pip = supply.wheel("pip", python)
    return _Outfit(interpreter=interpreter, pip=pip, beside=tuple(beside.values()))


def _try_all(
    trials: Mapping[Trial, _Outfit], machine: Machine, settings: Smoke, supply: Supply
) -> dict[Trial, Verdict]:
    """Return what each wheel did, now or when the very same was tried before."""
    memory = Memory(supply.cache.root / "verdicts")
    keys = {trial: _key_of(trial, outfit, machine) for trial, outfit in trials.items()}
    parse = partial(msgspec.convert, type=Outcome)
    recalled = {trial: memory.recall(key, parse) for trial, key in keys.items()}
    known = {trial: outcome for trial, outcome in recalled.items() if outcome is not None}
    pending = {trial: outfit for trial, outfit in trials.items() if trial not in known}
    outcomes = _run_all(pending, machine, settings, supply) if pending else {}
    for trial, outcome in outcomes.items():
        # Whoever builds again after a failure wants to see the fixed wheel tried again.
        is_lasting = outcome.status == FAILED and outcome.repeatable and trial.untouched
        if outcome.status == PASSED or is_lasting:
            # A cache that we may only read remembers nothing.
            with contextlib.suppress(OSError, OutputError):
                memory.keep(keys[trial], msgspec.to_builtins(outcome))
    return {
        trial: Verdict(
            outcome=(known | outcomes)[trial],
            remembered=trial in known,
            beside=tuple(fetched.pin for fetched in outfit.beside),
        )
        for trial, outfit in trials.items()
    }


def _run_all(
    trials: Mapping[Trial, _Outfit], machine: Machine, settings: Smoke, supply: Supply
) -> dict[Trial, Outcome]:
    """Return what each wheel does, tried now."""
    stop = Event()

    def run(trial: Trial) -> Outcome:
        outfit = trials[trial]
        outcome = run_smoke(
            trial.wheel,
            outfit.interpreter,
            beside=[fetched.path for fetched in outfit.beside],
            pip=outfit.pip,
            machine=machine,
            timeout=settings.timeout,
            cache=supply.cache,
            stop=stop,
        )
        task.advance(1)
        return outcome

    with (
        supply.progress.task("Trying wheels", total=len(trials), unit="steps") as task,
        ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool,
    ):
        try:
            for outfit in trials.values():
                # Wine is started here, once, and not by several threads.
                _ = outfit.interpreter.env
        except ToolError as error:
            return dict.fromkeys(trials, Outcome(status=NOT_RUN, reason=str(error)))
        try:
            return dict(zip(trials, pool.map(run, trials), strict=True))
        except BaseException:
            # An interrupt reaches this thread alone; the others would go on to their end.
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise


def _key_of(trial: Trial, outfit: _Outfit, machine: Machine) -> str:
    """Return a digest of all that the outcome of a trial depends on."""
    program = files(__package__).joinpath("probe.py").read_text(encoding="utf-8")
    wheels = sorted((fetched.path.name, fetched.sha256) for fetched in (*outfit.beside, outfit.pip))
    parts = [_FORMAT, program, trial.sha256, outfit.interpreter.identity, wheels]
    return hashlib.sha256(json.dumps([parts, machine.describe()]).encode()).hexdigest()


def smoke_wheels(
    analyses: Sequence[Analysis],
    pythons: Sequence[str],
    settings: Smoke,
    supply: Supply,
    env: Mapping[str, str],
) -> list[tuple[Path, str, Outcome]]:
    """Return what each wheel did on each Python that it says it is for.

    A wheel that is for none of `pythons` was not run, and says on each why not.
    """
    outcomes: list[tuple[Path, str, Outcome]] = []
    for analysis in analyses:
        path = analysis.wheel.path
        refusals = {python: refusal(python, analysis) for python in pythons}
        trials = [
            Trial(wheel=path, sha256=analysis.wheel.sha256, python=python)
            for python in pythons
            if not refusals[python]
        ]
        verdicts = try_wheels(trials, analysis, settings, supply, env=env)
        outcomes += [(path, trial.python, verdicts[trial].outcome) for trial in trials]
        if not trials:
            outcomes += [
                (path, python, Outcome(status=NOT_RUN, reason=reason))
                for python, reason in refusals.items()
            ]
    return outcomes
