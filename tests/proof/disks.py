"""Where drive C: lies on this machine: in a Wine prefix of its own, or on Windows itself."""

import contextlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath

from repack.files import workspace
from repack.process import run
from repack.pythons.interpreter import Interpreter
from repack.pythons.wine import copy_prefix

_END_TIMEOUT = 20.0
# Wine starts its services for the first program of a prefix; no DLL is found otherwise for them.
_NO_SERVICES = "wineboot.exe=d"


class Occupied(Exception):  # noqa: N818 - says what is the matter with a file
    """A file of a scenario is there on this machine already."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WineDisk:
    """Drive C: of a Wine prefix, a folder of it."""

    prefix: Path
    interpreter: Interpreter

    @property
    def env(self) -> Mapping[str, str]:
        """The environment of a program on it."""
        overrides = f"{self.interpreter.env['WINEDLLOVERRIDES']};{_NO_SERVICES}"
        return {
            **self.interpreter.env,
            "WINEPREFIX": str(self.prefix),
            "WINEDLLOVERRIDES": overrides,
        }

    def place(self, path: str) -> Path:
        """Return where `path` lies; a folder that is there in other letters is that folder."""
        place = self.prefix / "drive_c"
        for part in PureWindowsPath(path).relative_to("C:/").parts:
            place = _found(place, part)
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
        place = Path(path)
        missing = [each for each in (place, *place.parents) if not each.exists()]
        if missing:
            self.made.append(missing[-1])
        return place

    def claim(self, file: Path) -> None:
        """Take `file` for the scenario; raises Occupied where the machine has it already."""
        if any(folder in file.parents for folder in self.made):
            return
        if file.exists():
            raise Occupied(str(file))
        self.made.append(file)


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
            _end(disk)


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


def _found(folder: Path, name: str) -> Path:
    """Return the entry of `folder` that Windows would take for `name`."""
    exact = folder / name
    if exact.exists() or not folder.is_dir():
        return exact
    same = (each for each in folder.iterdir() if each.name.lower() == name.lower())
    return next(same, exact)


def processes_in(prefix: Path) -> list[int]:
    """Return the numbers of the processes that were started with this prefix."""
    variable = f"WINEPREFIX={prefix}".encode()
    numbers = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if variable in environ.read_bytes().split(b"\0"):
                numbers.append(int(environ.parent.name))
    return numbers


def _end(disk: WineDisk) -> None:
    """End whatever runs with the prefix, and wait until it has ended."""
    server = disk.interpreter.env["WINESERVER"]
    run([server, "-k"], timeout=_END_TIMEOUT, env=disk.env)
    until = time.monotonic() + _END_TIMEOUT
    while (left := processes_in(disk.prefix)) and time.monotonic() < until:
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, 9)
        time.sleep(0.05)
