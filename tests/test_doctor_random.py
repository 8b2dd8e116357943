"""On random machines doctor says what the import does, before a fix and after it."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from ntpath import basename
from typing import Any

import pytest
from machines import SITE
from random_machines.drawing import Machine, draw_machine
from random_machines.trying import make_file
from wheelmaking import metadata, record, wheel_file
from windowslab import CV2, INITIALIZER, LOADER, Windows, cleared, native, open_windows

from repack.doctor import Target, diagnose, locate_package
from repack.doctor.fixing import apply_fix, plan_fix, read_facts, undo_fix

INFO = "opencv_contrib_python-4.9.0.80+cu129.dist-info"
UNTOUCHED = LOADER.partition("from . import cuda_dlls")[0] + "bootstrap()\n"
#: Two hundred on which nothing is loaded, or registered, before cv2 is imported.
PLAIN = {
    seed: machine
    for seed, machine in ((seed, draw_machine(seed)) for seed in range(317))
    if not machine.loaded and not machine.has_added
}
#: Those of the tests, and those of the proof.
ROWS = [
    pytest.param(machine, id=str(seed), marks=[] if seed < 10 else pytest.mark.proof)
    for seed, machine in PLAIN.items()
]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Windows]:
    """A warm Wine with a genuine Python, without any cv2."""
    with open_windows(tmp_path_factory.mktemp("machines")) as windows:
        for file in windows.disk.place(CV2).glob("*cuda*.py"):
            file.unlink()
        yield windows


def lay(windows: Windows, machine: Machine) -> None:
    """Lay a machine out, with an untouched cv2."""
    for path, state in machine.files.items():
        windows.write(path, make_file(basename(path), state))
    files = {
        "cv2/__init__.py": UNTOUCHED.encode(),
        "cv2/cv2.pyd": native({name: ["f"] for name in machine.imports}),
        f"cv2/{INITIALIZER}": (windows.disk.place(CV2) / INITIALIZER).read_bytes(),
        f"{INFO}/METADATA": metadata("opencv-contrib-python", "4.9.0.80+cu129"),
        f"{INFO}/WHEEL": wheel_file(["cp312-cp312-win_amd64"]),
    }
    files[f"{INFO}/RECORD"] = record(files, f"{INFO}/RECORD")
    for name, content in files.items():
        windows.write("\\".join([SITE, *name.split("/")]), content)
    path = ";".join(machine.path)
    windows.env = {**machine.env, "PATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    windows.cwd = machine.cwd


def look(windows: Windows) -> tuple[Target, dict[str, Any]]:
    """Return what doctor says."""
    drive = windows.disk.prefix / "drive_c"
    python = replace(windows.interpreter, python=windows.disk.place(windows.python), drive=drive)
    env = python.with_variables(windows.disk.env, windows.env)
    target = Target(python=python, env=env, facts={})
    target = replace(target, facts=target.ask("look"))
    return target, diagnose(target, "repack fix")


@pytest.mark.wine
@pytest.mark.parametrize("machine", ROWS)
def test_the_verdict_is_that_of_the_import(
    machine: Machine, bench: Windows, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cleared(bench) as windows:
        lay(windows, replace(machine, has_stand_in=False))
        untouched = windows.run("-c", "import cv2")
        monkeypatch.chdir(windows.disk.place(windows.cwd))
        target, seen = look(windows)
        assert (untouched.returncode == 0) == seen["works"], (seen, untouched.output)
        package, facts = locate_package(target), read_facts(locate_package(target))
        if facts["families"]:
            apply_fix(package, plan_fix(package, facts))
            fixed = windows.run("-c", "import cv2")
            assert (fixed.returncode == 0) == look(windows)[1]["works"], fixed.output
            assert seen["works"] or (fixed.returncode == 0) == seen["report"]["imports"]
            undo_fix(locate_package(target))
        shutil.rmtree(windows.disk.place(CV2) / "__pycache__", ignore_errors=True)
