"""The main job, one road: fetch, inspect, patch, plan, write, try, record."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import msgspec

from repack import __version__, files, vendor
from repack.config import Config, FileSource, SampleSource, require_source, source_date_epoch
from repack.emit import Emitted, emit, move_wheel, staging
from repack.errors import OutputError
from repack.fetch import Supply, locate
from repack.inspect.analysis import (
    Analysis,
    analyse,
    require_cv2,
    require_original,
    require_windows,
)
from repack.patching import patch_wheel
from repack.plan import (
    Plan,
    Supplement,
    build_facts,
    check_size,
    check_sizes,
    emitted_version,
    make_plan,
    needs_left,
    refusal,
    requirements_of,
)
from repack.pythons.trees import make_once
from repack.record import (
    FAILED,
    NOT_RUN,
    BuildRecord,
    Outcome,
    Seen,
    WheelRecord,
    read_records,
    write_record,
)
from repack.sample import make_sample
from repack.smoke import Trial, try_wheels
from repack.smoke.outfit import find_missing
from repack.wheel.names import parse_filename
from repack.wheel.reader import read_member

#: 1980-01-01, the first day that a ZIP archive can name.
_FIRST_DAY = 315_532_800
#: What is asked for where a wheel is the same for all Pythons: the sample's base.
_ANY_PYTHON = "3.12"


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildResult:
    """What a build planned and made; after a dry run the record has no wheels.

    Of this run alone it is true that wheels were `unchanged`, by file name, since an earlier build
    had left the same, and that trials were `remembered`, by file name and Python.
    """

    plan: Plan
    record: BuildRecord
    out: Path
    lock_changes: tuple[str, ...]
    dry_run: bool = True
    unchanged: frozenset[str] = frozenset()
    remembered: frozenset[tuple[str, str]] = frozenset()

    @property
    def failed(self) -> bool:
        """Whether a wheel was seen not to work."""
        return not all(wheel.works for wheel in self.record.wheels)


def build(config: Config, supply: Supply, *, dry_run: bool) -> BuildResult:
    """Return what was made of the configured source; the wheels stand in `config.build.out`."""
    epoch = source_date_epoch()
    timestamp = _FIRST_DAY if epoch is None else epoch
    path, url = fetch_source(config, supply)
    require_windows(parse_filename(path))
    analysis = inspect_source(path, config, supply)
    require_cv2(analysis)
    require_original(analysis)
    supplement = supplement_mode(config, analysis, supply, url, timestamp)
    patched = patch_wheel(
        analysis.wheel.names,
        partial(read_member, analysis.wheel.archive),
        build_facts(analysis, supplement, config.build.help_url),
        folders=config.build.patches,
        file=path.name,
    )
    served = [python for python in config.build.python if not refusal(python, analysis)]
    lines = requirements_of(analysis, Supplement())
    missing = find_missing(lines, served, supply) if config.smoke.enabled else {}
    plan = make_plan(
        config.build, analysis, patched, supplement, timestamp=timestamp, url=url, missing=missing
    )
    check_sizes(plan, config.publish.max_size)
    out = config.build.out
    if dry_run:
        changes = supply.keep()
        return BuildResult(plan=plan, record=plan.record, out=out, lock_changes=changes)
    with staging(out) as stage:
        wheels = emit(plan, out=out, stage=stage, progress=supply.progress)
        check_wheels(wheels, plan, config)
        outcomes = try_plan(config, supply, analysis, plan, wheels)
        records = tuple(record_wheel(wheel, out, outcomes) for wheel in wheels)
    record = msgspec.structs.replace(plan.record, wheels=records)
    changes = supply.keep()
    write_record(record, out)
    return BuildResult(
        plan=plan,
        record=record,
        out=out,
        lock_changes=changes,
        dry_run=False,
        unchanged=frozenset(wheel.planned.filename for wheel in wheels if not wheel.fresh),
        remembered=frozenset(
            (trial.wheel.name, trial.python)
            for trial, outcome in outcomes.items()
            if outcome.status != NOT_RUN and not outcome.seconds
        ),
    )


def fetch_source(config: Config, supply: Supply, *, verified: bool = False) -> tuple[Path, str]:
    """Return the wheel to start from, and where anybody may get it.

    A file of the command line is the very file that is meant, whatever the lock of some
    configuration says; `verified` has its hash computed here, which reading it does as well.
    """
    source = require_source(config)
    if isinstance(source, SampleSource):
        return _make_sample(source, supply)
    is_plain = config.source_is_given and source.sha256 is None and not verified
    if is_plain and isinstance(source, FileSource):
        return locate(source), f"file:{source.path.name}"
    fetched = supply.fetch(source, pinned=not config.source_is_given)
    return fetched.path, fetched.pin.url


def inspect_source(path: Path, config: Config, supply: Supply) -> Analysis:
    """Return the analysis of the wheel at `path`, remembered where it was read before."""
    with supply.progress.task(f"Reading {path.name}", total=path.stat().st_size) as task:
        return analyse(
            path,
            allow_startup_hook=config.allow.startup_hook,
            task=task,
            memory=files.Memory(supply.cache.folder("seen")),
        )


def supplement_mode(
    config: Config, analysis: Analysis, supply: Supply, url: str, timestamp: int
) -> Supplement:
    """Return what the mode adds to the patches; `url` is where anybody may get the source.

    Raises RepackError where something that it needs cannot be had, or may not be done.
    """
    supplement = Supplement()
    if config.build.mode == "depend":
        supplement = vendor.require_distributions(analysis, supply.list_wheel)
    elif config.build.mode == "vendor":
        label = "vendored.stub" if config.build.driver_stub else "vendored"
        version = emitted_version(config.build, analysis, label)
        supplement = vendor.carry_dlls(
            config, analysis, supply, version=version, url=url, timestamp=timestamp
        )
    if config.build.driver_stub:
        stubs = vendor.stand_ins(analysis)
        supplement = replace(
            supplement,
            label=f"{supplement.label}.{stubs.label}",
            carried=(*supplement.carried, *stubs.carried),
            cargo=(*supplement.cargo, *stubs.cargo),
            findings=(*supplement.findings, *stubs.findings),
        )
    return supplement


def check_wheels(wheels: Sequence[Emitted], plan: Plan, config: Config) -> None:
    """Raise OutputError for a wheel that is too large, or whose name another build has taken."""
    for wheel in wheels:
        check_size(wheel.path.name, wheel.size, config.publish.max_size, plan.record.carried)
    if not config.build.name:
        return
    out = config.build.out
    ours = {wheel.planned.filename: wheel.sha256 for wheel in wheels}
    for folder, record in read_records(out.parent).items():
        for theirs in record.wheels if folder != out else ():
            if ours.get(theirs.filename, theirs.sha256) != theirs.sha256:
                raise OutputError(
                    f"{folder} has the same name and other bytes",
                    code="other-bytes",
                    file=theirs.filename,
                    hint="remove that folder where no build is called so any more, or give one of "
                    "the two another name",
                )


def try_plan(
    config: Config, supply: Supply, analysis: Analysis, plan: Plan, wheels: Iterable[Emitted]
) -> dict[Trial, Outcome]:
    """Return what the emitted wheels and the untouched one did, on all their Pythons.

    The machine has what the emitted wheels leave to it, and nothing else.
    """
    source = analysis.wheel
    trials = [
        Trial(wheel.path, wheel.sha256, python)
        for wheel in wheels
        for python in wheel.planned.pythons
    ]
    trials += [Trial(source.path, source.sha256, trial.python, untouched=True) for trial in trials]
    if not config.smoke.enabled:
        outcome = Outcome(status=NOT_RUN, reason="the smoke test is switched off")
        return dict.fromkeys(trials, outcome)
    left = replace(
        analysis,
        wheel=replace(source, requires=plan.requirements),
        needs=needs_left(analysis, plan),
    )
    stand_ins = tuple(
        cargo.member.rpartition("/")[2] for cargo in plan.record.carried if cargo.family == "driver"
    )
    return try_wheels(trials, left, config.smoke, supply, carried=stand_ins)


def record_wheel(wheel: Emitted, out: Path, outcomes: Mapping[Trial, Outcome]) -> WheelRecord:
    """Return the record of one wheel, which now stands in `out`, or in its folder of failures."""
    # How long it took is different each time; the same build leaves the same record.
    outcomes = {
        trial: msgspec.structs.replace(outcome, seconds=0.0) for trial, outcome in outcomes.items()
    }
    before = {trial.python: outcomes[trial] for trial in outcomes if trial.untouched}
    own = [trial for trial in outcomes if trial.wheel == wheel.path]
    failures = [
        f"Python {trial.python}: {outcomes[trial].reason}\n{outcomes[trial].log}"
        for trial in own
        if outcomes[trial].status == FAILED
    ]
    path = move_wheel(wheel, out, "\n".join(failures))
    return WheelRecord(
        path=path.relative_to(out).as_posix(),
        version=wheel.planned.version,
        tag=wheel.planned.tag,
        size=wheel.size,
        sha256=wheel.sha256,
        recipe=wheel.planned.recipe,
        seen=tuple(
            Seen(python=trial.python, before=before[trial.python], after=outcomes[trial])
            for trial in own
        ),
    )


def _make_sample(source: SampleSource, supply: Supply) -> tuple[Path, str]:
    """Return the sample wheel, from the cache where it is there, and where its base comes from."""
    base = supply.wheel(f"opencv-contrib-python=={source.opencv}", _ANY_PYTHON)

    def fill(folder: Path) -> None:
        with supply.progress.task(f"Making a sample CUDA {source.cuda} wheel", total=None):
            make_sample(base.path, cuda=source.cuda, driver=source.driver, folder=folder)

    key = hashlib.sha256(repr((__version__, base.sha256, source)).encode()).hexdigest()
    folder = make_once(supply.cache.root / "samples" / key, fill, supply.cache, supply.progress)
    return next(folder.glob("*.whl")), base.pin.url
