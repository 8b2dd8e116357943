"""Installs a wheel on one Windows Python as a user would, imports it, and says what was seen."""

import os
import re
import shutil
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repack.console import SILENT
from repack.dlls.writing import make_stand_in
from repack.fetch.cache import Cache
from repack.files import workspace
from repack.process import Finished
from repack.pythons.assembly import make_once
from repack.pythons.interpreter import parse_facts
from repack.record import FAILED, OWN_STAND_IN, PASSED, Outcome
from repack.smoke.outfit import Outfit

_PIP_OPTIONS = (
    *("--isolated", "--no-compile", "--no-cache-dir", "--no-warn-script-location", "--no-color"),
    *("--disable-pip-version-check", "--no-input", "--progress-bar=off"),
)
# What Wine or Python says, even with Wine's debug output off, of what ended a program.
_LAST_WORDS = re.compile(
    r"unimplemented function [\w.]+|(wine: )?Unhandled [\w ]+(?= (to|at|on) )"
    r"|.*Assertion .*failed.*|(?P<python>Fatal Python error|Windows fatal exception): .*"
)
_SMALL_EXIT_CODE = 0xFFFF


def run_smoke(
    wheel: Path, outfit: Outfit, *, timeout: float, cache: Cache, stop: threading.Event
) -> Outcome:
    """Return what the wheel did: installed by that Python's own pip, then used.

    `timeout` is in seconds, for each of the three processes, which end early when `stop` is set.
    What is installed lies in a folder of the cache that is gone afterwards.
    """
    with workspace(cache.folder("smoke")) as folder:
        probe = Probe(outfit, folder, timeout, cache, stop)
        wheels = [wheel, *(fetched.path for fetched in outfit.beside)]
        runs = [probe.run_pip("install", "--no-index", *map(outfit.interpreter.name, wheels))]
        for task in ("use", "devices"):
            if judge(runs, timeout).status == PASSED:
                runs.append(probe.run(task))
        return judge(runs, timeout, driver=probe.driver)


@dataclass(frozen=True, slots=True)
class Probe:
    """Runs the tasks of probe.py on one Python, in `folder`, each in a process of its own."""

    outfit: Outfit
    folder: Path
    timeout: float
    cache: Cache
    stop: threading.Event | None = None

    def __post_init__(self) -> None:
        """Make what the tasks need: folders, and stand-ins for the driver that is not there."""
        for name in ("site-packages", "temporary", "home"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for name, symbols in self.outfit.machine.driver.items():
            if not self._has_driver(name):
                (self.folder / "driver").mkdir(exist_ok=True)
                (self.folder / "driver" / name).write_bytes(make_stand_in(name.lower(), symbols))

    @property
    def driver(self) -> str:
        """What takes the place of the driver's DLLs, as an Outcome has it."""
        if (self.folder / "driver").is_dir():
            return "stand-in"
        return "" if all(map(self._has_driver, self.outfit.machine.carried)) else OWN_STAND_IN

    def run_pip(self, command: str, *words: str) -> Finished:
        """Return the result of a command of the Python's own pip.

        That is unpacked once: out of its wheel, each start compiles it anew.
        """
        pip, name = self.outfit.pip, self.outfit.interpreter.name
        folder = self.cache.root / "pip" / f"{pip.path.stem}-{pip.sha256[:16]}"
        make_once(
            folder, lambda place: shutil.unpack_archive(pip.path, place, "zip"), self.cache, SILENT
        )
        target = ("--target", name(self.folder / "site-packages"))
        return self.run("pip", name(folder), command, *_PIP_OPTIONS, *target, *words)

    def run(self, task: str, *arguments: str) -> Finished:
        """Return the result of one task of the probe, in the machine's environment."""
        python, machine, driver = (
            self.outfit.interpreter,
            self.outfit.machine,
            self.folder / "driver",
        )
        job = {
            "task": task,
            "arguments": arguments,
            "packages": python.name(self.folder / "site-packages"),
            "temporary": python.name(self.folder / "temporary"),
            "driver": python.name(driver) if driver.is_dir() else "",
        }
        variables = {name.upper(): value for name, value in machine.env.items()}
        own = "" if python.wine else python.env["PATH"]
        folders = [*map(python.name, machine.dll_dirs), variables.get("PATH", ""), own]
        variables["PATH"] = ";".join(filter(None, folders))
        return python.run_probe(
            job,
            *("-I", "-S"),
            env=python.with_variables(python.env, variables),
            timeout=self.timeout,
            # Nothing lies there that could answer for a DLL or a module.
            cwd=self.folder / "home",
            stop=self.stop,
        )

    def _has_driver(self, name: str) -> bool:
        """Return whether the machine has the driver's DLL where the driver puts it."""
        root = Path(os.environ.get("SYSTEMROOT", r"C:\Windows"))
        if self.outfit.interpreter.wine:
            root = Path(self.outfit.interpreter.env["WINEPREFIX"], "drive_c", "windows")
        return (root / "system32" / name).exists()


def judge(runs: Sequence[Finished], timeout: float, driver: str = "") -> Outcome:
    """Return the outcome of the probe's tasks so far: the first fault, all facts, all output."""
    facts: dict[str, Any] = {}
    faults: list[str] = []
    logs: list[str] = []
    for run in runs:
        own = parse_facts(run.output)
        facts |= own
        faults += filter(None, [find_fault(run, own, timeout)])
        # The job in the last argument names folders long gone.
        end = f"[exit code {run.returncode}, {run.seconds:.1f} s]"
        logs.append("\n".join([f"$ {' '.join(run.args[:-1])}", run.output.strip(), end, ""]))
    return Outcome(
        status=FAILED if faults else PASSED,
        reason=faults[0] if faults else "",
        version=facts.get("opencv", ""),
        devices=facts.get("devices", ""),
        driver=driver,
        seconds=sum(run.seconds for run in runs),
        log="\n".join(logs),
        repeatable=not any(run.timed_out for run in runs),
    )


def find_fault(finished: Finished, facts: Mapping[str, Any], timeout: float) -> str:
    """Return in one line why a task of the probe did not come to its end, "" where it did."""
    step = facts.get("step", "starting Python")
    if finished.timed_out:
        return f"hung: {step} did not end within {timeout:g} s"
    if "error" in facts:
        # Of an import, the error's own words say all.
        error = str(facts["error"])
        return error if step == "import cv2" else f"{step}: {error}"
    if finished.returncode == 0 and (step == "pip" or "done" in facts):
        return ""
    # pip ends the process itself.
    errors = re.findall(r"^ERROR: (.+)", finished.output, re.MULTILINE) if step == "pip" else []
    return f"pip: {errors[0]}" if errors else describe_crash(finished, step)


def describe_crash(finished: Finished, step: str) -> str:
    """Return in one line how a process ended that did not say why."""
    # Wine's assertions come in UTF-16. Python's own fault handler knows least of why.
    matches = _LAST_WORDS.finditer(finished.output.replace("\0", ""))
    best = min(matches, key=lambda match: bool(match["python"]), default=None)
    code = finished.returncode
    # Windows' large ones are known by their hexadecimal digits.
    number = f"0x{code:08X}" if code > _SMALL_EXIT_CODE else str(code)
    return f"crashed in {step} (exit code {number}){f': {best[0].strip()}' if best else ''}"
