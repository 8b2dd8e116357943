"""What a trial needs: a Python, its pip, what the wheel requires, and the DLLs of a machine."""

import shutil
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from packaging.metadata import parse_email
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from repack.config import Smoke
from repack.console import Progress
from repack.dlls.families import Kind, index_requirement
from repack.errors import FetchError, ToolError
from repack.fetch import Fetched, Supply
from repack.fetch.cache import Cache
from repack.inspect import Analysis
from repack.pythons.assembly import make_once
from repack.pythons.interpreter import Interpreter
from repack.wheel.metadata import select_requirements

#: What NVIDIA's wheels are resolved for: they hold no Python and are the same for each.
_ANY_PYTHON = "3.12"
#: Codes of the errors that tell what an index does not have.
_NOT_THERE = {"no-such-version", "conflict"}


class Machine(NamedTuple):
    """The machine that is imitated: directories on PATH, variables, and driver DLLs it lacks.

    `driver` maps the driver's DLLs that the wheel imports to the symbols wanted of each; `carried`
    are those for which the wheel has a stand-in itself.
    """

    dll_dirs: tuple[Path, ...] = ()
    env: Mapping[str, str] = {}
    driver: Mapping[str, Sequence[str]] = {}
    carried: tuple[str, ...] = ()


class Outfit(NamedTuple):
    """A Python, its pip, the wheels that the one under test requires, and the machine."""

    interpreter: Interpreter
    pip: Fetched
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
            with zipfile.ZipFile(wheel.path) as archive:
                (member,) = [path for path in archive.namelist() if path.endswith("/METADATA")]
                lines = parse_email(archive.read(member))[0].get("requires_dist", [])
            own = select_requirements(lines, python)
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
                if error.code not in _NOT_THERE:
                    return missing
                missing[python] = f"it requires {requirement}, and {error.what}"
                break
    return missing


def make_machine(
    analysis: Analysis,
    settings: Smoke,
    supply: Supply,
    env: Mapping[str, str],
    carried: tuple[str, ...],
) -> Machine:
    """Return a machine that has what the binary needs: its DLLs on PATH, stand-ins for a driver.

    Raises RepackError where the DLLs cannot be had.
    """
    folders = settings.dll_dirs
    if not folders:
        requirements = _find_dlls(analysis) if settings.dlls == "auto" else settings.dlls
        wheels = [supply.wheel(requirement, _ANY_PYTHON) for requirement in requirements]
        folders = tuple(unpack_dlls(wheel, supply.cache, supply.progress) for wheel in wheels)
    driver = {
        need.dll.name: need.symbols
        for need in analysis.needs
        if need.dll.kind is Kind.DRIVER and not need.delayed and need.in_wheel is None
    }
    return Machine(folders, env, driver, carried)


def _find_dlls(analysis: Analysis) -> tuple[str, ...]:
    """Return the requirements of NVIDIA's wheels with the DLLs that the binary needs."""
    major = analysis.cuda_major or 0
    wheels = {need: index_requirement(need.dll, major) for need in analysis.toolkit_needs}
    nowhere = [need.dll.name for need in wheels if not wheels[need] and not need.delayed]
    if nowhere:
        hint = "name directories that hold them under smoke.dll-dirs, or with --dll-dir"
        what = f"NVIDIA has no wheels with {', '.join(nowhere)}"
        raise ToolError(what, code="no-dlls", hint=hint)
    return tuple(sorted({*wheels.values()} - {""}))


def unpack_dlls(wheel: Fetched, cache: Cache, progress: Progress) -> Path:
    """Return a folder with the DLLs of a wheel, unpacked once and kept in the cache.

    Its layout does not matter (`nvidia/npp/bin`, `nvidia/cu13/bin/x86_64`): its DLLs do.
    """

    def fill(folder: Path) -> None:
        (folder / "bin").mkdir()
        with (
            zipfile.ZipFile(wheel.path) as archive,
            progress.task(f"Unpacking {wheel.path.name}", unit="steps"),
        ):
            for name in archive.namelist():
                if name.lower().endswith(".dll"):
                    target = folder / "bin" / PurePosixPath(name).name
                    with archive.open(name) as member, target.open("wb") as file:
                        shutil.copyfileobj(member, file, 1 << 20)

    return make_once(cache.root / "toolkits" / wheel.sha256, fill, cache, progress) / "bin"
