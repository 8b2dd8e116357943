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
import os
import re
import signal
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from argcomplete import autocomplete

from repack import __version__
from repack.cli.building import run_build
from repack.cli.commands import (
    Answer,
    error_json,
    run_completion,
    run_fetch,
    run_init,
    run_pythons,
    run_report,
    run_sample,
)
from repack.cli.doctoring import run_doctor, run_fix
from repack.cli.inspecting import run_inspect, run_smoke
from repack.cli.publishing import run_pin, run_publish
from repack.config import DEFAULT_PYTHONS, SETTINGS
from repack.console import Console, Progress, log_to
from repack.errors import RepackError, UsageError, system_fault
from repack.report import JSON_VERSION

_log = logging.getLogger(__name__)

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
SHELLS = ("bash", "zsh", "fish", "powershell")
_EXIT_CODES = "Exit code: 0 done, 1 bad input or a failed check, 2 usage, 130 interrupted."
#: The variables that repack itself reads; pip, Wine and Windows have their own.
VARIABLES = {
    "REPACK_CACHE": "the folder where downloads and all that is remembered are kept",
    "SOURCE_DATE_EPOCH": "the time of all members of a wheel, in seconds since 1970",
    "GH_TOKEN, GITHUB_TOKEN": "a token for releases, where source.token-env names no other",
    "NO_COLOR": "no colours on a terminal",
}
#: The width of a help text.
_WIDTH = 78


# The options


