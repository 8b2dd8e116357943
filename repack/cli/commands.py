"""What each command does, and the answer it gives; the docstring is its help."""

import argparse
import logging
import os
import shlex
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from string import Template
from typing import NamedTuple

from argcomplete.shell_integration import shellcode

from repack import results
from repack.build import BuildResult, build, fetch_source, inspect_source
from repack.config import (
    DEFAULT_PYTHONS,
    INIT_HINT,
    Config,
    SampleSource,
    load,
    load_builds,
    parse_override,
    parse_source,
)
from repack.console import Progress
from repack.emit import folder_for
from repack.errors import InputError, OutputError, RepackError, UsageError, quote_name, system_fault
from repack.fetch import Supply
from repack.fetch.cache import Cache
from repack.files import write
from repack.inspect.analysis import analyse
from repack.inspect.findings import find_findings
from repack.lock import format_value
from repack.pythons import Pythons
from repack.record import FAILED as SMOKE_FAILED
from repack.report import write_report
from repack.results import Json
from repack.smoke import smoke_wheels

_log = logging.getLogger(__name__)

CONFIG = Path("repack.toml")


class Answer(NamedTuple):
    """What a command has to say on stdout, as JSON or as tables and lines; `next_step` on stderr.

    A table is its title, its headings and its rows.
    """

    json: Json
    lines: Sequence[str] = ()
    tables: Sequence[tuple[str, Sequence[str], Sequence[Sequence[str]]]] = ()
    failed: bool = False
    next_step: str = ""


def config_of(options: argparse.Namespace, more: Sequence[tuple[str, object]] = ()) -> Config:
    """Return the settings of the file, and over them those of the command line."""
    return load(_find_file(options), [*more, *_read_overrides(options)])


def builds_of(options: argparse.Namespace) -> tuple[Config, ...]:
    """Return the settings of each build that is asked for; some source has to be named."""
    for name in options.names:
        if name.endswith(".whl") or "/" in name:
            raise UsageError(
                f"{quote_name(name)} is a wheel, not the name of a build",
                hint=f"write repack build --source {name}",
            )
    path = _find_file(options)
    configs = load_builds(path, _read_overrides(options), options.names)
    if path is None and configs[0].source is None:
        raise UsageError(
            "there is no repack.toml here that names a source",
            hint=f"{INIT_HINT}, or give one: repack build --source WHEEL-OR-URL",
        )
    return configs


def _find_file(options: argparse.Namespace) -> Path | None:
    """Return the file of settings that is named, or the one that is here."""
    if options.config is None and CONFIG.is_file():
        return CONFIG
    named: Path | None = options.config
    return named


def _read_overrides(options: argparse.Namespace) -> list[tuple[str, object]]:
    """Return the settings that the command line gives; an option's own goes before `--set`."""
    overrides = [parse_override(text) for text in options.overrides]
    if getattr(options, "source", None) is not None:
        overrides += parse_source(options.source)
    given = {key: value for key, value in vars(options).items() if value is not None}
    return overrides + [(key, given[key]) for key in sorted(given) if "." in key]


def supply_of(config: Config, options: argparse.Namespace, progress: Progress) -> Supply:
    """Return what fetches; without a configuration the pins lie in the cache."""
    return Supply(
        Cache.default(),
        config.lock,
        offline=options.offline,
        update=getattr(options, "update_lock", False),
        progress=progress,
    )


# What each command does


