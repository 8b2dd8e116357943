"""Tries wheels on genuine Windows Pythons, each in a clean environment, and remembers outcomes."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from functools import cache
from pathlib import Path
from threading import Event
from typing import NamedTuple

import msgspec

from repack.config import Smoke
from repack.errors import RepackError, ToolError
from repack.fetch import Supply
from repack.files import Memory
from repack.inspect import Analysis
from repack.plan import refusal
from repack.pythons import PROBE, Pythons
from repack.record import FAILED, NOT_RUN, PASSED, Beside, Outcome
from repack.smoke.trial import Outfit, fetch_requirements, make_machine, run_smoke, unpack_pip

# Raise it when wheels are tried in another way.
_FORMAT = 7
#: Seconds between two looks whether we are to stop.
_TICK = 0.1


class Trial(NamedTuple):
    """A wheel to be tried on one Python; `untouched` marks the wheel as it came."""

    wheel: Path
    sha256: str
    python: str
    untouched: bool = False


def try_wheels(
    trials: Sequence[Trial],
    analysis: Analysis,
    settings: Smoke,
    supply: Supply,
    env: Mapping[str, str] | None = None,
) -> dict[Trial, Outcome]:
    """Return what each wheel did; as many are tried at once as the machine has processors.

    `analysis` says what the wheels require and which DLLs they need of the machine; `env` are
    variables of it. What cannot be tried has the reason in its outcome. Raises ToolError for a
    folder of DLLs that is named and is none.
    """
    for folder in settings.dll_dirs:
        if not folder.is_dir():
            raise ToolError(
                "is not a folder", file=folder, hint="correct --dll-dir or smoke.dll-dirs"
            )
    # Made last, and once: its DLLs are large.
    machine = cache(lambda: make_machine(analysis, settings, supply, env or {}))
    outcomes: dict[Trial, Outcome] = {}
    jobs: dict[Trial, Outfit] = {}
    with Pythons(supply, settings.interpreters) as pythons:
        for python in dict.fromkeys(trial.python for trial in trials):
            own = [trial for trial in trials if trial.python == python]
            try:
                interpreter = pythons.provide(python)
                beside = tuple(fetch_requirements(analysis.wheel.requires, python, supply))
                pip = unpack_pip(python, supply)
                jobs |= dict.fromkeys(own, Outfit(interpreter, pip, beside, machine()))
            except RepackError as error:
                outcomes |= dict.fromkeys(own, _not_run(str(error)))
        outcomes |= _recall_or_run(jobs, settings.timeout, supply)
    return {trial: outcomes[trial] for trial in trials}


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
        served = [python for python in pythons if not refusals[python]]
        trials = [Trial(path, analysis.wheel.sha256, python) for python in served]
        tried = try_wheels(trials, analysis, settings, supply, env)
        outcomes += [(path, trial.python, tried[trial]) for trial in trials]
        outcomes += [(path, python, _not_run(refusals[python])) for python in pythons if not served]
    return outcomes


def _not_run(reason: str) -> Outcome:
    return Outcome(status=NOT_RUN, reason=reason)


def _recall_or_run(
    jobs: Mapping[Trial, Outfit], timeout: float, supply: Supply
) -> dict[Trial, Outcome]:
    """Return what each wheel did, now or when the very same was tried before."""
    memory = Memory(supply.cache.root / "verdicts")
    keys = {trial: _key_of(trial, outfit) for trial, outfit in jobs.items()}
    outcomes = {
        trial: outcome for trial, key in keys.items() if (outcome := memory.recall(key, Outcome))
    }
    pending = {trial: outfit for trial, outfit in jobs.items() if trial not in outcomes}
    new = _run_all(pending, timeout, supply) if pending else {}
    for trial, outcome in new.items():
        outcomes[trial] = outcome
        # Whoever builds again after a failure wants to see the fixed wheel tried again.
        is_lasting = outcome.status == FAILED and outcome.repeatable and trial.untouched
        if outcome.status == PASSED or is_lasting:
            memory.keep(keys[trial], outcome)
    return outcomes


def _run_all(jobs: Mapping[Trial, Outfit], timeout: float, supply: Supply) -> dict[Trial, Outcome]:
    """Return what each wheel does, tried now."""
    stop = Event()

    def run(trial: Trial) -> Outcome:
        outfit = jobs[trial]
        outcome = run_smoke(trial.wheel, outfit, timeout=timeout, cache=supply.cache, stop=stop)
        task.advance(1)
        wheels = sorted(outfit.beside, key=lambda wheel: wheel.path.name)
        beside = tuple(
            Beside(filename=wheel.path.name, size=wheel.pin.size, sha256=wheel.sha256)
            for wheel in wheels
        )
        return msgspec.structs.replace(outcome, beside=beside)

    try:
        # Wine is started here, once, and not by several threads.
        _ = [outfit.interpreter.env for outfit in jobs.values()]
    except ToolError as error:
        return dict.fromkeys(jobs, _not_run(str(error)))
    with (
        supply.progress.task("Trying wheels", total=len(jobs), unit="steps") as task,
        ThreadPoolExecutor(max_workers=os.cpu_count()) as pool,
    ):
        try:
            futures = {trial: pool.submit(run, trial) for trial in jobs}
            pending = set(futures.values())
            # On Windows Ctrl-C ends no wait that has no end of its own.
            while pending:
                done, pending = wait(pending, timeout=_TICK, return_when=FIRST_EXCEPTION)
                for future in done:
                    future.result()
            return {trial: future.result() for trial, future in futures.items()}
        except BaseException:
            # An interrupt reaches this thread alone; the others would go on to their end.
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise


def _key_of(trial: Trial, outfit: Outfit) -> str:
    """Return a digest of all that the outcome of a trial depends on."""
    machine = outfit.machine
    dlls = [path for folder in machine.dll_dirs for path in sorted(folder.iterdir())]
    parts = [
        _FORMAT,
        PROBE.read_text(encoding="utf-8"),
        trial.sha256,
        outfit.interpreter.identity,
        sorted((fetched.path.name, fetched.sha256) for fetched in outfit.beside),
        outfit.pip.name,
        [(str(dll), dll.stat().st_size, dll.stat().st_mtime_ns) for dll in dlls if dll.exists()],
        [sorted(machine.env.items()), sorted(machine.driver.items())],
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
