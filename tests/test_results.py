"""What results are told as: JSON that scripts rely on, rows and lines that people read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from dllmaking import make_dll
from pretending import this_python
from wheelmaking import make_pyd, make_wheel

from repack import results
from repack.build import BuildResult
from repack.config import Build
from repack.errors import InputError
from repack.inspect import Analysis, analyse
from repack.patching import Patched
from repack.plan import Supplement, make_plan
from repack.pythons import Unavailable
from repack.record import FAILED, NOT_RUN, PASSED, Cargo, Finding, Outcome, Seen, WheelRecord
from repack.results import Smoked

TAG = "cp37-abi3-win_amd64"
NAME = f"opencv_contrib_python-4.13.0.90+cu129-{TAG}.whl"
CORE = "cv2/opencv_core.dll"
INFO = "opencv_contrib_python-4.13.0.90+cu129.patched.dist-info"
FAILS = Outcome(status=FAILED, reason="DLL load failed while importing cv2")
WORKS = Outcome(status=PASSED, version="4.13.0", seconds=1.26, driver="stand-in")
NOWHERE = Outcome(status=NOT_RUN, reason="Wine is not installed; nox -s setup")


@pytest.fixture
def analysis(tmp_path: Path) -> Analysis:
    files = {
        "cv2/__init__.py": b"from .cv2 import *\n",
        "cv2/cv2.pyd": make_pyd(
            {"opencv_core.dll": ["f"], "KERNEL32.dll": ["g"], "nvcuda.dll": ["h"]},
            delay_imports={"cufft64_11.dll": ["i"]},
        ),
        CORE: make_dll("opencv_core.dll", imports={"nppc64_12.dll": ["j"]}),
    }
    return analyse(make_wheel(tmp_path / NAME, files, requires=["numpy>=2"]))


@pytest.fixture
def result(analysis: Analysis) -> BuildResult:
    patched = Patched(
        files={"cv2/__init__.py": b"new\n"},
        notes=(Finding(code="dropped", message="a directory was dropped", member="cv2/config.py"),),
    )
    build = Build(out=Path("dist"), python=("3.9", "3.10", "3.14t"))
    carried = Cargo(
        member="opencv_contrib_python.libs/nppc64_12.dll",
        family="npp",
        origin="nvidia-npp-cu12 12.4.1.87",
        size=295_936,
        packed=100_000,
        sha256="cd" * 32,
    )
    added = Supplement(
        cargo=(carried,), requires=("nvidia-cufft-cu12>=11",), left_out=("nvJitLink_120_0.dll",)
    )
    plan = make_plan(
        build, analysis, patched, added, timestamp=315_532_800, url="https://e.org/x.whl"
    )
    wheels = [
        WheelRecord(
            path=planned.filename,
            version=planned.version,
            tag=planned.tag,
            size=1234,
            sha256="ab" * 32,
            seen=(Seen(python=planned.pythons[0], before=FAILS, after=WORKS),),
        )
        for planned in plan.wheels
    ]
    return BuildResult(
        plan=plan,
        record=msgspec.structs.replace(plan.record, wheels=tuple(wheels)),
        out=Path("dist"),
        lock_changes=("+ x",),
        dry_run=False,
        unchanged=frozenset([wheels[0].filename]),
        remembered=frozenset([(wheels[0].filename, "3.9")]),
    )


def keys(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return the shape of a JSON value: keys, and the shape of a list's first item."""
    if isinstance(value, dict):
        return {key: keys(value[key]) for key in sorted(value)}
    return [keys(item) for item in value[:1]] if isinstance(value, list) else type(value).__name__


FINDING = {"code": "str", "hint": "str", "member": "str", "message": "str"}
ERROR = {**FINDING, "file": "str"}
SOURCE = {
    "cuda": "str",
    "filename": "str",
    "name": "str",
    "sha256": "str",
    "size": "int",
    "url": "str",
    "version": "str",
}
SEEN = {"after": "str", "driver": "str", "reason": "str", "status": "str"}


class TestBuild:
    def test_json_has_the_keys_that_scripts_rely_on(self, result: BuildResult) -> None:
        assert keys(results.build_json(result)) == {
            "version": "int",
            "source": SOURCE,
            "dry_run": "bool",
            "requires": ["str"],
            "carried": [
                {
                    "family": "str",
                    "member": "str",
                    "origin": "str",
                    "packed": "int",
                    "sha256": "str",
                    "size": "int",
                }
            ],
            "left_out": ["str"],
            "plan": [
                {
                    "copied": "int",
                    "filename": "str",
                    "pythons": ["str"],
                    "size": "int",
                    "tag": "str",
                    "written": [{"member": "str", "size": "int"}],
                }
            ],
            "wheels": [
                {
                    "path": "str",
                    "python": "str",
                    "sha256": "str",
                    "size": "int",
                    "smoke": {**SEEN, "before": "str", "remembered": "bool"},
                    "tag": "str",
                    "unchanged": "bool",
                }
            ],
            "refused": [{"python": "str", "reason": "str"}],
            "findings": [FINDING],
            "lock_changes": ["str"],
        }

    def test_json_says_what_the_source_was(self, result: BuildResult) -> None:
        source = results.build_json(result)["source"]
        assert (source["filename"], source["name"]) == (NAME, "opencv-contrib-python")
        assert (source["version"], source["cuda"]) == ("4.13.0.90+cu129", "12.9")

    def test_rows_are_sorted_as_versions_with_the_refused_among_them(
        self, result: BuildResult
    ) -> None:
        rows = results.build_rows(result)
        assert [row[0] for row in rows] == ["3.9", "3.10", "3.14t"]
        assert {len(row) for row in rows} == {len(results.BUILD_HEADINGS)}
        assert rows[1][1:3] == (
            "DLL load failed while importing cv2",
            "works: OpenCV 4.13.0, with a stand-in for the driver",
        )
        assert rows[2][2].startswith("no wheel: its binary uses the stable ABI")

    def test_rows_tell_old_wheels_and_old_verdicts_from_new_ones(self, result: BuildResult) -> None:
        old, new, _ = results.build_rows(result)
        assert "unchanged" in old[3]
        assert "seen before" in old[2]
        assert new[3] == result.record.wheels[1].filename
        assert "seen before" not in new[2]

    def test_findings_are_told_once_and_sorted(self, result: BuildResult) -> None:
        found = result.record.findings
        assert [each.code for each in found] == sorted({each.code for each in found})


