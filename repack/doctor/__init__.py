"""What keeps an installed cv2 from being imported, and what to do about it: `repack doctor`."""

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from ntpath import dirname
from pathlib import Path, PureWindowsPath
from typing import Any, NamedTuple

from repack.console import Progress
from repack.doctor.fixing import Distribution, Package, find_package, plan_fix, read_facts
from repack.errors import InputError, RepackError, UsageError
from repack.fetch.cache import Cache
from repack.patching.overlays import builtin_folder
from repack.pythons.interpreter import (
    ON_WINDOWS,
    Interpreter,
    find_executable,
    find_machine,
    parse_facts,
)
from repack.pythons.wine import Wine
from repack.smoke.trial import find_fault

_TIMEOUT = 300.0
_BITS = {"x86-64": "64-bit", "x86": "32-bit", "arm64": "ARM64"}
_INSTALL = "install one: python -m pip install WHEEL"
_REINSTALL = (
    "install it again from its wheel: python -m pip install --force-reinstall WHEEL; where a file "
    "goes missing again, look into the quarantine of the antivirus program"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A Python that is looked at, in an environment.

    `facts` is what it says of itself, and of its import where it was asked to try that; names of
    paths in them are those of its Windows.
    """

    python: Interpreter
    env: Mapping[str, str]
    facts: Mapping[str, Any]

    def ask(self, task: str, **job: object) -> dict[str, Any]:
        """Return what the probe says; `crash` is why it did not come to its end, "" for none."""
        module = self.python.name(builtin_folder() / "cv2" / "cuda_dlls.py")
        job = {"task": task, "module": module, **job}
        done = self.python.run_probe(job, "-B", env=self.env, timeout=_TIMEOUT)
        facts = parse_facts(done.output)
        # What a program says that is no Python is all that is known of it.
        facts = facts or {"output": done.output}
        return {"crash": find_fault(done, facts, _TIMEOUT), **facts}

    def path(self, name: str) -> Path:
        """Return where a path of that Python's lies on this machine."""
        if ON_WINDOWS:
            return Path(name)
        drive, *parts = PureWindowsPath(name).parts
        place = Path(self.env["WINEPREFIX"], "dosdevices", drive[:2].lower()).resolve()
        for part in parts:
            others = place.iterdir() if place.is_dir() and not (place / part).exists() else ()
            same = (other.name for other in others if other.name.lower() == part.lower())
            place /= next(same, part)
        return place

    def describe(self) -> str:
        """Return in a line what it is and of which kind."""
        facts = self.facts
        kinds = {
            "free-threaded": facts["threaded"],
            "virtual environment": facts["prefix"] != facts["base_prefix"],
            "conda": (self.path(facts["prefix"]) / "conda-meta").is_dir(),
            "Microsoft Store": "windowsapps" in facts["base_prefix"].lower(),
        }
        kind = [_BITS[self.python.machine], *(name for name in kinds if kinds[name])]
        return f"{', '.join([facts['version'], *kind])} ({facts['executable']})"


@contextlib.contextmanager
def open_target(
    given: Path | None, variables: Mapping[str, str], progress: Progress, *, task: str = "look"
) -> Iterator[Target]:
    """Give the Python at `given`, or the one that a command line here would take.

    `variables` are set in its environment; `task` is what it is asked first. Raises UsageError
    where there is none, InputError where it is no Python for Windows.
    """
    program = (find_executable(given) if given else _find_active()).absolute()
    with contextlib.ExitStack() as stack:
        wine = None if ON_WINDOWS else stack.enter_context(Wine(Cache.default(), progress))
        # In the prefix of Wine's that it lies in, or else in one of our own.
        drive = next((folder for folder in program.parents if folder.name == "drive_c"), None)
        python = Interpreter(python=program, origin="given", wine=wine, drive=drive)
        env = python.with_variables(os.environ if ON_WINDOWS else python.env, variables)
        facts = Target(python=python, env=env, facts={}).ask(task)
        python = replace(python, machine=find_machine(facts, facts.get("output", ""), program))
        yield Target(python=python, env=env, facts=facts)


def _find_active() -> Path:
    """Return the Python that is active, or that the launcher or PATH gives."""
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX") if ON_WINDOWS else ():
        if folder := os.environ.get(variable):
            return find_executable(Path(folder))
    for name in ("py", "python") if ON_WINDOWS else ():
        if program := shutil.which(name):
            return Path(program)
    hint = r"name one: repack doctor C:\path\to\python.exe"
    raise UsageError("no Windows Python is active here", hint=hint)


def locate_package(target: Target) -> Package:
    """Return the cv2 that this Python imports; InputError says what is there where none is."""
    origin = target.facts["origin"]
    if not origin or origin.lower().endswith("cv2.py"):
        what, hint = _describe_absence(target, origin)
        raise InputError(what, code="no-cv2", file=target.facts["executable"], hint=hint)
    folder = target.path(dirname(origin))
    # A cv2.pyd that was copied into site-packages has no folder of its own.
    return find_package(folder.parent if folder.name == "cv2" else folder)


def _describe_absence(target: Target, origin: str) -> tuple[str, str]:
    """Return what is there in place of cv2, and what to do about it."""
    if origin:
        return f"{origin} is imported in place of OpenCV", "rename or remove that file"
    for folder in target.facts["folders"]:
        what = f"{folder} is what is left of a cv2: it has no __init__.py"
        return what, f"remove that folder, and {_INSTALL}"
    for root in map(target.path, target.facts["path"]):
        for owner in find_package(root).owners:
            return f"the files of {owner} are gone", _REINSTALL
    return "no cv2 is installed in this Python", _INSTALL


# The diagnosis


class Fault(NamedTuple):
    """One thing that keeps cv2 from being imported, and what to do about it."""

    text: str
    cure: str


class Diagnosis(NamedTuple):
    """What was seen: `faults` where the import fails; `rows` are labels and texts for a person.

    `report` is what a fixed cv2 says of its DLLs, with further lines for a person as `details`.
    """

    faults: list[Fault]
    rows: list[tuple[str, str]]
    report: Mapping[str, Any]

    @property
    def verdict(self) -> str:
        """The first line of all."""
        if self.faults:
            return f"import cv2 fails: {'; '.join(fault.text for fault in self.faults)}"
        return f"import cv2 works: OpenCV {self.report['build']['opencv']}"


def diagnose(target: Target, fix_command: str) -> Diagnosis:
    """Return what comes of `import cv2` in that Python; `fix_command` is what fixes it there."""
    rows = [("Python", target.describe())]
    try:
        package = locate_package(target)
    except InputError as error:
        return Diagnosis([Fault(error.what, _fit_cure(error.hint, target, ()))], rows, {})
    # A probe that crashed has not come so far as to say all.
    crash, native = target.facts["crash"], target.facts.get("native", "")
    is_of_numpy = target.facts.get("step") == "import numpy"
    seen = {
        "numpy": "",
        "numpy_error": crash if is_of_numpy else "",
        "modules": {},
        "failure": "" if is_of_numpy else crash,
        "native": native,
        "place": ["cv2", native] if native else None,
        **target.facts,
    }
    asked = {name: seen[name] for name in ("failure", "native", "place", "numpy")}
    report = {
        "imports": False,
        "clauses": [],
        "cures": [],
        "details": [],
        "chosen": [],
        **target.ask("explain", folder=dirname(seen["origin"]), build=read_facts(package), **asked),
    }
    obstacle = _find_obstacle(package, report["build"])
    faults = [
        *_find_faults(seen, report, package, obstacle, fix_command),
        *_find_numpy_faults(seen, report),
    ]
    rows += _describe_package(package, target, report["build"])
    rows += _describe_machine(seen, report)
    rows.append(("repack fix", _describe_fix(seen, report, package, obstacle, fails=bool(faults))))
    faults = [Fault(text, _fit_cure(cure, target, package.owners)) for text, cure in faults]
    return Diagnosis(faults, rows, report)


def _fit_cure(cure: str, target: Target, owners: Iterable[Distribution]) -> str:
    """Return the cure with that Python's own pip, and with the wheel where pip has noted it."""
    for owner in owners:
        if owner.url:
            # A version with a local part is on no index.
            cure = cure.replace("WHEEL", owner.url).replace(owner.pin, owner.url)
    executable = target.facts["executable"]
    # Of a path with spaces cmd and PowerShell want different quotes.
    return cure if " " in executable else cure.replace("python -m", f"{executable} -m")


def _find_obstacle(package: Package, facts: Mapping[str, Any]) -> RepackError | None:
    """Return why `repack fix` does nothing here, or None."""
    try:
        plan_fix(package, facts)
    except RepackError as error:
        return error
    return None


def _find_faults(
    seen: Mapping[str, Any],
    report: Mapping[str, Any],
    package: Package,
    obstacle: RepackError | None,
    fix_command: str,
) -> Iterator[Fault]:
    """Yield what keeps the native module from being loaded."""
    if not seen["failure"]:
        return
    if report["imports"]:
        places = sorted({"{directory} ({source})".format_map(place) for place in report["chosen"]})
        where = "its DLLs are on this machine, where this cv2 does not look"
        cure = f"{obstacle.hint or _REINSTALL}; then {fix_command}" if obstacle else fix_command
        yield Fault(": ".join([where, *([", ".join(places)] if places else [])]), cure)
    elif report["clauses"]:
        cure = "; ".join(report["cures"])
        if not (obstacle or package.originals):
            cure += f"; then {fix_command}, so that cv2 finds its DLLs"
        yield Fault("; ".join(report["clauses"]), cure)
    else:
        yield Fault(seen["failure"], _REINSTALL)


def _find_numpy_faults(seen: Mapping[str, Any], report: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield what is wrong with NumPy."""
    needed, option = report["build"]["numpy"] or "numpy", ""
    error = seen["numpy_error"]
    if error.startswith("ModuleNotFoundError: No module named 'numpy'"):
        text = "NumPy is not installed"
    elif error:
        text, option = f"NumPy fails: {error}", "--force-reinstall "
    elif not report.get("numpy_fits", True):
        text = f"NumPy {seen['numpy']} is installed, and this build needs {needed}"
    else:
        return
    yield Fault(text, f'python -m pip install {option}"{needed}"')


def _describe_package(
    package: Package, target: Target, build: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Yield which cv2 is imported, which others are not, and of which CUDA it is."""
    states = {
        "fixed by repack fix": package.originals,
        "built by repack": package.is_built_by_repack,
    }
    state = next((text for text, is_so in states.items() if is_so), "untouched")
    owners = " and ".join(map(str, package.owners)) or "no distribution"
    yield "cv2", f"{owners}, {state} ({dirname(target.facts['origin'])})"
    for root in target.facts["path"]:
        if target.path(root) != package.root and (target.path(root) / "cv2").is_dir():
            yield "not imported", rf"{root}\cv2, which comes later"
    version = ".".join(str(part) for part in build["cuda"] or () if part is not None)
    if build["kinds"]:
        yield "CUDA", version or "none: a build for the CPU"


def _describe_machine(
    seen: Mapping[str, Any], report: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Yield where each DLL comes from, or would come from."""
    build, modules = report["build"], seen["modules"]
    chosen = {choice["family"]: choice for choice in report["chosen"]}
    for family, names in build["families"].items():
        loaded = (modules[name.lower()] for name in names if name.lower() in modules)
        folders = sorted(set(map(dirname, loaded)))
        if family in chosen:
            folders = folders or ["{directory} ({source})".format_map(chosen[family])]
        yield family, ", ".join(folders) or f"not found: {', '.join(names)}"
    if build["families"]:
        driver = seen.get("nvcuda.dll")
        yield "driver", driver or "none: there is no GPU that cv2 could use"
    numpy = seen["numpy"] or seen["numpy_error"]
    yield "NumPy", f"{numpy} (needed: {build['numpy'] or 'numpy'})"
    yield "Visual C++ run-time", seen.get("msvcp140.dll") or "not found"
    yield "Media Foundation", seen.get("mfplat.dll") or "not found"


def _describe_fix(
    seen: Mapping[str, Any],
    report: Mapping[str, Any],
    package: Package,
    obstacle: RepackError | None,
    *,
    fails: bool,
) -> str:
    """Return what `repack fix` would do about it."""
    if obstacle:
        return obstacle.what
    if package.originals:
        return "has been at work here; --undo takes it back"
    if seen["failure"] and report["imports"]:
        return "cures it"
    return "does not help before the above is done" if fails else "not needed"
