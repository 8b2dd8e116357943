"""A trial: a wheel is installed on a Windows Python as a user would, and imported."""

import os
import re
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import msgspec
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from repack.config import IndexSource, Smoke
from repack.dlls.families import Kind, index_requirement
from repack.dlls.writing import make_stand_in
from repack.errors import FetchError, ToolError
from repack.fetch import Fetched, Supply
from repack.fetch.cache import Cache, open_wheel
from repack.files import workspace
from repack.inspect import Analysis
from repack.process import Finished
from repack.pythons import ON_WINDOWS, Interpreter, parse_facts
from repack.record import FAILED, PASSED, Outcome
from repack.wheel.metadata import select_requirements
from repack.wheel.reader import read_wheel

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


# What it needs


class Machine(NamedTuple):
    """The machine that is imitated: directories on PATH, variables, and driver DLLs it lacks.

    `driver` maps the driver's DLLs that the wheel imports to the symbols wanted of each.
    """

    dll_dirs: tuple[Path, ...] = ()
    env: Mapping[str, str] = {}
    driver: Mapping[str, Sequence[str]] = {}


class Outfit(NamedTuple):
    """A Python, a folder with its pip, what the wheel under test requires, and the machine."""

    interpreter: Interpreter
    pip: Path
    beside: tuple[Fetched, ...]
    machine: Machine


def requirements_for(requires: Iterable[str], python: str) -> list[str]:
    """Return the index requirements of a wheel with these Requires-Dist lines on `python`.

    NumPy is always among them, since cv2 imports it.
    """
    specifiers: dict[str, set[str]] = {"numpy": set()}
    for requirement in select_requirements(requires, python):
        name = canonicalize_name(requirement.name)
        specifiers.setdefault(name, set()).update(filter(None, [str(requirement.specifier)]))
    return [f"{name}{','.join(sorted(specifiers[name]))}" for name in sorted(specifiers)]


def fetch_requirements(requires: Iterable[str], python: str, supply: Supply) -> Iterator[Fetched]:
    """Yield the wheels that a wheel with these Requires-Dist lines requires on `python`.

    NVIDIA's wheels require others of theirs in their turn. Raises FetchError.
    """
    waiting = requirements_for(requires, python)
    names: set[str] = set()
    for requirement in waiting:
        name = canonicalize_name(Requirement(requirement).name)
        if name in names:
            continue
        names.add(name)
        wheel = supply.wheel(requirement, python)
        yield wheel
        if name.startswith("nvidia-"):
            # Its own pip reads the rest.
            read = read_wheel(
                wheel.path, sha256=wheel.sha256, checked=True, allow_startup_hook=True
            )
            own = select_requirements(read.requires, python)
            waiting += [f"{line.name}{line.specifier}" for line in own]


def find_missing(requires: Sequence[str], pythons: Iterable[str], supply: Supply) -> dict[str, str]:
    """Return the Pythons for which the index lacks what a wheel requires, with the reason.

    An index that cannot be asked tells nothing here: the trial says so.
    """
    missing: dict[str, str] = {}
    for python in pythons:
        for requirement in requirements_for(requires, python):
            try:
                supply.wheel(requirement, python)
            except FetchError as error:
                if error.code != "no-such-version":
                    return missing
                missing[python] = f"it requires {requirement}, and {error.what}"
                break
    return missing


def make_machine(
    analysis: Analysis, settings: Smoke, supply: Supply, env: Mapping[str, str]
) -> Machine:
    """Return a machine that has what the binary needs: its DLLs on PATH, stand-ins for a driver.

    Raises RepackError where the DLLs cannot be had.
    """
    folders = settings.dll_dirs
    if not folders:
        requirements = _find_dlls(analysis) if settings.dlls == "auto" else settings.dlls
        # NVIDIA's wheels hold no Python and are the same for each.
        wheels = [supply.fetch(IndexSource(requirement=name)) for name in requirements]
        folders = tuple(unpack_dlls(wheel, supply.cache) for wheel in wheels)
    own = Path(os.environ.get("SYSTEMROOT", r"C:\Windows"), "System32")
    driver = {
        need.dll.name: need.symbols
        for need in analysis.needs
        if need.dll.kind is Kind.DRIVER
        and not (need.delayed or need.in_wheel or (ON_WINDOWS and (own / need.dll.name).exists()))
    }
    return Machine(folders, env, driver)


def _find_dlls(analysis: Analysis) -> tuple[str, ...]:
    """Return the requirements of NVIDIA's wheels with the DLLs that the binary needs."""
    major = analysis.cuda_major
    wheels = {need: index_requirement(need.dll, major) for need in analysis.toolkit_needs}
    nowhere = [need.dll.name for need in wheels if not wheels[need] and not need.delayed]
    if nowhere:
        hint = "name directories that hold them under smoke.dll-dirs, or with --dll-dir"
        what = f"NVIDIA has no wheels with {', '.join(nowhere)}"
        raise ToolError(what, code="no-dlls", hint=hint)
    return tuple(sorted({*wheels.values()} - {""}))


