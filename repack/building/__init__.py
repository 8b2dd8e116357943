"""The main job, step after step: fetch, analyse, patch, plan, emit, try, settle."""

from __future__ import annotations

import hashlib
import os
import re
from functools import partial
from typing import TYPE_CHECKING

from repack import __version__, files, report
from repack.analysis import analyse, require_cv2, require_windows
from repack.archives import read_member
from repack.building.supply import Supply
from repack.building.verdicts import Trial, Verdict
from repack.config import FileSource, SampleSource, wanted_source
from repack.emit import Ledger, emit, settle, staging, stands
from repack.errors import ConfigError, shown
from repack.outcomes import FAILED, NOT_RUN, Outcome
from repack.patching import apply, builtin_folder, load_patches, texts_wanted
from repack.plan import build_facts, make_plan, refusal
from repack.report import BuildResult, Row
from repack.sources import locate
from repack.wheels import parse_filename

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from repack.analysis import Analysis
    from repack.config import Config
    from repack.emit import Emitted
    from repack.patching import Patched
    from repack.plan import Plan

__all__ = ["Supply", "build", "obtain_source", "sample_of", "smoke_wheels", "timestamp"]

#: 1980-01-01, the first day that a ZIP archive can name.
_FIRST_DAY = 315_532_800
#: 2107-12-31 23:59:58, the last time that one can.
_LAST_SECOND = 4_354_819_198
#: The Python that opencv-contrib-python's stable-ABI wheel is resolved for.
_SAMPLE_PYTHON = "3.12"


def build(config: Config, supply: Supply, *, dry_run: bool) -> BuildResult:
    """Return what was made of the configured source; the wheels stand in `config.build.out`."""
    time = timestamp()
    path, url = _named_file(config) or obtain_source(config, supply)
    require_windows(parse_filename(path))
    with supply.progress.task(f"Reading {path.name}", total=path.stat().st_size) as task:
        analysis = analyse(path, allow_startup_hook=config.allow.startup_hook, task=task)
    require_cv2(analysis)
    plan = make_plan(config.build, analysis, patched(config, analysis), timestamp=time)
    rows: tuple[Row, ...] = ()
    if not dry_run:
        rows = _carried_out(config, supply, analysis, plan)
    return BuildResult(
        analysis=analysis,
        plan=plan,
        rows=rows,
        url=url,
        lock_changes=supply.keep(),
        dry_run=dry_run,
    )


def _named_file(config: Config) -> tuple[Path, str] | None:
    """Return the file that the command line names, if it says of no hash: reading will tell it."""
    source = wanted_source(config)
    if isinstance(source, FileSource) and config.source_is_given and source.sha256 is None:
        return locate(source), f"file:{source.path.name}"
    return None


def obtain_source(config: Config, supply: Supply) -> tuple[Path, str]:
    """Return the verified wheel to start from, and where anybody may get it."""
    source = wanted_source(config)
    if not isinstance(source, SampleSource):
        # A file named on the command line is the very file that is meant; the lock of some
        # configuration has no say in it.
        fetched = supply.fetch(source, pinned=not config.source_is_given)
        return fetched.path, fetched.url
    base = supply.wheel(f"opencv-contrib-python=={source.opencv}", _SAMPLE_PYTHON)
    return sample_of(base.path, base.sha256, source, supply), base.url


def sample_of(base: Path, sha256: str, source: SampleSource, supply: Supply) -> Path:
    """Return the sample wheel made of the wheel `base`, from the cache where it is there."""
    key = hashlib.sha256(repr((__version__, sha256, source)).encode()).hexdigest()
    folder = supply.cache.folder(f"samples/{key}")
    ledger = Ledger(folder=supply.cache.folder("builds"))
    known = ledger.read(key)
    there = next(folder.glob("*.whl"), None)
    if known and there and stands(there, *known):
        return there
    from repack.sampling import make_sample  # noqa: PLC0415 - needed the first time alone

    with supply.progress.task(f"Making a sample CUDA {source.cuda} wheel", total=None):
        sample = make_sample(base, cuda=source.cuda, driver=source.driver, folder=folder)
    ledger.write(key, sample.stat().st_size, files.sha256_of(sample))
    return sample


