"""Installs a wheel on one Windows Python as a user would, imports it, and says what was seen."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from repack.interpreters import windows_path
from repack.pe import make_dll
from repack.processes import run
from repack.smoke.values import FAILED, PASSED, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from repack.interpreters import Interpreter
    from repack.processes import Finished

_PROBE = "probe.py"
_MARK = "@repack "
#: `mov eax, 100; ret`: CUDA_ERROR_NO_DEVICE, whatever is asked.
_NO_DEVICE = bytes.fromhex("B864000000C3")
#: What Wine says, even with its debug output off, when a program runs into something it lacks.
_WINE_SAYS = ("unimplemented function", "Unhandled exception", "Unhandled page fault", "Assertion")


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """The machine that is imitated: directories on PATH, variables, and driver DLLs it lacks.

    `driver` maps the driver's DLLs that the wheel imports to the symbols wanted of each.
    """

    dll_dirs: tuple[Path, ...] = ()
    env: Mapping[str, str]
    driver: Mapping[str, Sequence[str]]


def run_smoke(  # noqa: PLR0913 - a trial is made of exactly these
    wheel: Path,
    interpreter: Interpreter,
    *,
    beside: Sequence[Path],
    pip: Path,
    machine: Machine,
    timeout: float,
) -> Outcome:
    """Return what the wheel did on `interpreter`: installed by its own pip, then used.

    `beside` are the wheels it requires, NumPy among them; `timeout` is in seconds, for each of the
    two processes.
    """
    with TemporaryDirectory(prefix="repack-smoke-") as folder:
        place = Path(folder)
        trial = _Trial(interpreter=interpreter, machine=machine, place=place, timeout=timeout)
        installed = trial.install(pip, [wheel, *beside])
        if installed.returncode or installed.timed_out:
            return _not_installed(installed, timeout)
        used = trial.use()
        return _judged(used, timeout, installed.output, driver="stand-in" if trial.standins else "")


def identity(interpreter: Interpreter, wheels: Sequence[Path], pip: Path) -> str:
    """Return a digest of what a trial depends on, beside the wheel and the machine."""
    probe = files(__package__).joinpath(_PROBE).read_bytes()
    names = sorted(path.name for path in (*wheels, pip))
    return hashlib.sha256("\n".join([interpreter.identity, *names]).encode() + probe).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Trial:
    """One wheel on one Python, in a folder of its own."""

    interpreter: Interpreter
    machine: Machine
    place: Path
    timeout: float

    @property
    def target(self) -> Path:
        """Where the packages are installed."""
        return self.place / "site-packages"

    @property
    def standins(self) -> Path | None:
        """The folder of stand-ins for the driver's DLLs, None where none are needed."""
        folder = self.place / "driver"
        return folder if folder.is_dir() else None

    def install(self, pip: Path, wheels: Sequence[Path]) -> Finished:
        """Return how the Python's own pip fared with the wheels; it asks no index."""
        self.target.mkdir()
        return self._run(
            f"{self._path(pip)}/pip",
            "install",
            *("--no-index", "--no-compile", "--no-cache-dir", "--no-warn-script-location"),
            *("--disable-pip-version-check", "--no-input", "--no-color", "--quiet"),
            *("--target", self._path(self.target)),
            *(self._path(wheel) for wheel in wheels),
        )

    def use(self) -> Finished:
        """Return how the probe fared."""
        self._place_standins()
        with as_file(files(__package__).joinpath(_PROBE)) as probe:
            driver = self._path(self.standins) if self.standins else ""
            return self._run(self._path(probe), driver)

    def _place_standins(self) -> None:
        missing = {
            name: symbols
            for name, symbols in self.machine.driver.items()
            if not self._has_driver(name)
        }
        if missing:
            folder = self.place / "driver"
            folder.mkdir()
            for name, symbols in missing.items():
                code = dict.fromkeys(symbols, _NO_DEVICE)
                (folder / name).write_bytes(make_dll(name, code=code))

    def _has_driver(self, name: str) -> bool:
        """Return whether the machine has the driver's DLL where the driver puts it."""
        if sys.platform == "win32":
            root = Path(os.environ.get("SYSTEMROOT", r"C:\Windows"))
            return (root / "System32" / name).exists()
        prefix = self.interpreter.env.get("WINEPREFIX", "")
        return Path(prefix, "drive_c", "windows", "system32", name).exists()

    def _run(self, *words: str) -> Finished:
        return run(
            [*self.interpreter.command, *words],
            timeout=self.timeout,
            env=self._environment(),
            cwd=self.place,
        )

    def _environment(self) -> dict[str, str]:
        """Return the environment of the process: the machine's own, and nothing of ours."""
        temporary = self._path(self.place)
        env = {
            **self.interpreter.env,
            "PYTHONPATH": self._path(self.target),
            "PYTHONNOUSERSITE": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUTF8": "1",
            "TEMP": temporary,
            "TMP": temporary,
            "PIP_CONFIG_FILE": "nul",
        }
        directories = ";".join(self._path(folder) for folder in self.machine.dll_dirs)
        if self.interpreter.launcher:
            # Wine makes the Windows PATH of it; PATH itself is the launcher's.
            env["WINEPATH"] = directories
        else:
            system = os.environ.get("SYSTEMROOT", r"C:\Windows")
            env["PATH"] = f"{directories};{system}\\System32;{system}"
        return env | dict(self.machine.env)

    def _path(self, path: Path) -> str:
        """Return `path` as the Python under test writes it."""
        return str(windows_path(path) if self.interpreter.launcher else path)


def _not_installed(installed: Finished, timeout: float) -> Outcome:
    """Return the outcome of a wheel that pip would not install."""
    errors = [line for line in installed.output.splitlines() if "ERROR" in line]
    last = errors or installed.output.strip().splitlines() or [""]
    why = f"pip did not end within {timeout:.0f} s" if installed.timed_out else f"pip: {last[-1]}"
    return Outcome(
        status=FAILED,
        reason=why,
        seconds=installed.seconds,
        log=installed.output,
        repeatable=not installed.timed_out,
    )


def _judged(used: Finished, timeout: float, before: str, *, driver: str) -> Outcome:
    """Return the outcome of a wheel that was installed and used."""
    said = _said(used.output)
    done = said.get("done")
    passed = isinstance(done, dict) and used.returncode == 0 and not used.timed_out
    return Outcome(
        status=PASSED if passed else FAILED,
        reason="" if passed else _reason(used, said, timeout),
        version=str(done.get("opencv", "")) if isinstance(done, dict) else "",
        driver=driver,
        seconds=used.seconds,
        log=before + used.output,
        repeatable=not used.timed_out,
    )


def _reason(used: Finished, said: Mapping[str, Any], timeout: float) -> str:
    """Return in one line why the probe did not come to its end, in the fault's own words."""
    step = said.get("step", "starting Python")
    if used.timed_out:
        return f"hung: {step} did not end within {timeout:.0f} s"
    if "error" in said:
        return str(said["error"])
    wine = [line for line in used.output.splitlines() if any(each in line for each in _WINE_SAYS)]
    detail = f": {wine[-1].strip()}" if wine else ""
    return f"crashed in {step} (exit code {used.returncode}){detail}"


def _said(output: str) -> dict[str, Any]:
    """Return the facts that the probe printed; of several the last."""
    facts: dict[str, Any] = {}
    for line in output.splitlines():
        if line.startswith(_MARK):
            try:
                facts |= json.loads(line.removeprefix(_MARK))
            except ValueError:
                continue
    return facts
