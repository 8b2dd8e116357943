"""The sample wheel: the base's every byte, but for three load-time imports and what says so."""

import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from wheelmaking import Files, make_pyd, opencv_wheel

from repack.errors import InputError, ToolError
from repack.inspect import analyse
from repack.inspect.findings import find_findings
from repack.sample import make_sample

CONFIG = b"""\
import os

BINARIES_PATHS = [
    os.path.join(os.path.join(LOADER_DIR, '../../'), 'x64/vc17/bin')
] + BINARIES_PATHS
"""
NEEDS = {"KERNEL32.dll": ["Sleep", "GetTickCount"], "MF.dll": ["MFGetService"]}


def make_base(folder: Path, files: Files | None = None, tag: str = "cp37-abi3") -> Path:
    members = {"cv2/config.py": CONFIG, **(files or {})}
    return opencv_wheel(folder, make_pyd(NEEDS), members, tag=tag)


def sample(base: Path, folder: str = "out", *, cuda: int = 12, driver: bool = False) -> Path:
    return make_sample(base, cuda=cuda, driver=driver, folder=base.parent / folder)


IMPORTS = {
    11: ((11, 8), ["cudart64_110.dll", "nppc64_11.dll", "nppif64_11.dll"]),
    13: ((13, 0), ["cudart64_13.dll", "nppc64_13.dll", "nppif64_13.dll", "nvcuda.dll"]),
}


@pytest.mark.parametrize("cuda", IMPORTS)
def test_a_sample_imports_what_a_cuda_build_does(cuda: int, tmp_path: Path) -> None:
    release, dlls = IMPORTS[cuda]
    base = make_base(tmp_path)
    made = sample(base, cuda=cuda, driver="nvcuda.dll" in dlls)
    label = "driver.sample" if "nvcuda.dll" in dlls else "sample"
    assert made.name == base.name.replace("4.13.0.90", f"4.13.0.90+cu{cuda}.{label}")
    analysis = analyse(made)
    before = {need.dll.name for need in analyse(base).needs}
    assert {need.dll.name for need in analysis.needs} == before | {*dlls}
    assert analysis.cuda == release
    assert find_findings(analysis) == ()


def test_a_sample_says_that_it_is_one_and_keeps_all_else_each_time(tmp_path: Path) -> None:
    base = make_base(tmp_path)
    made = sample(base)
    assert made.read_bytes() == sample(base, "again").read_bytes()
    summary = analyse(made).wheel.fields["summary"]
    assert summary.startswith("SAMPLE for trying repack, not a CUDA build")
    with zipfile.ZipFile(base) as before, zipfile.ZipFile(made) as after:
        names = [name for name in before.namelist() if ".dist-info/" not in name]
        changed = {name for name in names if before.read(name) != after.read(name)}
        assert changed == {"cv2/cv2.pyd", "cv2/config.py"}
        assert len(before.namelist()) == len(after.namelist())


REFUSED = {
    "for one Python": ({"tag": "cp39-cp39"}, "no-abi3"),
    "config without the list": ({"files": {"cv2/config.py": b"import os\n"}}, "unknown-config"),
}


@pytest.mark.parametrize(("options", "code"), REFUSED.values(), ids=REFUSED)
def test_another_base_is_refused(options: dict[str, Any], code: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=code):
        sample(make_base(tmp_path, **options))
    assert not list(tmp_path.glob("out/*"))


def test_without_lief_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lief", None)
    with pytest.raises(ToolError, match="pip install lief"):
        sample(make_base(tmp_path))
