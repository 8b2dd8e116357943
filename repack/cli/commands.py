"""What each command does, and the answer it gives."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from repack import report
from repack.analysis import analyse
from repack.building import Supply, build, look_through, obtain_source
from repack.config import SampleSource, load, parse_override, source_from
from repack.errors import InputError, UsageError
from repack.files import link_or_copy
from repack.outcomes import FAILED
from repack.report import JSON_VERSION, Json
from repack.sources import Cache
from repack.terminal import show_lines, show_table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence

    from repack.config import Config
    from repack.progress import Progress
    from repack.terminal import Console

_log = logging.getLogger(__name__)
_CONFIG = Path("repack.toml")


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a command has to say on stdout, as JSON or shown to a person."""

    json: Json
    show: Callable[[Console], None]
    failed: bool = False


def run_build(options: argparse.Namespace, progress: Progress) -> Answer:
    """Build wheels."""
    config = _config(options, needs_source=True)
    result = build(config, _supply(config, options, progress), dry_run=options.dry_run)
    for finding in report.findings_of(result):
        _log.warning("%s", report.finding_line(result.analysis.wheel.path.name, finding))
    for change in result.lock_changes:
        _log.info("repack.lock: %s", change)

    def show(console: Console) -> None:
        if result.dry_run:
            show_lines(console, report.plan_lines(result))
        else:
            title = f"{result.analysis.wheel.path.name} -> {config.build.out}"
            show_table(console, title, report.BUILD_HEADINGS, report.build_rows(result))

    return Answer(json=report.build_json(result), show=show, failed=result.failed)


def run_fetch(options: argparse.Namespace, progress: Progress) -> Answer:
    """Fetch the source and look through it: a build of it has the less to do."""
    config = _config(options, needs_source=True)
    supply = _supply(config, options, progress)
    path, url = obtain_source(config, supply)
    look_through(path, config, supply)
    changes = supply.keep()
    json = {"version": JSON_VERSION, "path": str(path), "url": url, "lock_changes": list(changes)}
    return Answer(json=json, show=lambda console: show_lines(console, [str(path)]))


def run_inspect(options: argparse.Namespace, progress: Progress) -> Answer:
    """Look through wheels; one that cannot be read does not keep the others from being told."""
    analyses, errors = [], []
    with progress.task("Reading wheels", total=len(options.wheels), unit="steps") as task:
        for wheel in options.wheels:
            try:
                analyses.append(analyse(wheel, allow_startup_hook=True))
            except InputError as error:
                errors.append(error)
            task.advance(1)
    for refused in errors:
        _log.error("%s", refused)
    lines = [line for analysis in analyses for line in report.inspect_lines(analysis)]
    found = any(analysis.findings for analysis in analyses)
    return Answer(
        json=report.inspect_json(analyses, errors),
        show=lambda console: show_lines(console, lines),
        failed=bool(errors) or (options.strict and found),
    )


def run_smoke(options: argparse.Namespace, progress: Progress) -> Answer:
    """Try wheels on Windows Pythons."""
    from repack.building.smoking import smoke_wheels  # noqa: PLC0415 - slow to import

    config = _config(options)
    supply = _supply(config, options, progress)
    results = smoke_wheels(
        options.wheels,
        options.python or config.build.python,
        config,
        supply,
        dll_dirs=[folder.absolute() for folder in options.dll_dirs],
        env=dict(options.env),
    )
    return Answer(
        json=report.smoke_json(results),
        show=lambda console: show_table(
            console, "", report.SMOKE_HEADINGS, report.smoke_rows(results)
        ),
        failed=any(result.outcome.status == FAILED for result in results),
    )


def run_pythons(options: argparse.Namespace, progress: Progress) -> Answer:
    """List the Windows Pythons at hand, after putting together those asked for."""
    from repack.interpreters import Pythons, Unavailable  # noqa: PLC0415 - slow to import

    config = _config(options)
    with Pythons(
        cache=Cache.default(),
        progress=progress,
        given=config.smoke.interpreters,
        embeddable=config.smoke.embeddable,
        offline=options.offline,
    ) as pythons:
        made = [pythons.provide(version) for version in options.assemble]
        found = pythons.at_hand()
    missing = [each for each in made if isinstance(each, Unavailable)]
    for each in missing:
        place = "" if each.version in each.reason else f"Python {each.version}: "
        _log.error("%s%s; %s", place, each.reason, each.hint)
    return Answer(
        json=report.pythons_json(found),
        show=lambda console: show_table(
            console, "", report.PYTHONS_HEADINGS, report.pythons_rows(found)
        ),
        failed=bool(missing),
    )


