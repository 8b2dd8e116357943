"""Installs a wheel on one Windows Python as a user would, imports it, and says what was seen."""

import json
import os
import threading
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from repack.console import SILENT
from repack.dlls import make_dll
from repack.fetch import Cache, Fetched
from repack.process import Finished, run
from repack.pythons import Interpreter, make_once, windows_path, work_folder
from repack.record import FAILED, OWN_STAND_IN, Outcome
from repack.smoke.judging import judge
from repack.smoke.machine import Machine

# The probe ends itself when its time is up, and says where it was; this is for one that cannot.
_GRACE = 15.0
#: `mov eax, 100; ret`: CUDA_ERROR_NO_DEVICE, whatever is asked.
_NO_DEVICE = bytes.fromhex("B864000000C3")
_PIP_OPTIONS = (
    *("--isolated", "--no-compile", "--no-cache-dir", "--no-warn-script-location", "--no-color"),
    *("--disable-pip-version-check", "--no-input", "--progress-bar=off"),
)


def run_smoke(  # noqa: PLR0913 - a trial is made of exactly these
    wheel: Path,
    interpreter: Interpreter,
    *,
    beside: Sequence[Path],
    pip: Fetched,
    machine: Machine,
    timeout: float,
    cache: Cache,
    stop: threading.Event | None = None,
) -> Outcome:
    """Return what the wheel did on `interpreter`: installed by its own pip, then used.

    `beside` are the wheels it requires, NumPy among them. `timeout` is in seconds, for each of
    the three processes, which end early when `stop` is set. What is installed lies in a folder of
    the cache that is gone afterwards.
    """
    with work_folder(cache, "smoke") as folder:
        probe = Probe(
            interpreter=interpreter, machine=machine, folder=folder, timeout=timeout, stop=stop
        )
        wheels = [probe.path(path) for path in (wheel, *beside)]
        runs = [probe.run_pip(unpack_pip(pip, cache), "install", "--no-index", *wheels)]
        for task in ("use", "devices"):
            if judge(runs, timeout, driver=probe.driver).status == FAILED:
                break
            runs.append(probe.run_task(task))
        return judge(runs, timeout, driver=probe.driver)


def unpack_pip(pip: Fetched, cache: Cache) -> Path:
    """Return a folder with pip, unpacked once: out of its wheel, each start compiles it anew."""

    def fill(folder: Path) -> None:
        with zipfile.ZipFile(pip.path) as archive:
            archive.extractall(folder)

    folder = cache.root / "pip" / f"{pip.path.stem}-{pip.sha256[:16]}"
    return make_once(folder, fill, cache, SILENT)


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """Runs the tasks of probe.py on one Python, in `folder`, each in a process of its own."""

    interpreter: Interpreter
    machine: Machine
    folder: Path
    timeout: float
    stop: threading.Event | None = None

    def __post_init__(self) -> None:
        """Make what the tasks need: folders, and stand-ins for the driver that is not there."""
        lacking = [name for name in self.machine.driver if not self._has_driver(name)]
        for name in ("site-packages", "temporary", "home", *(["driver"] if lacking else [])):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for name in lacking:
            code = dict.fromkeys(self.machine.driver[name], _NO_DEVICE)
            (self.folder / "driver" / name).write_bytes(make_dll(name, code=code))

    @property
    def driver(self) -> str:
        """What takes the place of the driver's DLLs, as an Outcome has it."""
        if (self.folder / "driver").is_dir():
            return "stand-in"
        return "" if all(map(self._has_driver, self.machine.carried)) else OWN_STAND_IN

    def run_pip(self, package: Path, command: str, *words: str) -> Finished:
        """Return the result of a command of the pip that is unpacked in `package`."""
        arguments = (command, *_PIP_OPTIONS, "--target", self.path(self.folder / "site-packages"))
        return self.run_task("pip", package, (*arguments, *words))

    def run_task(
        self, task: str, package: Path | None = None, arguments: Sequence[str] = ()
    ) -> Finished:
        """Return the result of one task of the probe, which imports from `package` if given."""
        driver = self.folder / "driver"
        job = {
            "task": task,
            "packages": [self.path(package or self.folder / "site-packages")],
            "temporary": self.path(self.folder / "temporary"),
            "driver": self.path(driver) if driver.is_dir() else "",
            "arguments": list(arguments),
            "limit": self.timeout,
        }
        with as_file(files(__package__).joinpath("probe.py")) as program:
            return run(
                [*self.interpreter.command, "-I", "-S", self.path(program), json.dumps(job)],
                timeout=self.timeout + _GRACE,
                env=self._environment(),
                # Nothing lies there that could answer for a DLL or a module.
                cwd=self.folder / "home",
                stop=self.stop,
            )

    def path(self, path: Path) -> str:
        """Return `path` as the Python under test writes it."""
        return str(windows_path(path) if self.interpreter.launcher else path.absolute())

    def _has_driver(self, name: str) -> bool:
        """Return whether the machine has the driver's DLL where the driver puts it."""
        root = Path(os.environ.get("SYSTEMROOT", r"C:\Windows"))
        if self.interpreter.launcher:
            root = Path(self.interpreter.env["WINEPREFIX"], "drive_c", "windows")
        return (root / "System32" / name).exists() or (root / "system32" / name).exists()

    def _environment(self) -> dict[str, str]:
        """Return the environment of a task: the machine's own, and nothing of ours."""
        given = {name: self._value(value) for name, value in self.machine.env.items()}
        path = [given.pop(name) for name in list(given) if name.upper() == "PATH"]
        directories = ";".join([*map(self.path, self.machine.dll_dirs), *path])
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
        return self.path(path) if wine and path.is_absolute() and path.exists() else value
