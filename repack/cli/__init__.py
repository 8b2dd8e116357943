"""The commands; the only place that prints or decides on an exit code."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from typing import TYPE_CHECKING

from repack.cli.completion import complete
from repack.cli.parser import make_parser
from repack.console import Console, Progress, log_to
from repack.errors import RepackError, UsageError, system_fault

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from types import FrameType

    from repack.cli.given import Answer
    from repack.results import Json

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code of the command line `argv` (default: this process's)."""
    parser = make_parser()
    complete(parser)
    options = parser.parse_args(argv)
    console = Console(sys.stderr, may_fail=True)
    verbosity = options.verbose - options.quiet
    log_to(console, verbosity)
    _end_on_terminate()
    _say_what_cannot_be_written()
    try:
        return _done(options, Progress(console if verbosity >= 0 else None))
    except KeyboardInterrupt:
        sys.stderr.write("repack: interrupted\n")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has gone (`repack inspect x.whl | head`); nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _done(options: argparse.Namespace, progress: Progress) -> int:
    """Return the exit code of a command, once it has said what it has to say."""
    # Whoever asks for help, or has mistyped, need not wait until all that a command needs is there.
    from repack.cli.commands import COMMANDS  # noqa: PLC0415

    try:
        answer = COMMANDS[options.command](options, progress)
        _tell(options, answer)
    except RepackError as error:
        _refuse(options, error)
        return USAGE if isinstance(error, UsageError) else FAILED
    except BrokenPipeError:
        raise
    except OSError as error:
        # A disk or a system that fails where no step expects it: not a fault to be traced here.
        _refuse(options, system_fault(error))
        return FAILED
    return FAILED if answer.failed else DONE


def _tell(options: argparse.Namespace, answer: Answer) -> None:
    if options.json:
        _print_json(answer.json)
    else:
        answer.show(Console(sys.stdout))
    sys.stdout.flush()


def _refuse(options: argparse.Namespace, error: RepackError) -> None:
    sys.stderr.write(f"repack: error: {error}\n")
    if options.json:
        from repack.results import error_json  # noqa: PLC0415 - as above

        _print_json(error_json(error))


def _print_json(document: Json) -> None:
    # Plain ASCII: a pipe on Windows has an encoding that few readers guess.
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
    sys.stdout.flush()


def _say_what_cannot_be_written() -> None:
    """Let a character that stdout's encoding lacks be escaped rather than end everything."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def _end_on_terminate() -> None:
    """Let a polite kill clean up as an interrupt does."""

    def interrupt(signum: int, frame: FrameType | None) -> None:
        del signum, frame
        raise KeyboardInterrupt

    try:
        signal.signal(signal.SIGTERM, interrupt)
    except ValueError:
        return  # not the main thread: whoever runs us there handles signals
