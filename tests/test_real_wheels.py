"""Genuine wheels of the index: fixed, in the hands of the tools that their users have."""

import subprocess
import sys
from pathlib import Path

import pytest
from driving import repack, trials

pytestmark = [pytest.mark.network, pytest.mark.timeout(1800)]
NAME = "opencv-contrib-python"

#: What is asked of the index, and the Python. Every text of the loader is patched in
#: tests/test_patching_loader.py; the proof runs genuine builds with those of 4.3 and 4.9.
GENERATIONS = {
    "4.5.5: bootstrap, and cv2.cv2": (f"{NAME}==4.5.5.64", "3.10"),
    "4.14 and 5.0": (f"{NAME}==5.0.0.93", "3.14"),
    "sold as CUDA, for one Python": ("opencv-cu126==4.12.0", "3.9"),
}


def source(requirement: str, python: str) -> tuple[str, ...]:
    return ("--set", f"source.requirement={requirement}", "--set", f"source.python={python}")


@pytest.mark.wine
@pytest.mark.parametrize(("requirement", "python"), GENERATIONS.values(), ids=GENERATIONS)
def test_a_loader_of_each_kind_is_patched(requirement: str, python: str, tmp_path: Path) -> None:
    options = (*source(requirement, python), "--python", python)
    answer = repack("build", *options, cwd=tmp_path)
    assert trials(answer)[python]["after"]["status"] == "passed", answer


def test_what_is_wrong_with_a_wheel_sold_as_cuda_is_said(tmp_path: Path) -> None:
    path = repack("fetch", *source("opencv-cu126==4.12.0", "3.9"), cwd=tmp_path)["path"]
    (wheel,) = repack("inspect", path, cwd=tmp_path)["wheels"]
    codes = {finding["code"] for finding in wheel["findings"]}
    assert {"not-cuda", "build-machine-path", "purelib-mismatch"} <= codes
    repack("inspect", "--strict", path, cwd=tmp_path, codes=(1,))


def test_the_tools_that_read_wheels_take_it(tmp_path: Path) -> None:
    words = ("--set", f"source.requirement={NAME}==4.11.0.86", "--no-smoke", "--python", "3.12")
    (wheel,) = repack("build", *words, cwd=tmp_path)["wheels"]
    for tool in (["wheel", "unpack", "-d", tmp_path], ["twine", "check", "--strict"]):
        command = [sys.executable, "-m", *map(str, tool), wheel["path"]]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
