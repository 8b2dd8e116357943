"""The Python that is looked at: found, asked what it is, and given the probe to run."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.resources import as_file, files
from pathlib import Path, PureWindowsPath
from typing import Any

from repack.console import Progress
from repack.errors import InputError, ToolError, UsageError
from repack.fetch.cache import Cache
from repack.process import run
from repack.pythons.interpreter import find_executable
from repack.pythons.wine import Wine, windows_path

_ON_WINDOWS = os.name == "nt"
_MARK = "@repack "
_TIMEOUT = 300.0
_BITS = {"win-amd64": "64-bit", "win32": "32-bit", "win-arm64": "ARM64"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A Python that can be run here; `prefix` is Wine's, None on Windows.

    `facts` is what it says of itself (probe.py's `describe_python`); names of paths in them, and in
    all that it says, are those of its Windows.
    """

    command: tuple[str, ...]
    env: Mapping[str, str]
    prefix: Path | None
    facts: Mapping[str, Any]

    def ask(self, task: str, **job: object) -> dict[str, Any]:
        """Return the probe's answer; raises ToolError with the program's last words."""
        with as_file(files(__package__).joinpath("probe.py")) as probe:
            words = [*self.command, "-B", self.name(probe), json.dumps({"task": task, **job})]
            done = run(words, timeout=_TIMEOUT, env=self.env)
        lines = done.output.strip().splitlines() or ["it printed nothing"]
        for line in lines:
            if line.startswith(_MARK):
                answer: dict[str, Any] = json.loads(line.removeprefix(_MARK))
                return answer
        how = "did not end in time" if done.timed_out else f"ended with {done.returncode}"
        raise ToolError(
            f"this Python {how}: {lines[-1]}",
            code="not-python",
            file=self.command[-1],
            hint="" if self.facts else "name the python.exe, or the folder of its environment",
        )

    def name(self, path: Path) -> str:
        """Return what a path of this machine is called by that Python."""
        return str(windows_path(path) if self.prefix else path.absolute())

    def path(self, name: str) -> Path:
        """Return where a path of that Python's lies on this machine."""
        if self.prefix is None:
            return Path(name)
        drive, *parts = PureWindowsPath(name).parts
        place = (self.prefix / "dosdevices" / drive[:2].lower()).resolve()
        for part in parts:
            others = place.iterdir() if place.is_dir() and not (place / part).exists() else ()
            same = (other.name for other in others if other.name.lower() == part.lower())
            place /= next(same, part)
        return place

    def describe(self) -> str:
        """Return in a line what it is and of which kind."""
        kinds = {
            "free-threaded": self.facts["threaded"],
            "virtual environment": self.facts["prefix"] != self.facts["base_prefix"],
            "conda": (self.path(self.facts["prefix"]) / "conda-meta").is_dir(),
            "Microsoft Store": "windowsapps" in self.facts["base_prefix"].lower(),
        }
        bits, executable = _BITS[self.facts["platform"]], self.facts["executable"]
        kind = [name for name in kinds if kinds[name]]
        return f"{', '.join([self.facts['version'], bits, *kind])} ({executable})"


@contextlib.contextmanager
def open_target(
    given: Path | None, variables: Mapping[str, str], progress: Progress
) -> Iterator[Target]:
    """Give the Python at `given`, or the one that a command line here would take.

    `variables` are set in its environment. Raises UsageError where there is none, InputError where
    it is no Python for Windows.
    """
    program = find_executable(given) if given else _find_active()
    with contextlib.ExitStack() as stack:
        if _ON_WINDOWS:
            env = {**os.environ, **{name.upper(): variables[name] for name in variables}}
            target = Target(command=(str(program),), env=env, prefix=None, facts={})
        else:
            wine = stack.enter_context(Wine(Cache.default(), progress))
            target = _run_in_wine(wine, program.absolute(), variables)
        target = replace(target, facts=target.ask("describe"))
        if target.facts["implementation"] != "cpython" or target.facts["platform"] not in _BITS:
            raise InputError(
                "it is {implementation} for {platform}, not CPython for Windows".format_map(
                    target.facts
                ),
                code="not-python",
                file=program,
                hint="name the python.exe that imports cv2",
            )
        yield target


def _find_active() -> Path:
    """Return the Python that is active, or that the launcher or PATH gives."""
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX") if _ON_WINDOWS else ():
        if folder := os.environ.get(variable):
            return find_executable(Path(folder))
    for name in ("py", "python") if _ON_WINDOWS else ():
        if program := shutil.which(name):
            return Path(program)
    hint = r"name one: repack doctor C:\path\to\python.exe"
    raise UsageError("no Windows Python is active here", hint=hint)


def _run_in_wine(wine: Wine, program: Path, variables: Mapping[str, str]) -> Target:
    """Return a Python in Wine: in the prefix that it lies in, or else in one of our own."""
    drive = next((folder for folder in program.parents if folder.name == "drive_c"), None)
    if drive:
        env: Mapping[str, str] = wine.environment(drive.parent)
        name = PureWindowsPath("C:/", program.relative_to(drive))
    else:
        env, name = wine.env, windows_path(program)
    # Wine makes the Windows PATH of it; PATH itself is that of Wine.
    given = {"WINEPATH" if key.upper() == "PATH" else key: variables[key] for key in variables}
    return Target(
        command=(wine.program, str(name)),
        env={**env, **given},
        prefix=Path(env["WINEPREFIX"]),
        facts={},
    )