class TestPlan:
    def test_lines_say_what_is_in_the_wheel_and_how_much_of_it(self, result: BuildResult) -> None:
        assert results.plan_lines(result)[-4:-1] == [
            (
                "in each: opencv_contrib_python.libs/nppc64_12.dll "
                "(0.3 MB, 0.1 MB of the wheel), from nvidia-npp-cu12 12.4.1.87"
            ),
            "each requires nvidia-cufft-cu12>=11",
            "left to the machine: nvJitLink_120_0.dll",
        ]

    def test_a_size_that_is_not_known_yet_is_told_as_the_most_it_can_be(
        self, result: BuildResult
    ) -> None:
        cargo = tuple(msgspec.structs.replace(each, packed=None) for each in result.record.carried)
        lines = results.plan_lines(
            replace(result, record=msgspec.structs.replace(result.record, carried=cargo))
        )
        assert "at most 0.0 MB" in lines[0]


class TestInspect:
    def test_lines_say_what_it_is_and_what_it_needs_from_whom(self, analysis: Analysis) -> None:
        assert results.inspect_lines(analysis) == [
            NAME,
            f"  opencv-contrib-python 4.13.0.90+cu129 for {TAG}, CUDA 12.9, NumPy ABI unknown",
            "  needs cufft64_11.dll by delay-load (cufft), for cv2/cv2.pyd",
            "  needs nppc64_12.dll at load time (npp), for cv2/opencv_core.dll",
            "  needs nvcuda.dll at load time (driver), for cv2/cv2.pyd",
            "  in the wheel: opencv_core.dll",
            "  python: python3.dll",
            "  windows: KERNEL32.dll",
        ]

    def test_json_has_the_keys_that_scripts_rely_on(self, tmp_path: Path) -> None:
        files = {"cv2/__init__.py": b"", "cv2/cv2.pyd": make_pyd()}
        plain = analyse(make_wheel(tmp_path / f"opencv_python-4.9.0-{TAG}.whl", files))
        error = InputError("odd", code="crc", file="x.whl", member="a", hint="do")
        said = results.inspect_json([plain], [error])
        need = {
            "cuda_majors": ["int"],
            "delayed": "bool",
            "dll": "str",
            "family": "str",
            "in_wheel": "NoneType",
            "kind": "str",
            "needed_by": ["str"],
        }
        (told,) = keys(said)["wheels"]
        assert told["needs"] in ([need], [{**need, "cuda_majors": []}])
        del told["needs"]
        assert told == {
            **SOURCE,
            "abi3": "bool",
            "cuda": "NoneType",
            "findings": [FINDING],
            "modules": [],
            "native": ["str"],
            "numpy": "NoneType",
            "path": "str",
            "tags": ["str"],
        }
        assert said["errors"] == [
            {
                "file": "x.whl",
                "member": "a",
                "code": "crc",
                "message": "x.whl: 'a': odd [crc]; do",
                "hint": "do",
            }
        ]


def test_an_error_is_an_object_with_its_parts() -> None:
    error = InputError("odd", code="crc", file="x.whl", member="a", hint="do")
    told = results.error_json(error)
    assert keys(told) == {"version": "int", "error": ERROR}
    assert told["version"] == results.JSON_VERSION == 1


class TestSmoke:
    SMOKED = (
        Smoked(path=Path("a/x.whl"), python="3.12", outcome=WORKS),
        Smoked(path=Path("a/x.whl"), python="3.13", outcome=NOWHERE),
    )

    def test_json_has_the_keys_that_scripts_rely_on(self) -> None:
        assert keys(results.smoke_json(self.SMOKED)) == {
            "version": "int",
            "wheels": [
                {
                    "path": "str",
                    "python": "str",
                    "smoke": {**SEEN, "log": "str", "seconds": "float"},
                }
            ],
        }


class TestPythons:
    MISSING = Unavailable(version="3.13", reason="not put together yet", hint="do this")

    def test_json_tells_those_at_hand_from_those_that_are_not(self) -> None:
        here = this_python()
        said = results.pythons_json([here, self.MISSING])
        assert said["version"] == 1
        first, second = said["pythons"]
        assert first == {
            "python": here.version,
            "available": True,
            "version": here.full_version,
            "machine": "x86-64",
            "origin": "given",
            "path": str(here.python),
        }
        assert second == {
            "python": "3.13",
            "available": False,
            "reason": "not put together yet",
            "hint": "do this",
        }

    def test_rows_have_a_cell_for_each_heading(self) -> None:
        rows = results.pythons_rows([this_python(), self.MISSING])
        assert {len(row) for row in rows} == {len(results.PYTHONS_HEADINGS)}
        assert rows[1] == ("3.13", "", "", "not put together yet", "do this")
