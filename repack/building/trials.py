"""Tries wheels on Windows Pythons: gets interpreter, NumPy, pip and DLLs, and remembers verdicts."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from repack import files, smoke
from repack.dlls import Kind
from repack.errors import FetchError, RepackError, ToolError
from repack.interpreters import Unavailable, obtain
from repack.plan import dll_requirements
from repack.smoke import FAILED, NOT_RUN, PASSED, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from repack.analysis import Analysis
    from repack.building.supply import Supply
    from repack.config import Smoke
    from repack.interpreters import Interpreter

_log = logging.getLogger(__name__)
#: What NVIDIA's wheels are resolved for: they hold no Python and are the same for each.
_ANY_PYTHON = "3.12"


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """A wheel to be tried on one Python; `requires` are its Requires-Dist lines."""

    wheel: Path
    sha256: str
    python: str
    requires: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """What the imitated machine has: directories on PATH, variables, a driver or stand-ins."""

    dll_dirs: tuple[Path, ...]
    env: Mapping[str, str]
    driver: Mapping[str, Sequence[str]]
    #: Tells one machine from another in the memory of verdicts.
    identity: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """A Python ready to try wheels on."""

    interpreter: Interpreter
    numpy: Path
    pip: Path


def machine_for(
    analysis: Analysis,
    settings: Smoke,
    supply: Supply,
    *,
    dll_dirs: Sequence[Path] = (),
    env: Mapping[str, str] | None = None,
) -> Machine:
    """Return a machine that has what the binary needs: its DLLs on PATH, stand-ins for a driver.

    Directories that are given take the place of NVIDIA's wheels. Raises RepackError where the
    DLLs cannot be had.
    """
    folders = tuple(dll_dirs) or settings.dll_dirs
    wanted = dll_requirements(analysis) if settings.dlls == "auto" else settings.dlls
    identity = [_listing(folder) for folder in folders]
    if not folders and wanted:
        wheels = [supply.wheel(requirement, _ANY_PYTHON) for requirement in wanted]
        identity = [fetched.sha256 for fetched in wheels]
        folders = (
            smoke.laid_out_dlls([fetched.path for fetched in wheels], supply.cache.root),
        )
    return Machine(
        dll_dirs=folders,
        env=dict(env or {}),
        driver=driver_needs(analysis),
        identity=json.dumps([identity, sorted((env or {}).items()), settings.timeout]),
    )


def driver_needs(analysis: Analysis) -> Mapping[str, Sequence[str]]:
    """Return the driver's DLLs that the binary imports at load time, each with the symbols."""
    driver = {
        need.dll.name
        for need in analysis.needs
        if need.dll.kind is Kind.DRIVER and not need.delayed and need.in_wheel is None
    }
    symbols: dict[str, set[str]] = {name: set() for name in sorted(driver)}
    for image in analysis.images.values():
        for imported in image.imports:
            if imported.dll in symbols:
                symbols[imported.dll] |= set(imported.symbols)
    return {name: tuple(sorted(wanted)) for name, wanted in symbols.items()}


def bench_for(python: str, requires: Sequence[str], settings: Smoke, supply: Supply) -> Bench:
    """Return `python` with the NumPy that `requires` asks for, and its pip.

    Raises ToolError where there is no such Python and none can be put together, FetchError where
    NumPy or pip cannot be had.
    """
    interpreter = obtain(
        python, settings, cache=supply.cache, offline=supply.offline, progress=supply.progress
    )
    if isinstance(interpreter, Unavailable):
        raise ToolError(interpreter.reason, hint=interpreter.hint)
    numpy = supply.wheel(smoke.numpy_requirement(requires, python), python)
    pip = supply.wheel("pip", python)
    return Bench(interpreter=interpreter, numpy=numpy.path, pip=pip.path)


class Memory:
    """Remembers what a wheel did on a Python and a machine, so that it is not run again.

    A failure of a fixed wheel is not remembered: whoever asks again wants to see it again.
    """

    def __init__(self, folder: Path) -> None:
        """Keep verdicts in `folder`, one small file each."""
        self._folder = folder

    def recall(self, key: str) -> Outcome | None:
        """Return the outcome of an earlier run, None if there is none."""
        try:
            return Outcome(**json.loads((self._folder / f"{key}.json").read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def keep(self, key: str, outcome: Outcome) -> None:
        """Remember an outcome."""
        with files.replacing(self._folder / f"{key}.json") as stream:
            stream.write(json.dumps(asdict(outcome)).encode())


def try_wheel(trial: Trial, bench: Bench, machine: Machine, memory: Memory, timeout: int) -> Outcome:
    """Return what the wheel did, now or when the very same was tried before."""
    parts = [
        trial.sha256,
        machine.identity,
        smoke.identity(bench.interpreter, bench.numpy, bench.pip),
    ]
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    known = memory.recall(key)
    if known is not None:
        return known
    outcome = smoke.run_smoke(
        trial.wheel,
        bench.interpreter,
        numpy=bench.numpy,
        pip=bench.pip,
        dll_dirs=machine.dll_dirs,
        env=machine.env,
        driver_standins=machine.driver,
        timeout=timeout,
    )
    if outcome.status == PASSED or trial.remember_failure and outcome.repeatable:
        memory.keep(key, outcome)
    return outcome