def run_init(options: argparse.Namespace, progress: Progress) -> Answer:
    """Write a repack.toml with comments.

    The file has the settings that most builds need, with what each is for. A file that is there
    already is left alone, and the exit code is 1.

    Examples:
        repack init
        repack init --release cudawarped/opencv-python-cuda-wheels
        repack init --requirement opencv-cu126==4.12.0
        repack init --file wheels/opencv_contrib_python-4.13.0.90-cp37-abi3-win_amd64.whl

    """
    del progress  # there is nothing to wait for
    path: Path = options.config or CONFIG
    template = resources.files("repack") / "templates" / "repack.toml"
    source = _describe_source(options, path.parent)
    text = Template(template.read_text(encoding="utf-8")).substitute(source)
    try:
        with path.open("x", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
    except FileExistsError:
        raise OutputError(
            "is there already",
            code="exists",
            file=path,
            hint="change it, or remove it and run again",
        ) from None
    lines = [f"{path}: what is built, and how; `repack build` does it"]
    return Answer({"path": str(path.absolute())}, lines)


#: What `repack init` says of a source, and what else a kind of source takes.
_ABOUT_SAMPLE = """\
# The source here is a SAMPLE: the package index's real opencv-contrib-python, whose
# cv2.pyd is given the load-time imports of a CUDA build, so that the whole job can be
# seen on any machine. Replace the line by one of these to build from your own:"""
_SAMPLE = 'sample = { opencv = "4.14.0.94", cuda = 12, driver = false }'
_ABOUT_SOURCE = "# One source; it may also be one of these:"
_MORE_OF_SOURCE = {
    "file": "",
    "release": """
# tag = "4.13.0.90"                               # without it the latest release
# asset = "*win_amd64.whl"                        # the one file of it that is meant""",
    "requirement": """
# python = "3.12"                                 # the Python that it is resolved for""",
}


def _describe_source(options: argparse.Namespace, folder: Path) -> dict[str, str]:
    """Return the lines of the source that an option names, and what is said of it.

    A wheel is named as it is seen from `folder`, where the file will be.
    """
    for kind, more in _MORE_OF_SOURCE.items():
        text = getattr(options, kind)
        if text is not None:
            load(None, [(f"source.{kind}", text)])
            if kind == "file" and not Path(text).is_absolute():
                text = Path(os.path.relpath(text, folder)).as_posix()
            return {"about": _ABOUT_SOURCE, "source": f"{kind} = {format_value(text)}{more}"}
    return {"about": _ABOUT_SAMPLE, "source": _SAMPLE}


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
    named = {config.build.name: config for config in configs if config.build.name}
    if named:
        outcomes = {
            name: _try_build(config, supply, dry_run=dry_run) for name, config in named.items()
        }
        built = [outcome for outcome in outcomes.values() if isinstance(outcome, BuildResult)]
        json = results.builds_json(outcomes, dry_run=dry_run)
    else:
        built = [_build(configs[0], supply, dry_run=dry_run)]
        json = results.build_json(built[0])
    return Answer(
        json,
        [line for result in built for line in _plan_lines(result)] if dry_run else (),
        () if dry_run else [_build_table(result) for result in built],
        failed=len(built) < len(configs) or any(result.failed for result in built),
        next_step=_name_next_step(configs[0], dry_run=dry_run),
    )


def _try_build(config: Config, supply: Supply, *, dry_run: bool) -> BuildResult | RepackError:
    """Return what a build came to; one that fails keeps no other from being made."""
    name = config.build.name
    _log.info("Build %s", name)
    try:
        result = _build(config, supply, dry_run=dry_run)
    except (UsageError, BrokenPipeError):
        raise
    except (RepackError, OSError) as error:
        supply.forget()
        fault = system_fault(error) if isinstance(error, OSError) else error
        _log.error("build %s: %s", name, fault)
        return fault
    if result.failed:
        _log.error("build %s: %s", name, results.failure_line(result))
    return result


def _build(config: Config, supply: Supply, *, dry_run: bool) -> BuildResult:
    """Return what a build came to, and log its findings and what changed in the lock."""
    result = build(config, supply, dry_run=dry_run)
    name = f"build {config.build.name}: " if config.build.name else ""
    for finding in result.record.findings:
        _log.warning("%s%s", name, results.finding_line(result.record.source.filename, finding))
    for change in result.lock_changes:
        _log.info("repack.lock: %s", change)
    return result


def _plan_lines(result: BuildResult) -> list[str]:
    name = result.record.name
    title = [f"{name}: {result.out}"] if name else []
    return [*title, *results.plan_lines(result)]


def _build_table(result: BuildResult) -> tuple[str, Sequence[str], Sequence[Sequence[str]]]:
    name = f"{result.record.name}: " if result.record.name else ""
    title = f"{name}{result.record.source.filename} -> {result.out}"
    return title, results.BUILD_HEADINGS, results.build_rows(result)


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
    dist = "" if str(folder) == "dist" else f" {shlex.quote(str(folder))}"
    return f"next: `repack report{dist}` makes a page of it, `repack publish{dist}` hands it on"


def run_fetch(options: argparse.Namespace, progress: Progress) -> Answer:
    """Download and verify the source, and print its path.

    Brings the source into the cache, compares it with repack.lock, and looks through it, so that
    a build, even one with --offline, finds it there.

    Examples:
        repack fetch
        repack fetch --source https://example.com/x.whl#sha256=...

    """
    configs = builds_of(options)
    supply = supply_of(configs[0], options, progress)
    sources: list[Json] = []
    for config in configs:
        path, url = fetch_source(config, supply, verified=True)
        inspect_source(path, config, supply)
        sources.append({"name": config.build.name, "path": str(path), "url": url})
    place: Json = {"builds": sources}
    if not configs[0].build.name:
        place = {"path": sources[0]["path"], "url": sources[0]["url"]}
    return Answer(
        {**place, "lock_changes": list(supply.keep())}, [source["path"] for source in sources]
    )


def run_inspect(options: argparse.Namespace, progress: Progress) -> Answer:
    """Say what a wheel is, which DLLs it needs, and what is wrong with it.

    Reads wheels of any origin without running anything of them. One that cannot be read does not
    keep the others from being told. A finding is a code and a sentence; with --strict any finding
    is a failed check.

    Examples:
        repack inspect dist/*.whl
        repack inspect --strict --json upstream.whl

    """
    wheels, errors = [], []
    with progress.task("Reading wheels", total=len(options.wheels), unit="steps") as task:
        for wheel in options.wheels:
            try:
                analysis = analyse(wheel, allow_startup_hook=True)
                wheels.append((analysis, find_findings(analysis, DEFAULT_PYTHONS)))
            except InputError as error:
                errors.append(error)
            task.advance(1)
    for refusal in errors:
        _log.error("%s", refusal)
    has_findings = any(findings for _, findings in wheels)
    return Answer(
        {
            "wheels": [results.inspect_json(*wheel) for wheel in wheels],
            "errors": [results.error_json(error) for error in errors],
        },
        [line for wheel in wheels for line in results.inspect_lines(*wheel)],
        failed=bool(errors) or (options.strict and has_findings),
    )


def run_smoke(options: argparse.Namespace, progress: Progress) -> Answer:
    """Install wheels on genuine Windows Pythons and import them.

    Has the Windows Python's own pip install each wheel into an empty folder, then imports cv2,
    resizes an array, encodes and decodes a picture and asks for CUDA devices, each in a process
    of its own. Without --python on those of repack.toml.

    Examples:
        repack smoke dist/*.whl
        repack smoke x.whl --python 3.12 --dll-dir cuda/bin --env CUDA_MODULE_LOADING=LAZY

    """
    config = config_of(options)
    supply = supply_of(config, options, progress)
    allowed = config.allow.startup_hook
    smoked = smoke_wheels(
        [analyse(wheel, allow_startup_hook=allowed) for wheel in options.wheels],
        config.build.python,
        config.smoke,
        supply,
        dict(options.env),
    )
    supply.keep()
    return Answer(
        {"wheels": results.smoke_json(smoked)},
        tables=[("", results.SMOKE_HEADINGS, results.smoke_rows(smoked))],
        failed=any(outcome.status == SMOKE_FAILED for _, _, outcome in smoked),
    )


def run_pythons(options: argparse.Namespace, progress: Progress) -> Answer:
    """List the Windows Pythons at hand.

    On Windows these are the installed ones, on Linux those given by smoke.interpreters and those
    that were put together for Wine; --assemble puts some together first.

    Examples:
        repack pythons
        repack pythons --assemble 3.12 3.13

    """
    config = config_of(options)
    wanted = config.build.python if getattr(options, "build.python") else ()
    supply = supply_of(config, options, progress)
    with Pythons(supply, config.smoke.interpreters) as pythons:
        has_all = True
        for version in wanted:
            try:
                pythons.provide(version)
            except RepackError as error:
                _log.error("Python %s: %s", version, error)
                has_all = False
        interpreters = pythons.at_hand()
    return Answer(
        {"pythons": [results.python_json(python) for python in interpreters]},
        tables=[
            ("", results.PYTHONS_HEADINGS, [results.python_row(python) for python in interpreters])
        ],
        failed=not has_all,
    )


def run_sample(options: argparse.Namespace, progress: Progress) -> Answer:
    """Make a sample CUDA wheel from the index's opencv-contrib-python.

    The sample is a genuine OpenCV whose import table asks for CUDA's DLLs, to try everything on
    where no CUDA build is at hand. It uses no GPU. Needs `pip install lief`.

    Examples:
        repack sample -w wheelhouse
        repack sample --cuda 13 --driver -w wheelhouse

    """
    config = config_of(options, more=[("source.sample", {})])
    if not isinstance(config.source, SampleSource):
        raise UsageError("the source is no sample", hint="leave out --set source...")
    supply = supply_of(config, options, progress)
    sample, _ = fetch_source(config, supply)
    supply.keep()
    path = options.out.absolute() / sample.name
    with folder_for(path.parent):
        write(path, sample.read_bytes())
    return Answer({"path": str(path)}, [str(path)])


def run_report(options: argparse.Namespace, progress: Progress) -> Answer:
    """Show what the last build did: report.html, report.json and report.md beside its wheels.

    Makes of build.json one page that can be handed on, the same as JSON and as Markdown: what
    each wheel did on each Python beside the untouched one, what was changed in it, which DLLs it
    carries or needs, and what was found. Of several builds, all.

    Examples:
        repack report
        repack report wheelhouse --json
        repack report --markdown

    """
    del progress  # there is nothing to wait for
    if options.json and options.markdown:
        raise UsageError("--json and --markdown are two answers", hint="ask for one of them")
    report = write_report((options.dist or config_of(options).build.out).absolute())
    lines = [report.headline, str(report.page)]
    if options.markdown:
        lines = report.markdown.splitlines()
    return Answer(report.json, lines)


def run_completion(options: argparse.Namespace, progress: Progress) -> Answer:
    """Print the script with which a shell completes repack's command lines.

    The script asks repack itself how a line goes on, so that it knows every option of the repack
    that is installed.

    Examples:
        repack completion bash > ~/.local/share/bash-completion/completions/repack
        repack completion zsh > ~/.zfunc/_repack
        repack completion fish > ~/.config/fish/completions/repack.fish
        repack completion powershell >> $PROFILE

    """
    del progress  # there is nothing to wait for
    script = shellcode(["repack"], shell=options.shell).strip()
    return Answer({"shell": options.shell, "script": script + "\n"}, script.splitlines())
