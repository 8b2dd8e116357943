"""What most commands do, and the answer they give; the docstring is the help."""

import argparse
import logging
import re
import textwrap
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import msgspec
from argcomplete.shell_integration import shellcode

from repack.build import fetch_source, inspect_source
from repack.config import (
    DEFAULT_PYTHONS,
    Config,
    load,
    load_builds,
    parse_override,
    parse_source,
)
from repack.console import Progress
from repack.dlls.families import Kind
from repack.emit import folder_for
from repack.errors import InputError, OutputError, RepackError
from repack.fetch import Supply
from repack.fetch.cache import Cache
from repack.files import write
from repack.inspect import Analysis, analyse
from repack.inspect.findings import find_findings
from repack.lock import format_value
from repack.plan import describe_need, describe_source
from repack.pythons import Pythons
from repack.record import FAILED, Finding
from repack.report import list_reasons, write_report
from repack.smoke import smoke_wheels

_log = logging.getLogger(__name__)
CONFIG = Path("repack.toml")
_ONE_OF = "# One source; it may also be one of these:"
#: Kinds of DLLs that somebody has to see to, where they are not in the wheel.
_WORTH_A_LINE = {Kind.CUDA, Kind.CUDNN, Kind.DRIVER, Kind.UNKNOWN}

Json: TypeAlias = dict[str, Any]
#: A line, or the rows of a table, of which the first are its headings.
Text: TypeAlias = str | Sequence[Sequence[str]]


class Answer(NamedTuple):
    """What a command prints on stdout, as JSON or as text; whether it ends with 1."""

    json: Json
    text: Sequence[Text] = ()
    failed: bool = False


def describe_error(error: RepackError) -> Json:
    """Return an error as an object, its parts apart."""
    return {**vars(error), "message": str(error)}


def format_finding(file: str, finding: Finding) -> str:
    """Return one finding as `file: code: message`."""
    place = f" ({finding.member})" if finding.member else ""
    hint = f"; {finding.hint}" if finding.hint else ""
    return f"{file}: {finding.code}: {finding.message}{place}{hint}"


# Settings


def config_of(options: argparse.Namespace, more: Sequence[tuple[str, object]] = ()) -> Config:
    """Return the settings of the file, and over them those of the command line."""
    return load(_find_file(options), [*more, *_read_overrides(options)])


def builds_of(options: argparse.Namespace) -> tuple[Config, ...]:
    """Return the settings of each build that is asked for."""
    return load_builds(_find_file(options), _read_overrides(options), options.names)


def _find_file(options: argparse.Namespace) -> Path | None:
    """Return the file of settings that is named, or the one that is here."""
    return options.config or (CONFIG if CONFIG.is_file() else None)


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
        Cache.default(progress),
        config.lock,
        offline=options.offline,
        update=getattr(options, "update_lock", False),
    )


# What each command does


def run_init(options: argparse.Namespace, _progress: Progress) -> Answer:
    """Write a repack.toml with comments.

    The file has the settings that most builds need, with what each is for. A file that is there
    already is left alone, and the exit code is 1.

    Examples:
        repack init
        repack init --release cudawarped/opencv-python-cuda-wheels
        repack init --requirement opencv-cu126==4.12.0
        repack init --file wheels/opencv_contrib_python-4.13.0.90-cp37-abi3-win_amd64.whl

    """
    path: Path = options.config or CONFIG
    text = (resources.files("repack") / "templates" / "repack.toml").read_text(encoding="utf-8")
    for kind in ("file", "release", "requirement"):
        if (value := getattr(options, kind)) is not None:
            load(None, [(f"source.{kind}", value)])  # refuses what it cannot be
            if kind == "file" and options.config:  # paths in it are relative to its folder
                value = str(Path(value).absolute())
            source = f"{kind} = {format_value(value)}"
            text = re.sub("(?m)^sample = .*$", source.replace("\\", r"\\"), text)
            text = re.sub("(?s)# The source here is a SAMPLE.*?:\n", f"{_ONE_OF}\n", text)
    if path.exists():
        hint = "change it, or remove it and run again"
        raise OutputError("is there already", code="exists", file=path, hint=hint)
    write(path, text.encode())
    lines = [f"{path}: what is built, and how; `repack build` does it"]
    return Answer({"path": str(path.absolute())}, lines)


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
        path, url, sha256 = fetch_source(config, supply)
        inspect_source(path, sha256, config, supply)
        sources.append({"name": config.build.name, "path": str(path), "url": url})
    place: Json = {"builds": sources} if configs[0].build.name else sources[0]
    paths = [source["path"] for source in sources]
    return Answer({**place, "lock_changes": list(supply.keep())}, paths)


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
                # The first Python that a NumPy 2 has a wheel for is 3.9.
                wheels.append((analysis, find_findings(analysis, ("3.9", *DEFAULT_PYTHONS))))
            except InputError as error:
                _log.error("%s", error)
                errors.append(describe_error(error))
            task.advance(1)
    has_findings = any(findings for _, findings in wheels)
    return Answer(
        {
            "wheels": [_describe_wheel(*wheel) for wheel in wheels],
            "errors": errors,
        },
        [line for wheel in wheels for line in _list_facts(*wheel)],
        failed=bool(errors) or (options.strict and has_findings),
    )


