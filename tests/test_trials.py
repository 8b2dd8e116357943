"""What becomes of wheels that were tried, the trials themselves being told and not run."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Any, Self

import pytest
from dllmaking import make_dll
from driving import Ran, Repack, everything
from pretending import fetched, numpy_wheel, this_python
from wheelmaking import cuda_wheel, make_wheel

from repack.errors import FetchError, ToolError
from repack.fetch import Fetched
from repack.pythons import Interpreter, Unavailable
from repack.record import FAILED, PASSED, Outcome
from repack.smoke import trying

WORKS = Outcome(status=PASSED, version="4.13.0", seconds=1.25, log="imported\n")
NO_DLL = "ImportError: DLL load failed while importing cv2"
FAILS = Outcome(status=FAILED, reason=NO_DLL, seconds=0.5, log=f"Traceback ...\n{NO_DLL}\n")
HANGS = Outcome(status=FAILED, reason="hung", repeatable=False)
WHEEL = "opencv_contrib_python-4.13.0.90+cu12.patched-cp3{0}-cp3{0}-win_amd64.whl"


@dataclass
class Bench:
    """Stands in for Pythons and for the running of wheels: says what it is told to."""

    repack: Repack
    source: Path
    numpy: Path
    #: What an untouched wheel does, and a fixed one, by Python.
    before: Outcome = FAILS
    after: dict[str, Outcome] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    broken: bool = False
    runs: list[tuple[str, str]] = field(default_factory=list)

    @property
    def dist(self) -> Path:
        return self.repack.folder / "dist"

    @property
    def place(self) -> Path:
        return self.source.parent

    def build(self, *options: object, python: str = "3.12") -> Ran:
        """Return how a build with its smoke test ended; the DLLs of the toolkit are at hand."""
        dlls = self.place / "toolkit"
        dlls.mkdir(exist_ok=True)
        given = ("--set", f"smoke.dll-dirs={[str(dlls)]}", "--python", *python.split())
        return self.repack("build", "-q", "--json", "--source", self.source, *given, *options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing running."""

    def pythons(self, **_: object) -> Self:
        return self

    def provide(self, version: str) -> Interpreter | Unavailable:
        if version in self.missing:
            return Unavailable(version=version, reason="Wine is not installed", hint="apt-get")
        python = replace(this_python(), version=version, full_version=f"{version}.1")
        return replace(python, environment=self.start) if self.broken else python

    def start(self) -> dict[str, str]:
        raise ToolError("wineboot did not end", hint="reinstall Wine")

    def run(self, wheel: Path, python: Interpreter, **_: object) -> Outcome:
        self.runs.append((wheel.name, python.version))
        if "patched" in wheel.name:
            return self.after.get(python.version, WORKS)
        return self.before

    def wheel(self, requirement: str, python: str) -> Fetched:
        del python
        if requirement not in {"pip", "numpy", "numpy>=2"}:
            raise FetchError("there is none", code="index", file=requirement, hint="look")
        return fetched(self.numpy)


