"""What `build` and `inspect` tell: JSON that scripts rely on, and lines that people read."""

from pathlib import Path
from typing import Any

import pytest
from dllmaking import make_dll
from driving import Repack
from wheelmaking import make_pyd, make_wheel

TAG = "cp37-abi3-win_amd64"
NAME = f"opencv_contrib_python-4.13.0.90+cu129-{TAG}.whl"
FINDING = "code hint member message"
SOURCE = "cuda filename name sha256 size url version"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    imports = {"opencv_core.dll": ["f"], "KERNEL32.dll": ["g"], "nvcuda.dll": ["h"]}
    files = {
        "cv2/__init__.py": b"from .cv2 import *\n",
        "cv2/cv2.pyd": make_pyd(imports, delay_imports={"cufft64_11.dll": ["i"]}),
        "cv2/opencv_core.dll": make_dll("opencv_core.dll", imports={"nppc64_12.dll": ["j"]}),
        "cv2_early.pth": b"import os\n",
    }
    return make_wheel(tmp_path / NAME, files, requires=["numpy>=2"])


def keys(value: Any, place: str = "") -> dict[str, str]:  # noqa: ANN401 - JSON
    """Return the keys of each object by its place; of a list those of its first item."""
    if isinstance(value, list) and value:
        return keys(value[0], place)
    if not isinstance(value, dict):
        return {}
    places = {place: " ".join(sorted(value))}
    for key in value:
        places |= keys(value[key], f"{place}.{key}".lstrip("."))
    return places


def test_json_of_a_build(wheel: Path, repack: Repack) -> None:
    pythons = ("--python", "3.9", "3.10", "3.14t")
    words = ("--driver-stub", "--set", "allow.startup-hook=true")
    told = repack("build", "--no-smoke", "--json", "--source", wheel, *pythons, *words).json
    assert keys(told) == {
        "": "carried dry_run findings left_out lock_changes plan refused requires source version "
        "wheels",
        "source": SOURCE,
        "carried": "family member origin packed sha256 size",
        "plan": "copied filename pythons size tag written",
        "plan.written": "member size",
        "wheels": "path python sha256 size smoke tag unchanged",
        "wheels.smoke": "after before driver reason remembered status",
        "refused": "python reason",
        "findings": FINDING,
    }
    source = told["source"]
    assert (source["filename"], source["name"]) == (NAME, "opencv-contrib-python")
    assert (source["version"], source["cuda"]) == ("4.13.0.90+cu129", "12.9")
    assert [row["python"] for row in told["wheels"]] == ["3.9", "3.10"]
    assert [row["python"] for row in told["refused"]] == ["3.14t"]


def test_json_of_inspect(wheel: Path, repack: Repack) -> None:
    (told,) = repack("inspect", "--json", wheel).json["wheels"]
    assert keys(told) == {
        "": "abi3 cuda filename findings modules name native needs numpy path sha256 size "
        "tags url version",
        "needs": "cuda_majors delayed dll family in_wheel kind needed_by",
        "findings": FINDING,
    }


def test_lines_of_a_plan_end_with_what_is_in_each_wheel(wheel: Path, repack: Repack) -> None:
    words = ("--driver-stub", "--set", "allow.startup-hook=true")
    lines = repack("build", "--dry-run", "-q", "--source", wheel, *words).out.splitlines()
    assert lines[-1].startswith("in each: cv2/stand-ins/nvcuda/nvcuda.dll (0.0 MB, 0.0 MB of the")


def test_lines_of_inspect_say_what_it_is_and_what_it_needs_from_whom(
    wheel: Path, repack: Repack
) -> None:
    assert repack("inspect", "-q", wheel).out.splitlines()[:-1] == [
        NAME,
        f"  opencv-contrib-python 4.13.0.90+cu129 for {TAG}, CUDA 12.9, NumPy ABI unknown",
        "  needs cufft64_11.dll by delay-load (cufft), for cv2/cv2.pyd",
        "  needs nppc64_12.dll at load time (npp), for cv2/opencv_core.dll",
        "  needs nvcuda.dll at load time (driver), for cv2/cv2.pyd",
        "  in the wheel: opencv_core.dll",
        "  python: python3.dll",
        "  windows: KERNEL32.dll",
    ]