def run_sample(options: argparse.Namespace, progress: Progress) -> Answer:
    """Make a sample wheel."""
    from repack.emit import folder_for  # noqa: PLC0415 - a build imports it while it reads

    given = {
        f"source.sample.{key}": value
        for key in ("opencv", "cuda", "driver")
        if (value := getattr(options, key)) is not None
    }
    config = _config(options, more=[("source.sample", {}), *given.items()])
    if not isinstance(config.source, SampleSource):
        raise UsageError("the source is no sample", hint="leave out --set source...")
    supply = _supply(config, options, progress)
    made, _ = obtain_source(config, supply)
    supply.keep()
    path = options.out.absolute() / made.name
    with folder_for(path.parent):
        link_or_copy(made, path)
    json = {"version": JSON_VERSION, "path": str(path)}
    return Answer(json=json, show=lambda console: show_lines(console, [str(path)]))


def run_report(options: argparse.Namespace, progress: Progress) -> Answer:
    """Show what the last build did."""
    from repack.report.writing import write_report  # noqa: PLC0415 - slow to import

    del progress  # there is nothing to wait for
    if options.json and options.markdown:
        raise UsageError("--json and --markdown are two answers", hint="ask for one of them")
    written = write_report((options.dist or _config(options).build.out).absolute())
    lines = [written.headline, str(written.page)]
    if options.markdown:
        lines = written.markdown.splitlines()
    return Answer(json=written.json, show=lambda console: show_lines(console, lines))


COMMANDS: Mapping[str, Callable[[argparse.Namespace, Progress], Answer]] = MappingProxyType(
    {
        "build": run_build,
        "fetch": run_fetch,
        "inspect": run_inspect,
        "smoke": run_smoke,
        "pythons": run_pythons,
        "sample": run_sample,
        "report": run_report,
    }
)


def _config(
    options: argparse.Namespace,
    *,
    more: Sequence[tuple[str, object]] = (),
    needs_source: bool = False,
) -> Config:
    """Return the settings of the file, and over them those of the command line."""
    path = options.config
    if path is None and _CONFIG.is_file():
        path = _CONFIG
    overrides = [parse_override(text) for text in options.overrides]
    overrides += [*more, *_from_options(options)]
    config = load(path, overrides)
    if needs_source and config.source is None and path is None:
        raise UsageError(
            "there is no repack.toml here that names a source",
            hint="give one: repack build --source WHEEL-OR-URL",
        )
    return config


def _from_options(options: argparse.Namespace) -> list[tuple[str, object]]:
    """Return the settings that options of their own stand for."""
    given: list[tuple[str, object]] = []
    if getattr(options, "source", None) is not None:
        given += _named_source(options.source)
    for option in ("mode", "emit", "python", "out"):
        value = getattr(options, option, None)
        if value is not None and options.command == "build":
            given.append((f"build.{option}", str(value) if option == "out" else value))
    if getattr(options, "driver_stub", None):
        given.append(("build.driver-stub", True))
    if getattr(options, "no_smoke", False):
        given.append(("smoke.enabled", False))
    return given


def _named_source(text: str) -> list[tuple[str, object]]:
    """Return the settings of `--source text`; a URL may end in #sha256=..., as for pip."""
    key, _ = source_from(text)
    place, mark, sha256 = text.partition("#sha256=")
    if key == "source.url" and mark:
        return [(key, place), ("source.sha256", sha256)]
    return [(key, text)]


def _supply(config: Config, options: argparse.Namespace, progress: Progress) -> Supply:
    """Return what fetches; without a configuration the pins lie in the cache."""
    cache = replace(Cache.default(), sizes_only=getattr(options, "dry_run", False))
    return Supply(
        cache,
        config.lock or cache.folder("pins") / "repack.lock",
        offline=options.offline,
        update=getattr(options, "update_lock", False),
        progress=progress,
    )
