"""A Windows Python, as it describes itself."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from repack.errors import InputError
from repack.process import run

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Interpreter:
    """A genuine Windows Python that can be run here.

    `version` is "3.12", or "3.14t" for the free-threaded build; `python` is its python.exe;
    `launcher` is what runs that: empty on Windows, Wine elsewhere, and `system` tells one Wine
    from another. `origin` is how it was found: "py launcher", "registry", "uv", "given" or
    "assembled". `machine` is "x86-64", "x86" or "arm64". `repr()` is the same for what runs alike.
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


def ask_python(command: Sequence[str], env: Mapping[str, str]) -> tuple[str, str, str]:
    """Return the version ("3.12", "3.14t"), the full version and the machine of a Python.

    Raises InputError where the command starts no CPython for Windows.
    """
    done = run([*command, "-I", "-S", "-c", _PROGRAM], timeout=_TIMEOUT, env=env)
    lines = done.output.strip().splitlines() or ["it printed nothing"]
    _, mark, answer = done.output.rpartition(_MARK)
    version, name, system, flag = [], lines[-1], "", ""
    if mark:
        version, name, system, flag = json.loads(answer.splitlines()[0])
    if name != "cpython" or system not in _MACHINES:
        raise InputError(
            f"is no CPython for Windows: {name} {system}".rstrip(),
            code="not-python",
            file=command[-1],
            hint="give a Windows python.exe",
        )
    return f"{version[0]}.{version[1]}{flag}", ".".join(map(str, version)), _MACHINES[system]
