"""What each command does, and the answer it gives."""

from __future__ import annotations

import logging
from types import MappingProxyType
from typing import TYPE_CHECKING

from repack import results
from repack.building import obtain_source
from repack.cli.building import run_build, run_builds, run_fetch
from repack.cli.completion import script
from repack.cli.given import Answer, config_of, supply_of
from repack.cli.init import run_init
from repack.cli.publishing import run_publish
from repack.config import SampleSource, load
from repack.errors import InputError, UsageError
from repack.fetch import Cache
from repack.files import link_or_copy
from repack.inspect import analyse
from repack.record import FAILED
from repack.results import JSON_VERSION

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

    from repack.config import Config
    from repack.console import Progress

_log = logging.getLogger(__name__)


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
    lines = [line for analysis in analyses for line in results.inspect_lines(analysis)]
    found = any(analysis.findings for analysis in analyses)
    return Answer(
        json=results.inspect_json(analyses, errors),
        show=lambda console: console.show_lines(lines),
        failed=bool(errors) or (options.strict and found),
    )


def run_smoke(options: argparse.Namespace, progress: Progress) -> Answer:
    """Try wheels on Windows Pythons."""
    from repack.building.smoking import smoke_wheels  # noqa: PLC0415 - slow to import

    config = config_of(options)
    supply = supply_of(config, options, progress)
    smoked = smoke_wheels(
        options.wheels,
        options.python or config.build.python,
        config,
        supply,
        dll_dirs=[folder.absolute() for folder in options.dll_dirs],
        env=dict(options.env),
    )
    return Answer(
        json=results.smoke_json(smoked),
        show=lambda console: console.show_table(
            "", results.SMOKE_HEADINGS, results.smoke_rows(smoked)
        ),
        failed=any(result.outcome.status == FAILED for result in smoked),
    )


def run_pythons(options: argparse.Namespace, progress: Progress) -> Answer:
    """List the Windows Pythons at hand, after putting together those asked for."""
    from repack.pythons import Pythons, Unavailable  # noqa: PLC0415 - slow to import

    config = config_of(options)
    with Pythons(
        cache=Cache.default(),
        progress=progress,
        given=config.smoke.interpreters,
        offline=options.offline,
    ) as pythons:
        made = [pythons.provide(version) for version in options.assemble]
        found = pythons.at_hand()
    missing = [each for each in made if isinstance(each, Unavailable)]
    for each in missing:
        place = "" if each.version in each.reason else f"Python {each.version}: "
        _log.error("%s%s; %s", place, each.reason, each.hint)
    return Answer(
        json=results.pythons_json(found),
        show=lambda console: console.show_table(
            "", results.PYTHONS_HEADINGS, results.pythons_rows(found)
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
    config = config_of(options, more=[("source.sample", {}), *given.items()])
    if not isinstance(config.source, SampleSource):
        raise UsageError("the source is no sample", hint="leave out --set source...")
    supply = supply_of(config, options, progress)
    made, _ = obtain_source(config, supply)
    supply.keep()
    path = options.out.absolute() / made.name
    with folder_for(path.parent):
        link_or_copy(made, path)
    json = {"version": JSON_VERSION, "path": str(path)}
    return Answer(json=json, show=lambda console: console.show_lines([str(path)]))


def run_report(options: argparse.Namespace, progress: Progress) -> Answer:
    """Show what the last build did."""
    from repack.report import write_report  # noqa: PLC0415 - slow to import

    del progress  # there is nothing to wait for
    if options.json and options.markdown:
        raise UsageError("--json and --markdown are two answers", hint="ask for one of them")
    written = write_report((options.dist or config_of(options).build.out).absolute())
    lines = [written.headline, str(written.page)]
    if options.markdown:
        lines = written.markdown.splitlines()
    return Answer(json=written.json, show=lambda console: console.show_lines(lines))


def run_pin(options: argparse.Namespace, progress: Progress) -> Answer:
    """Write the files that pin what is installed."""
    from repack.building.pinning import pin, pinning_json  # noqa: PLC0415 - slow to import

    config = config_of(options)
    dist = (options.dist or config.build.out).absolute()
    supply = supply_of(config, options, progress)
    pinning = pin(
        dist,
        supply,
        index_url=_named_index(options.index_url, config),
        obeys=config.lock is not None,
    )
    lines = [f"{file.path}: removed" if file.removed else f"{file.path}" for file in pinning.files]
    return Answer(
        json={"version": JSON_VERSION, **pinning_json(pinning)},
        show=lambda console: console.show_lines(lines),
    )


def _named_index(given: str | None, config: Config) -> str:
    """Return the index that the pin files are to name; "" for none."""
    if given is None:
        return ""
    url = given or config.publish.index_url or ""
    if not url:
        raise UsageError("--index-url has no URL", hint="give one, or set publish.index-url")
    return load(None, [("publish.index-url", url)]).publish.index_url or ""


def run_completion(options: argparse.Namespace, progress: Progress) -> Answer:
    """Print a shell's script as it is."""
    del progress
    text = script(options.shell)
    json = {"version": JSON_VERSION, "shell": options.shell, "script": text}
    return Answer(json=json, show=lambda console: console.show_lines(text.splitlines()))


COMMANDS: Mapping[str, Callable[[argparse.Namespace, Progress], Answer]] = MappingProxyType(
    {
        "init": run_init,
        "build": run_build,
        "builds": run_builds,
        "fetch": run_fetch,
        "inspect": run_inspect,
        "smoke": run_smoke,
        "pythons": run_pythons,
        "sample": run_sample,
        "pin": run_pin,
        "publish": run_publish,
        "completion": run_completion,
        "report": run_report,
    }
)
