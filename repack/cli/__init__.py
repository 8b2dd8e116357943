"""The command line: the only place that prints, or decides on an exit code.

The docstring of a command's function is its help.
"""

import argparse
import contextlib
import errno
import inspect
import io
import json
import logging
import re
import signal
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from argcomplete import autocomplete
from packaging.version import Version

from repack import __version__
from repack.cli import building, commands, doctoring, publishing
from repack.cli.commands import Answer, describe_error
from repack.console import Console, Progress, discard, log_to
from repack.errors import RepackError, UsageError, system_fault
from repack.report import JSON_VERSION

_log = logging.getLogger(__name__)

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
SHELLS = ("bash", "zsh", "fish", "powershell")
#: The variables that repack itself reads; pip, Wine and Windows have their own.
VARIABLES = {
    "REPACK_CACHE": "the folder where downloads and all that is remembered are kept",
    "SOURCE_DATE_EPOCH": "the time of all members of a wheel, in seconds since 1970",
    "GH_TOKEN, GITHUB_TOKEN": "a token for releases, where source.token-env names no other",
    "NO_COLOR": "no colours on a terminal",
}


# The options


def _read_assignment(text: str) -> tuple[str, str]:
    """Return NAME and VALUE of "NAME=VALUE"."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        message = f"{text!r} is not NAME=VALUE"
        raise argparse.ArgumentTypeError(message)
    return name, value


def _read_path(text: str) -> Path:
    """Return a path; `Path` would make of a URL a text whose password is not seen to be one."""
    if "://" in text:
        message = "a URL is not a file or folder; `repack fetch --source URL` downloads a wheel"
        raise argparse.ArgumentTypeError(message)
    return Path(text)


_Option = tuple[list[str], dict[str, Any]]


def _option(words: str, text: str, dest: str = "", **settings: Any) -> _Option:  # noqa: ANN401 - argparse's
    """Return the option of `words`, its flags and what stands for its value; none for a switch.

    A `dest` with a dot is the key of the setting that the option gives.
    """
    flags = [word for word in words.split() if word.startswith("-")]
    value = words.rsplit(maxsplit=1)[-1]
    settings["help"] = text
    if dest and flags:
        settings["dest"] = dest
    if not value.startswith("-"):
        settings.setdefault("metavar", None if "choices" in settings else value)
    elif "." in dest:
        settings = {"action": "store_const", "const": True, **settings}
    else:
        settings["action"] = "store_true"
    return flags or [dest], settings


_LIST: dict[str, Any] = {"action": "append", "default": []}
_EVERYWHERE = [
    _option("--json", "print one JSON object on stdout"),
    _option("-q --quiet", "show warnings only"),
    _option("-v --verbose", "show each detail"),
]
_SETTINGS = [
    _option("--config FILE", "settings (default: repack.toml, if it is here)", type=_read_path),
    _option("--set KEY=VALUE", "any key of it, such as smoke.timeout=60", "overrides", **_LIST),
    _option("--offline", "use only what is cached; download nothing"),
]
_SOURCE = [
    _option("NAME", "a [[build]] of repack.toml (default: all of them)", "names", nargs="*"),
    _option("--source SOURCE", "a file, a URL or a requirement, instead of repack.toml's source"),
    *_SETTINGS,
    _option("--update-lock", "renew repack.lock and say what changed"),
]
_WHEELS = _option("WHEEL", "a wheel file", "wheels", nargs="+", type=_read_path)
_DIST = _option(
    "DIST", "what a build left (default: build.out)", "dist", nargs="?", type=_read_path
)
_PYTHONS = _option("--python X.Y", "such as 3.12,3.13", "build.python", action="append")
_VARIABLES = _option(
    "--env NAME=VALUE", "an environment variable of the Python", type=_read_assignment, **_LIST
)
_PYTHON_HELP = "a python.exe, or the folder of an environment (default: what is active)"
_INSTALLED = [
    _option("PYTHON", _PYTHON_HELP, "python", nargs="?", type=_read_path),
    _VARIABLES,
]
_MODE_HELP = "where the CUDA DLLs come from: the machine, NVIDIA's wheels through pip, the wheel"
_STUB_HELP = "add stand-ins for the driver's DLLs, used where there is no driver"
_EMIT_HELP = "a wheel for each Python, or one for all"
_PATH_HELP = "a directory put on PATH; none: the NVIDIA wheels that the wheel needs"
_NAMED_HELP = "the index that has all of it, to be named in the files; alone: publish.index-url"
_YANK_HELP = "hide this version from all who do not pin it by =="
_CHECK_HELP = "compare every file of the index, or what a URL serves, with what its pages say"

#: The options of each command, by what runs it; of those in a list of their own one may be given.
COMMANDS: Mapping[Callable[..., Answer], Sequence[_Option | list[_Option]]] = {
    commands.run_init: [
        [
            _option("--release OWNER/REPO", "build from a release of GitHub"),
            _option("--requirement REQ", "build from what pip finds"),
            _option("--file WHEEL", "build from a wheel on this machine"),
            _option("--sample", "build from a sample, which needs no source (default)"),
        ],
        _option("--config FILE", "where to (default: repack.toml)", type=_read_path),
    ],
    building.run_build: [
        *_SOURCE,
        _option("--mode MODE", _MODE_HELP, "build.mode", choices=["patch", "depend", "vendor"]),
        _option("--driver-stub", _STUB_HELP, "build.driver-stub"),
        _option("--emit EMIT", _EMIT_HELP, "build.emit", choices=["per-python", "abi3"]),
        _PYTHONS,
        _option("-w --wheel-dir DIR", "where the wheels go", "build.out"),
        _option("--no-smoke", "do not run the wheels", "smoke.enabled", const=False),
        _option("--dry-run", "print the plan and stop"),
        _option("--list", "print the names of the builds and stop"),
    ],
    commands.run_fetch: _SOURCE,
    commands.run_inspect: [_WHEELS, _option("--strict", "exit 1 where there are findings")],
    commands.run_smoke: [
        _WHEELS,
        _PYTHONS,
        _option("--dll-dir DIR", _PATH_HELP, "smoke.dll-dirs", action="append"),
        _VARIABLES,
        *_SETTINGS,
    ],
    commands.run_pythons: [
        _option("--assemble X.Y", "put these together", "build.python", nargs="+"),
        *_SETTINGS,
    ],
    commands.run_sample: [
        _option("--opencv VERSION", "the release it is made from", "source.sample.opencv"),
        _option("--cuda MAJOR", "the CUDA it imports", "source.sample.cuda", type=int),
        _option("--driver", "import the driver's DLL too", "source.sample.driver"),
        _option("-w --wheel-dir DIR", "where to", "out", type=_read_path, required=True),
        *_SETTINGS,
    ],
    publishing.run_pin: [
        _DIST,
        _option("--index-url URL", _NAMED_HELP, nargs="?", const=""),
        *_SETTINGS,
    ],
    publishing.run_publish: [
        _DIST,
        [
            _option("--index-dir DIR", "a static index", "publish.index-dir"),
            _option("--repository-url URL", "an index for uploads", "publish.repository-url"),
            _option("--repository NAME", "its name in .pypirc instead", "publish.repository"),
        ],
        _option("--config-file FILE", "in place of ~/.pypirc (names, passwords)", type=_read_path),
        _option("--index-url URL", "where pip installs from", "publish.index-url"),
        [
            _option("--yank VERSION", _YANK_HELP, type=Version),
            _option("--unyank VERSION", "take that back", type=Version),
            _option("--remove VERSION", "take its files out of the index", type=Version),
            _option("--check URL", _CHECK_HELP, nargs="?", const=""),
        ],
        _option("--reason TEXT", "why it is yanked", default=""),
        _option("--project NAME", "whose version, where several projects have it"),
        *_SETTINGS,
    ],
    commands.run_report: [
        _DIST,
        _option("--markdown", "print it as $GITHUB_STEP_SUMMARY takes it"),
        *_SETTINGS,
    ],
    doctoring.run_doctor: _INSTALLED,
    doctoring.run_fix: [
        *_INSTALLED,
        [
            _option("--dry-run", "say what would be written, and stop"),
            _option("--undo", "bring back what was there before"),
        ],
    ],
    commands.run_completion: [
        _option("SHELL", "the shell that completes them", "shell", choices=SHELLS),
    ],
}


# The parser


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    variables = "\n".join(f"  {name:24}{text}" for name, text in VARIABLES.items())
    codes = "Exit code: 0 done, 1 bad input or a failed check, 2 usage, 130 interrupted."
    ending = f"environment:\n{variables}\n\n{codes}"
    parser = argparse.ArgumentParser(
        prog="repack",
        description="Make CUDA builds of opencv-python for Windows import on every Python, "
        "and prove it.",
        epilog=f"{ending}\nEach command has a help of its own: repack build --help",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"repack {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for run, options in COMMANDS.items():
        text, _, examples = (inspect.getdoc(run) or "").partition("\n\nExamples:\n")
        summary, _, details = text.partition("\n\n")
        command = subparsers.add_parser(
            run.__name__.removeprefix("run_"),
            help=f"{summary[0].lower()}{summary[1:].rstrip('.')}",
            description=f"{summary}\n\n{textwrap.fill(details, 78)}".rstrip(),
            epilog=f"examples:\n{textwrap.indent(textwrap.dedent(examples), '  ')}\n\n{ending}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.set_defaults(run=run)
        _add_options(command, [*_EVERYWHERE, *options])
    return parser


def _join_pythons(words: Sequence[str]) -> list[str]:
    """Return the words with "--python 3.12 3.13 x.whl" as "--python 3.12,3.13 x.whl".

    `nargs="+"` would take the wheel for a Python.
    """
    joined: list[str] = []
    for word in words:
        before = " ".join(joined[-2:])
        if re.search(r"(^| )--python[ =]\S+$", before) and re.match(r"3\.\d+t?(,|\Z)", word):
            joined[-1] += f",{word}"
        else:
            joined.append(word)
    return joined


def _add_options(
    parser: argparse._ActionsContainer, options: Iterable[_Option | list[_Option]]
) -> None:
    for option in options:
        if isinstance(option, list):
            _add_options(parser.add_mutually_exclusive_group(), option)
            continue
        flags, settings = option
        parser.add_argument(*flags, **settings)


# Running one


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code of the command line `argv` (default: this process's)."""
    parser = make_parser()
    # A stream that was closed before we began is None.
    sys.stdout = sys.stdout or io.StringIO()
    sys.stderr = sys.stderr or io.StringIO()
    # Answers a shell that asks how its line goes on, and ends; otherwise it does nothing.
    autocomplete(parser, always_complete_options=False)
    options = parser.parse_args(_join_pythons(sys.argv[1:] if argv is None else argv))
    console = Console(sys.stderr)
    verbosity = options.verbose - options.quiet
    log_to(console, verbosity)
    with contextlib.suppress(ValueError):  # not the main thread
        # A polite kill cleans up as an interrupt does.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A character that stdout's encoding lacks is escaped rather than ends everything.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return _run(options, Progress(console if verbosity >= 0 else None))
    except KeyboardInterrupt:
        _log.critical("repack: interrupted")
        return INTERRUPTED


