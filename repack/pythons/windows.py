"""The Pythons that are installed on Windows: the py launcher's, the registry's, uv's."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from repack.errors import RepackError, ToolError
from repack.process import run
from repack.pythons.probing import probe
from repack.pythons.values import ON_WINDOWS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from repack.pythons.values import Interpreter

if sys.platform == "win32":
    import winreg

_log = logging.getLogger(__name__)

_TIMEOUT = 60.0
# A drive or a share, up to ".exe"; the default's asterisk stands before it or behind it.
_EXECUTABLE = re.compile(r"(?:[A-Za-z]:|\\)\\.*\.exe(?=\s*\*?\s*$)", re.IGNORECASE)
# What a program needs of the machine, and nothing that would colour a test.
_KEPT = (
    *("SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "USERPROFILE", "APPDATA"),
    *("LOCALAPPDATA", "PROGRAMDATA", "PROGRAMFILES", "NUMBER_OF_PROCESSORS"),
    *("PROCESSOR_ARCHITECTURE", "TEMP", "TMP", "USERNAME", "COMPUTERNAME"),
)


def find_installed() -> tuple[Interpreter, ...]:
    """Return the Pythons of this Windows, newest first; empty on other systems."""
    if not ON_WINDOWS:
        return ()
    found: dict[str, Interpreter] = {}
    for origin, path in _candidates():
        with contextlib.suppress(OSError):
            resolved = Path(path).resolve()
            key = os.path.normcase(resolved)
            if key not in found and resolved.is_file():
                try:
                    found[key] = probe(resolved, origin=origin, env=windows_environment())
                except RepackError as error:
                    _log.info("%s", error)
    return tuple(
        sorted(found.values(), key=lambda python: _parts(python.full_version), reverse=True)
    )


def windows_environment(environ: Mapping[str, str] = os.environ) -> Mapping[str, str]:
    """Return the environment of a freshly started Windows: neither toolkit nor Python in it."""
    env = {name: environ[name] for name in _KEPT if name in environ}
    root = env.get("SYSTEMROOT", r"C:\Windows")
    return {**env, "PATH": rf"{root}\System32;{root};{root}\System32\Wbem"}


def parse_launcher(output: str) -> tuple[str, ...]:
    """Return the executables that `py -0p` lists, in its order."""
    found = (_EXECUTABLE.search(line) for line in output.splitlines())
    return tuple(match[0] for match in found if match)


def parse_uv(output: str) -> tuple[str, ...]:
    """Return the executables that `uv python list --output-format json` lists, in its order."""
    try:
        listed = json.loads(output)
    except ValueError:
        return ()
    if not isinstance(listed, list):
        return ()
    entries = [entry for entry in listed if isinstance(entry, dict)]
    paths = [entry.get("path") for entry in entries if entry.get("os", "windows") == "windows"]
    return tuple(path for path in paths if isinstance(path, str))


def uv_managed(data: Path) -> tuple[str, ...]:
    """Return the executables in uv's data folder, newest name first."""
    try:
        found = sorted(data.glob("cpython-*/python.exe"), reverse=True)
    except OSError:
        return ()
    return tuple(str(path) for path in found)


def _candidates() -> Iterator[tuple[str, str]]:
    """Yield (how it was found, executable); the same one may come several times."""
    yield from (("py launcher", path) for path in parse_launcher(_said("py", "-0p")))
    yield from (("registry", path) for path in _registered())
    listed = _said("uv", "python", "list", "--only-installed", "--output-format", "json")
    yield from (("uv", path) for path in parse_uv(listed))
    data = os.environ.get("UV_PYTHON_INSTALL_DIR") or os.path.expandvars(r"%APPDATA%\uv\python")
    yield from (("uv", path) for path in uv_managed(Path(data)))


def _said(*words: str) -> str:
    """Return what a program that may not be installed prints."""
    program = shutil.which(words[0])
    if program is None:
        return ""
    try:
        return run([program, *words[1:]], timeout=_TIMEOUT).output
    except ToolError as error:
        _log.info("%s", error)
        return ""


def executables(install_paths: Iterable[tuple[str | None, str | None]]) -> tuple[str, ...]:
    r"""Return the executables of PEP 514's InstallPath keys, each (ExecutablePath, default value).

    ExecutablePath may be missing; then the executable is `python.exe` in the folder.
    """
    return tuple(
        executable or rf"{str(folder).rstrip(chr(92))}\python.exe"
        for executable, folder in install_paths
        if executable or folder
    )


if sys.platform == "win32":

    def _registered() -> tuple[str, ...]:
        return executables(_install_paths())

    def _install_paths() -> Iterator[tuple[str | None, str | None]]:
        """Yield PEP 514's InstallPath keys; a 32-bit Python registers itself in another view."""
        views = (winreg.KEY_WOW64_64KEY, winreg.KEY_WOW64_32KEY)
        for root in (winreg.HKEY_CURRENT_USER, winreg.HKEY_LOCAL_MACHINE):
            for view in views:
                access = winreg.KEY_READ | view
                with contextlib.suppress(OSError):
                    top = winreg.OpenKey(root, r"Software\Python", 0, access)
                    for company in _subkeys(top):
                        for tag in _subkeys(winreg.OpenKey(top, company, 0, access)):
                            with contextlib.suppress(OSError):
                                path = rf"{company}\{tag}\InstallPath"
                                key = winreg.OpenKey(top, path, 0, access)
                                yield _value(key, "ExecutablePath"), _value(key, None)

    def _subkeys(key: winreg.HKEYType) -> tuple[str, ...]:
        return tuple(winreg.EnumKey(key, index) for index in range(winreg.QueryInfoKey(key)[0]))

    def _value(key: winreg.HKEYType, name: str | None) -> str | None:
        try:
            value, _ = winreg.QueryValueEx(key, name or "")
        except OSError:
            return None
        return value if isinstance(value, str) and value else None

else:

    def _registered() -> tuple[str, ...]:
        return ()


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
