r"""Drive C: of a Windows machine, in a Wine prefix of its own, and a genuine Python on it.

Python and its site-packages lie as python.org, venv, conda and the Microsoft Store have them.
"""

import contextlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath

from repack.files import workspace
from repack.pythons import Interpreter
from repack.pythons.wine import copy_prefix, end_programs

USER = r"C:\Users\me"


@dataclass(frozen=True, kw_only=True, slots=True)
class WineDisk:
    """Drive C: of a Wine prefix, a folder of it; `made` is what was laid out there."""

    prefix: Path
    interpreter: Interpreter
    made: list[Path] = field(default_factory=list)

    @property
    def env(self) -> Mapping[str, str]:
        """The environment of a program on it."""
        env = self.interpreter.env
        # Wine starts its services for the first program of a prefix, and lists DLLs of theirs.
        overrides = f"{env['WINEDLLOVERRIDES']};wineboot.exe=d"
        return {**env, "WINEPREFIX": str(self.prefix), "WINEDLLOVERRIDES": overrides}

    def place(self, path: str) -> Path:
        """Return where `path` is to lie, on a share too; what is there in other letters is that."""
        if path.startswith("\\\\"):
            place = self.prefix.joinpath("dosdevices", "unc", *path[2:].split("\\"))
        else:
            place = self.prefix / "drive_c"
            for name in PureWindowsPath(path).relative_to("C:/").parts:
                if not (place / name).exists() and place.is_dir():
                    names = {entry.name.lower(): entry.name for entry in place.iterdir()}
                    name = names.get(name.lower(), name)  # noqa: PLW2901 - as Windows has it
                place /= name
        missing = [part for part in (place, *place.parents) if not part.exists()]
        self.made.extend(missing[-1:])
        place.parent.mkdir(parents=True, exist_ok=True)
        return place


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
            end_programs(disk.env)
            until = time.monotonic() + 20
            while (left := processes_in(prefix)) and time.monotonic() < until:
                for pid in left:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, 9)
                time.sleep(0.05)


def processes_in(prefix: Path) -> list[int]:
    """Return the numbers of the processes that were started with this prefix."""
    variable = f"WINEPREFIX={prefix}".encode()
    numbers = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if variable in environ.read_bytes().split(b"\0"):
                numbers.append(int(environ.parent.name))
    return numbers


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
        root = rf"{USER}\project\.venv"
        # What the python.exe of a virtual environment, which only starts the other one, sets.
        env = {"__PYVENV_LAUNCHER__": rf"{root}\Scripts\python.exe", "VIRTUAL_ENV": root}
        settings = f"home = {plain}\ninclude-system-site-packages = false\nversion = {version}\n"
        files = {rf"{root}\pyvenv.cfg": settings}
        return Layout(python=plain, site=rf"{root}\Lib\site-packages", env=env, files=files)
    if name == "conda":
        root = rf"{USER}\miniconda3\envs\vision"
        files = {rf"{root}\conda-meta\history": "==> 2026-01-01 00:00:00 <==\n"}
        env = {"CONDA_PREFIX": root}
        return Layout(python=root, site=rf"{root}\Lib\site-packages", env=env, files=files)
    if name == "plain":
        return Layout(python=plain, site=rf"{plain}\Lib\site-packages")
    package = f"PythonSoftwareFoundation.Python.{version}_qbz5n2kfra8p0"
    python, base = {
        "user-site": (plain, rf"{USER}\AppData\Roaming\Python"),
        "store": (
            rf"C:\Program Files\WindowsApps\{package}",
            rf"{USER}\AppData\Local\Packages\{package}\LocalCache\local-packages",
        ),
    }[name]
    site = rf"{base}\Python{digits}\site-packages"
    return Layout(python=python, site=site, env={"PYTHONUSERBASE": base})


def lay_python(layout: Layout, disk: WineDisk, interpreter: Interpreter) -> None:
    """Put a Python where the layout says."""
    # What else is installed there is none of the scenario's.
    link_tree(interpreter.python.parent, disk.place(layout.python), without=("site-packages",))
    disk.place(layout.site).mkdir(parents=True, exist_ok=True)
    for path, text in layout.files.items():
        disk.place(path).write_text(text, encoding="utf-8")


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
