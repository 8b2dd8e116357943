"""What `repack doctor` finds out: whether `import cv2` works, why not, and what to do."""

from collections.abc import Iterator, Mapping
from ntpath import dirname
from typing import Any, NamedTuple

from repack.doctor.fixing import plan_fix
from repack.doctor.installed import Package, find_package, read_facts
from repack.doctor.target import Target
from repack.errors import InputError, RepackError
from repack.patching.overlays import builtin_folder

_INSTALL = "install one: python -m pip install WHEEL"
_REINSTALL = "install it again from its wheel: python -m pip install --force-reinstall WHEEL"


class Fault(NamedTuple):
    """One thing that keeps cv2 from being imported, and what to do about it."""

    text: str
    cure: str


class Diagnosis(NamedTuple):
    """What was seen: `faults` where the import fails; `rows` are labels and texts for a person.

    `details` are further lines, `facts` what the run-time module is told of the build, `trial` is
    the probe's answer.
    """

    faults: list[Fault]
    rows: list[tuple[str, str]]
    details: list[str]
    facts: Mapping[str, Any]
    trial: Mapping[str, Any]

    @property
    def verdict(self) -> str:
        """The first line of all."""
        if self.faults:
            return f"import cv2 fails: {'; '.join(fault.text for fault in self.faults)}"
        return f"import cv2 works: OpenCV {self.facts['opencv']}"


def diagnose(target: Target, fix_command: str) -> Diagnosis:
    """Return what comes of `import cv2` in that Python; `fix_command` is what fixes it there."""
    rows = [("Python", target.describe())]
    absence = _find_absence(target)
    if absence:
        return Diagnosis([absence], rows, [], {}, {})
    package = locate_package(target)
    facts = read_facts(package)
    trial = target.ask(
        "try",
        module=target.name(builtin_folder() / "cv2" / "cuda_dlls.py"),
        folder=dirname(target.facts["origin"]),
        build=facts,
    )
    obstacle = _find_obstacle(package, facts)
    facts = trial["fixed"]["build"]  # with what an older or damaged wheel does not say
    faults = [
        *_find_faults(trial, package, obstacle, fix_command),
        *_find_numpy_faults(facts, trial),
    ]
    rows += _describe_package(package, target, facts)
    rows += _describe_machine(facts, trial)
    rows.append(("repack fix", _describe_fix(package, trial, faults, obstacle)))
    details = trial["fixed"]["details"] if faults else []
    # Of a path with spaces cmd and PowerShell want different quotes.
    python = "python" if " " in target.facts["executable"] else target.facts["executable"]
    faults = [Fault(text, cure.replace("python -m", f"{python} -m")) for text, cure in faults]
    return Diagnosis(faults, rows, details, facts, trial)


def locate_package(target: Target) -> Package:
    """Return the cv2 that this Python imports; InputError where there is none."""
    if not target.facts["origin"]:
        raise InputError(
            "no cv2 is installed there",
            code="no-cv2",
            file=target.facts["executable"],
            hint=_INSTALL,
        )
    folder = target.path(dirname(target.facts["origin"]))
    # A cv2.pyd that was copied into site-packages has no folder of its own.
    return find_package(folder.parent if folder.name == "cv2" else folder)


def _find_absence(target: Target) -> Fault | None:
    """Return the fault where there is no cv2, or only what is left of one."""
    if target.facts["origin"]:
        return None
    for folder in target.facts["folders"]:
        text = f"{folder} is what is left of a cv2: it has no __init__.py"
        return Fault(text, f"remove that folder, and {_INSTALL}")
    for root in map(target.path, target.facts["path"]):
        for owner in find_package(root).owners:
            return Fault(f"the files of {owner} are gone", _REINSTALL)
    return Fault("no cv2 is installed in this Python", _INSTALL)


def _find_obstacle(package: Package, facts: Mapping[str, Any]) -> RepackError | None:
    """Return why `repack fix` does nothing here, or None."""
    try:
        plan_fix(package, facts)
    except RepackError as error:
        return error
    return None


def _find_faults(
    trial: Mapping[str, Any],
    package: Package,
    obstacle: RepackError | None,
    fix_command: str,
) -> Iterator[Fault]:
    """Yield what keeps the native module from being loaded."""
    fixed = trial["fixed"]
    if not trial["error"]:
        return
    if fixed["imports"]:
        places = sorted({"{directory} ({source})".format_map(place) for place in fixed["chosen"]})
        where = "its DLLs are on this machine, where this cv2 does not look"
        cure = f"{obstacle.hint or _REINSTALL}; then {fix_command}" if obstacle else fix_command
        yield Fault(": ".join([where, *([", ".join(places)] if places else [])]), cure)
    elif fixed["clauses"]:
        cure = "; ".join(fixed["cures"])
        if not (obstacle or package.originals):
            cure += f"; then {fix_command}, so that cv2 finds its DLLs"
        yield Fault("; ".join(fixed["clauses"]), cure)
    else:
        yield Fault(trial["error"], _REINSTALL)


def _find_numpy_faults(facts: Mapping[str, Any], trial: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield what is wrong with NumPy."""
    needed = facts["numpy"] or "numpy"
    error = trial["numpy_error"]
    if error.startswith("ModuleNotFoundError: No module named 'numpy'"):
        text = "NumPy is not installed"
    elif error:
        text = f"NumPy fails: {error}"
    elif not trial["numpy_fits"]:
        text = f"NumPy {trial['numpy']} is installed, and this build needs {needed}"
    else:
        return
    yield Fault(text, f'python -m pip install "{needed}"')


def _describe_package(
    package: Package, target: Target, facts: Mapping[str, Any]
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
    version = ".".join(str(part) for part in facts["cuda"] or () if part is not None)
    if facts["kinds"]:
        yield "CUDA", version or "none: a build for the CPU"


def _describe_machine(
    facts: Mapping[str, Any], trial: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Yield where each DLL comes from, or would come from."""
    loaded, system = trial["loaded"], trial["system"]
    chosen = {choice["family"]: choice for choice in trial["fixed"]["chosen"]}
    for family, names in facts["families"].items():
        folders = sorted({dirname(loaded[name]) for name in names if name in loaded})
        if family in chosen:
            folders = folders or ["{directory} ({source})".format_map(chosen[family])]
        yield family, ", ".join(folders) or f"not found: {', '.join(names)}"
    if facts["families"]:
        yield "driver", system["nvcuda.dll"] or "none: there is no GPU that cv2 could use"
    numpy = trial["numpy"] or trial["numpy_error"]
    yield "NumPy", f"{numpy} (needed: {facts['numpy'] or 'numpy'})"
    yield "Visual C++ run-time", system["msvcp140.dll"] or "not found"
    yield "Media Foundation", system["mfplat.dll"] or "not found"


def _describe_fix(
    package: Package,
    trial: Mapping[str, Any],
    faults: list[Fault],
    obstacle: RepackError | None,
) -> str:
    """Return what `repack fix` would do about it."""
    if obstacle:
        return obstacle.what
    if package.originals:
        return "has been at work here; --undo takes it back"
    if trial["error"] and trial["fixed"]["imports"]:
        return "cures it"
    return "does not help before the above is done" if faults else "not needed"