def _describe_wheel(analysis: Analysis, findings: Sequence[Finding]) -> Json:
    """Return a wheel's facts and findings, in the words of build.json where it has them."""
    return {
        **msgspec.to_builtins(describe_source(analysis, "")),
        "path": str(analysis.wheel.path),
        "tags": sorted(map(str, analysis.wheel.filename.tags)),
        "numpy": analysis.numpy or None,
        "native": analysis.native,
        "needs": [msgspec.to_builtins(describe_need(need)) for need in analysis.needs],
        "findings": msgspec.to_builtins(findings),
    }


def _list_facts(analysis: Analysis, findings: Sequence[Finding]) -> Iterator[str]:
    """Yield a wheel's facts and findings, one greppable line each."""
    source = describe_source(analysis, "")
    yield source.filename
    what = f"{source.name} {source.version} for {analysis.wheel.filename.tag}"
    built_with = f"CUDA {source.cuda}" if source.cuda else "no CUDA"
    yield f"  {what}, {built_with}, NumPy ABI {analysis.numpy or 'unknown'}"
    others: dict[str, list[str]] = {}
    for need in analysis.needs:
        if need.in_wheel is None and need.dll.kind in _WORTH_A_LINE:
            when = "by delay-load" if need.delayed else "at load time"
            modules = textwrap.shorten(", ".join(need.needed_by), 60, placeholder=" ...")
            yield f"  needs {need.dll.name} {when} ({need.dll.family}), for {modules}"
        else:
            place = "in the wheel" if need.in_wheel else need.dll.family
            others.setdefault(place, []).append(need.dll.name)
    yield from (f"  {place}: {', '.join(names)}" for place, names in sorted(others.items()))
    yield from (format_finding(source.filename, finding) for finding in findings)


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
    wheels = [analyse(wheel, allow_startup_hook=allowed) for wheel in options.wheels]
    outcomes = smoke_wheels(wheels, config.build.python, config.smoke, supply, dict(options.env))
    supply.keep()
    table = [("Wheel", "Python", "what it did")]
    rows = []
    for path, python, outcome in outcomes:
        table.append((path.name, python, outcome.summary))
        rows.append({"path": str(path), "python": python, **msgspec.to_builtins(outcome)})
    failed = any(outcome.status == FAILED for _, _, outcome in outcomes)
    return Answer({"wheels": rows}, [table, *list_reasons(rows)], failed=failed)


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
        for version in wanted:
            pythons.provide(version)
        candidates = pythons.candidates
    headings = ("python", "version", "machine", "origin", "path")
    pythons_here = [
        (python.version, python.full_version, python.machine, python.origin, str(python.python))
        for python in candidates
        if python.python.is_file()
    ]
    missing = [python.version for python in candidates if not python.python.is_file()]
    hints = [f"{python}: repack pythons --assemble {python}" for python in missing]
    rows = [dict(zip(headings, row, strict=True)) for row in pythons_here]
    return Answer({"pythons": rows, "not_assembled": missing}, [[headings, *pythons_here], *hints])


def run_sample(options: argparse.Namespace, progress: Progress) -> Answer:
    """Make a sample CUDA wheel from the index's opencv-contrib-python.

    The sample is a genuine OpenCV whose import table asks for CUDA's DLLs, to try everything on
    where no CUDA build is at hand. It uses no GPU. Needs `pip install lief`.

    Examples:
        repack sample -w wheelhouse
        repack sample --cuda 13 --driver -w wheelhouse

    """
    config = config_of(options, more=[("source.sample", {})])
    supply = supply_of(config, options, progress)
    sample, _, _ = fetch_source(config, supply)
    supply.keep()
    path = options.out.absolute() / sample.name
    with folder_for(path.parent):
        write(path, sample.read_bytes())
    return Answer({"path": str(path)}, [str(path)])


def run_report(options: argparse.Namespace, _progress: Progress) -> Answer:
    """Show what the last build did: report.html, report.json and report.md beside its wheels.

    Makes of build.json one page that can be handed on, the same as JSON and as Markdown: what
    each wheel did on each Python beside the untouched one, what was changed in it, which DLLs it
    carries or needs, and what was found. Of several builds, all.

    Examples:
        repack report
        repack report wheelhouse --json
        repack report --markdown

    """
    dist = (options.dist or config_of(options).build.out).absolute()
    document, markdown = write_report(dist)
    lines = [document["headline"], str(dist / "report.html")]
    return Answer(document, markdown.splitlines() if options.markdown else lines)


def run_completion(options: argparse.Namespace, _progress: Progress) -> Answer:
    """Print the script with which a shell completes repack's command lines.

    The script asks repack itself how a line goes on, so that it knows every option of the repack
    that is installed.

    Examples:
        repack completion bash > ~/.local/share/bash-completion/completions/repack
        repack completion zsh > ~/.zfunc/_repack
        repack completion fish > ~/.config/fish/completions/repack.fish
        repack completion powershell >> $PROFILE

    """
    script = shellcode(["repack"], shell=options.shell).strip()
    return Answer({"shell": options.shell, "script": script + "\n"}, script.splitlines())