def unpack_dlls(wheel: Fetched, cache: Cache) -> Path:
    """Return a folder with the DLLs of a wheel, unpacked once and kept in the cache.

    Its layout does not matter (`nvidia/npp/bin`, `nvidia/cu13/bin/x86_64`): its DLLs do.
    """

    def fill(folder: Path) -> None:
        with (
            open_wheel(wheel.path, wheel.path.name) as archive,
            cache.progress.task(f"Unpacking {wheel.path.name}", unit="steps"),
        ):
            for name in archive.namelist():
                if name.lower().endswith(".dll"):
                    target = folder / PurePosixPath(name).name
                    with archive.open(name) as member, target.open("wb") as file:
                        shutil.copyfileobj(member, file, 1 << 20)

    return cache.make_once(cache.root / "dlls" / wheel.sha256, fill)


def unpack_pip(python: str, supply: Supply) -> Path:
    """Return the folder of a Python's pip, unpacked once: each start compiles it in its wheel."""
    pip = supply.wheel("pip", python)
    folder = supply.cache.root / "pip" / f"{pip.path.stem}-{pip.sha256[:16]}"

    def fill(place: Path) -> None:
        with open_wheel(pip.path, pip.path.name) as archive:
            archive.extractall(place)

    return supply.cache.make_once(folder, fill)


# What is done and seen


def run_smoke(
    wheel: Path, outfit: Outfit, *, timeout: float, cache: Cache, stop: threading.Event
) -> Outcome:
    """Return what the wheel did: installed by that Python's own pip, then used.

    `timeout` is in seconds, for each of the three processes, which end early when `stop` is set.
    What is installed lies in a folder of the cache that is gone afterwards.
    """
    with workspace(cache.folder("smoke")) as folder:
        probe = Probe(outfit, folder, timeout, stop)
        wheels = [wheel, *(fetched.path for fetched in outfit.beside)]
        runs = [probe.run_pip("install", "--no-index", *map(outfit.interpreter.name, wheels))]
        for task in ("use", "devices"):
            if judge(runs, timeout).status == PASSED:
                runs.append(probe.run(task))
        driver = "stand-in" if outfit.machine.driver else ""
        return msgspec.structs.replace(judge(runs, timeout), driver=driver)


@dataclass(frozen=True, slots=True)
class Probe:
    """Runs the tasks of probe.py on one Python, in `folder`, each in a process of its own."""

    outfit: Outfit
    folder: Path
    timeout: float
    stop: threading.Event | None = None

    def __post_init__(self) -> None:
        """Make the folders that the tasks need, and stand-ins for a driver."""
        for name in ("site-packages", "temporary", "home", "driver"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for name, symbols in self.outfit.machine.driver.items():
            (self.folder / "driver" / name).write_bytes(make_stand_in(name.lower(), symbols))

    def run_pip(self, command: str, *words: str) -> Finished:
        """Return the result of a command of the Python's own pip."""
        name = self.outfit.interpreter.name
        target = ("--target", name(self.folder / "site-packages"))
        return self.run("pip", name(self.outfit.pip), command, *_PIP_OPTIONS, *target, *words)

    def run(self, task: str, *arguments: str) -> Finished:
        """Return the result of one task of the probe, in the machine's environment."""
        python, machine = self.outfit.interpreter, self.outfit.machine
        job = {
            "task": task,
            "arguments": arguments,
            "packages": python.name(self.folder / "site-packages"),
            "driver": python.name(self.folder / "driver") if machine.driver else "",
        }
        variables = {name.upper(): value for name, value in machine.env.items()}
        own = "" if python.wine else python.env["PATH"]
        folders = [*map(python.name, machine.dll_dirs), variables.get("PATH", ""), own]
        variables["PATH"] = ";".join(filter(None, folders))
        # Wine has its own, whatever it is told.
        variables["TEMP"] = variables["TMP"] = python.name(self.folder / "temporary")
        return python.run_probe(
            job,
            *("-I", "-S"),
            env=python.with_variables(python.env, variables),
            timeout=self.timeout,
            # Nothing lies there that could answer for a DLL or a module.
            cwd=self.folder / "home",
            stop=self.stop,
        )


def judge(runs: Sequence[Finished], timeout: float) -> Outcome:
    """Return the outcome of the probe's tasks so far: the first fault, all facts, all output."""
    facts: dict[str, Any] = {}
    faults: list[str] = []
    logs: list[str] = []
    for run in runs:
        own = parse_facts(run.output)
        facts |= own
        faults += filter(None, [find_fault(run, own, timeout)])
        # The job in the last argument names folders long gone.
        command, output = " ".join(run.args[:-1]), run.output.strip()
        logs.append(f"$ {command}\n{output}\n[exit code {run.returncode}]\n")
    return Outcome(
        status=FAILED if faults else PASSED,
        reason=faults[0] if faults else "",
        version=facts.get("opencv", ""),
        devices=facts.get("devices", ""),
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
