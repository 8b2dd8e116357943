"""What becomes of wheels that were tried, the trials themselves being told and not run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Any

import msgspec
import pytest
from dllmaking import make_dll
from driving import Ran, Repack, everything
from pretending import numpy_wheel, this_python
from wheelmaking import cuda_wheel, make_pyd, make_wheel

from repack.building import trials
from repack.errors import FetchError
from repack.fetch import Fetched
from repack.files import sha256_of
from repack.lock import Pin
from repack.pythons import Interpreter, Unavailable
from repack.smoke import FAILED, PASSED, Outcome

WORKS = Outcome(status=PASSED, version="4.13.0", seconds=1.25, log="imported\n")
NO_DLL = "ImportError: DLL load failed while importing cv2"
FAILS = Outcome(status=FAILED, reason=NO_DLL, seconds=0.5, log=f"Traceback ...\n{NO_DLL}\n")
NO_WINE = Unavailable(version="", reason="Wine is not installed", hint="nox -s setup")


@dataclass
class Bench:
    """Stands in for Pythons and for the running of wheels: says what it is told to."""

    folder: Path
    #: What an untouched wheel does, and a fixed one, by Python.
    before: Outcome = FAILS
    after: dict[str, Outcome] = field(default_factory=dict)
    missing: dict[str, Unavailable] = field(default_factory=dict)
    runs: list[tuple[str, str]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def __enter__(self) -> Bench:  # noqa: PYI034 - Self is newer than Python 3.10
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing running."""

    def pythons(self, **_: object) -> Bench:
        return self

    def provide(self, version: str) -> Interpreter | Unavailable:
        if version in self.missing:
            return replace(self.missing[version], version=version)
        return replace(this_python(), version=version, full_version=f"{version}.1")

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
        path = self.folder / "numpy-2.0.0-py3-none-any.whl"
        pin = Pin(key="", filename=path.name, url="", size=1, sha256=sha256_of(path))
        return Fetched(path=path, pin=pin)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    (tmp_path / "index").mkdir()
    bench = Bench(folder=tmp_path / "index")
    numpy_wheel(bench.folder)
    monkeypatch.setattr(trials, "Pythons", bench.pythons)
    monkeypatch.setattr(trials, "run_smoke", bench.run)
    monkeypatch.setattr(
        "repack.building.supply.Supply.wheel", lambda _, *words: bench.wheel(*words)
    )
    return bench


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return cuda_wheel(tmp_path / "in")


def built(repack: Repack, source: Path, *options: object, python: str = "3.12") -> Ran:
    """Return how a build with its smoke test ended; the DLLs of the toolkit are at hand."""
    dlls = source.parent / "toolkit"
    dlls.mkdir(exist_ok=True)
    given = ("--set", f"smoke.dll-dirs={[str(dlls)]}", "--python", *python.split())
    return repack("build", "-q", "--json", "--source", source, *given, *options)


def smoke(ran: Ran, python: str = "3.12") -> dict[str, Any]:
    (found,) = (wheel["smoke"] for wheel in ran.json["wheels"] if wheel["python"] == python)
    result: dict[str, Any] = found
    return result


def names(folder: Path) -> list[str]:
    files = {name for name, content in everything(folder).items() if content is not None}
    return sorted(files - {"build.json"})


# What works


