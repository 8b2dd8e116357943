"""Windows Pythons: found on Windows, given, or put together for Wine."""

import contextlib
import functools
import json
import logging
import os
import shutil
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PureWindowsPath
from typing import Any

from packaging.version import Version

from repack.errors import InputError, RepackError, ToolError, UsageError
from repack.fetch import Supply
from repack.process import Finished, run
from repack.pythons.assembly import RECIPES, assemble, folder_of
from repack.pythons.wine import Wine, windows_path

if sys.platform == "win32":
    import winreg

_log = logging.getLogger(__name__)

ON_WINDOWS = os.name == "nt"
#: What runs inside a Python, for `smoke` and for `doctor`.
PROBE = Path(__file__).with_name("probe.py")
_TIMEOUT = 60.0
#: Before the JSON of a program that is run on a Python, in a line of its own.
_MARK = "@repack "
#: By the platform that a Python was built for, whatever the machine is.
_MACHINES = {"win-amd64": "x86-64", "win32": "x86", "win-arm64": "arm64"}
# What a program needs of the machine, and nothing that would colour a test.
_KEPT = (
    *("SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "USERPROFILE", "APPDATA"),
    *("LOCALAPPDATA", "PROGRAMDATA", "PROGRAMFILES", "NUMBER_OF_PROCESSORS"),
    *("PROCESSOR_ARCHITECTURE", "TEMP", "TMP", "USERNAME", "COMPUTERNAME"),
)


@dataclass(frozen=True, kw_only=True)
class Interpreter:
    """A genuine Windows Python that can be run here; `wine` runs it where this is not Windows.

    `version` is "3.12", or "3.14t" for the free-threaded build; `python` is its python.exe.
    `origin` is how it was found: "registry", "given" or "assembled".
    `machine` is "x86-64", "x86" or "arm64"; `drive` the drive C: of Wine's that it lies on, None
    for one that is run in a prefix of ours.
    """

    python: Path
    origin: str
    version: str = ""
    full_version: str = ""
    machine: str = "x86-64"
    wine: Wine | None = None
    drive: Path | None = None

    @property
    def launcher(self) -> tuple[str, ...]:
        """What runs its python.exe: nothing on Windows, elsewhere Wine."""
        return (self.wine.program,) if self.wine else ()

    @property
    def command(self) -> tuple[str, ...]:
        """The words that start it."""
        return (*self.launcher, self.name(self.python))

    @property
    def env(self) -> Mapping[str, str]:
        """All that has to be in the environment for it to run; nothing else has to.

        Asked for the first time, it starts Wine. Raises ToolError where that fails.
        """
        if self.wine is None:
            return clean_environment()
        return self.wine.environment(self.drive.parent) if self.drive else self.wine.env

    @property
    def identity(self) -> str:
        """What is another one for another Python, and for one that another Wine runs."""
        system = self.wine.version if self.wine else ""
        return f"{self.version} {self.full_version} {self.machine} {self.python} {system}"

    def name(self, path: Path) -> str:
        """Return what a path of this machine is called by programs of that Python."""
        path = path.absolute()
        if self.drive and path.is_relative_to(self.drive):
            return str(PureWindowsPath("C:/", path.relative_to(self.drive)))
        return str(windows_path(path) if self.wine else path)

    def with_variables(
        self, env: Mapping[str, str], variables: Mapping[str, str]
    ) -> dict[str, str]:
        """Return the environment with these variables of Windows."""
        given = {name.upper(): value for name, value in variables.items()}
        if self.wine and "PATH" in given:
            # Wine makes the Windows PATH of it; PATH itself is that of Wine.
            given["WINEPATH"] = given.pop("PATH")
        return {**env, **given}

    def run_probe(
        self,
        job: Mapping[str, object],
        *options: str,
        env: Mapping[str, str],
        timeout: float,
        cwd: Path | None = None,
        stop: threading.Event | None = None,
    ) -> Finished:
        """Return what came of probe.py, which is handed `job`; `options` are Python's."""
        words = [*self.command, *options, self.name(PROBE), json.dumps(job)]
        return run(words, timeout=timeout, env=env, cwd=cwd, stop=stop)


def parse_facts(output: str) -> dict[str, Any]:
    """Return the facts of the marked lines; of several by one name the last."""
    facts: dict[str, Any] = {}
    for line in output.splitlines():
        # Native code may have printed something before it without ending its line.
        _, mark, text = line.partition(_MARK)
        if mark:
            with contextlib.suppress(ValueError, TypeError):
                facts |= json.loads(text)
    return facts


def find_machine(facts: Mapping[str, Any], output: str, python: Path) -> str:
    """Return the processor of a Python that says this; InputError where it is not for Windows."""
    name, platform = facts.get("implementation", ""), facts.get("platform", "")
    if name != "cpython" or platform not in _MACHINES:
        lines = output.strip().splitlines() or ["it printed nothing"]
        # One that does not start, as with a wrong PYTHONHOME, goes on after that.
        telling = [line for line in lines if line.startswith("Fatal Python error")] or lines[-1:]
        what = f"is not a CPython for Windows: {f'{name} {platform}' if name else telling[0]}"
        hint = "name a Windows python.exe, or the folder of its environment"
        raise InputError(what, code="not-python", file=python, hint=hint)
    return _MACHINES[platform]


def ask_python(unknown: Interpreter) -> Interpreter:
    """Return it with what it says of itself; InputError where it is no CPython for Windows."""
    job = {"task": "describe"}
    done = unknown.run_probe(job, "-I", "-S", env=unknown.env, timeout=_TIMEOUT)
    facts = parse_facts(done.output)
    machine = find_machine(facts, done.output, unknown.python)
    minor = facts["version"].rpartition(".")[0]
    return replace(
        unknown,
        version=f"{minor}t" if facts["threaded"] else minor,
        full_version=facts["version"],
        machine=machine,
    )


def find_executable(path: Path, where: str = "") -> Path:
    """Return the python.exe that is given by its path, or by its folder; `where` says by whom.

    Another program is not started: a frozen one would run, and is no Python.
    """
    for place in (path, path / "python.exe", path / "Scripts" / "python.exe"):
        if place.is_file() and place.name.lower().startswith("py"):
            return place
    hint = f"{where}name a python.exe, or the folder of an environment"
    if path.is_file():
        hint += "; to a frozen program, as PyInstaller makes them, its maker adds what it lacks"
    raise InputError("there is no python.exe", code="no-python", file=path, hint=hint)


def find_python(given: Path | None) -> Path:
    """Return the python.exe at `given`, or else the active Python, or that of the launcher or PATH.

    Raises UsageError where there is none.
    """
    if given:
        return find_executable(given)
    active = os.environ.get("VIRTUAL_ENV") or os.environ.get("CONDA_PREFIX")
    program = shutil.which("py") or shutil.which("python")
    if ON_WINDOWS and active:
        return find_executable(Path(active))
    if ON_WINDOWS and program:
        return Path(program)
    hint = r"name one: repack doctor C:\path\to\python.exe"
    raise UsageError("no Windows Python is active here", hint=hint)


class Pythons(contextlib.ExitStack):
    """The Windows Pythons of this machine, for the length of a `with` block.

    Those given by path come first, then what is installed (Windows) or can be put together
    (Linux). Wine is started when the environment of a Python is first asked for, and at the end
    of the block nothing of it is left running.
    """

    def __init__(self, supply: Supply, given: Sequence[Path] = ()) -> None:
        """Keep the settings; nothing is looked for before it is asked for."""
        super().__init__()
        self._supply = supply
        self._given = given

    def provide(self, version: str) -> Interpreter:
        """Return a Python "3.12" that runs here, put together if need be.

        Raises RepackError where there is none, with the one thing to do about it.
        """
        for python in self.candidates:
            if python.version == version and python.machine == "x86-64":
                if python.origin == "assembled":
                    assemble(version, self._supply)
                return python
        if ON_WINDOWS:
            hint = f"py install {version}, or uv python install {version}"
            raise ToolError(f"no 64-bit Python {version} is installed", hint=hint)
        hint = f"there are {', '.join(RECIPES)}"
        raise ToolError(f"Python {version} cannot be put together for Wine", hint=hint)

    @functools.cached_property
    def candidates(self) -> list[Interpreter]:
        """Those given by path, those installed, newest first, those that can be put together.

        Of the last, python.exe may not be there yet. Raises ToolError without Wine.
        """
        paths = [find_executable(path, "under smoke.interpreters ") for path in self._given]
        wine = None if ON_WINDOWS else self.enter_context(Wine(self._supply.cache))
        given = [ask_python(Interpreter(python=path, origin="given", wine=wine)) for path in paths]
        installed = sorted(
            find_installed(), key=lambda python: Version(python.full_version), reverse=True
        )
        assembled = [
            Interpreter(
                version=version,
                full_version=RECIPES[version]["version"],
                python=folder_of(version, self._supply.cache) / "python.exe",
                origin="assembled",
                wine=wine,
            )
            for version in (RECIPES if wine else ())
        ]
        return [*given, *installed, *assembled]


# On Windows


def clean_environment(environ: Mapping[str, str] = os.environ) -> Mapping[str, str]:
    """Return the environment of a freshly started Windows: neither toolkit nor Python in it."""
    env = {name: environ[name] for name in _KEPT if name in environ}
    root = env.get("SYSTEMROOT", r"C:\Windows")
    return {**env, "PATH": rf"{root}\System32;{root};{root}\System32\Wbem"}


def find_installed() -> Iterator[Interpreter]:
    """Yield the Pythons of PEP 514's keys, none off Windows.

    Whatever installs a Python registers it: python.org, the Store, `py install`, uv, conda.
    """
    paths: list[Path] = []
    if sys.platform == "win32":
        for root in (winreg.HKEY_CURRENT_USER, winreg.HKEY_LOCAL_MACHINE):
            # A 32-bit Python registers itself in another view.
            for view in (winreg.KEY_WOW64_64KEY, winreg.KEY_WOW64_32KEY):
                paths += _read_registry(root, r"Software\Python", winreg.KEY_READ | view)
    for path in dict.fromkeys(path.resolve() for path in paths if path.is_file()):
        try:
            yield ask_python(Interpreter(python=path, origin="registry"))
        except RepackError as error:
            _log.info("%s", error)


if sys.platform == "win32":

    def _read_registry(root: int, name: str, access: int) -> Iterator[Path]:
        """Yield the executables in and below the key `name`."""
        with contextlib.suppress(OSError):
            key = winreg.OpenKey(root, name, 0, access)
            with contextlib.suppress(OSError):
                yield Path(winreg.QueryValueEx(key, "ExecutablePath")[0])
            for index in range(winreg.QueryInfoKey(key)[0]):
                yield from _read_registry(root, rf"{name}\{winreg.EnumKey(key, index)}", access)
