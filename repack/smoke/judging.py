"""What the output of a trial means, in the fault's own words."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from repack.process import Finished
from repack.record import FAILED, PASSED, Outcome

_MARK = "@repack "
# What the probe's watchdog says when the time is up.
_TIME_IS_UP = re.compile(r"^Timeout \(\d+:\d\d:\d\d(\.\d+)?\)!$", re.MULTILINE)
# What Wine or Python says, even with Wine's debug output off, of what ended a program.
_LAST_WORDS = re.compile(
    r"unimplemented function [\w.]+"
    r"|(?:wine: )?Unhandled [\w ]+?(?= (?:to|at) |[^\w ]|$)"
    r"|.*Assertion .*failed.*"
    r"|(?:Fatal Python error|Windows fatal exception): .*",
    re.MULTILINE,
)
_NOT_FOUND = re.compile(
    r"[0-9a-f]+:err:module:import_dll Library (?P<dll>\S+) "
    r"\(which is needed by L\"(?:.*\\)?(?P<by>[^\\\"]+)\"\) not found"
)
_SMALL_EXIT_CODE = 0xFFFF


def judge(runs: Sequence[Finished], timeout: float, *, driver: str) -> Outcome:
    """Return the outcome of the probe's tasks so far: the first fault, all facts, all output."""
    facts = [parse_facts(finished.output) for finished in runs]
    pairs = zip(runs, facts, strict=True)
    faults = [fault for finished, own in pairs if (fault := _fault(finished, own, timeout))]
    known = {name: value for own in facts for name, value in own.items()}
    return Outcome(
        status=FAILED if faults else PASSED,
        reason=faults[0] if faults else "",
        version=str(known.get("opencv", "")),
        devices=str(known.get("devices", "")),
        driver=driver,
        seconds=sum(finished.seconds for finished in runs),
        log=_log(runs),
        repeatable=not any(map(is_timed_out, runs)),
    )


def parse_facts(output: str) -> dict[str, Any]:
    """Return the facts that the probe printed; of several by one name the last."""
    facts: dict[str, Any] = {}
    for line in output.splitlines():
        # Native code may have printed something before it without ending its line.
        _, mark, text = line.partition(_MARK)
        if mark:
            try:
                facts |= json.loads(text)
            except (ValueError, TypeError):
                continue
    return facts


def is_timed_out(finished: Finished) -> bool:
    """Return whether the process was ended because its time was up."""
    return finished.timed_out or bool(finished.returncode and _TIME_IS_UP.search(finished.output))


def describe_crash(finished: Finished, step: str) -> str:
    """Return in one line how a process ended that did not say why."""
    # Wine's assertions come in UTF-16.
    match = _LAST_WORDS.search(finished.output.replace("\0", ""))
    detail = f": {match[0].strip()}" if match else ""
    code = finished.returncode
    # Windows' large ones are known by their hexadecimal digits.
    number = f"0x{code:08X}" if code > _SMALL_EXIT_CODE else str(code)
    return f"crashed in {step} (exit code {number}){detail}"


def _fault(finished: Finished, facts: Mapping[str, Any], timeout: float) -> str:
    """Return in one line why a task of the probe did not come to its end, "" where it did."""
    step = str(facts.get("step", "starting Python"))
    if is_timed_out(finished):
        return f"hung: {step} did not end within {timeout:g} s"
    if "error" in facts:
        # Of an import, the error's own words say all.
        return str(facts["error"]) if step == "import cv2" else f"{step}: {facts['error']}"
    if step == "pip":
        # pip ends the process itself.
        errors = [line for line in finished.output.splitlines() if line.startswith("ERROR:")]
        if finished.returncode and errors:
            return f"pip: {errors[0].removeprefix('ERROR:').strip()}"
        return describe_crash(finished, step) if finished.returncode else ""
    if finished.returncode == 0 and facts.get("done") is True:
        return ""
    return describe_crash(finished, step)


def _log(runs: Sequence[Finished]) -> str:
    """Return all that the processes printed; the job in the last argument names folders long gone.

    Wine says of one missing DLL hundreds of times that it is missing; once will do.
    """
    return "\n".join(
        f"$ {' '.join(finished.args[:-1])}\n{_condense(finished.output).strip()}\n"
        f"[exit code {finished.returncode}, {finished.seconds:.1f} s]\n"
        for finished in runs
    )


def _condense(output: str) -> str:
    """Return the output with each message about a DLL that was not found once, and short."""
    lines: dict[object, str] = {}
    for number, line in enumerate(output.splitlines()):
        match = _NOT_FOUND.match(line)
        text = f"not found: {match['dll']} (needed by {match['by']})" if match else line
        lines.setdefault(text if match else number, text)
    return "\n".join(lines.values())
