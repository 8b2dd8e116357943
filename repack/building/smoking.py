"""Wheels that are there, tried on the Pythons that they say they are for."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from repack.building.trials import place_for, readable, try_all
from repack.building.verdicts import Trial
from repack.inspect import analyse
from repack.plan import refusal
from repack.record import NOT_RUN, Outcome
from repack.results import Smoked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from repack.building.supply import Supply
    from repack.building.trials import Place
    from repack.config import Config
    from repack.inspect import Analysis


def smoke_wheels(  # noqa: PLR0913 - the command's own parts
    wheels: Sequence[Path],
    pythons: Sequence[str],
    config: Config,
    supply: Supply,
    *,
    dll_dirs: Sequence[Path],
    env: Mapping[str, str],
) -> list[Smoked]:
    """Return what each wheel did on each Python that it says it is for.

    A wheel that is for none of `pythons` was not run, and says on each why not.
    """
    folders = readable(dll_dirs or config.smoke.dll_dirs)
    smoked = []
    for path in wheels:
        analysis = analyse(path, allow_startup_hook=config.allow.startup_hook)
        place = partial(place_for, analysis, config.smoke, supply, dll_dirs=folders, env=env)
        outcomes = _outcomes(analysis, pythons, place, config, supply)
        smoked += [
            Smoked(path=path, python=python, outcome=outcome)
            for python, outcome in outcomes.items()
        ]
    supply.keep()
    return smoked


def _outcomes(
    analysis: Analysis,
    pythons: Sequence[str],
    place: Callable[[], Place],
    config: Config,
    supply: Supply,
) -> dict[str, Outcome]:
    """Return what the wheel did on each Python that it is for, or why it is for none."""
    wheel = analysis.wheel
    refusals = {python: refusal(python, analysis) for python in pythons}
    trials = [
        Trial(wheel=wheel.path, sha256=wheel.sha256, python=python)
        for python, reason in refusals.items()
        if not reason
    ]
    if not trials:
        return {
            python: Outcome(status=NOT_RUN, reason=reason) for python, reason in refusals.items()
        }
    found = try_all(trials, analysis, place, config.smoke, supply)
    return {trial.python: verdict.outcome for trial, verdict in found.items()}
