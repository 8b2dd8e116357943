"""Genuine wheels of the index: fixed, in the hands of the tools that their users have."""

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from indexing import served, simple_index
from running import repack, smokes
from wheelmaking import cuda_wheel

pytestmark = [pytest.mark.network, pytest.mark.timeout(1800)]
ROOT = Path(__file__).parent.parent
SCRIPTS = Path(sysconfig.get_path("scripts"))
PYTHON, UV = sys.executable, SCRIPTS / "uv"
NAME = "opencv-contrib-python"
SUPPORTED = range(11, 15)

#: What is asked of the index, and the Python. Every text of the loader is patched in
#: tests/test_patching_loader.py; here are those that differ most.
GENERATIONS = {
    "4.3: no config.py, Python 3.7": (f"{NAME}==4.3.0.36", "3.7"),
    "4.5.5: bootstrap, and cv2.cv2": (f"{NAME}==4.5.5.64", "3.10"),
    "4.8 and 4.9": (f"{NAME}==4.9.0.80", "3.12"),
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
    assert smokes(answer)[python]["status"] == "passed", answer


def test_what_is_wrong_with_a_wheel_sold_as_cuda_is_said(tmp_path: Path) -> None:
    path = repack("fetch", *source("opencv-cu126==4.12.0", "3.9"), cwd=tmp_path)["path"]
    (wheel,) = repack("inspect", path, cwd=tmp_path)["wheels"]
    codes = {finding["code"] for finding in wheel["findings"]}
    assert {"not-cuda", "build-machine-path", "purelib-mismatch"} <= codes
    repack("inspect", "--strict", path, cwd=tmp_path, codes=(1,))


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
        uv = [UV, "pip", *install, "--no-config", "--no-cache"]
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


def pythons() -> list[Path]:
    """Return one CPython of each supported version on this machine, but for our own."""
    listing = subprocess.run(
        [UV, "python", "list", "--only-installed", "--output-format", "json", "--no-config"],
        capture_output=True,
        check=True,
    )
    minors = {
        python["version_parts"]["minor"]: Path(python["path"])
        for python in json.loads(listing.stdout)
        if (python["implementation"], python["variant"]) == ("cpython", "default")
    }
    others = [minor for minor in SUPPORTED if minor != sys.version_info[1]]
    return [minors[minor] for minor in others if minor in minors]


def test_every_python_at_hand_gives_the_same_bytes(tmp_path: Path) -> None:
    source = cuda_wheel(tmp_path)
    programs = [SCRIPTS / "repack"]
    for number, python in enumerate(pythons()):
        environment = tmp_path / f"venv{number}"
        subprocess.run([UV, "venv", "-q", "--python", python, environment], check=True)
        scripts = environment / ("Scripts" if sys.platform == "win32" else "bin")
        install: list[str | Path] = [UV, "pip", "install", "-q", "--python", scripts / "python"]
        subprocess.run([*install, ROOT], check=True)
        programs.append(scripts / "repack")
    digests = set()
    for number, program in enumerate(programs):
        answer = subprocess.run(
            [program, "build", "--json", "-q", "--no-smoke", "--source", source],
            cwd=tmp_path,
            env={**os.environ, "REPACK_CACHE": str(tmp_path / f"cache{number}")},
            capture_output=True,
            check=True,
        )
        digests.add(tuple(wheel["sha256"] for wheel in json.loads(answer.stdout)["wheels"]))
    assert len(digests) == 1
