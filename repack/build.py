"""The main job, one road: fetch, inspect, patch, plan, write, try, record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import msgspec

from repack import vendor
from repack.config import Config, SampleSource, require_source, source_date_epoch
from repack.emit import emit, folder_for, move_wheel
from repack.fetch import Supply
from repack.files import Memory, workspace
from repack.inspect import (
    Analysis,
    analyse,
    build_facts,
    require_original_cv2,
)
from repack.inspect.findings import make_finding
from repack.patching import patch_wheel
from repack.plan import Plan, Supplement, make_plan, refusal
from repack.record import FAILED, NOT_RUN, BuildRecord, Outcome, Seen, WheelRecord, write_record
from repack.sample import provide_sample
from repack.smoke import Trial, try_wheels
from repack.smoke.trial import find_missing
from repack.wheel.reader import read_member
from repack.wheel.writer import Written


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildResult:
    """What a build planned and made; after a dry run the record has no wheels.

    Of this run alone it is true that wheels were `unchanged`, by file name, since an earlier build
    had left the same.
    """

    plan: Plan
    record: BuildRecord
    out: Path
    lock_changes: tuple[str, ...]
    unchanged: frozenset[str] = frozenset()

    @property
    def failed(self) -> bool:
        """Whether a wheel was seen not to work."""
        return not all(wheel.works for wheel in self.record.wheels)


def build(config: Config, supply: Supply, *, dry_run: bool) -> BuildResult:
    """Return what was made of the configured source; the wheels stand in `config.build.out`."""
    # A ZIP archive makes of it the first day that it can name.
    timestamp = source_date_epoch() or 0
    path, url, sha256 = fetch_source(config, supply)
    analysis = inspect_source(path, sha256, config, supply)
    require_original_cv2(analysis)
    supplement = vendor.make_supplement(config, analysis, supply, url=url, timestamp=timestamp)
    supplement = add_patches(supplement, analysis, config)
    refusals = refuse_pythons(config, analysis, supply)
    plan = make_plan(config, analysis, supplement, refusals, timestamp=timestamp, url=url)
    out = config.build.out
    if dry_run:
        return BuildResult(plan=plan, record=plan.record, out=out, lock_changes=supply.keep())
    with folder_for(out), workspace(out) as stage:
        wheels = emit(plan, config, stage, supply.progress)
        outcomes = try_plan(plan, wheels, analysis, config, supply)
        record = record_wheels(plan, wheels, outcomes, out)
    lock_changes = supply.keep()
    write_record(record, out)
    return BuildResult(
        plan=plan,
        record=record,
        out=out,
        lock_changes=lock_changes,
        unchanged=frozenset(wheel.path.name for wheel in wheels if wheel.path.parent == out),
    )


def fetch_source(config: Config, supply: Supply) -> tuple[Path, str, str]:
    """Return the wheel to start from, where anybody may get it, and its SHA-256, "" for not known.

    What the command line names is the very thing that is meant, whatever the lock of some
    configuration says.
    """
    source = require_source(config)
    if isinstance(source, SampleSource):
        return *provide_sample(source, supply), ""
    fetched = supply.fetch(source, pinned=not config.source_is_given)
    return fetched.path, fetched.pin.url, fetched.sha256


def inspect_source(path: Path, sha256: str, config: Config, supply: Supply) -> Analysis:
    """Return the analysis of the wheel at `path`, remembered where it was read before."""
    with supply.progress.task(f"Reading {path.name}", total=path.stat().st_size) as task:
        return analyse(
            path,
            sha256=sha256,
            allow_startup_hook=config.allow.startup_hook,
            task=task,
            memory=Memory(supply.cache.folder("seen")),
        )


def add_patches(supplement: Supplement, analysis: Analysis, config: Config) -> Supplement:
    """Return the supplement with repack's own files and edits, and those of the team."""
    wheel = analysis.wheel
    facts = build_facts(
        analysis,
        wheel.filename,
        carried=supplement.cargo,
        left=[need.dll.name for need in supplement.left if not need.delayed],
        help_url=config.build.help_url,
    )
    facts["original"] = {"filename": wheel.path.name, "sha256": wheel.sha256}
    files, replaced = patch_wheel(
        wheel.names,
        partial(read_member, wheel.archive),
        facts,
        folders=config.build.patches,
        file=wheel.path.name,
    )
    notes = [make_finding("replaced-file", member) for member in replaced]
    return replace(supplement, files=files, findings=(*supplement.findings, *notes))


def refuse_pythons(config: Config, analysis: Analysis, supply: Supply) -> dict[str, str]:
    """Return the Pythons asked for, and why one gets no wheel, "" for those that get one.

    The index is asked for what the wheel requires, unless nothing is to be tried.
    """
    refusals = {python: refusal(python, analysis) for python in config.build.python}
    if config.smoke.enabled:
        served = [python for python, reason in refusals.items() if not reason]
        refusals |= find_missing(analysis.requires, served, supply)
    return refusals


def try_plan(
    plan: Plan, wheels: Sequence[Written], analysis: Analysis, config: Config, supply: Supply
) -> dict[Trial, Outcome]:
    """Return what the emitted wheels and the untouched one did, on all their Pythons.

    The machine has what the emitted wheels leave to it, and nothing else.
    """
    source = analysis.wheel
    trials = [
        Trial(wheel.path, wheel.sha256, python)
        for planned, wheel in zip(plan.wheels, wheels, strict=True)
        for python in planned.pythons
    ]
    trials += [Trial(source.path, source.sha256, trial.python, untouched=True) for trial in trials]
    if not config.smoke.enabled:
        reason = "the smoke test is switched off"
        return dict.fromkeys(trials, Outcome(status=NOT_RUN, reason=reason))
    return try_wheels(trials, plan.emitted, config.smoke, supply)


def record_wheels(
    plan: Plan, wheels: Sequence[Written], outcomes: Mapping[Trial, Outcome], out: Path
) -> BuildRecord:
    """Return the record of the build, whose wheels now stand in `out`, or in its failed/."""
    before = {trial.python: outcome for trial, outcome in outcomes.items() if trial.untouched}
    records = []
    for planned, wheel in zip(plan.wheels, wheels, strict=True):
        after = {
            trial.python: outcome
            for trial, outcome in outcomes.items()
            if trial.wheel == wheel.path
        }
        failures = [
            f"Python {python}: {outcome.reason}\n{outcome.log}"
            for python, outcome in after.items()
            if outcome.status == FAILED
        ]
        path = move_wheel(wheel.path, out, "\n".join(failures))
        record = WheelRecord(
            path=path.relative_to(out).as_posix(),
            version=planned.version,
            tag=planned.tag,
            size=wheel.size,
            sha256=wheel.sha256,
            recipe=planned.recipe,
            seen=tuple(
                Seen(python=python, before=before[python], after=outcome)
                for python, outcome in after.items()
            ),
        )
        records.append(record)
    return msgspec.structs.replace(plan.record, wheels=tuple(records))
