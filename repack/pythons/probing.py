"""What a python.exe says of itself."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from repack.errors import InputError
from repack.process import run
from repack.pythons.values import Interpreter

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_TIMEOUT = 60.0
_MARK = "repack-python:"
# Runs on any Python 3; sysconfig's platform is that of the build, not of the machine.
_PROBE = f"""
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
class Answer:
    """What a Python is."""

    version: tuple[int, int, int]
    threaded: bool
    machine: str

    @property
    def short(self) -> str:
        """Return "3.12", or "3.14t" for the free-threaded build."""
        return f"{self.version[0]}.{self.version[1]}{'t' if self.threaded else ''}"


def probe(
    python: Path, *, origin: str, launcher: tuple[str, ...] = (), env: Mapping[str, str]
) -> Interpreter:
    """Return what `python` says it is; InputError where it is no CPython for Windows."""
    done = run([*launcher, python, "-I", "-S", "-c", _PROBE], timeout=_TIMEOUT, env=env)
    answer = parse_answer(done.output)
    if isinstance(answer, str):
        said = f"did not say which Python it is: {answer}"
        how = "did not end" if done.timed_out else said
        raise InputError(how, code="not-python", file=python, hint="give a Windows python.exe")
    return Interpreter(
        version=answer.short,
        full_version=".".join(map(str, answer.version)),
        python=python,
        launcher=launcher,
        env=env,
        origin=origin,
        machine=answer.machine,
    )


def parse_answer(output: str) -> Answer | str:
    """Return what the probe's output says, or why it says nothing of use."""
    lines = [line for line in output.splitlines() if line.startswith(_MARK)]
    if not lines:
        said = output.strip().splitlines()
        return said[-1] if said else "it printed nothing"
    try:
        said_of: dict[str, Any] = json.loads(lines[-1].removeprefix(_MARK))
        major, minor, micro = map(int, said_of["version"])
        machine = _MACHINES.get(said_of["platform"])
    except (ValueError, KeyError, TypeError):
        return lines[-1]
    if said_of["implementation"] != "cpython":
        return f"it is {said_of['implementation']}, not CPython"
    if machine is None:
        return f"it is for {said_of['platform']}, not for Windows"
    return Answer(
        version=(major, minor, micro), threaded=bool(said_of["threaded"]), machine=machine
    )
