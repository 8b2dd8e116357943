"""What keeps an installed cv2 from being imported, and what to do about it: `repack doctor`."""

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from ntpath import dirname
from pathlib import Path
from typing import Any

from repack.console import Progress
from repack.doctor.fixing import Package, find_package, find_url, name_owner, plan_fix, read_facts
from repack.errors import InputError, RepackError
from repack.fetch.cache import Cache
from repack.patching import BUILD_MODULE
from repack.patching.overlays import builtin_folder
from repack.pythons import ON_WINDOWS, Interpreter, find_machine, find_python, parse_facts
from repack.pythons.wine import Wine, local_path
from repack.smoke.trial import find_fault

_TIMEOUT = 300.0
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
        # What a program says that is no Python is all that is known of it.
        facts = parse_facts(done.output) or {"output": done.output}
        return {"crash": find_fault(done, facts, _TIMEOUT), **facts}

    def path(self, name: str) -> Path:
        """Return where a path of that Python's lies on this machine."""
        return Path(name) if ON_WINDOWS else local_path(name, Path(self.env["WINEPREFIX"]))


@contextlib.contextmanager
def open_target(
    given: Path | None, variables: Mapping[str, str], progress: Progress, *, task: str = "look"
) -> Iterator[Target]:
    """Give the Python at `given`, or the one that a command line here would take.

    `variables` are set in its environment; `task` is what it is asked first. Raises UsageError
    where there is none, InputError where it is no Python for Windows.
    """
    program = find_python(given).absolute()
    with contextlib.ExitStack() as stack:
        wine = None if ON_WINDOWS else stack.enter_context(Wine(Cache.default(progress)))
        # In the prefix of Wine's that it lies in, or else in one of our own.
        drive = next((folder for folder in program.parents if folder.name == "drive_c"), None)
        python = Interpreter(python=program, origin="given", wine=wine, drive=drive)
        env = python.with_variables(os.environ if ON_WINDOWS else python.env, variables)
        target = Target(python=python, env=env, facts={})
        facts = target.ask(task)
        find_machine(facts, facts.get("output", ""), program)
        yield replace(target, facts=facts)


def locate_package(target: Target) -> Package:
    """Return the cv2 that this Python imports; InputError says what is there where none is."""
    facts = target.facts
    origin, what, hint = facts["origin"], "no cv2 is installed in this Python", _INSTALL
    if origin and not origin.lower().endswith("cv2.py"):
        folder = target.path(dirname(origin))
        # A cv2.pyd that was copied into site-packages has no folder of its own.
        return find_package(folder.parent if folder.name == "cv2" else folder)
    owners = [owner for root in facts["path"] for owner in find_package(target.path(root)).owners]
    if origin:
        what, hint = f"{origin} is imported in place of OpenCV", "rename or remove that file"
    elif facts["folders"]:
        what = f"{facts['folders'][0]} is what is left of a cv2: it has no __init__.py"
        hint = f"remove that folder, and {_REINSTALL}"
    elif owners:
        what, hint = f"the files of {name_owner(owners[0])} are gone", _REINSTALL
    raise InputError(what, code="no-cv2", file=facts["executable"], hint=hint)


# The diagnosis


def diagnose(target: Target, fix_command: str) -> dict[str, Any]:
    """Return what comes of `import cv2` in that Python; `fix_command` is what fixes it there.

    `lines` are for a person; `report` is what a fixed cv2 says of its DLLs, none without a cv2.
    """
    seen = target.facts
    lines = [f"Python: {seen['python']} ({seen['executable']})"]
    try:
        package = locate_package(target)
    except InputError as error:
        return _conclude([error.what], _fit_cure(error.hint, target, ()), lines, {})
    asked = {name: seen[name] for name in ("failure", "native", "place", "numpy", "numpy_error")}
    # A probe that crashed has not come so far as to say why.
    if seen["crash"]:
        asked["numpy_error" if seen["step"] == "import numpy" else "failure"] = seen["crash"]
    facts = read_facts(package)
    report = target.ask("explain", folder=dirname(seen["origin"]), build=facts, **asked)
    obstacle = None
    try:
        plan_fix(package, facts)
    except RepackError as error:
        obstacle = error
    faults, cures = _find_faults(asked["failure"], report, package, obstacle, fix_command)
    if obstacle:
        fix = obstacle.what
    elif fix_command in cures:
        fix = "cures it"
    else:
        fix = "does not help before the above is done" if faults else "not needed"
    cure = _fit_cure("; then ".join(cures), target, package.owners)
    lines += [*_describe_package(package, target), *report["lines"], f"repack fix: {fix}"]
    lines += report["details"] if faults else []
    return _conclude(faults, cure, lines, report)


def _conclude(
    faults: list[str], cure: str, lines: list[str], report: dict[str, Any]
) -> dict[str, Any]:
    verdict = f"import cv2 fails: {'; '.join(faults)}"
    if not faults:
        verdict = f"import cv2 works: OpenCV {report['build']['opencv']}".rstrip()
    return {"works": not faults, "verdict": verdict, "cure": cure, "lines": lines, "report": report}


def _find_faults(
    failure: str,
    report: Mapping[str, Any],
    package: Package,
    obstacle: RepackError | None,
    fix_command: str,
) -> tuple[list[str], list[str]]:
    """Return what keeps cv2 from being imported, and what to do about it, in this order."""
    faults, cures = list(report["clauses"]), list(report["cures"])
    if failure and report["imports"]:
        places = sorted({"{directory} ({source})".format_map(place) for place in report["chosen"]})
        where = "its DLLs are on this machine, where this cv2 does not look"
        faults.append(": ".join(filter(None, [where, ", ".join(places)])))
        if obstacle:
            # A text that cannot be patched is not the wheel's own any more.
            cures.append((isinstance(obstacle, InputError) and obstacle.hint) or _REINSTALL)
        if BUILD_MODULE not in package.members:
            cures.append(fix_command)
    elif failure and not faults:
        faults.append(failure)
        # What a fix wrote may be damaged.
        is_fixed = package.originals and not obstacle
        cures.append(f"{fix_command}, or {_REINSTALL}" if is_fixed else _REINSTALL)
    elif failure and not (obstacle or package.originals):
        cures.append(f"{fix_command}, so that cv2 finds its DLLs")
    return faults, cures


def _fit_cure(cure: str, target: Target, owners: Iterable[Path]) -> str:
    """Return the cure with that Python's own pip, and with the wheel where pip has noted it."""
    for owner in owners:
        if url := find_url(owner):
            # A version with a local part is on no index.
            cure = cure.replace("WHEEL", url).replace(name_owner(owner).replace(" ", "=="), url)
    # cmd and PowerShell both take quotes around a part, and not both around the whole.
    python = re.sub(r"[^\\]*[^\w\\.:~-][^\\]*", r'"\g<0>"', target.facts["executable"])
    return cure.replace("python -m", f"{python} -m")


def _describe_package(package: Package, target: Target) -> Iterator[str]:
    """Yield which cv2 is imported, and which others are not."""
    state = "built by repack" if BUILD_MODULE in package.members else "untouched"
    state = "fixed by repack fix" if package.originals else state
    owners = " and ".join(map(name_owner, package.owners)) or "no distribution"
    yield f"cv2: {owners}, {state} ({dirname(target.facts['origin'])})"
    for info in package.leftovers:
        yield f"left over beside it, to be removed: {info.name}"
    for root in target.facts["path"]:
        if target.path(root) != package.root and (target.path(root) / "cv2").is_dir():
            yield rf"not imported: {root}\cv2, which comes later"
