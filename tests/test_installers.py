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
NAME = "opencv-contrib-python"


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """A real wheel, the one emitted from it for Python 3.12, and the SHA-256 of that."""
    place = tmp_path_factory.mktemp("wheels")
    source = repack("fetch", "--set", f"source.requirement={NAME}==4.11.0.86", cwd=place)["path"]
    answer = repack("build", "--source", source, "--no-smoke", "--python", "3.12", cwd=place)
    (wheel,) = answer["wheels"]
    return Path(source), Path(wheel["path"]), wheel["sha256"]


def run(*words: str | Path) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_pip_installs_it_with_its_hash_required(
    wheels: tuple[Path, Path, str], tmp_path: Path
) -> None:
    _, wheel, sha256 = wheels
    pins = tmp_path / "requirements.txt"
    version = wheel.name.split("-")[1]
    pins.write_text(f"{NAME}=={version} --hash=sha256:{sha256}\n", encoding="utf-8")
    windows = ("--platform", "win_amd64", "--python-version", "3.12", "--only-binary", ":all:")
    where = ("--no-index", "--no-deps", "--find-links", wheel.parent, "--target", tmp_path / "t")
    pip = (sys.executable, "-m", "pip", "install", "--require-hashes", "-r", pins)
    run(*pip, *windows, *where)
    assert (tmp_path / "t" / "cv2" / "cuda_dlls.py").is_file()
    pins.write_text(f"{NAME}=={version} --hash=sha256:{'0' * 64}\n", encoding="utf-8")
    with pytest.raises(AssertionError, match="DO NOT MATCH THE HASHES"):
        run(*pip, *windows, *where, "--upgrade")


@pytest.fixture
def index(wheels: tuple[Path, Path, str], tmp_path: Path) -> Iterator[str]:
    """A simple index over HTTP, where uv reads a wheel as a stream and looks most closely."""
    simple_index(tmp_path, [wheels[1]], hashes=True)
    with served(tmp_path) as url:
        yield url


def test_uv_installs_it_from_an_index(
    index: str, wheels: tuple[Path, Path, str], tmp_path: Path
) -> None:
    version = wheels[1].name.split("-")[1]
    run(
        *(SCRIPTS / "uv", "pip", "install", "--no-deps", "--no-config", "--no-cache"),
        *("--python", sys.executable, "--python-platform", "windows", "--python-version", "3.12"),
        *("--index-url", index, "--target", tmp_path / "t", f"{NAME}=={version}"),
    )
    assert (tmp_path / "t" / "cv2" / "cuda_dlls.py").is_file()


def test_wheel_unpacks_it_and_twine_has_nothing_against_it(
    wheels: tuple[Path, Path, str], tmp_path: Path
) -> None:
    run(sys.executable, "-m", "wheel", "unpack", wheels[1], "-d", tmp_path)
    assert "PASSED" in run(SCRIPTS / "twine", "check", "--strict", wheels[1])


def test_check_wheel_contents_finds_only_what_upstream_has_too(
    wheels: tuple[Path, Path, str],
) -> None:
    def findings(wheel: Path) -> set[str]:
        done = subprocess.run(
            [SCRIPTS / "check-wheel-contents", wheel], capture_output=True, text=True, check=False
        )
        return {line.partition(": ")[2] for line in done.stdout.splitlines() if ": W" in line}

    assert findings(wheels[1]) <= findings(wheels[0])