def _read_assignment(text: str) -> tuple[str, str]:
    """Return NAME and VALUE of "NAME=VALUE"."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        message = f"{text!r} is not NAME=VALUE"
        raise argparse.ArgumentTypeError(message)
    return name, value


_Option = tuple[list[str], dict[str, Any]]


def _option(words: str, text: str, **settings: Any) -> _Option:  # noqa: ANN401 - argparse's
    """Return the option of `words`, its flags and what stands for its value; none for a switch.

    A `dest` with a dot is the key of the setting that the option gives.
    """
    flags = [word for word in words.split() if word.startswith("-")]
    value = words.rsplit(maxsplit=1)[-1]
    settings["help"] = text
    if not value.startswith("-"):
        settings.setdefault("metavar", None if "choices" in settings else value)
    elif "." in settings.get("dest", ""):
        settings = {"action": "store_const", "const": True, **settings}
    else:
        settings["action"] = "store_true"
    return flags or [settings.pop("dest")], settings


_EVERYWHERE = [
    _option("--json", "print one JSON object on stdout"),
    _option("-q --quiet", "show warnings only"),
    _option("-v --verbose", "show each detail"),
]
_SETTINGS = [
    _option("--config FILE", "settings (default: repack.toml, if it is here)", type=Path),
    _option(
        "--set KEY=VALUE",
        "any key of repack.toml, such as smoke.timeout=60",
        dest="overrides",
        action="append",
        default=[],
        completer=lambda **_: [f"{key}=" for key in sorted(SETTINGS)],
    ),
    _option("--offline", "use only what is cached; download nothing"),
]
_NAMES = _option(
    "NAME",
    "a [[build]] of repack.toml (default: all of them)",
    dest="names",
    nargs="*",
)
_SOURCE = [
    _option("--source SOURCE", "a file, a URL or a requirement, instead of repack.toml's source"),
    *_SETTINGS,
    _option("--update-lock", "renew repack.lock and say what changed"),
]
_WHEELS = _option("WHEEL", "a wheel file", dest="wheels", nargs="+", type=Path)
_DIST = _option("DIST", "what a build left (default: build.out)", dest="dist", nargs="?", type=Path)
_PYTHONS: dict[str, Any] = {
    "dest": "build.python",
    "action": "append",
    "completer": lambda **_: DEFAULT_PYTHONS,
}
_PYTHON = _option(
    "PYTHON",
    "a python.exe, or the folder of an environment (default: what is active)",
    nargs="?",
    type=Path,
    dest="python",
)
_VARIABLES = _option(
    "--env NAME=VALUE",
    "an environment variable of the Python",
    type=_read_assignment,
    action="append",
    default=[],
)
_MODES = ["patch", "depend", "vendor"]
_MODE_HELP = "where the CUDA DLLs come from: the machine, NVIDIA's wheels through pip, the wheel"
_STUB_HELP = "add stand-ins for the driver's DLLs, used where there is no driver"
_PATH_HELP = "a directory put on PATH; none: the NVIDIA wheels that the wheel needs"
_NAMED_HELP = "the index that has all of it, to be named in the files; alone: publish.index-url"
_CHECK_HELP = "compare every file of the index, or what a URL serves, with what its pages say"

#: Each command: what runs it, and its options; of those in a list of their own one may be given.
COMMANDS: Mapping[str, tuple[Callable[..., Answer], Sequence[_Option | list[_Option]]]] = {
    "init": (
        run_init,
        [
            [
                _option("--release OWNER/REPO", "build from a release of GitHub"),
                _option("--requirement REQ", "build from what pip finds"),
                _option("--file WHEEL", "build from a wheel on this machine"),
                _option("--sample", "build from a sample, which needs no source (default)"),
            ],
            _option("--config FILE", "where to (default: repack.toml)", type=Path),
        ],
    ),
    "build": (
        run_build,
        [
            _NAMES,
            *_SOURCE,
            _option("--mode MODE", _MODE_HELP, dest="build.mode", choices=_MODES),
            _option("--driver-stub", _STUB_HELP, dest="build.driver-stub"),
            _option(
                "--emit EMIT",
                "a wheel for each Python, or one for all",
                dest="build.emit",
                choices=["per-python", "abi3"],
            ),
            _option("--python X.Y", "such as 3.12,3.13", **_PYTHONS),
            _option("-w --wheel-dir DIR", "where the wheels go", dest="build.out"),
            _option("--no-smoke", "do not run the wheels", dest="smoke.enabled", const=False),
            _option("--dry-run", "print the plan and stop"),
            _option("--list", "print the names of the builds and stop"),
        ],
    ),
    "fetch": (run_fetch, [_NAMES, *_SOURCE]),
    "inspect": (run_inspect, [_WHEELS, _option("--strict", "exit 1 where there are findings")]),
    "smoke": (
        run_smoke,
        [
            _WHEELS,
            _option("--python X.Y", "such as 3.12,3.13", **_PYTHONS),
            _option("--dll-dir DIR", _PATH_HELP, dest="smoke.dll-dirs", action="append"),
            _VARIABLES,
            *_SETTINGS,
        ],
    ),
    "pythons": (
        run_pythons,
        [
            _option("--assemble X.Y", "put these together for Wine", **_PYTHONS),
            *_SETTINGS,
        ],
    ),
    "sample": (
        run_sample,
        [
            _option("--opencv VERSION", "the release it is made from", dest="source.sample.opencv"),
            _option("--cuda MAJOR", "the CUDA it imports", dest="source.sample.cuda", type=int),
            _option("--driver", "import the driver's DLL too", dest="source.sample.driver"),
            _option("-w --wheel-dir DIR", "where to", dest="out", type=Path, required=True),
            *_SETTINGS,
        ],
    ),
    "pin": (
        run_pin,
        [_DIST, _option("--index-url URL", _NAMED_HELP, nargs="?", const=""), *_SETTINGS],
    ),
    "publish": (
        run_publish,
        [
            _DIST,
            [
                _option("--index-dir DIR", "a static index", dest="publish.index-dir"),
                _option(
                    "--repository-url URL",
                    "an index that takes uploads, by its URL",
                    dest="publish.repository-url",
                ),
                _option(
                    "--repository NAME",
                    "an index that takes uploads, by its name in .pypirc",
                    dest="publish.repository",
                ),
            ],
            _option("--config-file FILE", "in place of ~/.pypirc (names, passwords)", type=Path),
            _option("--index-url URL", "where pip installs from", dest="publish.index-url"),
            [
                _option("--yank VERSION", "hide this version from all who do not pin it by =="),
                _option("--unyank VERSION", "take that back"),
                _option("--remove VERSION", "take its files out of the index"),
                _option("--check URL", _CHECK_HELP, nargs="?", const=""),
            ],
            _option("--reason TEXT", "why it is yanked", default=""),
            _option("--project NAME", "whose version, where several projects have it"),
            *_SETTINGS,
        ],
    ),
    "report": (
        run_report,
        [_DIST, _option("--markdown", "print it as $GITHUB_STEP_SUMMARY takes it"), *_SETTINGS],
    ),
    "doctor": (run_doctor, [_PYTHON, _VARIABLES]),
    "fix": (
        run_fix,
        [
            _PYTHON,
            _VARIABLES,
            [
                _option("--dry-run", "say what would be written, and stop"),
                _option("--undo", "bring back what was there before"),
            ],
        ],
    ),
    "completion": (
        run_completion,
        [_option("SHELL", "the shell that completes them", dest="shell", choices=SHELLS)],
    ),
}


# The parser


class _Parser(argparse.ArgumentParser):
    """A parser whose lists of Pythons end where something else begins, such as a wheel."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # noqa: ANN401 - argparse's
        words: list[str] = []
        for word in sys.argv[1:] if args is None else args:
            is_python = re.match(r"3\.\d+t?(,|\Z)", word)
            if is_python and words[-2:-1] in (["--python"], ["--assemble"]):
                words[-1] += f",{word}"
            else:
                words.append(word)
        return super().parse_known_args(words, namespace)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    width = max(map(len, VARIABLES)) + 2
    variables = "\n".join(f"  {name:{width}}{text}" for name, text in VARIABLES.items())
    ending = f"environment:\n{variables}\n\n{_EXIT_CODES}"
    parser = _Parser(
        prog="repack",
        description="Make CUDA builds of opencv-python for Windows import on every Python, "
        "and prove it.",
        epilog=f"{ending}\nEach command has a help of its own: repack build --help",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"repack {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (run, options) in COMMANDS.items():
        text, _, examples = (inspect.getdoc(run) or "").partition("\n\nExamples:\n")
        summary, _, details = text.partition("\n\n")
        command = commands.add_parser(
            name,
            help=f"{summary[0].lower()}{summary[1:].rstrip('.')}",
            description=f"{summary}\n\n{textwrap.fill(details, _WIDTH)}".rstrip(),
            epilog=f"examples:\n{textwrap.indent(textwrap.dedent(examples), '  ')}\n\n{ending}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        _add_options(command, [*_EVERYWHERE, *options])
    return parser


def _add_options(
    parser: argparse._ActionsContainer, options: Iterable[_Option | list[_Option]]
) -> None:
    for option in options:
        if isinstance(option, list):
            _add_options(parser.add_mutually_exclusive_group(), option)
            continue
        flags, settings = option
        completer = settings.get("completer")
        action = parser.add_argument(
            *flags, **{name: value for name, value in settings.items() if name != "completer"}
        )
        if completer:
            action.completer = completer  # type: ignore[attr-defined] # argcomplete looks for it


# Running one


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code of the command line `argv` (default: this process's)."""
    parser = make_parser()
    # A stream that was closed before we began is None.
    sys.stdout = sys.stdout or io.StringIO()
    sys.stderr = sys.stderr or io.StringIO()
    # Answers a shell that asks how its line goes on, and ends; otherwise it does nothing.
    autocomplete(parser, always_complete_options=False)
    options = parser.parse_args(argv)
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
        sys.stderr.write("repack: interrupted\n")
        return INTERRUPTED


def _run(options: argparse.Namespace, progress: Progress) -> int:
    """Run a command, print its answer, and return its exit code."""
    run, _ = COMMANDS[options.command]
    try:
        answer = run(options, progress)
        code = FAILED if answer.failed else DONE
    except (RepackError, OSError) as error:
        fault = system_fault(error)
        _log.error("%s", fault)
        answer = Answer({"error": error_json(fault)})
        code = USAGE if isinstance(fault, UsageError) else FAILED
    try:
        if options.json:
            # Plain ASCII: a pipe on Windows has an encoding that few readers guess.
            sys.stdout.write(json.dumps({"version": JSON_VERSION, **answer.json}, indent=2) + "\n")
        else:
            _print_text(answer)
        sys.stdout.flush()
    except OSError as error:
        # Whose reader has gone (`repack inspect x.whl | head`) can be told nothing more; Windows
        # calls that an invalid argument.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno not in (errno.EPIPE, errno.EINVAL):
            _log.error("%s", system_fault(error))
        return FAILED
    if answer.next_step:
        _log.info("%s", answer.next_step)
    return code


def _print_text(answer: Answer) -> None:
    console = Console(sys.stdout)
    for table in answer.tables:
        console.show_table(*table)
    for line in answer.lines:
        console.show_line(line)
