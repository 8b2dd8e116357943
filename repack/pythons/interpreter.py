"""A Windows Python, as it describes itself, or why there is none."""

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from repack.errors import InputError
from repack.process import run

ON_WINDOWS = os.name == "nt"
_TIMEOUT = 60.0
_MARK = "repack-python:"
# Runs on any Python 3; sysconfig's platform is that of the build, not of the machine.
_PROGRAM = f"""
import json, sys, sysconfig
print({_MARK!r} + json.dumps({{
    "version": list(sys.version_info[:3]),
    "implementation": sys.implementation.name,
    "platform": sysconfig.get_platform(),
    "threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
}}))
"""
_MACHINES = {"win-amd64": "x86-64", "win32": "x86", "win-arm64": "arm64"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Interpreter:
    """A genuine Windows Python that can be run here.

    `version` is "3.12", or "3.14t" for the free-threaded build; `python` is its python.exe;
    `launcher` is what runs that: empty on Windows, Wine elsewhere, and `system` tells one Wine
    from another. `origin` is how it was found: "py launcher", "registry", "uv", "given" or
    "assembled". `machine` is "x86-64", "x86" or "arm64".
    """

    version: str
    full_version: str
    python: Path
    launcher: tuple[str, ...] = ()
    system: str = ""
    origin: str
    machine: str = "x86-64"
    environment: Callable[[], Mapping[str, str]] = field(default=dict, compare=False, repr=False)

    @property
    def env(self) -> Mapping[str, str]:
        """All that has to be in the environment for it to run; nothing else has to.

        Asked for the first time, it starts Wine. Raises ToolError where that fails.
        """
        return self.environment()

    @property
    def command(self) -> tuple[str, ...]:
        """The words that start it."""
        return (*self.launcher, str(self.python))

    @property
    def identity(self) -> str:
        """A digest that changes whenever another Python is run, or is run by another Wine."""
        parts = (self.full_version, self.version, str(self.python), self.machine, self.system)
        return hashlib.sha256("\n".join((*parts, *self.launcher)).encode()).hexdigest()

    def sort_key(self) -> tuple[int, ...]:
        """Return what sorts by version."""
        return tuple(map(int, self.full_version.split(".")))


@dataclass(frozen=True, kw_only=True, slots=True)
class Unavailable:
    """Why there is no Windows Python of a version here, and the one thing to do about it."""

    version: str
    reason: str
    hint: str


class _Answer(msgspec.Struct):
    """What the program above prints."""

    version: tuple[int, int, int]
    implementation: str
    platform: str
    threaded: bool


def ask_python(
    python: Path,
    *,
    origin: str,
    environment: Callable[[], Mapping[str, str]],
    launcher: tuple[str, ...] = (),
    system: str = "",
) -> Interpreter:
    """Return what `python` says it is; raises InputError where it is no CPython for Windows."""
    done = run([*launcher, python, "-I", "-S", "-c", _PROGRAM], timeout=_TIMEOUT, env=environment())
    try:
        answer = _parse_answer(done.output)
    except ValueError as error:
        raise InputError(
            f"did not say which Python it is: {error}",
            code="not-python",
            file=python,
            hint="give a Windows python.exe",
        ) from None
    major, minor, micro = answer.version
    return Interpreter(
        version=f"{major}.{minor}{'t' if answer.threaded else ''}",
        full_version=f"{major}.{minor}.{micro}",
        python=python,
        launcher=launcher,
        system=system,
        origin=origin,
        machine=_MACHINES[answer.platform],
        environment=environment,
    )


def _parse_answer(output: str) -> _Answer:
    """Return the answer in a program's output; raises ValueError with what is wrong with it."""
    lines = output.strip().splitlines() or ["it printed nothing"]
    marked = [line for line in lines if line.startswith(_MARK)]
    if not marked:
        raise ValueError(lines[-1])
    answer = msgspec.json.decode(marked[-1].removeprefix(_MARK), type=_Answer)
    if answer.implementation != "cpython":
        raise ValueError(f"it is {answer.implementation}, not CPython")
    if answer.platform not in _MACHINES:
        raise ValueError(f"it is for {answer.platform}, not for Windows")
    return answer
