"""Genuine wheels of the index: fixed, in the hands of the tools that their users have."""

import subprocess
import sys
from pathlib import Path

import pytest
from driving import repack, trials

pytestmark = [pytest.mark.network, pytest.mark.timeout(1800)]
NAME = "opencv-contrib-python"

#: What is asked of the index, the Python, and what is said of it. Every text of the loader
#: is patched in tests/test_patching_loader.py; the proof runs genuine builds of 4.3 and 4.9.
GENERATIONS = {
    "4.5.5: bootstrap, and cv2.cv2": (f"{NAME}==4.5.5.64", "3.10", ["not-cuda"]),
    "4.14 and 5.0": (f"{NAME}==5.0.0.93", "3.14", ["not-cuda"]),
    "sold as CUDA, for one Python": (
        *("opencv-cu126==4.12.0", "3.9"),
        ["not-cuda", "build-machine-path", "purelib-mismatch"],
    ),
}


@pytest.mark.wine
@pytest.mark.parametrize(
    ("requirement", "python", "findings"), GENERATIONS.values(), ids=GENERATIONS
)
def test_a_loader_of_each_kind_is_patched(
    requirement: str, python: str, findings: list[str], tmp_path: Path
) -> None:
    words = ("--set", f"source.requirement={requirement}", "--set", f"source.python={python}")
    answer = repack("build", *words, "--python", python, cwd=tmp_path)
    assert {*findings} <= {finding["code"] for finding in answer["findings"]}
    assert trials(answer)[python]["after"]["status"] == "passed", answer


def test_the_tools_that_read_wheels_take_it(tmp_path: Path) -> None:
    words = ("--set", f"source.requirement={NAME}==4.11.0.86", "--no-smoke", "--python", "3.12")
    (wheel,) = repack("build", *words, cwd=tmp_path)["wheels"]
    for tool in (["wheel", "unpack", "-d", tmp_path], ["twine", "check", "--strict"]):
        command = [sys.executable, "-m", *map(str, tool), wheel["path"]]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
