"""A Windows Python, as it describes itself."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from repack.errors import InputError
from repack.process import run
from repack.pythons.windows import windows_environment
from repack.pythons.wine import Wine

_TIMEOUT = 60.0
_MARK = "repack-python:"
# Runs on any Python 3; sysconfig's platform is that of the build, not of the machine.
_PROGRAM = f"""
import json, sys, sysconfig
print({_MARK!r} + json.dumps([
    list(sys.version_info[:3]),
    sys.implementation.name,
    sysconfig.get_platform(),
    "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else "",
]))
"""
_MACHINES = {"win-amd64": "x86-64", "win32": "x86", "win-arm64": "arm64"}


@dataclass(frozen=True, kw_only=True)
class Interpreter:
    """A genuine Windows Python that can be run here; `wine` runs it where this is not Windows.

    `version` is "3.12", or "3.14t" for the free-threaded build; `python` is its python.exe.
    `origin` is how it was found: "py launcher", "registry", "uv", "given" or "assembled".
    `machine` is "x86-64", "x86" or "arm64".
    """

    version: str
    full_version: str
    python: Path
    origin: str
    machine: str = "x86-64"
    wine: Wine | None = None

    @property
    def launcher(self) -> tuple[str, ...]:
        """What runs its python.exe: nothing on Windows, elsewhere Wine."""
        return (self.wine.program,) if self.wine else ()

    @property
    def command(self) -> tuple[str, ...]:
        """The words that start it."""
        return (*self.launcher, str(self.python))

    @property
    def env(self) -> Mapping[str, str]:
        """All that has to be in the environment for it to run; nothing else has to.

        Asked for the first time, it starts Wine. Raises ToolError where that fails.
        """
        return self.wine.env if self.wine else windows_environment()

    @property
    def identity(self) -> str:
        """What is another one for another Python, and for one that another Wine runs."""
        system = self.wine.version if self.wine else ""
        return f"{self.version} {self.full_version} {self.machine} {self.python} {system}"


def ask_python(python: Path, *, origin: str, wine: Wine | None) -> Interpreter:
    """Return what `python` says it is; raises InputError where it is no CPython for Windows."""
    unknown = Interpreter(version="", full_version="", python=python, origin=origin, wine=wine)
    words = [*unknown.command, "-I", "-S", "-c", _PROGRAM]
    done = run(words, timeout=_TIMEOUT, env=unknown.env)
    lines = done.output.strip().splitlines() or ["it printed nothing"]
    _, mark, answer = done.output.rpartition(_MARK)
    version, name, system, flag = [], lines[-1], "", ""
    if mark:
        version, name, system, flag = json.loads(answer.splitlines()[0])
    if name != "cpython" or system not in _MACHINES:
        raise InputError(
            f"is no CPython for Windows: {name} {system}".rstrip(),
            code="not-python",
            file=python,
            hint="give a Windows python.exe",
        )
    return replace(
        unknown,
        version=f"{version[0]}.{version[1]}{flag}",
        full_version=".".join(map(str, version)),
        machine=_MACHINES[system],
    )
