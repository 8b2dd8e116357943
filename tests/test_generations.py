"""opencv-contrib-python of every loader generation, as it comes from the index: fixed, imports."""

from __future__ import annotations

from pathlib import Path

import pytest
from running import repack, smokes

pytestmark = [pytest.mark.network, pytest.mark.wine, pytest.mark.timeout(1800)]


@pytest.mark.parametrize(
    ("requirement", "python"),
    [
        pytest.param("opencv-contrib-python==3.4.11.45", "3.9", id="3.4: no config.py"),
        pytest.param("opencv-contrib-python==4.3.0.36", "3.7", id="4.3: Python 3.7"),
        pytest.param("opencv-contrib-python==4.4.0.46", "3.9", id="4.4: no config.py"),
        pytest.param("opencv-contrib-python==4.5.3.56", "3.9", id="4.5.3: the last without"),
        pytest.param("opencv-contrib-python==4.5.5.64", "3.10", id="4.5.5: bootstrap, and cv2.cv2"),
        pytest.param("opencv-contrib-python==4.6.0.66", "3.11", id="4.6"),
        pytest.param("opencv-contrib-python==4.9.0.80", "3.12", id="4.8 and 4.9"),
        pytest.param("opencv-contrib-python==4.12.0.88", "3.13", id="4.10 to 4.13"),
        pytest.param("opencv-contrib-python==5.0.0.93", "3.14", id="4.14 and 5.0"),
        pytest.param("opencv-cu126==4.12.0", "3.9", id="sold as CUDA, for one Python"),
    ],
)
def test_a_loader_of_that_generation_is_patched_and_imports(
    requirement: str, python: str, tmp_path: Path
) -> None:
    answer = repack(
        *("build", "--set", f"source.requirement={requirement}"),
        *("--set", f"source.python={python}", "--python", python),
        cwd=tmp_path,
    )
    assert smokes(answer)[python]["status"] == "passed", answer


def test_what_is_wrong_with_a_wheel_sold_as_cuda_is_said(tmp_path: Path) -> None:
    path = repack(
        *(
            "fetch",
            "--set",
            "source.requirement=opencv-cu126==4.12.0",
            "--set",
            "source.python=3.9",
        ),
        cwd=tmp_path,
    )["path"]
    (wheel,) = repack("inspect", path, cwd=tmp_path)["wheels"]
    codes = {finding["code"] for finding in wheel["findings"]}
    assert {"not-cuda", "build-machine-path", "purelib-mismatch"} <= codes
    repack("inspect", "--strict", path, cwd=tmp_path, codes=(1,))
