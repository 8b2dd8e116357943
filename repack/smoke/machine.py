"""The machine that a wheel is tried on: what the binary needs is there, and nothing else."""

import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from repack.config import Smoke
from repack.console import Progress
from repack.dlls import Kind, key_of
from repack.errors import ToolError
from repack.fetch import Cache, Fetched
from repack.fetch.supply import Supply
from repack.inspect import Analysis
from repack.plan import dll_requirements, unpublished_dlls
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

    def describe(self) -> list[object]:
        """Return, as JSON, what tells this machine from any other."""
        folders = [list_folder(folder) for folder in self.dll_dirs]
        return [folders, sorted(self.env.items()), sorted(self.driver.items()), self.carried]


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
            _check_published(analysis)
            requirements = dll_requirements(analysis)
        wheels = [supply.wheel(requirement, _ANY_PYTHON) for requirement in requirements]
        folders = tuple(unpack_dlls(wheel, supply.cache, supply.progress) for wheel in wheels)
    return Machine(dll_dirs=folders, env=env, driver=_driver_needs(analysis), carried=carried)


def unpack_dlls(wheel: Fetched, cache: Cache, progress: Progress) -> Path:
    """Return a folder with the DLLs of a wheel, unpacked once and kept in the cache.

    Its layout does not matter (`nvidia/npp/bin`, `nvidia/cu13/bin/x86_64`): its DLLs do.
    """

    def fill(folder: Path) -> None:
        with (
            zipfile.ZipFile(wheel.path) as archive,
            progress.task(f"Unpacking {wheel.path.name}", unit="steps"),
        ):
            (folder / "bin").mkdir()
            for name in archive.namelist():
                if name.lower().endswith(".dll"):
                    target = folder / "bin" / PurePosixPath(name).name
                    with archive.open(name) as member, target.open("wb") as file:
                        shutil.copyfileobj(member, file, 1 << 20)

    return make_once(cache.root / "toolkits" / wheel.sha256, fill, cache, progress) / "bin"


def list_folder(folder: Path) -> list[object]:
    """Return what tells the content of a folder of DLLs from another: names, sizes, times.

    Raises ToolError where it cannot be read.
    """
    try:
        files = [(path.name, path.stat()) for path in sorted(folder.iterdir())]
    except OSError as error:
        raise ToolError(
            f"cannot be read: {error.strerror or error}", file=folder, hint="correct --dll-dir"
        ) from error
    return [str(folder), *((name, stat.st_size, stat.st_mtime_ns) for name, stat in files)]


def _check_published(analysis: Analysis) -> None:
    nowhere = unpublished_dlls(analysis)
    if nowhere:
        raise ToolError(
            f"NVIDIA has no wheels with {', '.join(nowhere)}",
            code="no-dlls",
            hint="name directories that hold them under smoke.dll-dirs, or with --dll-dir",
        )


def _driver_needs(analysis: Analysis) -> dict[str, tuple[str, ...]]:
    """Return the driver's DLLs that the binary imports at load time, each with the symbols."""
    names = {
        need.dll.key: need.dll.name
        for need in analysis.needs
        if need.dll.kind is Kind.DRIVER and not need.delayed and need.in_wheel is None
    }
    symbols: dict[str, set[str]] = {name: set() for name in names.values()}
    for image in analysis.images.values():
        for imported in image.imports:
            if key_of(imported.dll) in names:
                symbols[names[key_of(imported.dll)]] |= set(imported.symbols)
    return {name: tuple(sorted(symbols[name])) for name in sorted(symbols)}
