"""The machine that a wheel is tried on: what the binary needs is there, and nothing else."""

import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from repack.config import Smoke
from repack.console import Progress
from repack.dlls import Kind, index_requirement
from repack.errors import ToolError
from repack.fetch import Cache, Fetched
from repack.fetch.supply import Supply
from repack.inspect import Analysis
from repack.pythons import make_once

#: What NVIDIA's wheels are resolved for: they hold no Python and are the same for each.
_ANY_PYTHON = "3.12"


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """The machine that is imitated: directories on PATH, variables, and driver DLLs it lacks.

    `driver` maps the driver's DLLs that the wheel imports to the symbols wanted of each; `carried`
    are those for which the wheel has a stand-in itself.
    """

    dll_dirs: tuple[Path, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    driver: Mapping[str, Sequence[str]] = field(default_factory=dict)
    carried: tuple[str, ...] = ()


def machine_for(
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
        requirements = settings.dlls
        if requirements == "auto":
            major = analysis.cuda_major or 0
            brought = {need: index_requirement(need.dll, major) for need in analysis.toolkit_needs}
            nowhere = [need.dll.name for need in brought if not brought[need] and not need.delayed]
            if nowhere:
                raise ToolError(
                    f"NVIDIA has no wheels with {', '.join(nowhere)}",
                    code="no-dlls",
                    hint="name directories that hold them under smoke.dll-dirs, or with --dll-dir",
                )
            requirements = tuple(sorted({*brought.values()} - {""}))
        wheels = [supply.wheel(requirement, _ANY_PYTHON) for requirement in requirements]
        folders = tuple(unpack_dlls(wheel, supply.cache, supply.progress) for wheel in wheels)
    driver = {
        need.dll.name: analysis.symbols(need)
        for need in analysis.needs
        if need.dll.kind is Kind.DRIVER and not need.delayed and need.in_wheel is None
    }
    return Machine(dll_dirs=folders, env=env, driver=driver, carried=carried)


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