def _run(options: argparse.Namespace, progress: Progress) -> int:
    """Run a command, print its answer, and return its exit code."""
    try:
        answer = options.run(options, progress)
        code = FAILED if answer.failed else DONE
    except (RepackError, OSError) as error:
        fault = system_fault(error)
        _log.error("%s", fault)
        answer = Answer({"error": describe_error(fault)})
        code = USAGE if isinstance(fault, UsageError) else FAILED
    try:
        _print(answer, as_json=options.json)
    except OSError as error:
        # Whose reader has gone (`repack inspect x.whl | head`) can be told nothing more; Windows
        # calls that an invalid argument.
        discard(sys.stdout)
        if error.errno not in (errno.EPIPE, errno.EINVAL):
            _log.error("%s", system_fault(error))
        return FAILED
    return code


def _print(answer: Answer, *, as_json: bool) -> None:
    """Write the answer to stdout."""
    if as_json:
        # Plain ASCII: a pipe on Windows has an encoding that few readers guess.
        sys.stdout.write(json.dumps({"version": JSON_VERSION, **answer.json}, indent=2) + "\n")
    else:
        console = Console(sys.stdout)
        for part in answer.text:
            if isinstance(part, str):
                console.show_line(part)
            else:
                console.show_table(part)
    sys.stdout.flush()
