"""What becomes of wheels that were tried, the trials themselves being told and not run."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Any, Self

import pytest
from dllmaking import make_dll
from driving import Ran, Repack, everything
from pretending import fetched, numpy_wheel, this_python
from wheelmaking import cuda_wheel, make_pyd, make_wheel

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

    folder: Path
    #: What an untouched wheel does, and a fixed one, by Python.
    before: Outcome = FAILS
    after: dict[str, Outcome] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    broken: bool = False
    runs: list[tuple[str, str]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

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
        self.asked.append(requirement)
        if requirement not in {"pip", "numpy", "numpy>=2"}:
            raise FetchError("there is none", code="index", file=requirement, hint="look")
        return fetched(self.folder / "numpy-2.0.0-py3-none-any.whl")


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    (tmp_path / "index").mkdir()
    bench = Bench(folder=tmp_path / "index")
    numpy_wheel(bench.folder)
    monkeypatch.setattr(trying, "Pythons", bench.pythons)
    monkeypatch.setattr(trying, "run_smoke", bench.run)
    monkeypatch.setattr("repack.fetch.supply.Supply.wheel", lambda _, *words: bench.wheel(*words))
    return bench


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return cuda_wheel(tmp_path / "in")


def build(repack: Repack, source: Path, *options: object, python: str = "3.12") -> Ran:
    """Return how a build with its smoke test ended; the DLLs of the toolkit are at hand."""
    dlls = source.parent / "toolkit"
    dlls.mkdir(exist_ok=True)
    given = ("--set", f"smoke.dll-dirs={[str(dlls)]}", "--python", *python.split())
    return repack("build", "-q", "--json", "--source", source, *given, *options)


def smoke(ran: Ran, python: str = "3.12") -> dict[str, Any]:
    (result,) = (wheel["smoke"] for wheel in ran.json["wheels"] if wheel["python"] == python)
    assert isinstance(result, dict)
    return result


def names(folder: Path) -> list[str]:
    files = {name for name, content in everything(folder).items() if content is not None}
    return sorted(files - {"build.json"})


# What works


def test_a_wheel_that_works_stands_in_dist_and_the_report_says_before_and_after(
    repack: Repack, bench: Bench, source: Path
) -> None:
    ran = build(repack, source)
    assert ran.code == 0
    (path,) = (repack.folder / "dist").glob("*.whl")
    assert ran.json["wheels"][0]["path"] == str(path)
    assert smoke(ran) == {
        "status": "passed",
        "reason": "",
        "before": NO_DLL,
        "after": "works: OpenCV 4.13.0",
        "driver": "",
        "remembered": False,
    }
    assert sorted(bench.runs) == sorted([(path.name, "3.12"), (source.name, "3.12")])


def test_nothing_stands_under_a_wheels_name_before_it_was_tried(
    repack: Repack, bench: Bench, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def run(wheel: Path, python: Interpreter, **rest: object) -> Outcome:
        seen.append(list((repack.folder / "dist").glob("*.whl")))
        return bench.run(wheel, python, **rest)

    monkeypatch.setattr(trying, "run_smoke", run)
    assert build(repack, source, python="3.12 3.13").code == 0
    assert seen == [[]] * 4


def test_the_second_build_runs_nothing_and_says_that_it_remembers(
    repack: Repack, bench: Bench, source: Path
) -> None:
    first = build(repack, source, python="3.12 3.13")
    assert len(bench.runs) == 4
    second = build(repack, source, python="3.12 3.13")
    assert len(bench.runs) == 4
    assert smoke(second) == {**smoke(first), "remembered": True}


@pytest.mark.parametrize("change", ["wheel", "DLLs", "NumPy"])
def test_what_has_changed_is_tried_again(
    change: str, repack: Repack, bench: Bench, source: Path
) -> None:
    build(repack, source)
    if change == "wheel":
        (source.parent / "again").mkdir()
        source = cuda_wheel(source.parent / "again", ballast=10)
    elif change == "DLLs":
        (source.parent / "toolkit" / "nppc64_12.dll").write_bytes(b"MZ")
    else:
        make_wheel(bench.folder / "numpy-2.0.0-py3-none-any.whl", {"numpy/__init__.py": b"new"})
    bench.runs.clear()
    build(repack, source)
    assert len(bench.runs) == 2


# What fails


def test_a_wheel_that_fails_lies_in_failed_with_its_log_and_not_in_dist(
    repack: Repack, bench: Bench, source: Path
) -> None:
    bench.after["3.13"] = FAILS
    ran = build(repack, source, python="3.12 3.13")
    assert ran.code == 1
    failed = f"failed/{WHEEL.format(13)}"
    dist = repack.folder / "dist"
    assert names(dist) == [failed, f"{failed}.log", WHEEL.format(12)]
    assert (dist / f"{failed}.log").read_text() == f"Python 3.13: {NO_DLL}\n{FAILS.log}"
    assert ran.json["wheels"][1]["path"] == str(dist / failed)
    assert (smoke(ran, "3.12")["status"], smoke(ran, "3.13")["status"]) == ("passed", "failed")


@pytest.mark.parametrize(
    ("outcomes", "again"),
    [
        pytest.param((FAILS, FAILS), ["fixed"], id="a fixed wheel that failed"),
        pytest.param((HANGS, WORKS), ["untouched"], id="an untouched wheel that hung"),
        pytest.param((FAILS, WORKS), [], id="what is sure"),
    ],
)
def test_what_may_end_otherwise_is_tried_again(
    outcomes: tuple[Outcome, Outcome], again: list[str], repack: Repack, bench: Bench, source: Path
) -> None:
    bench.before, bench.after["3.12"] = outcomes
    build(repack, source)
    bench.after.clear()
    bench.runs.clear()
    assert smoke(build(repack, source))["status"] == "passed"
    assert [name for name, _ in bench.runs] == [
        {"fixed": WHEEL.format(12), "untouched": source.name}[which] for which in again
    ]
    assert not (repack.folder / "dist" / "failed").exists()


@pytest.mark.parametrize("ballast", [0, 10], ids=["the same wheel", "a newer one of its name"])
def test_a_wheel_built_without_its_test_leaves_dist_once_it_is_seen_to_fail(
    ballast: int, repack: Repack, bench: Bench, source: Path
) -> None:
    assert build(repack, source, "--no-smoke").code == 0
    (wheel,) = names(repack.folder / "dist")
    bench.after["3.12"] = FAILS
    assert build(repack, cuda_wheel(source.parent, ballast=ballast)).code == 1
    assert names(repack.folder / "dist") == [f"failed/{wheel}", f"failed/{wheel}.log"]


def test_one_wheel_for_all_fails_where_it_fails_on_one_python(
    repack: Repack, bench: Bench, source: Path
) -> None:
    bench.after["3.13"] = FAILS
    ran = build(repack, source, "--emit", "abi3", python="3.12 3.13 3.14")
    assert ran.code == 1
    (path,) = {wheel["path"] for wheel in ran.json["wheels"]}
    name = "opencv_contrib_python-4.13.0.90+cu12.patched-cp37-abi3-win_amd64.whl"
    assert path == str(repack.folder / "dist" / "failed" / name)
    assert names(repack.folder / "dist") == [f"failed/{name}", f"failed/{name}.log"]
    log = (repack.folder / "dist" / "failed" / f"{name}.log").read_text()
    assert log.startswith("Python 3.13: ")
    assert "3.12" not in log


def test_something_in_the_way_of_failed_is_said_in_one_line(
    repack: Repack, bench: Bench, source: Path
) -> None:
    bench.after["3.12"] = FAILS
    (repack.folder / "dist").mkdir()
    (repack.folder / "dist" / "failed").write_text("a file")
    ran = build(repack, source)
    assert ran.code == 1
    assert "dist/failed: cannot be written: a file of that name is in the way" in ran.error
    assert names(repack.folder / "dist") == ["failed"]


# What is not run


def test_one_python_that_is_missing_keeps_no_other_from_being_tried(
    repack: Repack, bench: Bench, source: Path
) -> None:
    bench.missing = {"3.13"}
    ran = build(repack, source, python="3.12 3.13")
    assert ran.code == 0
    assert smoke(ran, "3.12")["status"] == "passed"
    seen = smoke(ran, "3.13")
    assert (seen["status"], seen["reason"]) == ("not-run", "Wine is not installed; apt-get")
    assert seen["before"] == seen["after"] == "not run: Wine is not installed; apt-get"
    bench.missing.clear()
    again = build(repack, source, python="3.12 3.13")
    assert smoke(again, "3.13")["status"] == "passed"
    assert all(wheel["unchanged"] for wheel in again.json["wheels"])


def test_the_table_tells_what_failed_and_what_was_not_run(
    repack: Repack, bench: Bench, source: Path
) -> None:
    bench.after["3.12"] = FAILS
    bench.missing = {"3.13"}
    dlls = f"smoke.dll-dirs={[str(source.parent)]}"
    words = ("--source", source, "--set", dlls, "--python", "3.12,3.13")
    rows = repack("build", "-q", *words).out.splitlines()
    assert any(row.startswith("3.12") and f"FAILED: {NO_DLL}" in row for row in rows)
    assert any(row.startswith("3.13") and row.count("not run: Wine is not") == 2 for row in rows)


def test_where_no_python_can_run_no_dll_is_asked_for(
    repack: Repack, bench: Bench, source: Path
) -> None:
    bench.missing = {"3.12"}
    ran = repack("build", "-q", "--json", "--source", source, "--python", "3.12")
    assert smoke(ran)["reason"] == "Wine is not installed; apt-get"
    assert bench.asked == ["numpy>=2"]


def wheel_that_needs(folder: Path, dll: str, requires: str, python: str = "37") -> Path:
    imports = {f"python{python}.dll": ["Py_Main"], dll: ["f"]}
    pyd = make_dll("cv2.pyd", imports=imports) if dll else make_pyd()
    return make_wheel(
        folder / f"opencv_python-4.3.0.36-cp{python}-cp{python}m-win_amd64.whl",
        {"cv2/__init__.py": b"from .cv2 import *\n", f"cv2/cv2.cp{python}-win_amd64.pyd": pyd},
        requires=[requires],
    )


@pytest.mark.parametrize(
    ("dll", "requires", "reason"),
    [
        pytest.param("nppc64_12.dll", "numpy", ["nvidia-npp-cu12: there is none"],
                     id="DLLs that cannot be had"),
        pytest.param("nppc64_10.dll", "numpy", ["nppc64_10.dll", "smoke.dll-dirs"],
                     id="DLLs that NVIDIA has in no wheel"),
        pytest.param("", "absent>=1", ["absent>=1: there is none [index]; look"],
                     id="a requirement that the index lacks"),
    ],
)  # fmt: skip
def test_what_a_trial_lacks_is_told(
    dll: str, requires: str, reason: list[str], repack: Repack, bench: Bench
) -> None:
    source = wheel_that_needs(repack.folder.parent, dll, requires)
    ran = repack("build", "-q", "--json", "--source", source, "--python", "3.7")
    seen = smoke(ran, "3.7")
    assert (ran.code, seen["status"]) == (0, "not-run")
    assert all(words in seen["reason"] for words in reason), seen
    assert bench.runs == []


def test_where_wine_does_not_start_that_is_told_and_not_remembered(
    repack: Repack, bench: Bench, source: Path
) -> None:
    bench.broken = True
    seen = smoke(build(repack, source))
    assert (seen["status"], seen["reason"]) == ("not-run", "wineboot did not end; reinstall Wine")
    assert seen["before"].startswith("not run: wineboot did not end")
    bench.broken = False
    assert smoke(build(repack, source))["status"] == "passed"
    assert len(bench.runs) == 2


def test_switched_off_it_says_that(repack: Repack, bench: Bench, source: Path) -> None:
    ran = build(repack, source, "--no-smoke")
    assert smoke(ran)["reason"] == "the smoke test is switched off"
    assert bench.runs == []


def test_what_an_interrupt_cut_short_is_not_remembered_and_leaves_nothing(
    repack: Repack, bench: Bench, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(wheel: Path, python: Interpreter, *, stop: Event, **rest: object) -> Outcome:
        seen = bench.run(wheel, python, **rest)
        if "patched" in wheel.name:
            raise KeyboardInterrupt
        assert stop.wait(60)
        return seen

    with monkeypatch.context() as patched:
        patched.setattr(trying, "run_smoke", run)
        ran = build(repack, source)
    assert (ran.code, ran.out, ran.err) == (130, "", "repack: interrupted\n")
    assert everything(repack.folder) == {}
    bench.runs.clear()
    assert build(repack, source).code == 0
    assert len(bench.runs) == 2


# `repack smoke`


def test_smoke_tries_each_wheel_on_the_pythons_it_is_for(
    repack: Repack, bench: Bench, source: Path
) -> None:
    bench.before = WORKS
    other = cuda_wheel(source.parent, tag="cp312-cp312-win_amd64")
    pythons = ("--python", "3.12,3.13")
    ran = repack("smoke", "-q", "--json", source, other, *pythons, "--dll-dir", source.parent)
    assert ran.code == 0
    assert [(wheel["path"], wheel["python"]) for wheel in ran.json["wheels"]] == [
        (str(source), "3.12"),
        (str(source), "3.13"),
        (str(other), "3.12"),
    ]
    assert len(bench.runs) == 3


def test_smoke_ends_with_1_where_a_wheel_fails(repack: Repack, bench: Bench, source: Path) -> None:
    bench.before = FAILS
    ran = repack("smoke", "-q", source, "--python", "3.12", "--dll-dir", source.parent)
    assert ran.code == 1
    assert NO_DLL in ran.out


def test_smoke_says_of_a_wheel_that_is_for_none_of_the_pythons_why(
    repack: Repack, bench: Bench, source: Path
) -> None:
    ran = repack("smoke", "-q", "--json", source, "--python", "3.6")
    (wheel,) = ran.json["wheels"]
    assert wheel["smoke"]["status"] == "not-run"
    assert "cp37-abi3-win_amd64" in wheel["smoke"]["reason"]
    assert bench.runs == []


def test_a_folder_of_dlls_that_is_not_there_is_said_in_one_line(
    repack: Repack, bench: Bench, source: Path
) -> None:
    ran = repack("smoke", "-q", source, "--python", "3.12", "--dll-dir", "absent")
    assert ran.code == 1
    assert "absent" in ran.error
    assert bench.runs == []
