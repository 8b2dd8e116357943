"""What was seen is what the loader says, and every difference from what was wanted is a fault."""

from __future__ import annotations

import json
from pathlib import PureWindowsPath

import pytest
from proof.judging import faults, wanted_line
from proof.running import Seen, what_was_seen
from proof.scenarios import Wanted
from proof.traces import Loaded, parse_trace, without_trace

from repack.process import Finished

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


def ended(output: str, code: int = 0, *, timed_out: bool = False) -> Finished:
    return Finished(args=("x",), returncode=code, output=output, timed_out=timed_out, seconds=2.5)


def fact(**facts: object) -> str:
    return f"@proof {json.dumps(facts)}\n"


DONE = fact(claims={}, ended=True)
RAISED = fact(raised={"type": "ImportError", "message": "a\nb", "cause": None}) + DONE


@pytest.mark.parametrize(
    ("done", "sees", "line"),
    [
        pytest.param(ended(DONE), "imports", "imports", id="imports"),
        pytest.param(ended(RAISED, 1), "fails", "ImportError: a", id="fails"),
        pytest.param(ended("", -9, timed_out=True), "hangs", "had not ended after 7 s", id="hangs"),
        pytest.param(
            ended("Timeout (0:00:07)!\n", 1), "hangs", "after 7 s", id="hangs-and-ends-itself"
        ),
        pytest.param(ended("", 5), "crashes", "exit code 5", id="crashes"),
        pytest.param(
            ended("wine: Unhandled page fault on read access", 5),
            "crashes",
            "Unhandled page fault",
            id="crashes-with-words",
        ),
    ],
)
def test_how_a_program_ended(done: Finished, sees: str, line: str) -> None:
    seen = what_was_seen(done, 7)
    assert seen.sees == sees
    assert line in seen.line


def test_the_loaders_word_is_read_from_its_trace() -> None:
    assert parse_trace(trace(f"+{NPP}", "+C:\\w\\KERNEL32.dll")) == (
        Loaded(file=PureWindowsPath(NPP)),
        Loaded(file=PureWindowsPath("C:\\w\\KERNEL32.dll")),
    )


def test_a_name_beyond_ascii_is_read_as_wine_writes_it() -> None:
    output = trace("+C:\\J\\00fcrgen\\n.dll").replace("\\\\00fc", "\\00fc")
    (loaded,) = parse_trace(output)
    assert str(loaded.file) == "C:\\Jürgen\\n.dll"


@pytest.mark.parametrize(
    ("words", "twice"),
    [
        pytest.param([f"+{NPP}", "+C:\\other\\nppc64_12.dll"], True, id="while-it-is-there"),
        pytest.param([f"+{NPP}", f"-{NPP}", f"+{NPP}"], False, id="after-it-was-unloaded"),
    ],
)
def test_a_module_that_is_loaded_twice_is_noticed(words: list[str], *, twice: bool) -> None:
    assert parse_trace(trace(*words))[-1].twice is twice


def test_two_processes_may_have_the_same_module() -> None:
    output = trace(f"+{NPP}") + "\n" + trace(f"+{NPP}", process="0030")
    assert [each.twice for each in parse_trace(output)] == [False, False]


def test_what_is_shown_of_a_trace_is_what_concerns_cuda() -> None:
    output = trace(f"+{NPP}", "+C:\\windows\\system32\\kernel32.dll") + "\nhello"
    assert without_trace(output) == trace(f"+{NPP}") + "\nhello"


def test_on_windows_the_process_itself_names_its_modules() -> None:
    seen = what_was_seen(ended(fact(modules=[NPP]) + DONE), 7)
    assert [str(each.file) for each in seen.loaded] == [NPP]


def seen(*files: str, sees: str = "imports", message: str = "", **more: object) -> Seen:
    loaded = tuple(Loaded(file=PureWindowsPath(file)) for file in files)
    return Seen(sees=sees, line=sees, message=message, loaded=loaded, **more)  # type: ignore[arg-type]


IMPORTS = Wanted(sees="imports", answers={"npp*": "C:\\cuda\\bin"})


@pytest.mark.parametrize(
    ("wanted", "got", "fault"),
    [
        pytest.param(IMPORTS, seen(NPP), "", id="right"),
        pytest.param(IMPORTS, seen(NPP.upper()), "", id="in-other-letters"),
        pytest.param(IMPORTS, seen(sees="fails"), "it fails, and should not", id="fails"),
        pytest.param(IMPORTS, seen(sees="hangs"), "it hangs, and should not", id="hangs"),
        pytest.param(IMPORTS, seen(), "no npp* was loaded", id="not-loaded"),
        pytest.param(
            IMPORTS, seen(NPP, "D:\\nppif64_12.dll"), "came from D:\\", id="from-elsewhere"
        ),
        pytest.param(
            Wanted(sees="fails", says=("{site}\\x",)),
            seen(sees="fails", message="see C:\\site\\x"),
            "",
            id="says-it",
        ),
        pytest.param(
            Wanted(sees="fails", says=("y",)),
            seen(sees="fails", message="x"),
            "it does not say 'y'",
            id="does-not-say-it",
        ),
        pytest.param(
            Wanted(sees="imports", silent=("C:\\cuda",)), seen(NPP), "was loaded", id="not-silent"
        ),
        pytest.param(
            IMPORTS,
            seen(NPP, claims={"npp": "C:\\cuda\\bin\\"}),
            "",
            id="a-claim-that-is-true",
        ),
        pytest.param(
            IMPORTS,
            seen(NPP, claims={"npp": "C:\\elsewhere"}),
            "cv2 says that it took npp from C:\\elsewhere; the loader took C:\\cuda",
            id="a-claim-that-is-a-lie",
        ),
        pytest.param(
            Wanted(sees="imports"),
            seen(NPP, "C:\\cuda\\bin\\cufft64_11.dll", claims={"npp": "C:\\cuda\\bin"}),
            "cufft64_11.dll was loaded, and cv2 needs no cufft",
            id="of-a-family-that-is-not-needed",
        ),
        pytest.param(
            Wanted(sees="imports"),
            seen(NPP, "C:\\w\\nvcuda.dll", claims={"npp": "C:\\cuda\\bin"}),
            "",
            id="the-drivers-own-dll",
        ),
        pytest.param(
            IMPORTS,
            seen(NPP, claims={"cudnn": "C:\\cudnn", "npp": "C:\\cuda\\bin"}),
            "the loader took none of it",
            id="a-claim-about-nothing",
        ),
        pytest.param(
            Wanted(sees="imports", foreign=("nppc64_12.dll",)),
            seen(NPP, claims={"npp": "C:\\elsewhere"}),
            "",
            id="a-claim-about-what-another-package-loaded",
        ),
        pytest.param(
            Wanted(sees="imports"),
            Seen(
                sees="imports",
                line="",
                loaded=(Loaded(file=PureWindowsPath(NPP), twice=True),),
            ),
            "nppc64_12.dll was loaded twice",
            id="twice",
        ),
    ],
)
def test_every_difference_is_a_fault(wanted: Wanted, got: Seen, fault: str) -> None:
    found = faults(wanted, got, PLACES)
    assert [fault in each for each in found] == ([True] if fault else [])


def test_what_is_wanted_is_said_in_a_line() -> None:
    wanted = Wanted(
        sees="imports", says=("a",), answers={"npp*": "{site}"}, silent=("C:\\planted",)
    )
    assert wanted_line(wanted, PLACES) == (
        "imports; says 'a'; npp* from C:\\site; nothing from C:\\planted"
    )
