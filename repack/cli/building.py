"""`repack build`, the main job as a command: several builds of one file, and what is told of it."""

import argparse
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from repack.build import BuildResult, build
from repack.cli.commands import (
    Answer,
    Json,
    Table,
    builds_of,
    error_json,
    finding_line,
    outcome_json,
    supply_of,
)
from repack.config import Config
from repack.console import Progress
from repack.errors import RepackError, UsageError, system_fault
from repack.fetch import Supply
from repack.plan import PlannedWheel, format_megabytes
from repack.process import format_command
from repack.record import FAILED, Cargo, Seen, WheelRecord
from repack.wheel.writer import Added

_log = logging.getLogger(__name__)
_HEADINGS = ("Python", "untouched wheel", "fixed wheel", "file")


def run_build(options: argparse.Namespace, progress: Progress) -> Answer:
    """Fetch, verify, patch and smoke-test wheels for each Python.

    Does the main job: takes the source that repack.toml or --source names, checks every member,
    finds out which DLLs its binaries need, applies the patches, writes one wheel for each Python
    and tries each on that genuine Windows Python, beside the untouched wheel. A wheel that fails
    goes to failed/ below the wheel directory. What is there already and still right is not made,
    fetched or tried again. Where repack.toml has [[build]] tables, all are built, or those named;
    each into a folder of its name. --list prints these names; with --json, `names` is the list
    that a CI system's matrix takes, whose machines then each run `repack build NAME`.

    Examples:
        repack build
        repack build --source opencv_contrib_python-4.13.0.90-cp37-abi3-win_amd64.whl
        repack build --python 3.12,3.13 --no-smoke -w wheelhouse
        repack build --mode vendor --set 'vendor.families=["npp", "cudart"]'
        repack build --dry-run --set build.emit=abi3
        repack build cu12 cu13
        repack build --list --json

    """
    configs = builds_of(options)
    if options.list:
        return _list_builds(configs)
    supply = supply_of(configs[0], options, progress)
    dry_run = options.dry_run
    outcomes = {
        config.build.name: _try_build(config, supply, dry_run=dry_run) for config in configs
    }
    built = [outcome for outcome in outcomes.values() if isinstance(outcome, BuildResult)]
    return Answer(
        _several_json(outcomes, dry_run=dry_run) if configs[0].build.name else _json(built[0]),
        [line for result in built for line in _plan_lines(result)] if dry_run else (),
        () if dry_run else [_table(result) for result in built],
        failed=len(built) < len(configs) or any(result.failed for result in built),
        next_step=_name_next_step(configs[0], dry_run=dry_run),
    )


def _try_build(config: Config, supply: Supply, *, dry_run: bool) -> BuildResult | RepackError:
    """Return what a build came to; one of several that fails keeps no other from being made."""
    name = config.build.name
    label = f"build {name}: " if name else ""
    if name:
        _log.info("Build %s", name)
    try:
        result = build(config, supply, dry_run=dry_run)
    except (UsageError, BrokenPipeError):
        raise
    except (RepackError, OSError) as error:
        if not name:
            raise
        supply.forget()
        fault = system_fault(error)
        _log.error("%s%s", label, fault)
        return fault
    for finding in result.record.findings:
        _log.warning("%s%s", label, finding_line(result.record.source.filename, finding))
    for change in result.lock_changes:
        _log.info("repack.lock: %s", change)
    return result


def _list_builds(configs: Sequence[Config]) -> Answer:
    """Return the builds there are; a single [build] has no name."""
    builds = [config.build for config in configs]
    names = [build.name for build in builds if build.name]
    rows = [{"name": build.name, "mode": build.mode, "out": str(build.out)} for build in builds]
    return Answer({"names": names, "builds": rows}, names)


def _name_next_step(config: Config, *, dry_run: bool) -> str:
    """Return what is done after a build, as it can be typed here."""
    if dry_run:
        return "nothing was written; without --dry-run it is"
    out = config.build.out.parent if config.build.name else config.build.out
    folder = out.relative_to(Path.cwd()) if out.is_relative_to(Path.cwd()) else out
    dist = "" if str(folder) == "dist" else f" {format_command([str(folder)])}"
    return f"next: `repack report{dist}` makes a page of it, `repack publish{dist}` hands it on"


# As text


