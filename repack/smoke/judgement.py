"""What the output of a trial means, in the fault's own words."""

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from repack.process import Finished
from repack.record import FAILED, PASSED, Outcome

_MARK = "@repack "
# What Wine or Python says, even with Wine's debug output off, of what ended a program.
_LAST_WORDS = re.compile(
    r"unimplemented function [\w.]+|(wine: )?Unhandled [\w ]+(?= (to|at|on) )"
    r"|.*Assertion .*failed.*|(Fatal Python error|Windows fatal exception): .*"
)
_SMALL_EXIT_CODE = 0xFFFF


def judge(runs: Sequence[Finished], timeout: float, *, driver: str) -> Outcome:
    """Return the outcome of the probe's tasks so far: the first fault, all facts, all output."""
    facts: dict[str, Any] = {}
    faults: list[str] = []
    for finished in runs:
        own = _parse_facts(finished.output)
        facts |= own
        faults += filter(None, [_find_fault(finished, own, timeout)])
    return Outcome(
        status=FAILED if faults else PASSED,
        reason=faults[0] if faults else "",
        version=str(facts.get("opencv", "")),
        devices=str(facts.get("devices", "")),
        driver=driver,
        seconds=sum(finished.seconds for finished in runs),
        log="\n".join(map(_log, runs)),
        repeatable=not any(finished.timed_out for finished in runs),
    )


def describe_crash(finished: Finished, step: str) -> str:
    """Return in one line how a process ended that did not say why."""
    # Wine's assertions come in UTF-16.
    match = _LAST_WORDS.search(finished.output.replace("\0", ""))
    detail = f": {match[0].strip()}" if match else ""
    code = finished.returncode
    # Windows' large ones are known by their hexadecimal digits.
    number = f"0x{code:08X}" if code > _SMALL_EXIT_CODE else str(code)
    return f"crashed in {step} (exit code {number}){detail}"


def _parse_facts(output: str) -> dict[str, Any]:
    """Return the facts that the probe printed; of several by one name the last."""
    facts: dict[str, Any] = {}
    for line in output.splitlines():
        # Native code may have printed something before it without ending its line.
        _, mark, text = line.partition(_MARK)
        if mark:
            with contextlib.suppress(ValueError):
                facts |= json.loads(text)
    return facts


def _find_fault(finished: Finished, facts: Mapping[str, Any], timeout: float) -> str:
    """Return in one line why a task of the probe did not come to its end, "" where it did."""
    step = str(facts.get("step", "starting Python"))
    if finished.timed_out:
        return f"hung: {step} did not end within {timeout:g} s"
    if "error" in facts:
        # Of an import, the error's own words say all.
        return str(facts["error"]) if step == "import cv2" else f"{step}: {facts['error']}"
    if finished.returncode == 0 and (step == "pip" or "done" in facts):
        return ""
    # pip ends the process itself.
    errors = re.findall(r"^ERROR: (.+)", finished.output, re.MULTILINE) if step == "pip" else []
    return f"pip: {errors[0]}" if errors else describe_crash(finished, step)


def _log(finished: Finished) -> str:
    """Return all that a process printed; the job in the last argument names folders long gone.

    Wine says of one missing DLL hundreds of times that it is missing; once will do.
    """
    lines = {
        line if ":err:module:" in line else number: line
        for number, line in enumerate(finished.output.strip().splitlines())
    }
    end = f"[exit code {finished.returncode}, {finished.seconds:.1f} s]"
    return "\n".join([f"$ {' '.join(finished.args[:-1])}", *lines.values(), end, ""])
