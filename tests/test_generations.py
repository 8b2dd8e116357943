"""opencv-contrib-python of every loader generation, as it comes from the index: fixed, imports."""

from pathlib import Path

import pytest
from running import repack, smokes

pytestmark = [pytest.mark.network, pytest.mark.wine, pytest.mark.timeout(1800)]


#: What is asked of the index, and the Python: one for each form of the loader.
GENERATIONS = {
    "3.4: no config.py": ("opencv-contrib-python==3.4.11.45", "3.9"),
    "4.3: Python 3.7": ("opencv-contrib-python==4.3.0.36", "3.7"),
    "4.4: no config.py": ("opencv-contrib-python==4.4.0.46", "3.9"),
    "4.5.3: the last without": ("opencv-contrib-python==4.5.3.56", "3.9"),
    "4.5.5: bootstrap, and cv2.cv2": ("opencv-contrib-python==4.5.5.64", "3.10"),
    "4.6": ("opencv-contrib-python==4.6.0.66", "3.11"),
    "4.8 and 4.9": ("opencv-contrib-python==4.9.0.80", "3.12"),
    "4.10 to 4.13": ("opencv-contrib-python==4.12.0.88", "3.13"),
    "4.14 and 5.0": ("opencv-contrib-python==5.0.0.93", "3.14"),
    "sold as CUDA, for one Python": ("opencv-cu126==4.12.0", "3.9"),
}


def source(requirement: str, python: str) -> tuple[str, ...]:
    return ("--set", f"source.requirement={requirement}", "--set", f"source.python={python}")


@pytest.mark.parametrize(("requirement", "python"), GENERATIONS.values(), ids=GENERATIONS)
def test_a_loader_of_each_kind_is_patched(requirement: str, python: str, tmp_path: Path) -> None:
    options = (*source(requirement, python), "--python", python)
    answer = repack("build", *options, cwd=tmp_path)
    assert smokes(answer)[python]["status"] == "passed", answer


def test_what_is_wrong_with_a_wheel_sold_as_cuda_is_said(tmp_path: Path) -> None:
    path = repack("fetch", *source("opencv-cu126==4.12.0", "3.9"), cwd=tmp_path)["path"]
    (wheel,) = repack("inspect", path, cwd=tmp_path)["wheels"]
    codes = {finding["code"] for finding in wheel["findings"]}
    assert {"not-cuda", "build-machine-path", "purelib-mismatch"} <= codes
    repack("inspect", "--strict", path, cwd=tmp_path, codes=(1,))
