"""Lays a machine out on drive C: and runs it: a process for the import, another for the report."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proof.disks import wine_disk
from proof.packages import link_tree
from proof.traces import parse_trace
from windowslab import BUILD, LOADER, OVERLAY, Windows, cleared, native

from random_machines.binaries import make_file
from random_machines.drawing import (
    ADDED,
    CV2,
    DRIVER,
    PYTHON,
    SITE,
    SOUND,
    VENDORED,
    Machine,
    folder_of,
    name_of,
)
from random_machines.expecting import STAND_IN
from repack.pythons import Interpreter

MARK = "@machine "
# As torch loads its DLLs.
PREPARE = """\
import ctypes, json, os, sys
loaded, added = json.loads(sys.argv[1])
kernel = ctypes.WinDLL("kernel32")
kernel.SetErrorMode(0x8003)
kernel.LoadLibraryExW.argtypes = [ctypes.c_wchar_p, ctypes.c_void_p, ctypes.c_uint32]
handles = [os.add_dll_directory(folder) for folder in added]
for path in loaded:
    kernel.LoadLibraryExW(path, None, 0x1100)
"""
IMPORT = (
    PREPARE
    + f"""\
try:
    import cv2
except BaseException as error:
    message = "{{}}: {{}}".format(type(error).__name__, error)
else:
    message = ""
print({MARK!r} + json.dumps(message))
"""
)
# What `python -m cv2.cuda_dlls --json` does, in a process that has loaded something before.
REPORT = (
    PREPARE
    + """\
import runpy
sys.argv = ["-m", "--json"]
sys.orig_argv = ["python", "-m", "cv2.cuda_dlls", "--json"]
runpy.run_module("cv2.cuda_dlls", run_name="__main__", alter_sys=True)
"""
)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a machine did: the error ("" for none), the files loaded by name, and the report.

    `twice` are the names that two modules of the process had at once.
    """

    message: str
    files: dict[str, str]
    twice: tuple[str, ...] = ()
    report: dict[str, Any]
    exit_code: int
    output: str


@contextlib.contextmanager
def open_bench(interpreter: Interpreter, folder: Path) -> Iterator[Bench]:
    """Give a warm Wine with a Python and the parts of cv2 that all machines share."""
    folder.mkdir(parents=True, exist_ok=True)
    with wine_disk(interpreter, folder) as disk:
        link_tree(interpreter.python.parent, disk.place(PYTHON), without=("site-packages",))
        windows = Windows(disk=disk, interpreter=interpreter, python=rf"{PYTHON}\python.exe")
        windows.write(rf"{SITE}\numpy\__init__.py", "__version__ = '2.1.0'\n")
        windows.write(rf"{CV2}\__init__.py", LOADER)
        windows.write_initializer(CV2)
        for file in OVERLAY.glob("*.py"):
            windows.write(rf"{CV2}\{file.name}", file.read_bytes())
        windows.run("-m", "compileall", "-q", SITE)
        # Wine's server, which takes half a second to start, stays as long as a program runs.
        with subprocess.Popen(
            [*interpreter.launcher, windows.python, "-c", "print(1, flush=True); input()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=disk.env,
        ) as keeper:
            assert keeper.stdout is not None
            # Without wineboot, two programs that start at once wait minutes for its event.
            keeper.stdout.readline()
            try:
                yield Bench(windows)
            finally:
                keeper.kill()


class Bench:
    """Drive C: with a Python, on which one machine after the other is laid out and run."""

    def __init__(self, windows: Windows) -> None:
        self._windows = windows

    def try_machine(self, machine: Machine) -> Seen:
        """Return what happens on a machine."""
        with cleared(self._windows) as windows:
            for path, state in machine.files.items():
                windows.write(path, make_file(name_of(path), state))
            if machine.has_stand_in:
                windows.write(rf"{STAND_IN}\{DRIVER}", make_file(DRIVER, SOUND))
            windows.write(rf"{CV2}\cv2.pyd", native({name: ["f"] for name in machine.imports}))
            windows.write(rf"{CV2}\_cuda_build.py", f"BUILD = {_make_build(machine)!r}\n")
            windows.env = {**machine.env, "PYTHONDONTWRITEBYTECODE": "1"}
            windows.path, windows.cwd = ";".join(machine.path), machine.cwd
            return _run(windows, machine)


def _run(windows: Windows, machine: Machine) -> Seen:
    added = [ADDED] if machine.has_added else []
    prepared = json.dumps([machine.loaded, added])
    asked = ["-m", "cv2.cuda_dlls", "--json"]
    if machine.loaded or added:
        asked = ["-c", REPORT, prepared]
    report = windows.run(*asked)
    windows.debug = "-all,+pid,+loaddll"
    output = windows.run("-c", IMPORT, prepared).output
    message = re.search(rf"^{MARK}(.*)$", output, re.MULTILINE)
    loaded = parse_trace(output)
    return Seen(
        message=json.loads(message[1]) if message else f"no end: {output[-2000:]}",
        files={file.name: str(file.file) for file in loaded},
        twice=tuple(file.name for file in loaded if file.twice and file.concerns_cuda),
        report=_read_report(report.output),
        exit_code=report.code,
        output=report.output,
    )


def _read_report(output: str) -> dict[str, Any]:
    """Return the JSON object in an output, an empty one where there is none."""
    with contextlib.suppress(ValueError):
        report: dict[str, Any] = json.loads(output[output.index("{") :])
        return report
    return {}


def _make_build(machine: Machine) -> dict[str, object]:
    """Return what cv2/_cuda_build.py says of the machine's cv2."""
    families, cv2_libs = machine.families, ("cv2.libs",)
    kinds = {name.lower(): family for family, names in families.items() for name in names}
    return {
        **BUILD,
        "cures": {kind: f"get {kind}" for kind in (*families, "driver")},
        "families": families,
        "kinds": {**kinds, DRIVER: "driver", "python3.dll": "python", "python312.dll": "python"},
        "requires": {},
        "stand_ins": {DRIVER: "cv2/stand-ins/nvcuda"} if machine.has_stand_in else {},
        "vendored": cv2_libs if VENDORED in map(folder_of, machine.files) else (),
    }
