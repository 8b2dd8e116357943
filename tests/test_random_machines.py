"""Random Windows machines do what a short specification says, and what once went wrong stays right.

Any number of them: `nox -s proof -- --random 1000 --seed 0`.
"""

import pytest
from random_machines.drawing import ADDED, OVERRIDE, SOUND, Machine, draw_machine
from random_machines.trying import draw_machines, try_machine
from windowslab import Windows

#: Small machines of the kinds on which something went wrong once.
SEEDS = {
    "a family that is loaded from a directory whose other file is cut off": 52979,
    "a family that is loaded already from two directories": 11231,
    "a driver in a registered directory and a stand-in": 651,
    "a driver that is cut off in a directory that the program has registered": 3053,
}
#: Windows takes files of one family from two directories; none is drawn like that.
SPLIT = Machine(
    imports=("cudart64_12.dll", "nppif64_12.dll"),
    files={
        r"C:\override\cudart64_12.dll": SOUND,
        r"C:\override\nppif64_12.dll": SOUND,
        rf"{ADDED}\nppc64_12.dll": SOUND,
    },
    env={OVERRIDE: r"C:\override"},
)


@pytest.mark.wine
@pytest.mark.parametrize(
    ("seed", "machine"),
    [
        *draw_machines(0, 20),
        *((seed, draw_machine(seed)) for seed in SEEDS.values()),
        (0, SPLIT),
    ],
)
def test_a_machine_does_what_the_specification_says(
    seed: int, machine: Machine, bench: Windows
) -> None:
    cell = try_machine(bench, seed, machine)
    assert not cell.faults, cell.log
