"""What each command does, and the answer it gives."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from repack import report
from repack.analysis import analyse
from repack.building import Supply, build, look_through, obtain_source
from repack.cli.completion import script
from repack.config import SampleSource, load, named_url, parse_override, source_from
from repack.errors import InputError, RepackError, UsageError
from repack.files import link_or_copy
from repack.outcomes import FAILED
from repack.report import JSON_VERSION, Json
from repack.sources import Cache
from repack.terminal import show_lines, show_table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence

    from repack.config import Config
    from repack.index.publishing import Published, Terms
    from repack.progress import Progress
    from repack.stores import Store
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


def run_pin(options: argparse.Namespace, progress: Progress) -> Answer:
    """Write the files that pin what is installed."""
    from repack.building.pinning import pin, pinning_json  # noqa: PLC0415 - slow to import

    config = _config(options)
    dist = (options.dist or config.build.out).absolute()
    supply = _supply(config, options, progress)
    pinning = pin(
        dist,
        supply,
        index_url=_named_index(options.index_url, config),
        obeys=config.lock is not None,
    )
    lines = [f"{file.path}: removed" if file.removed else f"{file.path}" for file in pinning.files]
    return Answer(
        json={"version": JSON_VERSION, **pinning_json(pinning)},
        show=lambda console: show_lines(console, lines),
    )


def _named_index(given: str | None, config: Config) -> str:
    """Return the index that the pin files are to name; "" for none."""
    if given is None:
        return ""
    url = given or config.publish.index_url or ""
    if not url:
        raise UsageError("--index-url has no URL", hint="give one, or set publish.index-url")
    return named_url(url)


def run_publish(options: argparse.Namespace, progress: Progress) -> Answer:
    """Put wheels into an index, or change what it says of those it has."""
    config = _config(options)
    _check_publish_options(options)
    if _uploads(options, config):
        return _upload(config, options, progress)
    if not config.publish.index_dir:
        raise UsageError(
            "no index is named",
            hint="give --index-dir DIR or --repository-url URL, or set them under [publish]",
        )
    return _publish_to_folder(config.publish.index_dir, config, options, progress)


def _uploads(options: argparse.Namespace, config: Config) -> bool:
    """Return whether wheels are uploaded; the command line decides, then the file."""
    if options.index_dir or options.yank or options.unyank or options.remove:
        return False
    named = config.publish.repository_url or config.publish.repository
    if options.repository_url or options.repository:
        return True
    if named and config.publish.index_dir:
        raise UsageError(
            "repack.toml names both a folder and an index that takes uploads",
            hint="say which: --index-dir DIR, --repository-url URL or --repository NAME",
        )
    by_twine = any(os.environ.get(name) for name in ("TWINE_REPOSITORY_URL", "TWINE_REPOSITORY"))
    return bool(named) or (by_twine and not config.publish.index_dir)


def _upload(config: Config, options: argparse.Namespace, progress: Progress) -> Answer:
    """Upload by twine."""
    from repack.index import telling  # noqa: PLC0415 - slow to import
    from repack.index.uploading import Target, upload  # noqa: PLC0415

    if options.offline:
        raise UsageError("--offline lets nothing be uploaded")
    settings = config.publish
    target = Target(
        repository_url=None if options.repository else settings.repository_url,
        repository=settings.repository,
        index_url=settings.index_url,
        config_file=options.config_file,
        allow_startup_hook=config.allow.startup_hook,
        max_size=settings.max_size,
    )
    published = upload((options.dist or config.build.out).absolute(), target, progress)
    return Answer(
        json={"version": JSON_VERSION, **telling.published_json(published)},
        show=lambda console: show_table(
            console, published.place, telling.HEADINGS, telling.published_rows(published)
        ),
    )


def _check_publish_options(options: argparse.Namespace) -> None:
    """Refuse options that contradict each other."""
    changes = options.yank or options.unyank or options.remove
    if options.reason and not options.yank:
        raise UsageError("--reason belongs to --yank, which is not given")
    if options.project and not changes:
        raise UsageError("--project belongs to --yank, --unyank or --remove; none is given")
    if options.dist and changes:
        raise UsageError(
            f"nothing of {options.dist} is published where a version is yanked or removed",
            hint="leave it out, and publish in a command of its own",
        )


def _publish_to_folder(
    place: str, config: Config, options: argparse.Namespace, progress: Progress
) -> Answer:
    """Change a static index."""
    from repack.index import telling  # noqa: PLC0415 - slow to import
    from repack.index.publishing import Terms, publish  # noqa: PLC0415
    from repack.stores import open_store  # noqa: PLC0415

    store = open_store(place)
    terms = Terms(
        allow_startup_hook=config.allow.startup_hook,
        max_size=config.publish.max_size,
        index_url=config.publish.index_url or "",
    )
    if options.yank or options.unyank or options.remove:
        published = _change_index(options, store, terms, progress)
    else:
        dist = (options.dist or config.build.out).absolute()
        published = publish(dist, store, terms, progress)
        _pin_published(dist, _supply(config, options, progress), config)
    for key in published.strays:
        _log.warning(
            "%s: no page lists it; publish it from where it came, or remove it", store.locate(key)
        )
    return Answer(
        json={"version": JSON_VERSION, **telling.published_json(published)},
        show=lambda console: show_table(
            console, published.place, telling.HEADINGS, telling.published_rows(published)
        ),
    )


def _pin_published(dist: Path, supply: Supply, config: Config) -> None:
    """Write the pin files of builds that were handed on; what stops that undoes no publishing.

    No index is named in them: where this one is served, it may not be there yet.
    """
    from repack.building.pinning import pin  # noqa: PLC0415 - slow to import
    from repack.records import read_records  # noqa: PLC0415 - as above

    if not read_records(dist):
        return
    try:
        pin(dist, supply, obeys=config.lock is not None)
    except RepackError as error:
        _log.warning("the wheels are published, and not pinned: %s", error)


def _change_index(
    options: argparse.Namespace, store: Store, terms: Terms, progress: Progress
) -> Published:
    """Yank a version, or take it out."""
    from repack.index.changes import parse_reason, parse_subject  # noqa: PLC0415 - as above
    from repack.index.publishing import remove, yank  # noqa: PLC0415

    subject = parse_subject(options.yank or options.unyank or options.remove, options.project)
    if options.remove:
        return remove(subject, store, terms, progress)
    reason = parse_reason(options.reason) if options.yank else None
    return yank(subject, reason, store, terms, progress)


def run_completion(options: argparse.Namespace, progress: Progress) -> Answer:
    """Print a shell's script as it is."""
    del progress
    text = script(options.shell)
    json = {"version": JSON_VERSION, "shell": options.shell, "script": text}
    return Answer(json=json, show=lambda console: show_lines(console, text.splitlines()))


COMMANDS: Mapping[str, Callable[[argparse.Namespace, Progress], Answer]] = MappingProxyType(
    {
        "build": run_build,
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
    for option in ("index_dir", "index_url", "repository_url", "repository"):
        if options.command == "publish" and getattr(options, option) is not None:
            given.append((f"publish.{option.replace('_', '-')}", getattr(options, option)))
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
