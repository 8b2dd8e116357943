"""Every difference from what a scenario wants is a fault."""

from pathlib import PureWindowsPath

import pytest
from proof.machines import Loaded, Outcome
from proof.proving import find_faults
from proof.scenarios import Wanted

NPP = r"C:\cuda\bin\nppc64_12.dll"


def outcome(*files: str, end: str = "imports", is_second: bool = False) -> Outcome:
    loaded = tuple(Loaded(file=PureWindowsPath(file), is_second=is_second) for file in files)
    return Outcome(end=end, line="", loaded=loaded)


PLAIN = Wanted(sees="imports")
IMPORTS = Wanted(sees="imports", answers={"npp*": r"C:\cuda\bin"})
SAYS = Wanted(sees="fails", says=(r"{site}\x",))
SILENT = Wanted(sees="imports", silent=(r"C:\cuda",))
#: What is wanted, what was seen, and a part of the fault that it is.
JUDGED = {
    "another end": (IMPORTS, outcome(end="fails"), "it fails, and should not"),
    "not loaded": (IMPORTS, outcome(), "no npp* was loaded"),
    "from elsewhere": (IMPORTS, outcome(NPP, r"D:\nppif64_12.dll"), "came from D:"),
    "does not say it": (SAYS, outcome(end="fails"), r"it does not say 'C:\\site\\x'"),
    "not silent": (SILENT, outcome(NPP), "nothing of its directory should be"),
    "twice": (PLAIN, outcome(NPP, is_second=True), "nppc64_12.dll was loaded twice"),
    "as wanted": (IMPORTS, outcome(NPP), ""),
}


@pytest.mark.parametrize(("wanted", "seen", "fault"), JUDGED.values(), ids=JUDGED)
def test_every_difference_is_a_fault(wanted: Wanted, seen: Outcome, fault: str) -> None:
    faults = find_faults(wanted, seen, {"site": r"C:\site"})
    assert [fault in text for text in faults] == ([True] if fault else [])