def patched(config: Config, analysis: Analysis) -> Patched:
    """Return what the patches, ours and then the team's, make of the wheel's texts."""
    patches = load_patches([builtin_folder(), *config.build.patches])
    wheel = analysis.wheel
    texts = {name: read_member(wheel.archive, name) for name in texts_wanted(patches, wheel.names)}
    return apply(
        patches,
        texts,
        {"build": build_facts(analysis)},
        names=wheel.names,
        file=wheel.path.name,
    )


def timestamp() -> int:
    """Return the time of all members, in seconds since 1970: SOURCE_DATE_EPOCH, or 1980."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return _FIRST_DAY
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) > _LAST_SECOND:
        raise ConfigError(
            f"SOURCE_DATE_EPOCH is {shown(text)}, not the seconds from 1970 to a time before 2108",
            code="source-date-epoch",
            hint="unset it, or set it to the output of `git log -1 --format=%ct`",
        )
    return int(text)


def smoke_wheels(  # noqa: PLR0913 - the command's own parts
    wheels: Sequence[Path],
    pythons: Sequence[str],
    config: Config,
    supply: Supply,
    *,
    dll_dirs: Sequence[Path],
    env: Mapping[str, str],
) -> list[report.Smoked]:
    """Return what each wheel did on each Python that it says it is for.

    A wheel that is for none of `pythons` was not run, and says on each why not.
    """
    # What runs Windows programs takes long to import, and most commands run none.
    from repack.building.trials import place_for, readable, try_all  # noqa: PLC0415

    folders = readable(dll_dirs or config.smoke.dll_dirs)
    smoked = []
    for path in wheels:
        analysis = analyse(path, allow_startup_hook=config.allow.startup_hook)
        refusals = {python: refusal(python, analysis) for python in pythons}
        trials = [
            Trial(wheel=path, sha256=analysis.wheel.sha256, python=python)
            for python, reason in refusals.items()
            if not reason
        ]
        if trials:
            place = partial(place_for, analysis, config.smoke, supply, dll_dirs=folders, env=env)
            found = try_all(trials, analysis, place, config.smoke, supply)
            outcomes = {trial.python: verdict.outcome for trial, verdict in found.items()}
        else:
            outcomes = {
                python: Outcome(status=NOT_RUN, reason=reason)
                for python, reason in refusals.items()
            }
        smoked += [
            report.Smoked(path=path, python=python, outcome=outcome)
            for python, outcome in outcomes.items()
        ]
    supply.keep()
    return smoked


def _carried_out(config: Config, supply: Supply, analysis: Analysis, plan: Plan) -> tuple[Row, ...]:
    """Return how each planned wheel fared, once it stands where it belongs."""
    out = config.build.out
    ledger = Ledger(folder=supply.cache.folder("builds"))
    with staging(out) as stage:
        emitted = emit(
            plan, analysis.wheel, out=out, stage=stage, ledger=ledger, progress=supply.progress
        )
        found = _seen(config, supply, analysis, emitted)
        return tuple(row for each in emitted for row in _settled(each, out, analysis, found))


def _seen(
    config: Config, supply: Supply, analysis: Analysis, emitted: Sequence[Emitted]
) -> dict[Trial, Verdict]:
    """Return what the emitted wheels and the untouched one did, on all their Pythons."""
    after = [_trial(each, python) for each in emitted for python in each.planned.pythons]
    before = [_untouched(analysis, trial.python) for trial in after]
    if not config.smoke.enabled:
        return _not_run([*after, *before], "the smoke test is switched off")
    from repack.building.trials import place_for, readable, try_all  # noqa: PLC0415 - as above

    folders = readable(config.smoke.dll_dirs)
    place = partial(place_for, analysis, config.smoke, supply, dll_dirs=folders)
    return try_all([*after, *before], analysis, place, config.smoke, supply)


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
) -> list[Row]:
    """Return the rows of one wheel, which now stands in `out`, or in its folder of failures."""
    seen = {python: found[_trial(emitted, python)] for python in emitted.planned.pythons}
    failures = [
        f"Python {python}: {verdict.outcome.reason}\n{verdict.outcome.log}"
        for python, verdict in seen.items()
        if verdict.outcome.status == FAILED
    ]
    path = settle(emitted, out, "\n".join(failures))
    return [
        Row(
            path=path,
            python=python,
            tag=emitted.planned.tag,
            sha256=emitted.sha256,
            size=emitted.size,
            fresh=emitted.fresh,
            before=found[_untouched(analysis, python)].outcome,
            after=verdict.outcome,
            remembered=verdict.remembered,
        )
        for python, verdict in seen.items()
    ]
