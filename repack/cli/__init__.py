"""The commands; the only place that prints or decides on an exit code."""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import TYPE_CHECKING

from repack.cli.commands import COMMANDS
from repack.cli.parser import make_parser
from repack.errors import RepackError, UsageError
from repack.terminal import console_for, log_to, progress_on

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code of the command line `argv` (default: this process's)."""
    options = make_parser().parse_args(argv)
    console = console_for(sys.stderr)
    log_to(console, options.verbose - options.quiet)
    _end_on_terminate()
    try:
        answer = COMMANDS[options.command](options, progress_on(console))
        if options.json:
            sys.stdout.write(json.dumps(answer.json, indent=2, ensure_ascii=False) + "\n")
        else:
            answer.show(console_for(sys.stdout))
        sys.stdout.flush()
    except RepackError as error:
        sys.stderr.write(f"repack: error: {error}\n")
        return USAGE if isinstance(error, UsageError) else FAILED
    except KeyboardInterrupt:
        sys.stderr.write("repack: interrupted\n")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has gone (`repack inspect x.whl | head`); nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return FAILED if answer.failed else DONE


def _end_on_terminate() -> None:
    """Let a polite kill clean up as an interrupt does."""

    def interrupt(signum: int, frame: FrameType | None) -> None:
        del signum, frame
        raise KeyboardInterrupt

    try:
        signal.signal(signal.SIGTERM, interrupt)
    except ValueError:
        return  # not the main thread: whoever runs us there handles signals
