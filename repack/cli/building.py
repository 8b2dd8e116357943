"""`repack build`, the main job as a command: several builds of one file, and what is told of it."""

import argparse
import logging
from collections.abc import Iterator
from pathlib import Path

import msgspec

from repack.build import BuildResult, build
from repack.cli.commands import (
    Answer,
    Json,
    Text,
    builds_of,
    describe_error,
    format_finding,
    supply_of,
)
from repack.config import Config
from repack.console import Progress
from repack.errors import RepackError, UsageError, system_fault
from repack.fetch import Supply
from repack.plan import format_megabytes
from repack.process import format_command
from repack.record import FAILED
from repack.report import list_pythons, list_reasons

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
        repack build --dry-run
        repack build cu12 cu13
        repack build --list --json

    """
    configs = builds_of(options)
    names = [config.build.name for config in configs]
    if options.list:
        return Answer({"names": names}, list(filter(None, names)))  # a single [build] has none
    supply = supply_of(configs[0], options, progress)
    outcomes = [_try_build(config, supply, dry_run=options.dry_run) for config in configs]
    results = [outcome for outcome in outcomes if isinstance(outcome, BuildResult)]
    rows = list(map(_describe, names, outcomes))
    show = _list_plan if options.dry_run else _list_trials
    parts = [part for result in results for part in show(result)]
    return Answer(
        {"builds": rows} if names[0] else rows[0],
        [*parts, *([] if options.dry_run or not results else [_name_next_step(configs[0])])],
        failed=len(results) < len(configs) or any(result.failed for result in results),
    )


def _name_next_step(config: Config) -> str:
    """Return what is done after a build, as it can be typed here."""
    out = config.build.out.parent if config.build.name else config.build.out
    is_default = out == Path("dist").absolute()
    dist = "" if is_default else f" {format_command([str(out)])}"
    return f"next: `repack report{dist}` makes a page of it, `repack publish{dist}` hands it on"


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
        _log.warning("%s%s", label, format_finding(result.record.source.filename, finding))
    for change in result.lock_changes:
        _log.info("repack.lock: %s", change)
    return result


def _describe(name: str, outcome: BuildResult | RepackError) -> Json:
    """Return what build.json holds, the plan, and what is true of this run alone."""
    if isinstance(outcome, RepackError):
        return {"name": name, "error": describe_error(outcome)}
    record = msgspec.to_builtins(outcome.record)
    del record["version"]  # of the file
    for wheel in record["wheels"]:
        wheel["path"] = str(outcome.out / wheel["path"])
    return {
        "name": name,
        "error": None,
        **record,
        "plan": list(_describe_plan(outcome)),
        "unchanged": sorted(outcome.unchanged),
        "lock_changes": outcome.lock_changes,
    }


def _describe_plan(result: BuildResult) -> Iterator[Json]:
    """Yield each wheel to be written; what all carry stands once in the record."""
    carried = {cargo.member for cargo in result.record.carried}
    for planned in result.plan.wheels:
        own = [entry for entry in planned.entries if entry.name not in carried]
        written = [entry.name for entry in own if not entry.is_copied]
        yield {
            "filename": planned.filename,
            "pythons": planned.pythons,
            "size": planned.size,
            "copied": len(own) - len(written),
            "written": written,
        }


def _list_trials(result: BuildResult) -> Iterator[Text]:
    """Yield a table with a row for each Python; a failure stands out without colour."""
    name = f"{result.record.name}: " if result.record.name else ""
    pythons = list_pythons(result.record)
    table = [_HEADINGS]
    for row in pythons:
        mark = "FAILED: " if row["status"] == FAILED else ""
        note = " (unchanged)" if row["wheel"] in result.unchanged else ""
        table.append((row["python"], row["before"], mark + row["after"], row["wheel"] + note))
    yield f"{name}{result.record.source.filename} -> {result.out}"
    yield table
    yield from list_reasons(pythons)


def _list_plan(result: BuildResult) -> Iterator[Text]:
    """Yield each wheel of the plan, and each member that is not copied as it lies."""
    record = result.record
    if record.name:
        yield f"{record.name}: {result.out}"
    at_most = "" if all(cargo.packed is not None for cargo in record.carried) else "at most "
    for row in _describe_plan(result):
        size = format_megabytes(row["size"])
        yield f"{row['filename']}  for {', '.join(row['pythons'])}  {at_most}{size}"
        yield f"  {row['copied']} members copied as they lie"
        yield from (f"  write {member}" for member in row["written"])
    for cargo in record.carried:
        yield f"in each: {cargo.member} ({format_megabytes(cargo.size)}), from {cargo.origin}"
    yield from (f"each requires {line}" for line in record.requires)
    if record.left_out:
        yield f"left to the machine: {', '.join(record.left_out)}"
    yield from list_reasons(list_pythons(record))