def test_a_wheel_that_works_stands_in_dist_and_the_report_says_before_and_after(
    repack: Repack, bench: Bench, source: Path
) -> None:
    ran = built(repack, source)
    assert ran.code == 0
    (path,) = (repack.folder / "dist").glob("*.whl")
    assert ran.json["wheels"][0]["path"] == str(path)
    assert smoke(ran) == {
        "status": "passed",
        "reason": "",
        "before": NO_DLL,
        "after": "works: OpenCV 4.13.0",
        "driver": "",
        "seconds": 1.2,
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

    monkeypatch.setattr(trials, "run_smoke", run)
    assert built(repack, source, python="3.12 3.13").code == 0
    assert seen == [[]] * 4


def test_the_second_build_runs_nothing_and_says_that_it_remembers(
    repack: Repack, bench: Bench, source: Path
) -> None:
    first = built(repack, source, python="3.12 3.13")
    assert len(bench.runs) == 4
    second = built(repack, source, python="3.12 3.13")
    assert len(bench.runs) == 4
    assert smoke(second) == {**smoke(first), "remembered": True}
    assert all(wheel["unchanged"] for wheel in second.json["wheels"])


@pytest.mark.parametrize("change", ["wheel", "DLLs", "environment of another Python"])
def test_what_has_changed_is_tried_again(
    change: str, repack: Repack, bench: Bench, source: Path
) -> None:
    built(repack, source)
    if change == "wheel":
        (source.parent / "again").mkdir()
        source = cuda_wheel(source.parent / "again", ballast=10)
    elif change == "DLLs":
        (source.parent / "toolkit" / "nppc64_12.dll").write_bytes(b"MZ")
    else:
        make_wheel(bench.folder / "numpy-2.0.0-py3-none-any.whl", {"numpy/__init__.py": b"new"})
    bench.runs.clear()
    built(repack, source)
    assert len(bench.runs) == 2


# What fails


def test_a_wheel_that_fails_lies_in_failed_with_its_log_and_not_in_dist(
    repack: Repack, bench: Bench, source: Path
) -> None:
    bench.after["3.13"] = FAILS
    ran = built(repack, source, python="3.12 3.13")
    assert ran.code == 1
    wheel = "opencv_contrib_python-4.13.0.90+cu12.patched-cp31{0}-cp31{0}-win_amd64.whl"
    failed = f"failed/{wheel.format(3)}"
    dist = repack.folder / "dist"
    assert names(dist) == [failed, f"{failed}.log", wheel.format(2)]
    assert (dist / f"{failed}.log").read_text() == f"Python 3.13: {NO_DLL}\n{FAILS.log}"
    assert ran.json["wheels"][1]["path"] == str(dist / failed)
    assert (smoke(ran, "3.12")["status"], smoke(ran, "3.13")["status"]) == ("passed", "failed")


def test_the_table_shows_a_failure_without_colour(
    repack: Repack, bench: Bench, source: Path
) -> None:
    bench.after["3.12"] = FAILS
    dlls = source.parent / "toolkit"
    dlls.mkdir()
    given = ("--set", f"smoke.dll-dirs={[str(dlls)]}", "--python", "3.12")
    ran = repack("build", "-q", "--source", source, *given)
    (row,) = (line for line in ran.out.splitlines() if line.startswith("3.12"))
    assert f"FAILED: {NO_DLL}" in row


def test_a_fixed_wheel_that_failed_is_tried_again_and_the_untouched_one_is_not(
    repack: Repack, bench: Bench, source: Path
) -> None:
    bench.after["3.12"] = FAILS
    built(repack, source)
    bench.after.clear()
    bench.runs.clear()
    again = built(repack, source)
    assert (again.code, smoke(again)["status"]) == (0, "passed")
    assert [name for name, _ in bench.runs] == [again.json["wheels"][0]["path"].split("/")[-1]]
    assert not (repack.folder / "dist" / "failed").exists()


def test_a_hang_of_the_untouched_wheel_is_not_remembered(
    repack: Repack, bench: Bench, source: Path
) -> None:
    bench.before = msgspec.structs.replace(FAILS, repeatable=False)
    built(repack, source)
    bench.runs.clear()
    built(repack, source)
    assert [name for name, _ in bench.runs] == [source.name]


@pytest.mark.parametrize("ballast", [0, 10], ids=["the same wheel", "a newer one of its name"])
def test_a_wheel_built_without_its_test_leaves_dist_once_it_is_seen_to_fail(
    ballast: int, repack: Repack, bench: Bench, source: Path
) -> None:
    assert built(repack, source, "--no-smoke").code == 0
    (wheel,) = names(repack.folder / "dist")
    bench.after["3.12"] = FAILS
    assert built(repack, cuda_wheel(source.parent, ballast=ballast)).code == 1
    assert names(repack.folder / "dist") == [f"failed/{wheel}", f"failed/{wheel}.log"]


def test_one_wheel_for_all_fails_where_it_fails_on_one_python(
    repack: Repack, bench: Bench, source: Path
) -> None:
    bench.after["3.13"] = FAILS
    ran = built(repack, source, "--emit", "abi3", python="3.12 3.13 3.14")
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
    ran = built(repack, source)
    assert ran.code == 1
    assert "dist/failed: cannot be written: a file of that name is in the way" in ran.error
    assert names(repack.folder / "dist") == ["failed"]


# What is not run


def test_where_there_is_no_python_the_build_ends_well_and_says_why_and_what_to_do(
    repack: Repack, bench: Bench, source: Path
) -> None:
    bench.missing = {"3.12": NO_WINE}
    ran = built(repack, source)
    assert ran.code == 0
    assert len(names(repack.folder / "dist")) == 1
    why = "Wine is not installed; nox -s setup"
    said = smoke(ran)
    assert (said["status"], said["reason"]) == ("not-run", why)
    assert (said["before"], said["after"]) == (f"not run: {why}", f"not run: {why}")
    assert bench.runs == []


def test_the_table_says_so_too(repack: Repack, bench: Bench, source: Path) -> None:
    bench.missing = {"3.12": NO_WINE}
    options = ("--set", "smoke.dlls=[]", "--python", "3.12")
    ran = repack("build", "-q", "--source", source, *options)
    (row,) = (line for line in ran.out.splitlines() if line.startswith("3.12"))
    assert row.count("not run: Wine is not installed; nox -s setup") == 2


def test_once_there_is_a_python_the_wheel_is_tried_on_it(
    repack: Repack, bench: Bench, source: Path
) -> None:
    bench.missing = {"3.12": NO_WINE}
    built(repack, source)
    bench.missing.clear()
    ran = built(repack, source)
    assert smoke(ran)["status"] == "passed"
    assert ran.json["wheels"][0]["unchanged"]


def test_one_python_that_is_missing_keeps_no_other_from_being_tried(
    repack: Repack, bench: Bench, source: Path
) -> None:
    bench.missing = {"3.13": NO_WINE}
    ran = built(repack, source, python="3.12 3.13")
    assert ran.code == 0
    assert [smoke(ran, each)["status"] for each in ("3.12", "3.13")] == ["passed", "not-run"]


def test_where_the_dlls_cannot_be_had_the_build_ends_well_and_says_so(
    repack: Repack, bench: Bench, source: Path
) -> None:
    ran = repack("build", "-q", "--json", "--source", source, "--python", "3.12")
    assert ran.code == 0
    assert smoke(ran)["status"] == "not-run"
    assert "nvidia-" in smoke(ran)["reason"]
    assert bench.runs == []


def test_a_requirement_that_the_index_lacks_keeps_the_wheel_from_being_tried(
    repack: Repack, bench: Bench, source: Path
) -> None:
    path = make_wheel(
        source.parent / "opencv_python-4.13.0.90-cp37-abi3-win_amd64.whl",
        {"cv2/__init__.py": b"from .cv2 import *\n", "cv2/cv2.pyd": make_pyd()},
        requires=["absent>=1"],
    )
    ran = built(repack, path)
    assert ran.code == 0
    assert smoke(ran)["reason"] == "absent>=1: there is none [index]; look"
    assert bench.runs == []


def test_switched_off_it_says_that(repack: Repack, bench: Bench, source: Path) -> None:
    ran = built(repack, source, "--no-smoke")
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
        patched.setattr(trials, "run_smoke", run)
        ran = built(repack, source)
    assert (ran.code, ran.out, ran.err) == (130, "", "repack: interrupted\n")
    assert everything(repack.folder) == {}
    bench.runs.clear()
    assert built(repack, source).code == 0
    assert len(bench.runs) == 2


# `repack smoke`


def test_smoke_tries_each_wheel_on_the_pythons_it_is_for(
    repack: Repack, bench: Bench, source: Path
) -> None:
    bench.before = WORKS
    other = cuda_wheel(source.parent, tag="cp312-cp312-win_amd64")
    ran = repack(
        *("smoke", "-q", "--json", source, other, "--python", "3.12", "3.13"),
        *("--dll-dir", source.parent),
    )
    assert ran.code == 0
    assert [(each["path"], each["python"]) for each in ran.json["wheels"]] == [
        (str(source), "3.12"),
        (str(source), "3.13"),
        (str(other), "3.12"),
    ]
    assert len(bench.runs) == 3


def test_smoke_ends_with_1_where_a_wheel_fails(repack: Repack, bench: Bench, source: Path) -> None:
    bench.before = FAILS
    options = ("--python", "3.12", "--dll-dir", source.parent)
    ran = repack("smoke", "-q", source, *options)
    assert ran.code == 1
    assert NO_DLL in ran.out


def test_smoke_says_of_a_wheel_that_is_for_none_of_the_pythons_why(
    repack: Repack, bench: Bench, source: Path
) -> None:
    ran = repack("smoke", "-q", "--json", source, "--python", "3.6")
    (told,) = ran.json["wheels"]
    assert told["smoke"]["status"] == "not-run"
    assert "cp37-abi3-win_amd64" in told["smoke"]["reason"]
    assert bench.runs == []


def test_a_folder_of_dlls_that_is_not_there_is_said_in_one_line(
    repack: Repack, bench: Bench, source: Path
) -> None:
    ran = repack("smoke", "-q", source, "--python", "3.12", "--dll-dir", "absent")
    assert ran.code == 1
    assert "absent" in ran.error
    assert bench.runs == []


# What is not fetched


def test_where_no_python_can_run_no_dll_is_asked_for(
    repack: Repack, bench: Bench, source: Path
) -> None:
    bench.missing["3.12"] = NO_WINE
    ran = repack("build", "-q", "--json", "--source", source, "--python", "3.12")
    assert ran.code == 0
    assert smoke(ran)["status"] == "not-run"
    assert "Wine is not installed" in smoke(ran)["reason"]
    assert bench.asked == ["numpy>=2"]


def test_dlls_that_nvidia_has_in_no_wheel_have_to_be_named(repack: Repack, bench: Bench) -> None:
    folder = repack.folder / "old"
    folder.mkdir()
    source = make_wheel(
        folder / "opencv_contrib_python-4.3.0.36-cp37-cp37m-win_amd64.whl",
        {
            "cv2/__init__.py": b"from .cv2 import *\n",
            "cv2/cv2.cp37-win_amd64.pyd": make_dll(
                "cv2.pyd",
                imports={"python37.dll": ["Py_Main"], "nppc64_10.dll": ["nppGetLibVersion"]},
            ),
        },
        requires=["numpy"],
    )
    ran = repack("build", "-q", "--json", "--source", source, "--python", "3.7")
    assert ran.code == 0
    assert smoke(ran, "3.7")["status"] == "not-run"
    assert "nppc64_10.dll" in smoke(ran, "3.7")["reason"]
    assert "smoke.dll-dirs" in smoke(ran, "3.7")["reason"]
    assert bench.runs == []
