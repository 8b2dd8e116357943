"""The command line as users know it: commands, options and their help."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from repack import __version__
from repack.cli.completion import SHELLS, build_names, pythons, settings
from repack.cli.texts import description_of, epilog_of, epilog_of_all

if TYPE_CHECKING:
    from collections.abc import Sequence

_PYTHON = re.compile(r"3\.\d+t?")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="repack",
        description="Make CUDA builds of opencv-python for Windows import on every Python, "
        "and prove it.",
        epilog=epilog_of_all(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"repack {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for add in (
        *(_add_init, _add_build, _add_builds, _add_fetch, _add_inspect, _add_smoke, _add_pythons),
        *(_add_sample, _add_pin, _add_publish, _add_report),
    ):
        add(commands)
    _add_completion(commands)
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    summary: str,
    examples: Sequence[str],
) -> argparse.ArgumentParser:
    """Return the parser of one command, with the options that all commands share."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=description_of(name, summary),
        epilog=epilog_of(examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.add_argument("-q", "--quiet", action="store_true", help="show warnings only")
    parser.add_argument("-v", "--verbose", action="store_true", help="show each detail")
    return parser


def _add_init(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands,
        "init",
        "write a repack.toml with comments",
        (
            "repack init",
            "repack init --release cudawarped/opencv-python-cuda-wheels",
            "repack init --requirement opencv-cu126==4.12.0",
            "repack init --file wheels/opencv_contrib_python-4.13.0.90-cp37-abi3-win_amd64.whl",
        ),
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--release", metavar="OWNER/REPO", help="build from a release of GitHub")
    source.add_argument("--requirement", metavar="REQ", help="build from what pip finds")
    source.add_argument("--file", metavar="WHEEL", help="build from a wheel on this machine")
    source.add_argument(
        "--sample", action="store_true", help="build from a sample, which needs no source (default)"
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="where to (default: repack.toml)"
    )


def _add_build(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands,
        "build",
        "fetch, verify, patch and smoke-test wheels for each Python",
        (
            "repack build",
            "repack build --source opencv_contrib_python-4.13.0.90-cp37-abi3-win_amd64.whl",
            "repack build --python 3.12 3.13 --no-smoke -w wheelhouse",
            'repack build --mode vendor --set \'vendor.families=["npp", "cudart"]\'',
            "repack build --dry-run --set build.emit=abi3",
            "repack build cu12 cu13",
        ),
    )
    _add_names(parser)
    option = parser.add_argument(
        "--build",
        dest="builds",
        action="append",
        default=[],
        metavar="NAME",
        help="the same as NAME, for a script; may be given again",
    )
    option.completer = build_names  # type: ignore[attr-defined] # argcomplete looks for it
    _add_source_options(parser)
    parser.add_argument(
        "--mode",
        choices=["patch", "depend", "vendor"],
        help="where the CUDA DLLs come from: the machine, NVIDIA's wheels through pip, or the "
        "wheel itself",
    )
    parser.add_argument(
        "--driver-stub",
        action="store_true",
        default=None,
        help="add stand-ins for the driver's DLLs, used where there is no driver",
    )
    parser.add_argument(
        "--emit", choices=["per-python", "abi3"], help="a wheel for each Python, or one for all"
    )
    _add_python_option(parser, "a Python to make a wheel for, such as 3.12")
    parser.add_argument(
        "-w", "--wheel-dir", dest="out", type=Path, metavar="DIR", help="where the wheels go"
    )
    parser.add_argument("--no-smoke", action="store_true", help="do not run the wheels")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and stop")


def _add_names(parser: argparse.ArgumentParser) -> None:
    option = parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="a [[build]] of repack.toml (default: all of them)",
    )
    option.completer = build_names  # type: ignore[attr-defined] # argcomplete looks for it


def _add_builds(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands,
        "builds",
        "print the names of the builds in repack.toml",
        ("repack builds", "repack builds --json"),
    )
    _add_config_options(parser)


def _add_fetch(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands,
        "fetch",
        "download and verify the source, and print its path",
        ("repack fetch", "repack fetch --source https://example.com/x.whl#sha256=..."),
    )
    _add_names(parser)
    _add_source_options(parser)


def _add_inspect(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands,
        "inspect",
        "say what a wheel is, which DLLs it needs, and what is wrong with it",
        ("repack inspect dist/*.whl", "repack inspect --strict --json upstream.whl"),
    )
    _add_wheels(parser)
    parser.add_argument("--strict", action="store_true", help="exit 1 where there are findings")


def _add_smoke(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands,
        "smoke",
        "install wheels on genuine Windows Pythons and import them",
        (
            "repack smoke dist/*.whl",
            "repack smoke x.whl --python 3.12 --dll-dir cuda/bin --env CUDA_MODULE_LOADING=LAZY",
        ),
    )
    _add_wheels(parser)
    _add_python_option(parser, "a Python to try the wheels on, such as 3.12")
    parser.add_argument(
        "--dll-dir",
        dest="dll_dirs",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="a directory put on PATH; none: the NVIDIA wheels that the wheel needs",
    )
    parser.add_argument(
        "--env",
        type=_assignment,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an environment variable of the program under test",
    )
    _add_config_options(parser)


def _add_pythons(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands,
        "pythons",
        "list the Windows Pythons at hand",
        ("repack pythons", "repack pythons --assemble 3.12 3.13"),
    )
    parser.add_argument(
        "--assemble",
        nargs="+",
        action="extend",
        default=[],
        type=_python,
        metavar="X.Y",
        help="put these together for Wine",
    )
    _add_config_options(parser)


def _add_sample(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands,
        "sample",
        "make a sample CUDA wheel from the index's opencv-contrib-python",
        ("repack sample -w wheelhouse", "repack sample --cuda 13 --driver -w wheelhouse"),
    )
    parser.add_argument("--opencv", metavar="VERSION", help="the release it is made from")
    parser.add_argument("--cuda", type=int, choices=[11, 12, 13], help="the CUDA it imports")
    parser.add_argument(
        "--driver", action="store_true", default=None, help="import the driver's DLL too"
    )
    parser.add_argument(
        "-w", "--wheel-dir", dest="out", type=Path, required=True, metavar="DIR", help="where to"
    )
    _add_config_options(parser)


def _add_pin(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands,
        "pin",
        "write requirements, constraints and pylock.toml with the hashes of what is installed",
        (
            "repack pin",
            "repack pin dist --offline",
            "repack pin dist --index-url https://index.example.com/simple",
        ),
    )
    parser.add_argument(
        "dist", nargs="?", type=Path, metavar="DIST", help="what a build left (default: build.out)"
    )
    parser.add_argument(
        "--index-url",
        nargs="?",
        const="",
        metavar="URL",
        help="the index that has all of it, to be named in the files; without a URL: "
        "publish.index-url",
    )
    _add_config_options(parser)


def _add_publish(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands,
        "publish",
        "put wheels into a package index",
        (
            "repack publish --index-dir /srv/simple",
            "repack publish wheelhouse --index-dir //server/share/simple --json",
            "repack publish --repository-url https://pypi.example.com/",
            "repack publish --index-dir s3://bucket/simple --check",
            'repack publish --index-dir /srv/simple --yank 4.13.0.90+cu126 --reason "no cuDNN"',
        ),
    )
    parser.add_argument(
        "dist", nargs="?", type=Path, metavar="DIST", help="what a build left (default: build.out)"
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--index-dir", metavar="DIR", help="a static index: a folder that a web server serves"
    )
    where.add_argument(
        "--repository-url", metavar="URL", help="an index that takes uploads, as twine's option"
    )
    where.add_argument(
        "--repository", metavar="NAME", help="an index that takes uploads, by its name in .pypirc"
    )
    parser.add_argument(
        "--config-file", type=Path, metavar="FILE", help="in place of ~/.pypirc (names, passwords)"
    )
    parser.add_argument(
        "--index-url", metavar="URL", help="where pip installs from (default for uploads: found)"
    )
    _add_change_options(parser)
    _add_config_options(parser)


def _add_change_options(parser: argparse.ArgumentParser) -> None:
    """Add what can be done to wheels that a static index has, in place of adding more."""
    change = parser.add_mutually_exclusive_group()
    change.add_argument(
        "--yank", metavar="VERSION", help="let none but who pins it by == install this version"
    )
    change.add_argument("--unyank", metavar="VERSION", help="take that back")
    change.add_argument("--remove", metavar="VERSION", help="take its files out of the index")
    change.add_argument(
        "--check",
        action="store_true",
        help="compare every file and page of the index with what its pages say; write nothing",
    )
    parser.add_argument("--reason", default="", metavar="TEXT", help="why it is yanked")
    parser.add_argument(
        "--project", metavar="NAME", help="whose version, where several projects have it"
    )


def _add_completion(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands,
        "completion",
        "print the script with which a shell completes repack's command lines",
        (
            "repack completion bash > ~/.local/share/bash-completion/completions/repack",
            "repack completion zsh > ~/.zfunc/_repack",
            "repack completion fish > ~/.config/fish/completions/repack.fish",
            "repack completion powershell >> $PROFILE",
        ),
    )
    parser.add_argument("shell", choices=SHELLS, help="the shell that completes them")


def _add_report(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands,
        "report",
        "show what the last build did: report.html, report.json and report.md beside its wheels",
        (
            "repack report",
            "repack report wheelhouse --json",
            "repack report --markdown",
        ),
    )
    parser.add_argument(
        "dist", nargs="?", type=Path, metavar="DIST", help="what a build left (default: build.out)"
    )
    parser.add_argument(
        "--markdown",
        action="store_true",
        help="print the report as Markdown, as $GITHUB_STEP_SUMMARY takes it",
    )
    _add_config_options(parser)


def _add_wheels(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("wheels", nargs="+", type=Path, metavar="WHEEL", help="a wheel file")


def _add_source_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--source", metavar="WHEEL-OR-URL", help="the wheel to start from, instead of repack.toml's"
    )
    _add_config_options(parser)
    parser.add_argument(
        "--update-lock", action="store_true", help="renew repack.lock and say what changed"
    )


def _add_config_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="settings (default: repack.toml, if it is here)"
    )
    option = parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any key of repack.toml, such as smoke.timeout=60",
    )
    option.completer = settings  # type: ignore[attr-defined] # argcomplete looks for it
    parser.add_argument(
        "--offline", action="store_true", help="use only what is cached; download nothing"
    )


def _add_python_option(parser: argparse.ArgumentParser, text: str) -> None:
    option = parser.add_argument(
        "--python", nargs="+", action="extend", type=_python, metavar="X.Y", help=text
    )
    option.completer = pythons  # type: ignore[attr-defined] # as above


def _python(text: str) -> str:
    """Return `text` if it names a Python ("3.12", "3.14t")."""
    if not _PYTHON.fullmatch(text):
        message = f"{text!r} is not a Python version such as 3.12"
        raise argparse.ArgumentTypeError(message)
    return text


def _assignment(text: str) -> tuple[str, str]:
    """Return NAME and VALUE of "NAME=VALUE"."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        message = f"{text!r} is not NAME=VALUE"
        raise argparse.ArgumentTypeError(message)
    return name, value
