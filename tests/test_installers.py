"""Emitted wheels in the hands of the tools that their users have."""

import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from indexing import served, simple_index
from running import repack

pytestmark = [pytest.mark.network, pytest.mark.timeout(900)]
SCRIPTS = Path(sysconfig.get_path("scripts"))
PYTHON = sys.executable
NAME = "opencv-contrib-python"


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """A real wheel, the one emitted from it for Python 3.12, and the SHA-256 of that."""
    place = tmp_path_factory.mktemp("wheels")
    source = repack("fetch", "--set", f"source.requirement={NAME}==4.11.0.86", cwd=place)["path"]
    answer = repack("build", "--source", source, "--no-smoke", "--python", "3.12", cwd=place)
    (wheel,) = answer["wheels"]
    return Path(source), Path(wheel["path"]), wheel["sha256"]


@pytest.fixture
def commands(wheels: tuple[Path, Path, str], tmp_path: Path) -> Iterator[dict[str, list[object]]]:
    """What each tool is asked to do with the emitted wheel."""
    _, wheel, sha256 = wheels
    version = wheel.name.split("-")[1]
    (tmp_path / "pins.txt").write_text(f"{NAME}=={version} --hash=sha256:{sha256}\n", "utf-8")
    install = ["install", "--no-deps", "--require-hashes", "-r", tmp_path / "pins.txt"]
    install += ["--python-version", "3.12", "--target", tmp_path / "t", "--only-binary", ":all:"]
    simple_index(tmp_path, [wheel], hashes=True)
    with served(tmp_path) as url:
        uv = [SCRIPTS / "uv", "pip", *install, "--no-config", "--no-cache"]
        yield {
            "pip": [PYTHON, "-m", "pip", *install, "--platform", "win_amd64", "--index-url", url],
            "uv": [*uv, "--python", PYTHON, "--python-platform", "windows", "--index-url", url],
            "wheel": [PYTHON, "-m", "wheel", "unpack", wheel, "-d", tmp_path / "t"],
            "twine": [SCRIPTS / "twine", "check", "--strict", wheel],
        }


@pytest.mark.parametrize("tool", ["pip", "uv", "wheel", "twine"])
def test_its_users_tools_take_it(
    tool: str, commands: dict[str, list[object]], tmp_path: Path
) -> None:
    command = list(map(str, commands[tool]))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert tool == "twine" or list((tmp_path / "t").rglob("cv2/cuda_dlls.py"))


def test_check_wheel_contents_finds_only_what_upstream_has_too(
    wheels: tuple[Path, Path, str],
) -> None:
    def findings(wheel: Path) -> set[str]:
        done = subprocess.run(
            [SCRIPTS / "check-wheel-contents", wheel], capture_output=True, text=True, check=False
        )
        return {line.partition(": ")[2] for line in done.stdout.splitlines() if ": W" in line}

    assert findings(wheels[1]) <= findings(wheels[0])
