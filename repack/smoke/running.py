"""Installs a wheel on one Windows Python as a user would, imports it, and says what was seen."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from repack.console import SILENT
from repack.dlls import make_dll
from repack.files import sha256_of, sweep, workspace
from repack.process import run
from repack.pythons import is_whole, place_tree, windows_path
from repack.record import OWN_STAND_IN, PASSED, Outcome
from repack.smoke.judging import judge_installation, judge_use
from repack.wheel import open_archive, read_member

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping, Sequence

    from repack.fetch import Cache
    from repack.process import Finished
    from repack.pythons import Interpreter

_PROBE = "probe.py"
# Raise it when wheels are tried in another way.
_FORMAT = 2
# The probe ends itself when its time is up, and says where it was; this is for one that cannot.
_GRACE = 15.0
#: `mov eax, 100; ret`: CUDA_ERROR_NO_DEVICE, whatever is asked.
_NO_DEVICE = bytes.fromhex("B864000000C3")
_PIP_OPTIONS = (
    *("--isolated", "--no-index", "--no-compile", "--no-cache-dir", "--no-warn-script-location"),
    *("--disable-pip-version-check", "--no-input", "--no-color", "--progress-bar=off"),
)


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


def run_smoke(  # noqa: PLR0913 - a trial is made of exactly these
    wheel: Path,
    interpreter: Interpreter,
    *,
    beside: Sequence[Path],
    pip: Path,
    machine: Machine,
    timeout: float,
    cache: Cache,
    stop: threading.Event | None = None,
) -> Outcome:
    """Return what the wheel did on `interpreter`: installed by its own pip, then used.

    `beside` are the wheels it requires, NumPy among them, `pip` is the wheel of pip. `timeout` is
    in seconds, for each of the three processes, which end early when `stop` is set. What is
    installed lies in a folder of the cache that is gone afterwards.
    """
    interpreter.start()
    package = _unpacked(pip, cache)
    parent = cache.folder("smoke")
    sweep(parent)
    with workspace(parent) as place:
        trial = _Trial(
            interpreter=interpreter, machine=machine, place=place, timeout=timeout, stop=stop
        )
        return trial.outcome(package, [wheel, *beside])


def _unpacked(pip: Path, cache: Cache) -> Path:
    """Return a folder with pip, unpacked once: out of its wheel, each start compiles it anew."""
    tree = cache.folder("pip") / f"{pip.stem}-{sha256_of(pip)[:16]}"
    if not is_whole(tree):
        with cache.lock(f"pip {tree.name}", SILENT):
            if not is_whole(tree):
                archive = open_archive(pip)
                files_of = [member.name for member in archive.members if not member.directory]
                place_tree(tree, ((name, read_member(archive, name)) for name in files_of))
    return tree


def identity(interpreter: Interpreter, wheels: Sequence[Path], pip: Path) -> str:
    """Return a digest of what a trial depends on, beside the wheel and the machine."""
    probe = files(__package__).joinpath(_PROBE).read_bytes()
    contents = sorted(f"{path.name} {sha256_of(path)}" for path in (*wheels, pip))
    parts = [str(_FORMAT), interpreter.identity, *contents]
    return hashlib.sha256("\n".join(parts).encode() + probe).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Trial:
    """One wheel on one Python, in a folder of its own."""

    interpreter: Interpreter
    machine: Machine
    place: Path
    timeout: float
    stop: threading.Event | None

    def outcome(self, pip: Path, wheels: Sequence[Path]) -> Outcome:
        """Return what was seen."""
        for name in ("site-packages", "temporary", "home"):
            (self.place / name).mkdir()
        installed = self._installed(pip, wheels)
        outcome = judge_installation(installed, self.timeout)
        if outcome is not None:
            return outcome
        driver = self._standins()
        runs = [installed, self._do("use", driver)]
        if judge_use(runs, self.timeout, driver=bool(driver)).status == PASSED:
            runs.append(self._do("devices", driver))
        outcome = judge_use(runs, self.timeout, driver=bool(driver))
        if outcome.driver or all(map(self._has_driver, self.machine.carried)):
            return outcome
        return msgspec.structs.replace(outcome, driver=OWN_STAND_IN)

    def _installed(self, pip: Path, wheels: Sequence[Path]) -> Finished:
        """Return how the Python's own pip fared with the wheels; it asks no index."""
        arguments = ("install", *_PIP_OPTIONS, "--target", self._path(self._packages))
        return self._do("install", "", pip, (*arguments, *map(self._path, wheels)))

    @property
    def _packages(self) -> Path:
        return self.place / "site-packages"

    def _standins(self) -> str:
        """Return the folder of stand-ins for the driver DLLs that this machine lacks, or ""."""
        folder = self.place / "driver"
        for name, symbols in self.machine.driver.items():
            if not self._has_driver(name):
                folder.mkdir(exist_ok=True)
                code = dict.fromkeys(symbols, _NO_DEVICE)
                (folder / name).write_bytes(make_dll(name, code=code))
        return self._path(folder) if folder.is_dir() else ""

    def _has_driver(self, name: str) -> bool:
        """Return whether the machine has the driver's DLL where the driver puts it."""
        root = Path(os.environ.get("SYSTEMROOT", r"C:\Windows"))
        if self.interpreter.launcher:
            root = Path(self.interpreter.env["WINEPREFIX"], "drive_c", "windows")
        return (root / "System32" / name).exists() or (root / "system32" / name).exists()

    def _do(
        self, task: str, driver: str, package: Path | None = None, arguments: Sequence[str] = ()
    ) -> Finished:
        """Return how one task of the probe fared, in a process of its own."""
        job = {
            "task": task,
            "packages": [self._path(package or self._packages)],
            "temporary": self._path(self.place / "temporary"),
            "driver": driver,
            "arguments": list(arguments),
            "limit": self.timeout,
        }
        with as_file(files(__package__).joinpath(_PROBE)) as probe:
            return run(
                [*self.interpreter.command, "-I", "-S", self._path(probe), json.dumps(job)],
                timeout=self.timeout + _GRACE,
                env=self._environment(),
                # Nothing lies there that could answer for a DLL or a module.
                cwd=self.place / "home",
                stop=self.stop,
            )

    def _environment(self) -> dict[str, str]:
        """Return the environment of the process: the machine's own, and nothing of ours."""
        given = {name: self._value(value) for name, value in self.machine.env.items()}
        path = [given.pop(name) for name in list(given) if name.upper() == "PATH"]
        directories = ";".join([*map(self._path, self.machine.dll_dirs), *path])
        env = {**self.interpreter.env, **given}
        if self.interpreter.launcher:
            # Wine makes the Windows PATH of it; PATH itself is the launcher's.
            env["WINEPATH"] = directories
            # One line for each DLL that was not found, and who asked for it.
            env["WINEDEBUG"] = "-all,err+module"
        elif directories:
            env["PATH"] = f"{directories}{os.pathsep}{env.get('PATH', '')}"
        return env

    def _value(self, value: str) -> str:
        """Return a variable's value, a path of this machine as the Python under test writes it."""
        path = Path(value)
        wine = bool(self.interpreter.launcher)
        return self._path(path) if wine and path.is_absolute() and path.exists() else value

    def _path(self, path: Path) -> str:
        """Return `path` as the Python under test writes it."""
        return str(windows_path(path) if self.interpreter.launcher else path.absolute())
