r"""Drive C: of a Windows machine, and a genuine Python on it.

It lies in a Wine prefix of its own, or is that of this Windows itself. Python and its site-packages
lie as python.org, venv, conda and the Microsoft Store have them.
"""

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath

from repack.errors import RepackError
from repack.files import workspace
from repack.pythons import Interpreter
from repack.pythons.wine import copy_prefix, end_programs

ON_WINDOWS = sys.platform == "win32"
USER = r"C:\Users\me"
_END_TIMEOUT = 20.0
# Wine starts its services for the first program of a prefix; no DLL is found otherwise for them.
_NO_SERVICES = "wineboot.exe=d"
_STORE_PACKAGE = "PythonSoftwareFoundation.Python.{version}_qbz5n2kfra8p0"


@dataclass(frozen=True, kw_only=True, slots=True)
class WineDisk:
    """Drive C: of a Wine prefix, a folder of it."""

    prefix: Path
    interpreter: Interpreter

    @property
    def env(self) -> Mapping[str, str]:
        """The environment of a program on it."""
        env = self.interpreter.env
        overrides = f"{env['WINEDLLOVERRIDES']};{_NO_SERVICES}"
        return {**env, "WINEPREFIX": str(self.prefix), "WINEDLLOVERRIDES": overrides}

    def place(self, path: str) -> Path:
        """Return where `path` lies; a folder that is there in other letters is that folder."""
        place = self.prefix / "drive_c"
        for part in PureWindowsPath(path).relative_to("C:/").parts:
            place = _find_entry(place, part)
        return place

    def claim(self, file: Path) -> None:
        """Take `file` for the scenario: all of the prefix is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowsDisk:
    """Drive C: of this Windows machine; `made` is what has to be taken away again."""

    interpreter: Interpreter
    made: list[Path] = field(default_factory=list)

    @property
    def env(self) -> Mapping[str, str]:
        """The environment of a program on it."""
        return self.interpreter.env

    def place(self, path: str) -> Path:
        """Return `path` itself: what of it is not there yet will be taken away again."""
        missing = [part for part in (Path(path), *Path(path).parents) if not part.exists()]
        self.made.extend(missing[-1:])
        return Path(path)

    def claim(self, file: Path) -> None:
        """Take `file` for the scenario; raises RepackError where the machine has it already."""
        if any(folder in file.parents for folder in self.made):
            return
        if file.exists():
            raise RepackError(f"this machine has {file} already")
        self.made.append(file)


Disk = WineDisk | WindowsDisk


@contextlib.contextmanager
def wine_disk(interpreter: Interpreter, folder: Path) -> Iterator[WineDisk]:
    """Give drive C: of a new Wine prefix in `folder`; afterwards nothing of it is left running.

    It is the prefix of the interpreter, by links: that costs neither time nor room.
    """
    with workspace(folder) as place:
        prefix = place / "prefix"
        copy_prefix(Path(interpreter.env["WINEPREFIX"]), prefix)
        disk = WineDisk(prefix=prefix, interpreter=interpreter)
        try:
            yield disk
        finally:
            _end_programs(disk)


@contextlib.contextmanager
def windows_disk(interpreter: Interpreter) -> Iterator[WindowsDisk]:
    """Give this machine's own drive C:; what was laid out there is gone afterwards."""
    disk = WindowsDisk(interpreter=interpreter)
    try:
        yield disk
    finally:
        for made in disk.made:
            if made.is_dir():
                shutil.rmtree(made, ignore_errors=True)
            else:
                made.unlink(missing_ok=True)


def processes_in(prefix: Path) -> list[int]:
    """Return the numbers of the processes that were started with this prefix."""
    variable = f"WINEPREFIX={prefix}".encode()
    numbers = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if variable in environ.read_bytes().split(b"\0"):
                numbers.append(int(environ.parent.name))
    return numbers


def _end_programs(disk: WineDisk) -> None:
    """End whatever runs with the prefix, and wait until it has ended."""
    end_programs(disk.env)
    until = time.monotonic() + _END_TIMEOUT
    while (left := processes_in(disk.prefix)) and time.monotonic() < until:
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, 9)
        time.sleep(0.05)


def _find_entry(folder: Path, name: str) -> Path:
    """Return the entry of `folder` that Windows would take for `name`."""
    exact = folder / name
    if exact.exists() or not folder.is_dir():
        return exact
    return next((path for path in folder.iterdir() if path.name.lower() == name.lower()), exact)


# Where Python lies


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """The folder of python.exe, the site-packages that cv2 goes to, and what makes it be one.

    `files` are text files that are part of it.
    """

    python: str
    site: str
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


def layout_of(name: str, version: str) -> Layout:
    """Return the layout called `name` for the Python "3.12"."""
    digits = version.replace(".", "")
    plain = rf"{USER}\AppData\Local\Programs\Python\Python{digits}"
    if name == "venv":
        return _make_venv(plain, version)
    if name == "conda":
        root = rf"{USER}\miniconda3\envs\vision"
        history = {rf"{root}\conda-meta\history": "==> 2026-01-01 00:00:00 <==\n"}
        site = rf"{root}\Lib\site-packages"
        return Layout(python=root, site=site, env={"CONDA_PREFIX": root}, files=history)
    package = _STORE_PACKAGE.format(version=version)
    python, site, base = {
        "plain": (plain, rf"{plain}\Lib\site-packages", ""),
        "user-site": (plain, "", rf"{USER}\AppData\Roaming\Python"),
        "store": (
            rf"C:\Program Files\WindowsApps\{package}",
            "",
            rf"{USER}\AppData\Local\Packages\{package}\LocalCache\local-packages",
        ),
    }[name]
    env = {"PYTHONUSERBASE": base} if base else {}
    return Layout(python=python, site=site or rf"{base}\Python{digits}\site-packages", env=env)


def _make_venv(base: str, version: str) -> Layout:
    root = rf"{USER}\project\.venv"
    settings = f"home = {base}\ninclude-system-site-packages = false\nversion = {version}\n"
    return Layout(
        python=base,
        site=rf"{root}\Lib\site-packages",
        # What the python.exe of a virtual environment, which only starts the other one, sets.
        env={"__PYVENV_LAUNCHER__": rf"{root}\Scripts\python.exe", "VIRTUAL_ENV": root},
        files={rf"{root}\pyvenv.cfg": settings},
    )


def lay_python(layout: Layout, disk: Disk, interpreter: Interpreter) -> None:
    """Put a Python where the layout says."""
    # What else is installed there is none of the scenario's.
    link_tree(interpreter.python.parent, disk.place(layout.python), without=("site-packages",))
    disk.place(layout.site).mkdir(parents=True, exist_ok=True)
    for path, text in layout.files.items():
        place = disk.place(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")


def link_tree(source: Path, target: Path, without: Sequence[str] = ()) -> None:
    """Lay a folder out anew at `target`, over what lies there, by links: it takes no room.

    Folders and files called as in `without` are left out.
    """
    ignored = shutil.ignore_patterns(*without)
    shutil.copytree(source, target, copy_function=link_or_copy, ignore=ignored, dirs_exist_ok=True)


def link_or_copy(file: str | Path, place: str | Path) -> None:
    """Make `place` the same file as `file`, or a copy where links cannot be made."""
    Path(place).unlink(missing_ok=True)
    try:
        os.link(Path(file).resolve(), place)
    except OSError:
        shutil.copyfile(file, place)
