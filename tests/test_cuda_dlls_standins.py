"""The run-time module and the stand-ins for the driver's DLLs that a wheel may carry."""

from __future__ import annotations

import json

import pytest
from machines import BIN, NPP, SITE, SYSTEM, Machine

FOLDER = f"{SITE}\\cv2\\stand-ins\\nvcuda"
STAND_IN = f"{FOLDER}\\nvcuda.dll"
FACTS = {"stand_ins": {"nvcuda.dll": "cv2/stand-ins/nvcuda"}}


def machine(*of_windows: str) -> Machine:
    """Return a machine with a toolkit, whose System32 has these files."""
    made = Machine(
        {BIN: NPP, SYSTEM: of_windows, FOLDER: ["nvcuda.dll"]}, {"CUDA_PATH": BIN[:-4]}, **FACTS
    )
    made.windows.numbers[STAND_IN] = 0
    return made


def test_without_a_driver_the_stand_in_is_loaded_by_its_path() -> None:
    there = machine()
    there.load()
    assert there.windows.loads == [STAND_IN]


def test_its_directory_is_registered_nowhere_so_that_no_other_package_finds_it() -> None:
    there = machine()
    assert there.load() == [BIN]
    assert "stand-ins" not in there.environ["PATH"]


def test_a_driver_of_the_machine_is_never_hidden() -> None:
    there = machine("NVCUDA.dll")
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
    ("of_windows", "line"),
    [
        pytest.param(
            (),
            f"nvcuda.dll: not found; {STAND_IN} answers that there is no device",
            id="without a driver",
        ),
        pytest.param(("nvcuda.dll",), "nvcuda.dll: found", id="with a driver"),
    ],
)
def test_asked_it_says_whether_one_is_in_use(
    of_windows: tuple[str, ...], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    there = machine(*of_windows)
    there.module.sys.stdout = __import__("sys").stdout
    there.module.main([])
    assert line in capsys.readouterr().out.splitlines()
    there.module.main(["--json"])
    used = {} if of_windows else {"nvcuda.dll": STAND_IN}
    assert json.loads(capsys.readouterr().out)["stand_ins"] == used


def test_the_steps_are_told_where_they_are_asked_for() -> None:
    there = machine()
    there.environ["OPENCV_CUDA_DEBUG"] = "1"
    there.load()
    said = there.sys.stderr.getvalue()
    assert f"nvcuda.dll is not in {SYSTEM}: {STAND_IN} stands in for it" in said
