"""`repack build`, `builds` and `fetch`: what is done for each build of `repack.toml`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from repack import results
from repack.building import build, look_through, obtain_source
from repack.cli.given import Answer, builds_of, supply_of
from repack.errors import RepackError, UsageError, system_fault
from repack.results import JSON_VERSION

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable
    from pathlib import Path

    from repack.building import Supply
    from repack.config import Config
    from repack.console import Console, Progress
    from repack.results import BuildResult, Json

_log = logging.getLogger(__name__)


def run_build(options: argparse.Namespace, progress: Progress) -> Answer:
    """Build wheels; of several builds one that fails does not keep the others from being made."""
    configs = builds_of(options)
    supply = supply_of(configs[0], options, progress)
    if not configs[0].build.name:
        result = _built(configs[0], supply, dry_run=options.dry_run)
        return Answer(
            json=results.build_json(result),
            show=lambda console: _show(console, result, configs[0]),
            failed=result.failed,
        )
    made = {
        config.build.name: _tried(config, supply, dry_run=options.dry_run) for config in configs
    }
    for name, each in made.items():
        if not isinstance(each, RepackError) and each.failed:
            _log.error("build %s: %s", name, results.failure_line(each))

    def show(console: Console) -> None:
        for config in configs:
            each = made[config.build.name]
            if not isinstance(each, RepackError):
                _show(console, each, config)

    return Answer(
        json=results.builds_json(made, dry_run=options.dry_run),
        show=show,
        failed=any(isinstance(each, RepackError) or each.failed for each in made.values()),
    )


def _tried(config: Config, supply: Supply, *, dry_run: bool) -> BuildResult | RepackError:
    """Return what a build came to; why it did not is told at once, with its name."""
    _log.info("Build %s", config.build.name)
    try:
        return _built(config, supply, dry_run=dry_run)
    except (UsageError, BrokenPipeError):
        raise
    except (RepackError, OSError) as error:
        supply.forget()
        told = system_fault(error) if isinstance(error, OSError) else error
        _log.error("build %s: %s", config.build.name, told)
        return told


def _built(config: Config, supply: Supply, *, dry_run: bool) -> BuildResult:
    result = build(config, supply, dry_run=dry_run)
    name = f"build {config.build.name}: " if config.build.name else ""
    for finding in results.findings_of(result):
        _log.warning("%s%s", name, results.finding_line(result.analysis.wheel.path.name, finding))
    for change in result.lock_changes:
        _log.info("repack.lock: %s", change)
    return result


def _show(console: Console, result: BuildResult, config: Config) -> None:
    name = f"{config.build.name}: " if config.build.name else ""
    if result.dry_run:
        lines = results.plan_lines(result)
        console.show_lines([f"{name}{config.build.out}", *lines] if name else lines)
    else:
        title = f"{name}{result.analysis.wheel.path.name} -> {config.build.out}"
        console.show_table(title, results.BUILD_HEADINGS, results.build_rows(result))


def run_builds(options: argparse.Namespace, progress: Progress) -> Answer:
    """Tell the builds there are; a CI system's matrix is made of their names."""
    del progress  # there is nothing to wait for
    builds = [config.build for config in builds_of(options)]
    names = [build.name for build in builds if build.name]
    told = [{"name": each.name, "mode": each.mode, "out": str(each.out)} for each in builds]
    return Answer(
        json={"version": JSON_VERSION, "names": names, "builds": told},
        show=lambda console: console.show_lines(names),
    )


def run_fetch(options: argparse.Namespace, progress: Progress) -> Answer:
    """Fetch the source and look through it: a build of it has the less to do."""
    configs = builds_of(options)
    supply = supply_of(configs[0], options, progress)
    found = []
    for config in configs:
        path, url = obtain_source(config, supply)
        look_through(path, config, supply)
        found.append((config.build.name, path, url))
    changes = list(supply.keep())
    return Answer(
        json=_fetched_json(found, changes),
        show=lambda console: console.show_lines([str(path) for _, path, _ in found]),
    )


def _fetched_json(found: Iterable[tuple[str, Path, str]], changes: list[str]) -> Json:
    """Return path and URL; of several builds in a list."""
    told: list[Json] = [{"name": name, "path": str(path), "url": url} for name, path, url in found]
    if told[0]["name"]:
        return {"version": JSON_VERSION, "builds": told, "lock_changes": changes}
    (only,) = told
    return {
        "version": JSON_VERSION,
        "path": only["path"],
        "url": only["url"],
        "lock_changes": changes,
    }
