"""What results are told as: JSON that scripts rely on, rows and lines that people read."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import test_record
from dllmaking import make_dll
from msgspec.structs import replace
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
from repack.record import FAILED, PASSED, Finding, Outcome, Seen

TAG = "cp37-abi3-win_amd64"
NAME = f"opencv_contrib_python-4.13.0.90+cu129-{TAG}.whl"
FAILS = Outcome(status=FAILED, reason="DLL load failed while importing cv2")
WORKS = Outcome(status=PASSED, version="4.13.0", seconds=1.26, driver="stand-in")
ERROR = InputError("odd", code="crc", file="x.whl", member="a", hint="do")
FINDING = "code hint member message"
SOURCE = "cuda filename name sha256 size url version"
WHEEL = "path python sha256 size smoke tag unchanged"
SMOKE = "after before driver reason remembered status"


@pytest.fixture
def analysis(tmp_path: Path) -> Analysis:
    imports = {"opencv_core.dll": ["f"], "KERNEL32.dll": ["g"], "nvcuda.dll": ["h"]}
    files = {
        "cv2/__init__.py": b"from .cv2 import *\n",
        "cv2/cv2.pyd": make_pyd(imports, delay_imports={"cufft64_11.dll": ["i"]}),
        "cv2/opencv_core.dll": make_dll("opencv_core.dll", imports={"nppc64_12.dll": ["j"]}),
    }
    return analyse(make_wheel(tmp_path / NAME, files, requires=["numpy>=2"]))


@pytest.fixture
def result(analysis: Analysis) -> BuildResult:
    note = Finding(code="dropped", message="a directory was dropped", member="cv2/config.py")
    carried = replace(
        test_record.RECORD.carried[0],
        member="opencv_contrib_python.libs/nppc64_12.dll",
        origin="nvidia-npp-cu12 12.4.1.87",
        size=295_936,
        packed=100_000,
    )
    plan = make_plan(
        Build(out=Path("dist"), python=("3.9", "3.10", "3.14t")),
        analysis,
        Patched(files={"cv2/__init__.py": b"new\n"}, notes=(note, note)),
        Supplement(
            cargo=(carried,), requires=("nvidia-cufft-cu12>=11",), left_out=("nvJitLink.dll",)
        ),
        timestamp=315_532_800,
        url="https://e.org/x.whl",
    )
    wheels = [
        replace(
            test_record.WHEEL,
            path=planned.filename,
            seen=(Seen(python=planned.pythons[0], before=FAILS, after=WORKS),),
        )
        for planned in plan.wheels
    ]
    return BuildResult(
        plan=plan,
        record=replace(plan.record, wheels=tuple(wheels)),
        out=Path("dist"),
        lock_changes=("+ x",),
        dry_run=False,
        unchanged=frozenset([wheels[0].filename]),
        remembered=frozenset([(wheels[0].filename, "3.9")]),
    )


def keys(value: Any, place: str = "") -> dict[str, str]:  # noqa: ANN401 - JSON
    """Return the keys of each object by its place; of a list those of its first item."""
    if isinstance(value, list | tuple) and value:
        return keys(value[0], place)
    if not isinstance(value, dict):
        return {}
    places = {place: " ".join(sorted(value))}
    for key in value:
        places |= keys(value[key], f"{place}.{key}".lstrip("."))
    return places


# The keys that scripts rely on


def test_json_of_a_build(result: BuildResult) -> None:
    told = results.build_json(result)
    assert keys(told) == {
        "": "carried dry_run findings left_out lock_changes plan refused requires source wheels",
        "source": SOURCE,
        "carried": "family member origin packed sha256 size",
        "plan": "copied filename pythons size tag written",
        "plan.written": "member size",
        "wheels": WHEEL,
        "wheels.smoke": SMOKE,
        "refused": "python reason",
        "findings": FINDING,
    }
    source = told["source"]
    assert (source["filename"], source["name"]) == (NAME, "opencv-contrib-python")
    assert (source["version"], source["cuda"]) == ("4.13.0.90+cu129", "12.9")
    codes = [finding["code"] for finding in told["findings"]]
    assert codes == sorted(set(codes))


def test_json_of_inspect(tmp_path: Path) -> None:
    files = {"cv2/__init__.py": b"", "cv2/cv2.pyd": make_pyd()}
    plain = analyse(make_wheel(tmp_path / f"opencv_python-4.9.0-{TAG}.whl", files))
    assert keys(results.inspect_json(plain)) == {
        "": "abi3 cuda filename findings modules name native needs numpy path sha256 size "
        "tags url version",
        "needs": "cuda_majors delayed dll family in_wheel kind needed_by",
        "findings": FINDING,
    }


def test_json_of_an_error() -> None:
    message = "x.whl: 'a': odd [crc]; do"
    parts = {"file": "x.whl", "member": "a", "code": "crc", "message": message, "hint": "do"}
    assert results.error_json(ERROR) == parts


def test_json_of_a_smoke_test() -> None:
    (smoked,) = results.smoke_json([(Path("a/x.whl"), "3.12", WORKS)])
    assert keys(smoked) == {
        "": "path python smoke",
        "smoke": "after driver log reason seconds status",
    }


def test_json_and_rows_of_pythons() -> None:
    here = this_python()
    missing = Unavailable(version="3.13", reason="not put together yet", hint="do this")
    assert [results.python_json(python) for python in (here, missing)] == [
        {
            "python": here.version,
            "available": True,
            "version": here.full_version,
            "machine": "x86-64",
            "origin": "given",
            "path": str(here.python),
        },
        {"python": "3.13", "available": False, "reason": missing.reason, "hint": missing.hint},
    ]
    row = results.python_row(missing)
    assert row == ("3.13", "", "", "not put together yet", "do this")
    assert len(row) == len(results.python_row(here)) == len(results.PYTHONS_HEADINGS)


# What people read


def test_rows_are_sorted_as_versions_and_tell_old_verdicts_from_new_ones(
    result: BuildResult,
) -> None:
    rows = results.build_rows(result)
    assert [row[0] for row in rows] == ["3.9", "3.10", "3.14t"]
    assert {len(row) for row in rows} == {len(results.BUILD_HEADINGS)}
    old, new, refused = rows
    assert "seen before" in old[2]
    assert "unchanged" in old[3]
    works = "works: OpenCV 4.13.0, with a stand-in for the driver"
    assert new[1:] == (FAILS.reason, works, result.record.wheels[1].filename)
    assert refused[2].startswith("no wheel: its binary uses the stable ABI")


def test_lines_of_a_plan_say_what_is_in_the_wheel_and_how_much_of_it(result: BuildResult) -> None:
    member = "opencv_contrib_python.libs/nppc64_12.dll"
    assert results.plan_lines(result)[-4:-1] == [
        f"in each: {member} (0.3 MB, 0.1 MB of the wheel), from nvidia-npp-cu12 12.4.1.87",
        "each requires nvidia-cufft-cu12>=11",
        "left to the machine: nvJitLink.dll",
    ]
    cargo = tuple(replace(row, packed=None) for row in result.record.carried)
    unpacked = dataclasses.replace(result, record=replace(result.record, carried=cargo))
    assert "at most 0.0 MB" in results.plan_lines(unpacked)[0]


def test_lines_of_inspect_say_what_it_is_and_what_it_needs_from_whom(analysis: Analysis) -> None:
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
