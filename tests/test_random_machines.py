"""Random Windows machines do what a short specification says, and what once went wrong stays right.

Any number of them: `nox -s proof -- --random 1000 --seed 0`.
"""

import pytest
from random_machines.drawing import ADDED, CUT_OFF, DRIVER, OVERRIDE, SOUND, Machine
from random_machines.trying import draw_machines, try_machine
from windowslab import Windows

# The smallest machines of each kind on which something went wrong.
FOUND = {
    "a family that is loaded already from a directory whose other file is cut off": Machine(
        imports=("nppif64_12.dll",),
        files={
            r"C:\app\nppc64_12.dll": SOUND,
            r"C:\app\nppif64_12.dll": CUT_OFF,
            r"C:\toolkit\bin\nppc64_12.dll": SOUND,
            r"C:\toolkit\bin\nppif64_12.dll": SOUND,
        },
        env={"CUDA_PATH": r"C:\toolkit"},
        loaded=(r"C:\app\nppc64_12.dll",),
    ),
    "a family of which Windows takes files from two directories": Machine(
        imports=("cudart64_12.dll", "nppif64_12.dll"),
        files={
            r"C:\override\cudart64_12.dll": SOUND,
            r"C:\override\nppif64_12.dll": SOUND,
            rf"{ADDED}\nppc64_12.dll": SOUND,
        },
        env={OVERRIDE: r"C:\override"},
    ),
    "a family that is loaded already from two directories": Machine(
        imports=("cublas64_12.dll",),
        files={r"C:\app\cublas64_12.dll": SOUND, rf"{ADDED}\cublasLt64_12.dll": SOUND},
        loaded=(r"C:\app\cublas64_12.dll",),
    ),
    "a driver in a registered directory and a stand-in": Machine(
        imports=(DRIVER,), files={rf"{ADDED}\{DRIVER}": SOUND}, has_stand_in=True
    ),
    "a driver that is cut off in a directory that the program has registered": Machine(
        imports=(DRIVER,), files={rf"{ADDED}\{DRIVER}": CUT_OFF}
    ),
}


@pytest.mark.wine
@pytest.mark.parametrize(
    ("seed", "machine"),
    [
        *(pytest.param(seed, machine, id=str(seed)) for seed, machine in draw_machines(0, 20)),
        *(pytest.param(0, FOUND[name], id=name) for name in FOUND),
    ],
)
def test_a_machine_does_what_the_specification_says(
    seed: int, machine: Machine, bench: Windows
) -> None:
    cell = try_machine(bench, seed, machine)
    assert not cell.faults, cell.log
