"""What the output of a trial means, in the fault's own words."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from repack.record import FAILED, PASSED, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from repack.process import Finished

_MARK = "@repack "
# What the probe's watchdog says when the time is up.
_TIME_IS_UP = re.compile(r"^Timeout \(\d+:\d\d:\d\d(\.\d+)?\)!$", re.MULTILINE)
# What Wine says, even with its debug output off, when a program runs into something it lacks.
_WINE_SAYS = (
    re.compile(r"unimplemented function [\w.]+(?:\.dll|\.drv|\.exe)?\.\w+"),
    re.compile(r"Unhandled exception[:,]? .*"),
    re.compile(r"wine: Unhandled .*"),
    re.compile(r".*Assertion .*failed.*"),
    re.compile(r"Fatal Python error: .*|Windows fatal exception: .*"),
)
_NOT_FOUND = re.compile(
    r"[0-9a-f]+:err:module:import_dll Library (?P<dll>\S+) "
    r"\(which is needed by L\"(?:.*\\)?(?P<by>[^\\\"]+)\"\) not found"
)
_ADDRESSES = re.compile(r" (?:to|at) (?:address )?(?:0x)?[0-9A-Fa-f]{8,16}\b.*")


def judge_installation(installed: Finished, timeout: float) -> Outcome | None:
    """Return the outcome of a wheel that pip would not install, None where it did."""
    said = facts_of(installed.output)
    if installed.returncode == 0 and not hung(installed):
        return None
    errors = [line for line in installed.output.splitlines() if line.startswith("ERROR:")]
    if hung(installed):
        reason = f"hung: pip did not end within {timeout:g} s"
    elif errors:
        reason = f"pip: {errors[0].removeprefix('ERROR:').strip()}"
    else:
        reason = f"pip: {said.get('error') or crash(installed, 'pip')}"
    return Outcome(
        status=FAILED,
        reason=reason,
        seconds=installed.seconds,
        log=_log([installed]),
        repeatable=not hung(installed),
    )


def judge_use(runs: Sequence[Finished], timeout: float, *, driver: bool) -> Outcome:
    """Return the outcome of a wheel that was installed by the first run and used by the others."""
    said: dict[str, Any] = {}
    reason = ""
    for finished in runs[1:]:
        facts = facts_of(finished.output)
        said |= facts
        reason = reason or _fault(finished, facts, timeout)
    return Outcome(
        status=FAILED if reason else PASSED,
        reason=reason,
        version=str(said.get("opencv", "")),
        devices=str(said.get("devices", "")),
        driver="stand-in" if driver else "",
        seconds=sum(finished.seconds for finished in runs),
        log=_log(runs),
        repeatable=not any(map(hung, runs)),
    )


def facts_of(output: str) -> dict[str, Any]:
    """Return the facts that the probe printed; of several by one name the last."""
    facts: dict[str, Any] = {}
    for line in output.splitlines():
        # Native code may have printed something before it without ending its line.
        _, mark, text = line.partition(_MARK)
        if mark:
            try:
                said = json.loads(text)
            except ValueError:
                continue
            if isinstance(said, dict):
                facts |= said
    return facts


def hung(finished: Finished) -> bool:
    """Return whether the process was ended because its time was up."""
    return finished.timed_out or bool(finished.returncode and _TIME_IS_UP.search(finished.output))


def crash(finished: Finished, step: str) -> str:
    """Return in one line how a process ended that did not say why."""
    # Wine's assertions come in UTF-16.
    output = finished.output.replace("\0", "")
    words = next((found[0] for pattern in _WINE_SAYS if (found := pattern.search(output))), "")
    detail = f": {_ADDRESSES.sub('', words).strip()}" if words else ""
    return f"crashed in {step} (exit code {_exit_code(finished.returncode)}){detail}"


def _fault(finished: Finished, said: Mapping[str, Any], timeout: float) -> str:
    """Return in one line why the probe did not come to its end, "" where it did."""
    step = str(said.get("step", "starting Python"))
    if hung(finished):
        return f"hung: {step} did not end within {timeout:g} s"
    if "error" in said:
        # Of an import, the error's own words say all.
        return str(said["error"]) if step == "import cv2" else f"{step}: {said['error']}"
    if finished.returncode == 0 and said.get("done") is True:
        return ""
    return crash(finished, step)


def _exit_code(code: int) -> str:
    """Return an exit code as it is known: Windows' large ones in hexadecimal digits."""
    return f"0x{code:08X}" if code > 0xFFFF else str(code)  # noqa: PLR2004 - where NTSTATUS begins


def _log(runs: Sequence[Finished]) -> str:
    """Return all that the processes printed; the job in the last argument names folders long gone.

    Wine says of one missing DLL hundreds of times that it is missing; once will do.
    """
    return "\n".join(
        f"$ {' '.join(finished.args[:-1])}\n{_condensed(finished.output).strip()}\n"
        f"[exit code {finished.returncode}, {finished.seconds:.1f} s]\n"
        for finished in runs
    )


def _condensed(output: str) -> str:
    lines: dict[str, None] = {}
    for number, line in enumerate(output.splitlines()):
        found = _NOT_FOUND.match(line)
        said = f"not found: {found['dll']} (needed by {found['by']})" if found else line
        lines.setdefault(said if found else f"{number}\0{said}")
    return "\n".join(line.rpartition("\0")[2] for line in lines)
