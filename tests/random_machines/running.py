"""Lays machines out on drive C: and runs them: a process for the import, another for the report."""

import contextlib
import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from ntpath import basename, dirname
from pathlib import Path
from typing import Any

from machines import dll
from proof.disks import wine_disk
from proof.packages import link_tree
from proof.traces import parse_trace
from windowslab import BUILD, Windows, cleared, native

from random_machines.drawing import (
    ADDED,
    CUT_OFF,
    CV2,
    DRIVER,
    IMPORTS,
    PYTHON,
    SITE,
    SOUND,
    VENDORED,
    X86,
    Machine,
)
from random_machines.expecting import STAND_IN
from repack.process import Finished
from repack.pythons.interpreter import Interpreter

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
IMPORT = f"""{PREPARE}
try:
    import cv2
except BaseException as error:
    message = "{{}}: {{}}".format(type(error).__name__, error)
else:
    message = ""
print({MARK!r} + json.dumps(message))
"""
# What `python -m cv2.cuda_dlls --json` does, in a process that has loaded something before.
REPORT = f"""{PREPARE}
import runpy
sys.argv = ["-m", "--json"]
sys.orig_argv = ["python", "-m", "cv2.cuda_dlls", "--json"]
runpy.run_module("cv2.cuda_dlls", run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a machine did: the error ("" for none), the files loaded by name, and the report.

    `twice` are the names that two modules of the process had at once.
    """

    message: str
    files: dict[str, str]
    twice: tuple[str, ...] = ()
    report: dict[str, Any]
    exit_code: int


@cache
def make_file(name: str, state: str) -> bytes:
    """Return a DLL in that state."""
    imports = {IMPORTS[name]: ["f"]} if name in IMPORTS else None
    content = dll("f", imports=imports, machine=X86 if state == X86 else "x86-64")
    return content[: len(content) // 2] if state == CUT_OFF else content


@contextlib.contextmanager
def open_bench(interpreter: Interpreter, folder: Path) -> Iterator[Windows]:
    """Give a warm Wine with a Python and the parts of cv2 that all machines share."""
    folder.mkdir(parents=True, exist_ok=True)
    with wine_disk(interpreter, folder) as disk:
        link_tree(interpreter.python.parent, disk.place(PYTHON), without=("site-packages",))
        windows = Windows(disk=disk, interpreter=interpreter, python=rf"{PYTHON}\python.exe")
        windows.install(SITE)
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
                yield windows
            finally:
                keeper.kill()


def try_machine(bench: Windows, machine: Machine) -> Outcome:
    """Return what happens on a machine, which is laid out on the drive of `bench`."""
    with cleared(bench) as windows:
        for path, state in machine.files.items():
            windows.write(path, make_file(basename(path), state))
        if machine.has_stand_in:
            windows.write(rf"{STAND_IN}\{DRIVER}", make_file(DRIVER, SOUND))
        windows.write(rf"{CV2}\cv2.pyd", native({name: ["f"] for name in machine.imports}))
        windows.write(rf"{CV2}\_cuda_build.py", f"BUILD = {_make_build(machine)!r}\n")
        path = ";".join(machine.path)
        windows.env = {**machine.env, "PATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        windows.cwd = machine.cwd
        added = [ADDED] if machine.has_added else []
        prepared = json.dumps([machine.loaded, added])
        is_plain = not machine.loaded and not added
        asked = ["-m", "cv2.cuda_dlls", "--json"] if is_plain else ["-c", REPORT, prepared]
        report = windows.run(*asked)
        windows.debug = "-all,+pid,+loaddll"
        return _read_outcome(windows.run("-c", IMPORT, prepared).output, report)


def _read_outcome(output: str, report: Finished) -> Outcome:
    message = re.search(rf"^{MARK}(.*)$", output, re.MULTILINE)
    loaded = parse_trace(output)
    start = report.output.find("{")
    return Outcome(
        message=json.loads(message[1]) if message else f"no end: {output[-2000:]}",
        files={file.name: str(file.file) for file in loaded},
        twice=tuple(file.name for file in loaded if file.twice and file.concerns_cuda),
        report=json.loads(report.output[start:]) if start >= 0 else {"output": report.output},
        exit_code=report.returncode,
    )


def _make_build(machine: Machine) -> dict[str, object]:
    """Return what cv2/_cuda_build.py says of the machine's cv2."""
    families = machine.families
    kinds = {name.lower(): family for family, names in families.items() for name in names}
    return {
        **BUILD,
        "families": families,
        "kinds": {**BUILD["kinds"], **kinds},
        "requires": {},
        "stand_ins": {DRIVER: "cv2/stand-ins/nvcuda"} if machine.has_stand_in else {},
        "vendored": ("cv2.libs",) if VENDORED in map(dirname, machine.files) else (),
    }
