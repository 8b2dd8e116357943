"""Lays random machines out on drive C: of Wine, runs them, and compares what they do.

Each asks for the report of a small cv2, which imports it first.
"""

import contextlib
import json
import pprint
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from ntpath import basename, dirname
from typing import Any

from machines import BUILD, dll
from proof.machines import parse_trace
from proof.results import Cell
from windowslab import CV2, Windows, cleared, native

from random_machines.drawing import (
    ADDED,
    CUT_OFF,
    DRIVER,
    IMPORTS,
    SOUND,
    VENDORED,
    X86,
    Machine,
    draw_machine,
)
from random_machines.expecting import STAND_IN, Expectation, Undetermined, expect

# What `python -m cv2.cuda_dlls --json` does, in a process that has loaded something before, as
# torch loads its DLLs.
PROGRAM = """\
import ctypes, json, os, runpy, sys
loaded, added = json.loads(sys.argv[1])
kernel = ctypes.WinDLL("kernel32")
kernel.SetErrorMode(0x8003)
kernel.LoadLibraryExW.argtypes = [ctypes.c_wchar_p, ctypes.c_void_p, ctypes.c_uint32]
handles = [os.add_dll_directory(folder) for folder in added]
for path in loaded:
    kernel.LoadLibraryExW(path, None, 0x1100)
sys.argv = ["-m", "--json"]
sys.orig_argv = ["python", "-m", "cv2.cuda_dlls", "--json"]
runpy.run_module("cv2.cuda_dlls", run_name="__main__", alter_sys=True)
"""
REPORT = re.compile(r"^\{$.*^\}$", re.DOTALL | re.MULTILINE)
# DLLs, and the directory that a variable names.
NAMES = re.compile(r"[\w.-]+\.dll|override(?=\")", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a machine did: the report, the exit code, and the files loaded by name.

    `twice` are the names that two modules of the process had at once.
    """

    report: dict[str, Any]
    exit_code: int
    files: dict[str, str]
    twice: tuple[str, ...] = ()


def draw_machines(seed: int, count: int) -> list[tuple[int, Machine]]:
    """Return so many machines with their seeds, from the first seed on."""
    drawn: list[tuple[int, Machine]] = []
    while len(drawn) < count:
        machine = draw_machine(seed)
        with contextlib.suppress(Undetermined):
            expect(machine)
            drawn.append((seed, machine))
        seed += 1
    return drawn


@cache
def make_file(name: str, state: str) -> bytes:
    """Return a DLL in that state."""
    imports = {IMPORTS[name]: ["f"]} if name in IMPORTS else None
    content = dll("f", imports=imports, machine=X86 if state == X86 else "x86-64")
    return content[: len(content) // 2] if state == CUT_OFF else content


def run_machine(bench: Windows, machine: Machine) -> Outcome:
    """Return what happens on a machine, which is laid out on the drive of `bench`."""
    with cleared(bench) as windows:
        for path, state in machine.files.items():
            windows.write(path, make_file(basename(path), state))
        if machine.has_stand_in:
            windows.write(rf"{STAND_IN}\{DRIVER}", make_file(DRIVER, SOUND))
        windows.write(rf"{CV2}\cv2.pyd", native({name: ["f"] for name in machine.imports}))
        windows.write(rf"{CV2}\_cuda_build.py", f"BUILD = {_make_build(machine)!r}\n")
        windows.env = {**machine.env, "PATH": ";".join(machine.path)}
        windows.cwd, windows.debug = machine.cwd, "-all,+pid,+loaddll"
        added = [ADDED] if machine.has_added else []
        done = windows.run("-c", PROGRAM, json.dumps([machine.loaded, added]))
    report, loaded = REPORT.search(done.output), list(parse_trace(done.output))
    return Outcome(
        report=json.loads(report[0]) if report else {"message": done.output, "imports": False},
        exit_code=done.returncode,
        files={file.name: str(file.file) for file in loaded},
        twice=tuple(file.name for file in loaded if file.is_second and file.concerns_cuda),
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


# Whether it is right


def try_machine(bench: Windows, seed: int, machine: Machine) -> Cell:
    """Return what was seen of a machine, held against the specification."""
    expected, outcome = expect(machine), run_machine(bench, machine)
    faults = tuple(find_faults(machine, expected, outcome))
    if faults:
        faults = (f"to repeat it: nox -s proof -- --random 1 --seed {seed}", *faults)
    return Cell(
        python=bench.interpreter.version,
        wheel=f"seed {seed}",
        wanted="imports" if expected.works else f"fails by {sorted(expected.causes)}",
        seen=outcome.report["message"].partition("\n")[0] or "imports",
        faults=faults,
        log=f"{pprint.pformat(machine)}\n{expected}\n{outcome}" if faults else "",
    )


def find_faults(machine: Machine, expected: Expectation, outcome: Outcome) -> Iterator[str]:
    """Yield each difference in a line."""
    works, message = outcome.report["imports"], outcome.report["message"]
    if works != expected.works or outcome.exit_code != (0 if works else 1):
        yield f"works: {works}, with {outcome.exit_code}, expected: {expected.works} ({message})"
        return
    yield from (f"{name} was loaded twice" for name in outcome.twice)
    yield from (_judge_choice if works else _judge_error)(machine, expected, outcome)


def _judge_error(_: Machine, expected: Expectation, outcome: Outcome) -> Iterator[str]:
    """Compare the names in the first line of the error, and the report, with the root causes."""
    head = outcome.report["message"].partition(" To fix it:")[0].partition("\n")[0]
    named = {name.lower() for name in NAMES.findall(head)}
    to_be_named = {basename(what).lower() for _, what in expected.causes}
    if named != to_be_named:
        yield f"the message names {sorted(named)}, not {sorted(to_be_named)}: {head}"
    causes = {
        (cause["code"], "\\".join(filter(None, (cause["file"], name))))
        for cause in outcome.report["causes"]
        for name in cause["names"] or [""]
    }
    if causes != expected.causes:
        yield f"the report's causes are {sorted(causes)}, not {sorted(expected.causes)}"


def _judge_choice(machine: Machine, expected: Expectation, outcome: Outcome) -> Iterator[str]:
    """Compare what the loader took with what the report says, and both with the specification."""
    chosen = {}
    for choice in outcome.report["chosen"]:
        for name in choice["files"]:
            if choice["source"] != "found by Windows":
                chosen[name] = choice["directory"], choice["source"]
            path = outcome.files.get(name.lower(), "")
            if dirname(path) != choice["directory"]:
                yield f"{name} came from {path}; the report says {choice['directory']}"
    if chosen != expected.chosen:
        yield f"chosen is {chosen}, not {expected.chosen}"
    path = outcome.files.get(DRIVER, "")
    if DRIVER in machine.imports and path != expected.driver:
        yield f"{DRIVER} came from {path}, not from {expected.driver}"
