"""Installs a wheel on one Windows Python as a user would, imports it, and says what was seen."""

import json
import os
import shutil
import threading
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from repack.console import SILENT
from repack.dlls.writing import make_dll
from repack.fetch.cache import Cache
from repack.process import Finished, run
from repack.pythons import make_once, windows_path, work_folder
from repack.record import FAILED, OWN_STAND_IN, Outcome
from repack.smoke.judgement import judge
from repack.smoke.outfit import Outfit

#: `mov eax, 100; ret`: CUDA_ERROR_NO_DEVICE, whatever is asked.
_NO_DEVICE = bytes.fromhex("B864000000C3")
_PIP_OPTIONS = (
    *("--isolated", "--no-compile", "--no-cache-dir", "--no-warn-script-location", "--no-color"),
    *("--disable-pip-version-check", "--no-input", "--progress-bar=off"),
)


def run_smoke(
    wheel: Path, outfit: Outfit, *, timeout: float, cache: Cache, stop: threading.Event
) -> Outcome:
    """Return what the wheel did: installed by that Python's own pip, then used.

    `timeout` is in seconds, for each of the three processes, which end early when `stop` is set.
    What is installed lies in a folder of the cache that is gone afterwards.
    """
    with work_folder(cache, "smoke") as folder:
        probe = Probe(outfit, folder, timeout, cache, stop)
        wheels = [wheel, *(fetched.path for fetched in outfit.beside)]
        runs = [probe.run_pip("install", "--no-index", *map(probe.path, wheels))]
        for task in ("use", "devices"):
            if judge(runs, timeout, driver=probe.driver).status == FAILED:
                break
            runs.append(probe.run(task))
        return judge(runs, timeout, driver=probe.driver)


@dataclass(frozen=True, slots=True)
class Probe:
    """Runs the tasks of probe.py on one Python, in `folder`, each in a process of its own."""

    outfit: Outfit
    folder: Path
    timeout: float
    cache: Cache
    stop: threading.Event | None = None

    def __post_init__(self) -> None:
        """Make what the tasks need: folders, and stand-ins for the driver that is not there."""
        for name in ("site-packages", "temporary", "home"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for name, symbols in self.outfit.machine.driver.items():
            if not self._has_driver(name):
                (self.folder / "driver").mkdir(exist_ok=True)
                code = dict.fromkeys(symbols, _NO_DEVICE)
                (self.folder / "driver" / name).write_bytes(make_dll(name, code=code))

    @property
    def driver(self) -> str:
        """What takes the place of the driver's DLLs, as an Outcome has it."""
        if (self.folder / "driver").is_dir():
            return "stand-in"
        return "" if all(map(self._has_driver, self.outfit.machine.carried)) else OWN_STAND_IN

    def run_pip(self, command: str, *words: str) -> Finished:
        """Return the result of a command of the Python's own pip.

        That is unpacked once: out of its wheel, each start compiles it anew.
        """
        pip = self.outfit.pip
        folder = self.cache.root / "pip" / f"{pip.path.stem}-{pip.sha256[:16]}"
        make_once(
            folder, lambda place: shutil.unpack_archive(pip.path, place, "zip"), self.cache, SILENT
        )
        target = ("--target", self.path(self.folder / "site-packages"))
        return self.run("pip", self.path(folder), command, *_PIP_OPTIONS, *target, *words)

    def run(self, task: str, *arguments: str) -> Finished:
        """Return the result of one task of the probe."""
        driver = self.folder / "driver"
        job = {
            "task": task,
            "arguments": arguments,
            "packages": self.path(self.folder / "site-packages"),
            "temporary": self.path(self.folder / "temporary"),
            "driver": self.path(driver) if driver.is_dir() else "",
        }
        with as_file(files(__package__).joinpath("probe.py")) as program:
            return run(
                [*self.outfit.interpreter.command, "-I", "-S", self.path(program), json.dumps(job)],
                timeout=self.timeout,
                env=self._environment(),
                # Nothing lies there that could answer for a DLL or a module.
                cwd=self.folder / "home",
                stop=self.stop,
            )

    def path(self, path: Path) -> str:
        """Return `path` as the Python under test writes it."""
        return str(windows_path(path) if self.outfit.interpreter.launcher else path.absolute())

    def _has_driver(self, name: str) -> bool:
        """Return whether the machine has the driver's DLL where the driver puts it."""
        root = Path(os.environ.get("SYSTEMROOT", r"C:\Windows"))
        if self.outfit.interpreter.launcher:
            root = Path(self.outfit.interpreter.env["WINEPREFIX"], "drive_c", "windows")
        return (root / "system32" / name).exists()

    def _environment(self) -> dict[str, str]:
        """Return the environment of a task: the machine's own, and nothing of ours."""
        ours, machine = self.outfit.interpreter.env, self.outfit.machine
        folders = [*map(self.path, machine.dll_dirs), machine.env.get("PATH", "")]
        path = ";".join(filter(None, folders))
        if self.outfit.interpreter.launcher:
            # Wine makes the Windows PATH of WINEPATH; PATH itself is the launcher's. And it says
            # one line for each DLL that was not found, and who asked for it.
            special = {"PATH": ours["PATH"], "WINEPATH": path, "WINEDEBUG": "-all,err+module"}
        else:
            special = {"PATH": os.pathsep.join(filter(None, [path, ours["PATH"]]))}
        return {**ours, **machine.env, **special}
