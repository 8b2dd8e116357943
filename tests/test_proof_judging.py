"""Scenarios are read strictly, and every difference from what was wanted is a fault."""

from pathlib import PureWindowsPath

import pytest
from proof.judging import faults
from proof.proving import runs_of
from proof.running import Seen
from proof.scenarios import FOLDER, Wanted, read_scenarios
from proof.traces import Loaded
from proof.wheels import CONTROLS, SUPPORTED, WHEELS, pythons_of

PLACES = {"site": "C:\\site", "python": "C:\\Python312"}
NPP = "C:\\cuda\\bin\\nppc64_12.dll"


def seen(*files: str, sees: str = "imports", message: str = "", **more: object) -> Seen:
    loaded = tuple(Loaded(file=PureWindowsPath(file)) for file in files)
    return Seen(sees=sees, line=sees, message=message, loaded=loaded, **more)  # type: ignore[arg-type]


IMPORTS = Wanted(sees="imports", answers={"npp*": "C:\\cuda\\bin"})


OF_NPP = {"npp": "C:\\cuda\\bin"}
PLAIN = Wanted(sees="imports")
FOREIGN = Wanted(sees="imports", foreign=("nppc64_12.dll",))
SAYS = Wanted(sees="fails", says=("{site}\\x",))
SILENT = Wanted(sees="imports", silent=("C:\\cuda",))
FFT = "C:\\cuda\\bin\\cufft64_11.dll"
TWICE = Seen(sees="imports", line="", loaded=(Loaded(file=PureWindowsPath(NPP), twice=True),))
#: What is wanted, what was seen, and a part of the fault that it is.
JUDGED = {
    "right, in other letters": (IMPORTS, seen(NPP.upper()), ""),
    "another end": (IMPORTS, seen(sees="fails"), "it fails, and should not"),
    "not loaded": (IMPORTS, seen(), "no npp* was loaded"),
    "from elsewhere": (IMPORTS, seen(NPP, "D:\\nppif64_12.dll"), "came from D:\\"),
    "says it": (SAYS, seen(sees="fails", message="see C:\\site\\x"), ""),
    "does not say it": (SAYS, seen(sees="fails", message="x"), "it does not say 'C:\\\\site\\\\x'"),
    "not silent": (SILENT, seen(NPP), "was loaded"),
    "a claim that is true": (IMPORTS, seen(NPP, claims={"npp": "C:\\cuda\\bin\\"}), ""),
    "a lie": (IMPORTS, seen(NPP, claims={"npp": "C:\\x"}), "npp from C:\\x; the loader took C:\\"),
    "about nothing": (PLAIN, seen(claims={"cudnn": "C:\\cudnn"}), "the loader took none of it"),
    "about what another loaded": (FOREIGN, seen(NPP, claims={"npp": "C:\\x"}), ""),
    "not needed": (PLAIN, seen(NPP, FFT, claims=OF_NPP), "was loaded, and cv2 needs no cufft"),
    "the driver's own": (PLAIN, seen(NPP, "C:\\w\\nvcuda.dll", claims=OF_NPP), ""),
    "twice": (PLAIN, TWICE, "nppc64_12.dll was loaded twice"),
}


@pytest.mark.parametrize(("wanted", "got", "fault"), JUDGED.values(), ids=JUDGED)
def test_every_difference_is_a_fault(wanted: Wanted, got: Seen, fault: str) -> None:
    found = faults(wanted, got, PLACES)
    assert [fault in each for each in found] == ([True] if fault else [])


@pytest.mark.parametrize("system", ["wine", "windows"])
def test_every_scenario_can_be_read(system: str) -> None:
    scenarios = read_scenarios(system)
    assert len(scenarios) == len(list(FOLDER.glob("*.toml")))
    assert {scenario.wheel for scenario in scenarios} <= WHEELS.keys()
    assert all(scenario.why for scenario in scenarios)


def test_the_tests_part_is_a_part_of_the_whole_on_pythons_that_its_wheels_are_for() -> None:
    scenarios = read_scenarios("wine")
    whole, part = (
        {(run.scenario.name, run.python, run.wheel) for run in runs_of(scenarios, quick=quick)}
        for quick in (False, True)
    )
    assert part
    assert part < whole
    for run in runs_of(scenarios):
        known = {*pythons_of(run.scenario.wheel), *SUPPORTED, *CONTROLS}
        assert run.python in known, run.scenario.name
