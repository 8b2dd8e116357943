"""What most commands do, and the answer they give; the docstring is the help."""

import argparse
import contextlib
import logging
import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any, NamedTuple, TypeAlias

from argcomplete.shell_integration import shellcode

from repack.build import fetch_source, inspect_source
from repack.config import (
    Config,
    load,
    load_builds,
    parse_override,
    parse_source,
)
from repack.console import Progress
from repack.emit import folder_for
from repack.errors import OutputError, RepackError, UsageError, quote_name
from repack.fetch import Supply
from repack.fetch.cache import Cache
from repack.files import write
from repack.lock import format_value
from repack.pythons import Pythons
from repack.pythons.interpreter import Interpreter
from repack.record import Finding, Outcome
from repack.report import write_report

_log = logging.getLogger(__name__)

CONFIG = Path("repack.toml")


Json: TypeAlias = dict[str, Any]
#: Title, headings and rows.
Table: TypeAlias = tuple[str, Sequence[str], Sequence[Sequence[str]]]


class Answer(NamedTuple):
    """What a command prints on stdout, as JSON or as tables and lines; `next_step` on stderr."""

    json: Json
    lines: Sequence[str] = ()
    tables: Sequence[Table] = ()
    failed: bool = False
    next_step: str = ""


def error_json(error: RepackError) -> Json:
    """Return an error as an object."""
    return {
        "file": error.file,
        "member": error.member,
        "code": error.code,
        "message": str(error),
        "hint": error.hint,
    }


def outcome_json(outcome: Outcome) -> Json:
    """Return what a wheel did on a Python as an object."""
    return {
        "status": outcome.status,
        "reason": outcome.reason,
        "after": outcome.summary,
        "driver": outcome.driver,
    }


def finding_line(file: str, finding: Finding) -> str:
    """Return one finding as `file: code: message`."""
    place = f" ({finding.member})" if finding.member else ""
    hint = f"; {finding.hint}" if finding.hint else ""
    return f"{file}: {finding.code}: {finding.message}{place}{hint}"


def config_of(options: argparse.Namespace, more: Sequence[tuple[str, object]] = ()) -> Config:
    """Return the settings of the file, and over them those of the command line."""
    return load(_find_file(options), [*more, *_read_overrides(options)])


def builds_of(options: argparse.Namespace) -> tuple[Config, ...]:
    """Return the settings of each build that is asked for."""
    for name in options.names:
        if name.endswith(".whl") or "/" in name:
            raise UsageError(
                f"{quote_name(name)} is a wheel, not the name of a build",
                hint=f"write repack build --source {name}",
            )
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


#: What `repack init` says of a source.
_ABOUT_SAMPLE = """\
# The source here is a SAMPLE: the package index's real opencv-contrib-python, whose
# cv2.pyd is given the load-time imports of a CUDA build, so that the whole job can be
# seen on any machine. Replace the line by one of these to build from your own:"""
_SAMPLE = 'sample = { opencv = "4.14.0.94", cuda = 12, driver = false }'
_ABOUT_SOURCE = "# One source; it may also be one of these:"


def _describe_source(options: argparse.Namespace, folder: Path) -> dict[str, str]:
    """Return the lines of the source that an option names, and what is said of it.

    A wheel is named as it is seen from `folder`, where the file will be.
    """
    for kind in ("file", "release", "requirement"):
        text = getattr(options, kind)
        if text is not None:
            load(None, [(f"source.{kind}", text)])
            if kind == "file" and not Path(text).is_absolute():
                text = str(Path(text).absolute())
                with contextlib.suppress(ValueError):  # another drive of Windows
                    text = Path(os.path.relpath(text, folder)).as_posix()
            return {"about": _ABOUT_SOURCE, "source": f"{kind} = {format_value(text)}"}
    return {"about": _ABOUT_SAMPLE, "source": _SAMPLE}


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
    has_all = True
    with Pythons(supply, config.smoke.interpreters) as pythons:
        for version in wanted:
            try:
                pythons.provide(version)
            except RepackError as error:
                _log.error("Python %s: %s", version, error)
                has_all = False
        listed = [_python_json(python) for python in pythons.at_hand()]
    headings = ("Python", "version", "machine", "where from", "python.exe, or what to do")
    columns = ("python", "version", "machine", "origin", "path")
    rows = [
        [row[column] for column in columns]
        if row["available"]
        else [row["python"], "", "", row["reason"], row["hint"]]
        for row in listed
    ]
    return Answer({"pythons": listed}, tables=[("", headings, rows)], failed=not has_all)


def _python_json(python: Interpreter | str) -> Json:
    """Return a Windows Python that is here, or a version that can be put together."""
    if isinstance(python, str):
        return {
            "python": python,
            "available": False,
            "reason": "not put together yet",
            "hint": f"repack pythons --assemble {python}",
        }
    return {
        "python": python.version,
        "available": True,
        "version": python.full_version,
        "machine": python.machine,
        "origin": python.origin,
        "path": str(python.python),
    }


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
    dist = (options.dist or config_of(options).build.out).absolute()
    document, markdown = write_report(dist)
    lines = [document["headline"], str(dist / "report.html")]
    return Answer(document, markdown.splitlines() if options.markdown else lines)


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