def _table(result: BuildResult) -> Table:
    """Return a row for each Python; a failure stands out without colour."""
    name = f"{result.record.name}: " if result.record.name else ""
    rows = [
        (refusal.python, "", f"no wheel: {refusal.reason}", "") for refusal in result.record.refused
    ]
    for wheel, seen in _list_trials(result):
        file = wheel.filename + (" (unchanged)" if wheel.filename in result.unchanged else "")
        failed = "FAILED: " if seen.status == FAILED else ""
        before = " (seen before)" if (wheel.filename, seen.python) in result.remembered else ""
        after = f"{failed}{seen.after.summary}{before}"
        rows.append((seen.python, seen.before.summary, after, file))
    rows.sort(key=lambda row: int(row[0].removeprefix("3.").rstrip("t")))
    return f"{name}{result.record.source.filename} -> {result.out}", _HEADINGS, rows


def _plan_lines(result: BuildResult) -> list[str]:
    """Return the plan as text: each wheel, and each member that is not copied as it lies."""
    record = result.record
    lines = [f"{record.name}: {result.out}"] if record.name else []
    carried = {cargo.member for cargo in record.carried}
    at_most = "" if all(cargo.packed is not None for cargo in record.carried) else "at most "
    for planned in result.plan.wheels:
        own = [entry for entry in planned.entries if entry.name not in carried]
        added = [entry for entry in own if isinstance(entry, Added)]
        pythons, size = ", ".join(planned.pythons), format_megabytes(planned.size)
        lines.append(f"{planned.filename}  for {pythons}  {at_most}{size}")
        lines.append(f"  {len(own) - len(added)} members copied as they lie")
        lines += [f"  write {entry.name} ({_size_of(entry)} bytes)" for entry in added]
    lines += [f"in each: {_cargo_line(cargo)}" for cargo in record.carried]
    lines += [f"each requires {line}" for line in record.requires]
    if record.left_out:
        lines.append(f"left to the machine: {', '.join(record.left_out)}")
    lines += [f"no wheel for {refusal.python}: {refusal.reason}" for refusal in record.refused]
    return lines


def _cargo_line(cargo: Cargo) -> str:
    packed = "" if cargo.packed is None else f", {format_megabytes(cargo.packed)} of the wheel"
    return f"{cargo.member} ({format_megabytes(cargo.size)}{packed}), from {cargo.origin}"


def _size_of(entry: Added) -> int:
    content = entry.content
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _list_trials(result: BuildResult) -> Iterator[tuple[WheelRecord, Seen]]:
    """Yield each wheel with each Python that it was tried on."""
    for wheel in result.record.wheels:
        for seen in wheel.seen:
            yield wheel, seen


# As JSON


def _json(result: BuildResult) -> Json:
    """Return what a build made, from its record, and what it planned."""
    record = msgspec.to_builtins(result.record)
    fields = ("requires", "carried", "left_out", "refused", "findings")
    return {
        "dry_run": result.dry_run,
        "plan": [_plan_json(planned) for planned in result.plan.wheels],
        "wheels": [_trial_json(result, wheel, seen) for wheel, seen in _list_trials(result)],
        "lock_changes": list(result.lock_changes),
        **{field: record[field] for field in fields},
        "source": {**record["source"], "cuda": result.record.source.cuda or None},
    }


def _several_json(outcomes: Mapping[str, BuildResult | RepackError], *, dry_run: bool) -> Json:
    """Return what several builds made; `wheels` has those of all, as for a single build."""
    builds: list[Json] = [
        {"name": name, "error": None, **_json(outcome)}
        if isinstance(outcome, BuildResult)
        else {"name": name, "error": error_json(outcome), "wheels": []}
        for name, outcome in outcomes.items()
    ]
    wheels = [{"build": build["name"], **wheel} for build in builds for wheel in build["wheels"]]
    return {"dry_run": dry_run, "builds": builds, "wheels": wheels}


def _plan_json(planned: PlannedWheel) -> Json:
    added = [entry for entry in planned.entries if isinstance(entry, Added)]
    return {
        "filename": planned.filename,
        "pythons": list(planned.pythons),
        "tag": planned.tag,
        "size": planned.size,
        "copied": len(planned.entries) - len(added),
        "written": [{"member": entry.name, "size": _size_of(entry)} for entry in added],
    }


def _trial_json(result: BuildResult, wheel: WheelRecord, seen: Seen) -> Json:
    """Return one wheel on one Python."""
    return {
        "path": str(result.out / wheel.path),
        "python": seen.python,
        "tag": wheel.tag,
        "sha256": wheel.sha256,
        "size": wheel.size,
        "unchanged": wheel.filename in result.unchanged,
        "smoke": {
            **outcome_json(seen.after),
            "before": seen.before.summary,
            "remembered": (wheel.filename, seen.python) in result.remembered,
        },
    }
