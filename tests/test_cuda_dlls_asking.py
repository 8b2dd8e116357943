"""The module in cv2, asked what it chose and why, on a made-up Windows."""

import json
from pathlib import Path

import pytest
from machines import (
    BIN,
    CUDNN,
    NPP,
    SITE,
    SOUND,
    TOOLKIT_SET,
    X86,
    Machine,
    rows,
)

GOLDEN = Path(__file__).parent / "golden" / "reports" / "text.txt"
STAND_INS = {"nvcuda.dll": "cv2/stand-ins/nvcuda"}


def make_machine() -> Machine:
    """Return a machine with npp, a broken cuDNN that is delay-loaded, and a stand-in."""
    return Machine(
        {
            BIN: SOUND,
            "D:\\cudnn": {CUDNN[0]: X86},
            SITE: ["opencv_python-4.9.0.80.dist-info", "numpy-2.1.dist-info"],
            f"{SITE}\\cv2\\stand-ins\\nvcuda": ["nvcuda.dll"],
        },
        {**TOOLKIT_SET, "PATH": "D:\\cudnn"},
        families={"npp": NPP, "cudnn": CUDNN},
        delayed=CUDNN,
        stand_ins=STAND_INS,
    )


def test_the_report_is_the_golden_one() -> None:
    assert make_machine().ask() == GOLDEN.read_text(encoding="utf-8")


def test_the_report_for_programs_says_the_same() -> None:
    facts = json.loads(make_machine().ask("--json"))
    stand_in = f"{SITE}\\cv2\\stand-ins\\nvcuda\\nvcuda.dll"
    assert (facts["version"], facts["imports"], facts["message"]) == (1, True, "")
    choice = {"family": "npp", "directory": BIN, "source": "CUDA_PATH", "files": list(NPP)}
    assert (facts["chosen"], facts["missing"]) == ([choice], {"cudnn": list(CUDNN)})
    assert (facts["drivers"], facts["stand_ins"]) == ({"nvcuda.dll": stand_in}, [stand_in])
    assert {"other-machine", "holds-none"} <= {refusal["reason"] for refusal in facts["refused"]}


def test_letters_that_a_console_has_not_are_written_in_another_way() -> None:
    machine = Machine({"D:\\库": NPP}, {"PATH": "D:\\库"})
    assert "npp: D:\\\\u5e93 (PATH)" in machine.ask(encoding="cp1252")


LINES = {
    "python -m cv2.cuda_dlls --json": ("-m", True),
    "python -Im cv2.cuda_dlls": ("-m", True),
    "python -W error -m cv2.cuda_dlls": ("-m", True),
    "python -mcv2.cuda_dlls": ("-m", True),
    "python -m tool.cuda_dlls": ("-m", False),
    "python -m pytest -m cv2.cuda_dlls": ("-m", False),
    "python program.py -m cv2.cuda_dlls": ("program.py", False),
}


@pytest.mark.parametrize(
    ("line", "first", "is_asked"),
    rows(
        {line: (line, *LINES[line]) for line in LINES},
    ),
)
@pytest.mark.parametrize("python", [(3, 9), (3, 12)], ids=["3.9", "3.12"])
def test_it_knows_when_it_is_asked(
    line: str, first: str, python: tuple[int, int], *, is_asked: bool
) -> None:
    machine = Machine({}, python=python)
    machine.sys.argv = [first]
    machine.kernel.command_line = line
    if python >= (3, 10):
        machine.sys.orig_argv = line.split()
    with machine.run():
        assert machine.module.is_run_as_program() == is_asked


@pytest.mark.parametrize(
    ("value", "is_printed"), [("1", True), ("0", False), ("", False)], ids=["on", "off", "unset"]
)
def test_each_step_is_printed_where_that_is_asked_for(value: str, *, is_printed: bool) -> None:
    machine = Machine({BIN: NPP}, {**TOOLKIT_SET, "OPENCV_CUDA_DEBUG": value})
    machine.load()
    lines = machine.sys.stderr.getvalue().splitlines()
    steps = [
        f"cv2.cuda_dlls: npp: {BIN} (CUDA_PATH) is chosen",
        f"cv2.cuda_dlls: load {BIN}\\{NPP[1]}: 0",
    ]
    assert [step in lines for step in steps] == [is_printed] * 2
    assert bool(lines) == is_printed