@pytest.fixture
def bench(repack: Repack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    (tmp_path / "in").mkdir()
    bench = Bench(repack, cuda_wheel(tmp_path / "in"), numpy_wheel(tmp_path / "in"))
    monkeypatch.setattr(trying, "Pythons", bench.pythons)
    monkeypatch.setattr(trying, "run_smoke", bench.run)
    monkeypatch.setattr("repack.fetch.supply.Supply.wheel", lambda _, *words: bench.wheel(*words))
    return bench


def smoke(ran: Ran, python: str = "3.12") -> dict[str, Any]:
    (result,) = (wheel["smoke"] for wheel in ran.json["wheels"] if wheel["python"] == python)
    assert isinstance(result, dict)
    return result


def names(folder: Path) -> list[str]:
    files = {name for name, content in everything(folder).items() if content is not None}
    return sorted(files - {"build.json"})


# What works


def test_a_wheel_that_works_stands_in_dist_with_before_and_after(bench: Bench) -> None:
    ran = bench.build()
    assert ran.code == 0
    (path,) = (bench.dist).glob("*.whl")
    assert ran.json["wheels"][0]["path"] == str(path)
    before_and_after = {"before": NO_DLL, "after": "works: OpenCV 4.13.0"}
    rest = {"status": "passed", "reason": "", "driver": "", "remembered": False}
    assert smoke(ran) == before_and_after | rest
    assert sorted(bench.runs) == sorted([(path.name, "3.12"), (bench.source.name, "3.12")])
    again = bench.build()
    assert len(bench.runs) == 2
    assert smoke(again) == {**smoke(ran), "remembered": True}


def test_no_wheel_stands_there_before_it_was_tried(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def run(wheel: Path, python: Interpreter, **rest: object) -> Outcome:
        seen.append(list((bench.dist).glob("*.whl")))
        return bench.run(wheel, python, **rest)

    monkeypatch.setattr(trying, "run_smoke", run)
    assert bench.build(python="3.12 3.13").code == 0
    assert seen == [[]] * 4


@pytest.mark.parametrize("change", ["wheel", "DLLs", "NumPy"])
def test_what_has_changed_is_tried_again(change: str, bench: Bench) -> None:
    bench.build()
    if change == "wheel":
        (bench.place / "again").mkdir()
        bench.source = cuda_wheel(bench.place / "again", ballast=10)
    elif change == "DLLs":
        (bench.place / "toolkit" / "nppc64_12.dll").write_bytes(b"MZ")
    else:
        make_wheel(bench.numpy, {"numpy/__init__.py": b"new"})
    bench.runs.clear()
    bench.build()
    assert len(bench.runs) == 2


# What fails


def test_a_wheel_that_fails_lies_in_failed_with_its_log_and_not_in_dist(bench: Bench) -> None:
    bench.after["3.13"] = FAILS
    ran = bench.build(python="3.12 3.13")
    assert ran.code == 1
    failed = f"failed/{WHEEL.format(13)}"
    dist = bench.dist
    assert names(dist) == [failed, f"{failed}.log", WHEEL.format(12)]
    assert (dist / f"{failed}.log").read_text() == f"Python 3.13: {NO_DLL}\n{FAILS.log}"
    assert ran.json["wheels"][1]["path"] == str(dist / failed)
    assert (smoke(ran, "3.12")["status"], smoke(ran, "3.13")["status"]) == ("passed", "failed")
    (bench.repack.folder / "other").mkdir()
    (bench.repack.folder / "other" / "failed").write_text("a file")
    ran = bench.build("-w", "other", python="3.13")
    assert ran.code == 1
    assert "other/failed: cannot be written: a file of that name is in the way" in ran.error
    assert names(bench.repack.folder / "other") == ["failed"]


#: How an untouched wheel and a fixed one end, and which of them is tried again.
UNSURE = {
    "a fixed wheel that failed": (FAILS, FAILS, WHEEL.format(12)),
    "an untouched wheel that hung": (HANGS, WORKS, "{source}"),
    "what is sure": (FAILS, WORKS, ""),
}


@pytest.mark.parametrize("case", UNSURE)
def test_what_may_end_otherwise_is_tried_again(case: str, bench: Bench) -> None:
    bench.before, bench.after["3.12"], again = UNSURE[case]
    bench.build()
    bench.after.clear()
    bench.runs.clear()
    assert smoke(bench.build())["status"] == "passed"
    assert "".join(name for name, _ in bench.runs) == again.format(source=bench.source.name)
    assert not (bench.dist / "failed").exists()


@pytest.mark.parametrize("ballast", [0, 10], ids=["the same wheel", "a newer one of its name"])
def test_a_wheel_built_without_a_test_leaves_dist_once_it_fails(ballast: int, bench: Bench) -> None:
    assert bench.build("--no-smoke").code == 0
    (wheel,) = names(bench.dist)
    bench.after["3.12"] = FAILS
    bench.source = cuda_wheel(bench.place, ballast=ballast)
    assert bench.build().code == 1
    assert names(bench.dist) == [f"failed/{wheel}", f"failed/{wheel}.log"]


def test_one_wheel_for_all_fails_where_it_fails_on_one_python(bench: Bench) -> None:
    bench.after["3.13"] = FAILS
    ran = bench.build("--emit", "abi3", python="3.12 3.13 3.14")
    assert ran.code == 1
    (path,) = {wheel["path"] for wheel in ran.json["wheels"]}
    name = WHEEL.format(12).replace("cp312-cp312", "cp37-abi3")
    assert path == str(bench.dist / "failed" / name)
    log = (bench.dist / "failed" / f"{name}.log").read_text()
    assert log.startswith("Python 3.13: ")
    assert "3.12" not in log


# What is not run


def test_one_python_that_is_missing_keeps_no_other_from_being_tried(bench: Bench) -> None:
    bench.missing = {"3.13"}
    ran = bench.build(python="3.12 3.13")
    assert ran.code == 0
    assert smoke(ran, "3.12")["status"] == "passed"
    seen = smoke(ran, "3.13")
    assert (seen["status"], seen["reason"]) == ("not-run", "Wine is not installed; apt-get")
    assert seen["before"] == seen["after"] == "not run: Wine is not installed; apt-get"
    words = ("--source", bench.source, "--python", "3.13", "-w", "table")
    assert bench.repack("build", "-q", *words).out.count("not run: Wine is not") == 2
    bench.missing.clear()
    again = bench.build(python="3.12 3.13")
    assert smoke(again, "3.13")["status"] == "passed"
    assert all(wheel["unchanged"] for wheel in again.json["wheels"])


def wheel_that_needs(folder: Path, dll: str, requires: str) -> Path:
    pyd = make_dll("cv2.pyd", imports={"python37.dll": ["Py_Main"], dll: ["f"]})
    files = {"cv2/__init__.py": b"from .cv2 import *\n", "cv2/cv2.cp37-win_amd64.pyd": pyd}
    name = "opencv_python-4.3.0.36-cp37-cp37m-win_amd64.whl"
    return make_wheel(folder / name, files, requires=[requires])


#: The DLL and the requirement of a wheel, and what is said of them.
LACKING = {
    "DLLs that cannot be had": ("nppc64_12.dll", "numpy", "nvidia-npp-cu12: there is none"),
    "DLLs that NVIDIA has in no wheel": ("nppc64_10.dll", "numpy", "smoke.dll-dirs"),
    "what the index lacks": ("KERNEL32.dll", "absent>=1", "absent>=1: there is none [index]; look"),
}


@pytest.mark.parametrize(("dll", "requires", "reason"), LACKING.values(), ids=LACKING)
def test_what_a_trial_lacks_is_told(dll: str, requires: str, reason: str, bench: Bench) -> None:
    bench.source = wheel_that_needs(bench.repack.folder.parent, dll, requires)
    ran = bench.repack("build", "-q", "--json", "--source", bench.source, "--python", "3.7")
    seen = smoke(ran, "3.7")
    assert (ran.code, seen["status"]) == (0, "not-run")
    assert reason in seen["reason"]
    assert bench.runs == []


def test_where_wine_does_not_start_that_is_told_and_not_remembered(bench: Bench) -> None:
    bench.broken = True
    seen = smoke(bench.build())
    assert (seen["status"], seen["reason"]) == ("not-run", "wineboot did not end; reinstall Wine")
    assert seen["before"].startswith("not run: wineboot did not end")
    bench.broken = False
    assert smoke(bench.build())["status"] == "passed"
    assert len(bench.runs) == 2


def test_what_an_interrupt_cut_short_is_not_remembered_and_leaves_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(wheel: Path, python: Interpreter, *, stop: Event, **rest: object) -> Outcome:
        seen = bench.run(wheel, python, **rest)
        if "patched" in wheel.name:
            raise KeyboardInterrupt
        assert stop.wait(60)
        return seen

    with monkeypatch.context() as patched:
        patched.setattr(trying, "run_smoke", run)
        ran = bench.build()
    assert (ran.code, ran.out, ran.err) == (130, "", "repack: interrupted\n")
    assert everything(bench.repack.folder) == {}
    bench.runs.clear()
    assert bench.build().code == 0
    assert len(bench.runs) == 2


# `repack smoke`


def test_smoke_tries_each_wheel_on_the_pythons_it_is_for(bench: Bench) -> None:
    bench.before = WORKS
    other = cuda_wheel(bench.place, tag="cp312-cp312-win_amd64")
    pythons = ("--python", "3.12,3.13")
    ran = bench.repack(
        "smoke", "-q", "--json", bench.source, other, *pythons, "--dll-dir", bench.place
    )
    assert ran.code == 0
    expected = [(str(bench.source), "3.12"), (str(bench.source), "3.13"), (str(other), "3.12")]
    assert [(wheel["path"], wheel["python"]) for wheel in ran.json["wheels"]] == expected
    assert len(bench.runs) == 3


def test_smoke_ends_with_1_where_a_wheel_fails(bench: Bench) -> None:
    bench.before = FAILS
    ran = bench.repack("smoke", "-q", bench.source, "--python", "3.12", "--dll-dir", bench.place)
    assert ran.code == 1
    assert NO_DLL in ran.out
    ran = bench.repack("smoke", "-q", bench.source, "--python", "3.12", "--dll-dir", "absent")
    assert ran.code == 1
    assert "absent" in ran.error


def test_smoke_says_of_a_wheel_that_is_for_none_of_the_pythons_why(bench: Bench) -> None:
    ran = bench.repack("smoke", "-q", "--json", bench.source, "--python", "3.6")
    (wheel,) = ran.json["wheels"]
    assert wheel["smoke"]["status"] == "not-run"
    assert "cp37-abi3-win_amd64" in wheel["smoke"]["reason"]
    assert bench.runs == []
