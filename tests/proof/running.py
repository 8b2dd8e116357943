"""Runs a machine's Python and says what was seen: how it ended, and which files answered."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from proof.machines import Ready
from proof.scenarios import CRASHES, FAILS, HANGS, IMPORTS
from proof.traces import Loaded, from_modules, parse_trace, without_trace
from repack.process import Finished, run
from repack.smoke.trial import describe_crash

_MARK = "@proof "
# The probe ends itself when its time is up, and says where it was; this is for one that cannot.
_GRACE = 15.0
_TIME_IS_UP = re.compile(r"^Timeout \(\d+:\d\d:\d\d(\.\d+)?\)!$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """How a program ended (`sees`), in one line and in all that it said.

    `loaded` is what the loader says, `claims` what cv2's own module says that it chose.
    """

    sees: str
    line: str
    message: str = ""
    printed: str = ""
    loaded: tuple[Loaded, ...] = ()
    claims: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def run_in_wine(command: Sequence[str], **settings: Any) -> Finished:  # noqa: ANN401 - of `run`
    """Return what a Windows program did.

    One that fails without a word is run again: Wine's server was about to end as it came.
    """
    done = run(command, **settings)
    failed = done.returncode and not done.output and not done.timed_out
    return run(command, **settings) if failed else done


def run_program(ready: Ready, limit: float) -> Seen:
    """Return what the machine's program did; it is ended after `limit` seconds and some."""
    done = run_in_wine(ready.command, timeout=limit + _GRACE, env=ready.env, cwd=ready.cwd)
    return what_was_seen(done, limit)


def what_was_seen(done: Finished, limit: float) -> Seen:
    """Return what came of a program, from all that it and the loader printed."""
    facts = _facts(done.output)
    raised = facts.get("raised")
    sees, line = _end(done, facts, limit)
    return Seen(
        sees=sees,
        line=line,
        message=raised["message"] if raised else "",
        printed=without_trace(done.output),
        loaded=parse_trace(done.output) or from_modules(facts.get("modules", ())),
        claims=facts.get("claims", {}),
        seconds=done.seconds,
    )


def _end(done: Finished, facts: Mapping[str, Any], limit: float) -> tuple[str, str]:
    """Return how a program ended, in a word and in a line."""
    if done.timed_out or (done.returncode and _TIME_IS_UP.search(done.output)):
        return HANGS, f"hangs: it had not ended after {limit:g} s"
    if not facts.get("ended"):
        return CRASHES, describe_crash(done, "the program")
    raised = facts.get("raised")
    if raised:
        first = next(iter(raised["message"].splitlines()), "")
        return FAILS, f"{raised['type']}: {first}"
    return IMPORTS, "imports"


def _facts(output: str) -> dict[str, Any]:
    """Return what the probe said."""
    facts: dict[str, Any] = {}
    for line in output.splitlines():
        _, mark, text = line.partition(_MARK)
        if mark:
            facts |= json.loads(text)
    return facts
