"""What was seen is what the loader says, and every difference from what was wanted is a fault."""

from pathlib import PureWindowsPath

import pytest
from proof.judging import faults
from proof.running import Seen
from proof.scenarios import Wanted
from proof.traces import Loaded, parse_trace, without_trace

PLACES = {"site": "C:\\site", "python": "C:\\Python312"}
NPP = "C:\\cuda\\bin\\nppc64_12.dll"


def trace(*words: str, process: str = "0020") -> str:
    """Lines as Wine prints them: "+C:\\a.dll" loaded, "-C:\\a.dll" unloaded."""
    lines = []
    for word in words:
        file = word[1:].replace("\\", "\\\\")
        said = {
            "+": f'build_module Loaded L"{file}" at 00000001D0000000: native',
            "-": f'free_modref Unloaded module L"{file}" : native',
        }
        lines.append(f"{process}:0024:trace:loaddll:{said[word[0]]}")
    return "\n".join(lines)


OTHER = "C:\\other\\nppc64_12.dll"
#: What a process loads and unloads, and whether the last of it is loaded twice.
TRACES = {
    "while one is there": (trace(f"+{OTHER}", f"+{NPP}"), True),
    "after it was unloaded": (trace(f"+{NPP}", f"-{NPP}", f"+{NPP}"), False),
    "by two processes": (trace(f"+{NPP}") + "\n" + trace(f"+{NPP}", process="0030"), False),
}


@pytest.mark.parametrize(("output", "twice"), TRACES.values(), ids=TRACES)
def test_a_module_that_is_loaded_twice_is_noticed(output: str, *, twice: bool) -> None:
    assert parse_trace(output)[-1] == Loaded(file=PureWindowsPath(NPP), twice=twice)


def test_a_name_beyond_ascii_is_read_as_wine_writes_it() -> None:
    output = trace("+C:\\J\\00fcrgen\\n.dll").replace("\\\\00fc", "\\00fc")
    (loaded,) = parse_trace(output)
    assert str(loaded.file) == "C:\\Jürgen\\n.dll"


def test_what_is_shown_of_a_trace_is_what_concerns_cuda() -> None:
    output = trace(f"+{NPP}", "+C:\\windows\\system32\\kernel32.dll") + "\nhello"
    assert without_trace(output) == trace(f"+{NPP}") + "\nhello"


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
