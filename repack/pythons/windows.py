"""The Pythons that are installed on Windows: the py launcher's, the registry's, uv's."""

import contextlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from repack.process import run

if sys.platform == "win32":
    import winreg

ON_WINDOWS = os.name == "nt"
# A drive or a share, up to ".exe"; the default's asterisk stands before it or behind it.
_EXECUTABLE = re.compile(r"(?:[A-Za-z]:|\\)\\.*\.exe(?=\s*\*?\s*$)", re.IGNORECASE | re.MULTILINE)
# What a program needs of the machine, and nothing that would colour a test.
_KEPT = (
    *("SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "USERPROFILE", "APPDATA"),
    *("LOCALAPPDATA", "PROGRAMDATA", "PROGRAMFILES", "NUMBER_OF_PROCESSORS"),
    *("PROCESSOR_ARCHITECTURE", "TEMP", "TMP", "USERNAME", "COMPUTERNAME"),
)


def find_installed() -> dict[Path, str]:
    """Return the executables of this Windows, and how each was found; none on other systems."""
    origins: dict[Path, str] = {}
    for origin, path in _list_executables():
        with contextlib.suppress(OSError):
            origins.setdefault(Path(path).resolve(strict=True), origin)
    return origins


def windows_environment(environ: Mapping[str, str] = os.environ) -> Mapping[str, str]:
    """Return the environment of a freshly started Windows: neither toolkit nor Python in it."""
    env = {name: environ[name] for name in _KEPT if name in environ}
    root = env.get("SYSTEMROOT", r"C:\Windows")
    return {**env, "PATH": rf"{root}\System32;{root};{root}\System32\Wbem"}


def parse_launcher(output: str) -> list[str]:
    """Return the executables that `py -0p` lists, in its order."""
    return _EXECUTABLE.findall(output)


def parse_uv(output: str) -> list[str]:
    """Return the executables that `uv python list --output-format json` lists, in its order."""
    try:
        return [entry["path"] for entry in json.loads(output) if entry["path"]]
    except (ValueError, TypeError, KeyError):
        return []


def _output_of(program: str, *words: str) -> str:
    """Return what a program prints, "" where it is not installed."""
    path = shutil.which(program)
    return run([path, *words], timeout=60).output if path else ""


if sys.platform == "win32":

    def _list_executables() -> Iterator[tuple[str, str]]:
        """Yield (how it was found, executable); the same one may come several times."""
        for path in parse_launcher(_output_of("py", "-0p")):
            yield "py launcher", path
        for root in (winreg.HKEY_CURRENT_USER, winreg.HKEY_LOCAL_MACHINE):
            # A 32-bit Python registers itself in another view.
            for view in (winreg.KEY_WOW64_64KEY, winreg.KEY_WOW64_32KEY):
                for path in _read_registry(root, r"Software\Python", winreg.KEY_READ | view):
                    yield "registry", path
        words = ("python", "list", "--only-installed", "--output-format", "json")
        for path in parse_uv(_output_of("uv", *words)):
            yield "uv", path

    def _read_registry(root: int, name: str, access: int) -> Iterator[str]:
        """Yield the executables of PEP 514's keys in and below the key `name`."""
        with contextlib.suppress(OSError):
            key = winreg.OpenKey(root, name, 0, access)
            with contextlib.suppress(OSError):
                yield str(winreg.QueryValueEx(key, "ExecutablePath")[0])
            for index in range(winreg.QueryInfoKey(key)[0]):
                yield from _read_registry(root, rf"{name}\{winreg.EnumKey(key, index)}", access)

else:

    def _list_executables() -> Iterator[tuple[str, str]]:
        return iter(())
