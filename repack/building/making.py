"""What becomes of a wheel that was looked through: patch, plan, emit, try, settle."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from repack.building.supplementing import find_missing, supplement
from repack.emit import emit, settle, staging
from repack.errors import OutputError
from repack.patching import patch_wheel
from repack.plan import build_facts, check_size, check_sizes, make_plan, needs_left
from repack.record import FAILED, NOT_RUN, Beside, Outcome, Seen, WheelRecord
from repack.smoke import Kit, Trial, Verdict, try_wheels
from repack.wheel import read_member

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from repack.building.supply import Supply
    from repack.config import Config
    from repack.emit import Emitted
    from repack.inspect import Analysis
    from repack.plan import Plan


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """The wheels that stand where they belong; `unchanged` and `remembered` as in BuildResult."""

    wheels: tuple[WheelRecord, ...] = ()
    unchanged: frozenset[str] = frozenset()
    remembered: frozenset[tuple[str, str]] = frozenset()


def planned(
    config: Config, analysis: Analysis, supply: Supply, *, url: str, timestamp: int
) -> Plan:
    """Return all that the build will write; `url` is where anybody may get the source."""
    added = supplement(config, analysis, supply, url=url, timestamp=timestamp)
    wheel = analysis.wheel
    patched = patch_wheel(
        wheel.names,
        partial(read_member, wheel.archive),
        build_facts(analysis, added, config.build.help_url),
        folders=config.build.patches,
        file=wheel.path.name,
    )
    plan = make_plan(
        config.build,
        analysis,
        patched,
        added,
        timestamp=timestamp,
        url=url,
        missing=find_missing(config, analysis, supply),
    )
    check_sizes(plan, config.publish.max_size)
    return plan


def carried_out(config: Config, supply: Supply, analysis: Analysis, plan: Plan) -> Made:
    """Return the planned wheels, once each stands where it belongs."""
    out = config.build.out
    with staging(out) as stage:
        emitted = emit(plan, analysis.wheel, out=out, stage=stage, progress=supply.progress)
        for each in emitted:
            check_size(each.path.name, each.size, config.publish.max_size, plan.record.carried)
        if config.build.name:
            _check_siblings(emitted, out)
        found = _seen(config, supply, analysis, plan, emitted)
        return Made(
            wheels=tuple(_settled(each, out, analysis, found) for each in emitted),
            unchanged=frozenset(each.planned.filename for each in emitted if not each.fresh),
            remembered=frozenset(
                (trial.wheel.name, trial.python)
                for trial, verdict in found.items()
                if verdict.remembered
            ),
        )


def _check_siblings(emitted: Sequence[Emitted], out: Path) -> None:
    """Raise OutputError where a folder beside this build's has the same name for other bytes."""
    from repack.record import read_records  # noqa: PLC0415 - only one of several builds asks

    for folder, record in read_records(out.parent).items():
        theirs = {} if folder == out else {each.filename: each.sha256 for each in record.wheels}
        for each in emitted:
            if theirs.get(each.planned.filename, each.sha256) != each.sha256:
                raise OutputError(
                    f"{folder} has the same name and other bytes",
                    code="other-bytes",
                    file=each.planned.filename,
                    hint="remove that folder where no build is called so any more, or give one of "
                    "the two another name",
                )


def _seen(
    config: Config, supply: Supply, analysis: Analysis, plan: Plan, emitted: Sequence[Emitted]
) -> dict[Trial, Verdict]:
    """Return what the emitted wheels and the untouched one did, on all their Pythons.

    The machine has what the emitted wheels leave to it, and nothing else.
    """
    after = [_trial(each, python) for each in emitted for python in each.planned.pythons]
    before = [_untouched(analysis, trial.python) for trial in after]
    if not config.smoke.enabled:
        return _not_run([*after, *before], "the smoke test is switched off")
    left = replace(
        analysis,
        wheel=replace(analysis.wheel, requires=plan.requirements),
        needs=needs_left(analysis, plan),
    )
    carried = tuple(
        cargo.member.rpartition("/")[2] for cargo in plan.record.carried if cargo.family == "driver"
    )
    kit = Kit(
        settings=config.smoke,
        fetch_wheel=supply.wheel,
        cache=supply.cache,
        progress=supply.progress,
        offline=supply.offline,
    )
    return try_wheels([*after, *before], left, kit, carried=carried)


def _not_run(trials: Sequence[Trial], reason: str) -> dict[Trial, Verdict]:
    outcome = Outcome(status=NOT_RUN, reason=reason)
    return dict.fromkeys(trials, Verdict(outcome=outcome))


def _trial(emitted: Emitted, python: str) -> Trial:
    return Trial(wheel=emitted.path, sha256=emitted.sha256, python=python)


def _untouched(analysis: Analysis, python: str) -> Trial:
    wheel = analysis.wheel
    return Trial(wheel=wheel.path, sha256=wheel.sha256, python=python, untouched=True)


def _settled(
    emitted: Emitted, out: Path, analysis: Analysis, found: Mapping[Trial, Verdict]
) -> WheelRecord:
    """Return the record of one wheel, which now stands in `out`, or in its folder of failures."""
    seen = {python: found[_trial(emitted, python)] for python in emitted.planned.pythons}
    failures = [
        f"Python {python}: {verdict.outcome.reason}\n{verdict.outcome.log}"
        for python, verdict in seen.items()
        if verdict.outcome.status == FAILED
    ]
    path = settle(emitted, out, "\n".join(failures))
    return WheelRecord(
        path=path.relative_to(out).as_posix(),
        version=emitted.planned.version,
        tag=emitted.planned.tag,
        size=emitted.size,
        sha256=emitted.sha256,
        recipe=emitted.planned.recipe,
        seen=tuple(
            Seen(
                python=python,
                before=_lasting(found[_untouched(analysis, python)].outcome),
                after=_lasting(verdict.outcome),
                beside=tuple(
                    Beside(filename=pin.filename, size=pin.size, sha256=pin.sha256)
                    for pin in sorted(verdict.beside, key=lambda pin: pin.filename)
                ),
            )
            for python, verdict in seen.items()
        ),
    )


def _lasting(outcome: Outcome) -> Outcome:
    """Return the outcome without how long it took, which is another each time."""
    return msgspec.structs.replace(outcome, seconds=0.0)
