"""Every difference from what a scenario wants is a fault."""

from collections.abc import Mapping
from pathlib import PureWindowsPath

import pytest
from proof.judging import find_faults
from proof.machines import Loaded, Outcome
from proof.scenarios import Wanted

PLACES = {"site": "C:\\site", "python": "C:\\Python312"}
NPP = "C:\\cuda\\bin\\nppc64_12.dll"


def outcome(
    *files: str, end: str = "imports", message: str = "", claims: Mapping[str, str] | None = None
) -> Outcome:
    loaded = tuple(Loaded(file=PureWindowsPath(file)) for file in files)
    return Outcome(end=end, line=end, message=message, loaded=loaded, claims=claims or {})


IMPORTS = Wanted(sees="imports", answers={"npp*": "C:\\cuda\\bin"})


OF_NPP = {"npp": "C:\\cuda\\bin"}
PLAIN = Wanted(sees="imports")
FOREIGN = Wanted(sees="imports", foreign=("nppc64_12.dll",))
SAYS = Wanted(sees="fails", says=("{site}\\x",))
SILENT = Wanted(sees="imports", silent=("C:\\cuda",))
FFT = "C:\\cuda\\bin\\cufft64_11.dll"
SECOND = Loaded(file=PureWindowsPath(NPP), is_second=True)
TWICE = Outcome(end="imports", line="", loaded=(SECOND,))
#: What is wanted, what was seen, and a part of the fault that it is.
JUDGED = {
    "another end": (IMPORTS, outcome(end="fails"), "it fails, and should not"),
    "not loaded": (IMPORTS, outcome(), "no npp* was loaded"),
    "from elsewhere": (IMPORTS, outcome(NPP, "D:\\nppif64_12.dll"), "came from D:\\"),
    "does not say it": (
        SAYS,
        outcome(end="fails", message="x"),
        "it does not say 'C:\\\\site\\\\x'",
    ),
    "not silent": (SILENT, outcome(NPP), "was loaded"),
    "a lie": (
        IMPORTS,
        outcome(NPP, claims={"npp": "C:\\x"}),
        "npp from C:\\x; the loader took C:\\",
    ),
    "about nothing": (PLAIN, outcome(claims={"cudnn": "C:\\cudnn"}), "the loader took none of it"),
    "about what another loaded": (FOREIGN, outcome(NPP, claims={"npp": "C:\\x"}), ""),
    "not needed": (PLAIN, outcome(NPP, FFT, claims=OF_NPP), "was loaded, and cv2 needs no cufft"),
    "twice": (PLAIN, TWICE, "nppc64_12.dll was loaded twice"),
}


@pytest.mark.parametrize(("wanted", "actual", "fault"), JUDGED.values(), ids=JUDGED)
def test_every_difference_is_a_fault(wanted: Wanted, actual: Outcome, fault: str) -> None:
    faults = find_faults(wanted, actual, PLACES)
    assert [fault in text for text in faults] == ([True] if fault else [])
