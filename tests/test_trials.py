"""What becomes of wheels that were tried, the trials themselves being told and not run."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any, Self

import pytest
from dllmaking import make_dll
from driving import Ran, Repack, everything, trials
from pretending import ThisPython, fetched, numpy_wheel
from wheelmaking import cuda_wheel, make_wheel

from repack.errors import FetchError, ToolError
from repack.fetch import Fetched
from repack.pythons import Interpreter
from repack.record import FAILED, PASSED, Outcome
from repack.smoke.trial import Outfit

WORKS = Outcome(status=PASSED, version="4.13.0", log="imported\n")
NO_DLL = "ImportError: DLL load failed while importing cv2"
FAILS = Outcome(status=FAILED, reason=NO_DLL, log=f"Traceback ...\n{NO_DLL}\n")
HANGS = Outcome(status=FAILED, reason="hung", repeatable=False)
WHEEL = "opencv_contrib_python-4.13.0.90+cu12.patched-cp3{0}-cp3{0}-win_amd64.whl"


class WithoutWine(Interpreter):
    """A Python for which Wine has to be started."""

    @property
    def env(self) -> Mapping[str, str]:
        raise ToolError("wineboot did not end", hint="reinstall Wine")


@dataclass
class Bench(contextlib.nullcontext[Any]):
    """Stands in for Pythons and for the running of wheels: says what it is told to."""

    repack: Repack
    source: Path
    numpy: Path
    #: What an untouched wheel does, and a fixed one, by Python.
    before: Outcome = FAILS
    after: dict[str, Outcome] = field(default_factory=dict)
    missing: str = ""
    kind: type[Interpreter] = ThisPython
    interrupted: bool = False
    stopped: bool = False
    #: The wheels that were run, and what stood in dist/ then.
    runs: list[tuple[str, str]] = field(default_factory=list)
    stood: set[str] = field(default_factory=set)

    def __enter__(self) -> Self:
        return self

    def build(self, *options: object, python: str = "3.12") -> Ran:
        """Return how a build with its smoke test ended; the DLLs of the toolkit are at hand."""
        self.runs.clear()
        dlls = self.source.parent / "toolkit"
        dlls.mkdir(exist_ok=True)
        given = ("--set", f"smoke.dll-dirs={[str(dlls)]}", "--python", python.replace(" ", ","))
        return self.repack("build", "-q", "--json", "--source", self.source, *given, *options)

    def provide(self, version: str) -> Interpreter:
        if version == self.missing:
            raise ToolError("Wine is not installed", hint="apt-get")
        return self.kind(version=version, full_version="3.1.1", python=Path("x"), origin="given")

    def run(self, wheel: Path, outfit: Outfit, *, stop: Event, **_: object) -> Outcome:
        version = outfit.interpreter.version
        self.runs.append((wheel.name, version))
        self.stood |= set(names(self.repack.folder / "dist"))
        is_fixed = "patched" in wheel.name
        if self.interrupted:
            if is_fixed:
                raise KeyboardInterrupt
            self.stopped = stop.wait(20)
        return self.after.get(version, WORKS) if is_fixed else self.before

    def wheel(self, requirement: str, _: str) -> Fetched:
        if requirement not in {"pip", "numpy", "numpy>=2"}:
            raise FetchError("there is none", code="index", file=requirement, hint="look")
        return fetched(self.numpy)


@pytest.fixture
def bench(repack: Repack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    (tmp_path / "in").mkdir()
    bench = Bench(repack, cuda_wheel(tmp_path / "in"), numpy_wheel(tmp_path / "in"))
    monkeypatch.setattr("repack.smoke.Pythons", lambda *_: bench)
    monkeypatch.setattr("repack.smoke.run_smoke", bench.run)
    monkeypatch.setattr("repack.fetch.Supply.wheel", lambda _, *words: bench.wheel(*words))
    return bench


def smoke(ran: Ran, python: str = "3.12") -> dict[str, Any]:
    outcome: dict[str, Any] = trials(ran.json)[python]["after"]
    return outcome


def names(folder: Path) -> list[str]:
    """Return the visible files of dist/, but not the record."""
    paths = [path for path in everything(folder) if path.endswith((".whl", ".log"))]
    return sorted(path for path in paths if not path.startswith("."))


def test_a_wheel_that_works_stands_in_dist_after_it_was_tried_once(bench: Bench) -> None:
    ran = bench.build(python="3.12 3.13")
    assert (ran.code, bench.stood) == (0, set())
    wheels = [WHEEL.format(12), WHEEL.format(13)]
    assert sorted(name for name, _ in bench.runs) == sorted([*wheels, *[bench.source.name] * 2])
    dist = bench.repack.folder / "dist"
    assert names(dist) == wheels
    assert [wheel["path"] for wheel in ran.json["wheels"]] == [str(dist / name) for name in wheels]
    assert trials(ran.json)["3.12"]["before"]["reason"] == NO_DLL
    assert (smoke(ran)["status"], smoke(ran)["version"]) == ("passed", "4.13.0")
    assert bench.build(python="3.12 3.13").json["wheels"] == ran.json["wheels"]
    assert bench.runs == []


@pytest.mark.parametrize("change", ["wheel", "DLLs", "NumPy"])
def test_what_has_changed_is_tried_again(change: str, bench: Bench) -> None:
    bench.build()
    if change == "wheel":
        cuda_wheel(bench.source.parent, ballast=10)
    elif change == "DLLs":
        (bench.source.parent / "toolkit" / "nppc64_12.dll").write_bytes(b"MZ")
    else:
        make_wheel(bench.numpy, {"numpy/__init__.py": b"new"})
    bench.build()
    assert len(bench.runs) == 2


@pytest.mark.parametrize("emit", ["per-python", "abi3"])
def test_a_wheel_that_fails_on_a_python_lies_in_failed_with_its_log(
    emit: str, bench: Bench
) -> None:
    options = ("--emit", emit)
    assert bench.build("--no-smoke", *options, python="3.12 3.13").code == 0
    bench.after["3.13"] = FAILS
    ran = bench.build(*options, python="3.12 3.13")
    assert ran.code == 1
    one = WHEEL.format(12).replace("cp312-cp312", "cp37-abi3")
    failed, kept = (one, []) if emit == "abi3" else (WHEEL.format(13), [WHEEL.format(12)])
    dist = bench.repack.folder / "dist"
    assert names(dist) == [f"failed/{failed}", f"failed/{failed}.log", *kept]
    log = (dist / "failed" / f"{failed}.log").read_text()
    assert log == f"Python 3.13: {NO_DLL}\n{FAILS.log}"
    assert ran.json["wheels"][-1]["path"] == str(dist / "failed" / failed)
    assert (smoke(ran, "3.12")["status"], smoke(ran, "3.13")["status"]) == ("passed", "failed")


#: How an untouched wheel and a fixed one end, and which of them is tried again.
UNSURE = {
    "a fixed wheel that failed": (FAILS, FAILS, WHEEL.format(12)),
    "an untouched wheel that hung": (HANGS, WORKS, "{source}"),
}


@pytest.mark.parametrize("case", UNSURE)
def test_what_may_end_otherwise_is_tried_again(case: str, bench: Bench) -> None:
    bench.before, bench.after["3.12"], again = UNSURE[case]
    bench.build()
    bench.after.clear()
    assert smoke(bench.build())["status"] == "passed"
    assert "".join(name for name, _ in bench.runs) == again.format(source=bench.source.name)
    assert not (bench.repack.folder / "dist" / "failed").exists()


# What is not run


def test_one_python_that_is_missing_keeps_no_other_from_being_tried(bench: Bench) -> None:
    bench.missing = "3.13"
    ran = bench.build(python="3.12 3.13")
    assert (ran.code, smoke(ran, "3.12")["status"]) == (0, "passed")
    seen = smoke(ran, "3.13")
    assert (seen["status"], seen["reason"]) == ("not-run", "Wine is not installed; apt-get")
    assert trials(ran.json)["3.13"]["before"] == seen
    bench.missing = ""
    again = bench.build(python="3.12 3.13")
    assert smoke(again, "3.13")["status"] == "passed"
    assert again.json["unchanged"] == [WHEEL.format(12), WHEEL.format(13)]


#: The DLL and the requirement of a wheel, and what is said of them.
LACKING = {
    "DLLs that NVIDIA has in no wheel": ("nppc64_10.dll", "numpy", "smoke.dll-dirs"),
    "what the index lacks": ("KERNEL32.dll", "absent>=1", "absent>=1: there is none [index]; look"),
}


@pytest.mark.parametrize(("dll", "requires", "reason"), LACKING.values(), ids=LACKING)
def test_what_a_trial_lacks_is_told(dll: str, requires: str, reason: str, bench: Bench) -> None:
    pyd = make_dll("cv2.pyd", imports={"python37.dll": ["Py_Main"], dll: ["f"]})
    files = {"cv2/__init__.py": b"from .cv2 import *\n", "cv2/cv2.cp37-win_amd64.pyd": pyd}
    name = "opencv_python-4.3.0.36-cp37-cp37m-win_amd64.whl"
    source = make_wheel(bench.source.parent / name, files, requires=[requires])
    ran = bench.repack("build", "-q", "--json", "--source", source, "--python", "3.7")
    seen = smoke(ran, "3.7")
    assert (ran.code, seen["status"], bench.runs) == (0, "not-run", [])
    assert reason in seen["reason"]


def test_where_wine_does_not_start_that_is_told_and_not_remembered(bench: Bench) -> None:
    bench.kind = WithoutWine
    seen = smoke(bench.build())
    assert (seen["status"], seen["reason"]) == ("not-run", "wineboot did not end; reinstall Wine")
    bench.kind = ThisPython
    assert smoke(bench.build())["status"] == "passed"
    assert len(bench.runs) == 2


def test_what_an_interrupt_cut_short_is_not_remembered_and_leaves_nothing(bench: Bench) -> None:
    bench.interrupted = True
    ran = bench.build()
    assert (ran.code, ran.out, ran.err) == (130, "", "repack: interrupted\n")
    assert bench.stopped == (len(bench.runs) == 2), "what has not begun does not begin"
    assert everything(bench.repack.folder) == {}
    bench.interrupted = False
    assert bench.build().code == 0
    assert len(bench.runs) == 2


def test_smoke_tries_each_wheel_on_the_pythons_it_is_for_and_says_what_it_saw(
    bench: Bench,
) -> None:
    other = cuda_wheel(bench.source.parent, tag="cp312-cp312")
    words = ("smoke", "-q", "--json", bench.source, other, "--python", "3.12,3.13", "--dll-dir")
    ran = bench.repack(*words, bench.source.parent)
    assert ran.code == 1
    assert [(wheel["path"], wheel["python"]) for wheel in ran.json["wheels"]] == [
        *((str(bench.source), python) for python in ("3.12", "3.13")),
        (str(other), "3.12"),
    ]
    assert {wheel["reason"] for wheel in ran.json["wheels"]} == {NO_DLL}
    assert len(bench.runs) == 3
    assert "absent: is not a folder" in bench.repack(*words, "absent").error
