"""The run-time module and the stand-ins for the driver's DLLs that a wheel may carry."""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stdout

import pytest
from machines import BIN, NPP, SITE, SYSTEM, TOOLKIT, Machine

FOLDER = f"{SITE}\\cv2\\stand-ins\\nvcuda"
STAND_IN = f"{FOLDER}\\nvcuda.dll"
STAND_INS = {"nvcuda.dll": "cv2/stand-ins/nvcuda"}


def machine(*of_windows: str) -> Machine:
    """Return a machine with a toolkit, whose System32 has these files."""
    directories = {BIN: NPP, SYSTEM: of_windows, FOLDER: ["nvcuda.dll"]}
    made = Machine(directories, {"CUDA_PATH": TOOLKIT}, stand_ins=STAND_INS)
    made.windows.numbers[STAND_IN] = 0
    return made


def asked(one: Machine, *arguments: str) -> str:
    """Return what is printed."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        one.sys.stdout = sys.stdout
        one.module.main(list(arguments))
    return printed.getvalue()


def test_without_a_driver_the_stand_in_is_loaded_by_its_path() -> None:
    there = machine()
    there.load()
    assert there.windows.loads == [STAND_IN]


def test_its_directory_is_registered_nowhere_so_that_no_other_package_finds_it() -> None:
    there = machine()
    assert there.load() == [BIN]
    assert "stand-ins" not in there.environ["PATH"]


def test_a_driver_of_the_machine_is_never_hidden() -> None:
    there = machine("NvCuda.dll")
    there.load()
    assert there.windows.loads == []


def test_where_no_path_can_be_loaded_its_directory_is_registered() -> None:
    there = machine()
    there.windows.numbers.clear()
    assert there.load() == [BIN, FOLDER]


def test_a_second_import_loads_it_no_second_time() -> None:
    there = machine()
    there.load()
    there.load()
    assert there.windows.loads == [STAND_IN]


@pytest.mark.parametrize(
    ("of_windows", "used"),
    [
        pytest.param((), ["nvcuda.dll"], id="without a driver"),
        pytest.param(("nvcuda.dll",), [], id="with a driver"),
    ],
)
def test_asked_it_says_whether_one_is_in_use(of_windows: tuple[str, ...], used: list[str]) -> None:
    there = machine(*of_windows)
    text = asked(there)
    line = "nvcuda.dll: a stand-in says that there is no device"
    assert (line in text.splitlines()) == bool(used)
    assert json.loads(asked(there, "--json"))["stand_ins"] == used
