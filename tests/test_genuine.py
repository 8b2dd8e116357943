"""Genuine CUDA builds of cv2, before and after, on the Pythons they were built for."""

from __future__ import annotations

from pathlib import Path

import pytest
from genuine import (
    CUDA_10,
    CUDA_11,
    CUDA_12,
    CUDA_13,
    Genuine,
    genuine_dlls,
    genuine_wheel,
    unpacked_artifact,
)
from running import repack, smokes

from repack.analysis import analyse
from repack.interpreters import windows_path
from repack.progress import SILENT
from repack.smoke import toolkit_of
from repack.sources import Cache, fetch_index

pytestmark = [pytest.mark.network, pytest.mark.wine, pytest.mark.timeout(1800)]


def toolkit(build: Genuine, folder: Path) -> Path:
    """Return a toolkit's root whose `bin` holds the DLLs that the build was made for."""
    if build.dll_artifact:
        dlls = unpacked_artifact(build.dll_artifact)
    else:
        dlls = toolkit_of(genuine_dlls(build), Cache.default(), SILENT)
    root = folder / f"v{build.cuda}"
    root.mkdir(exist_ok=True)
    (root / "bin").symlink_to(dlls)
    return root


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("genuine")


@pytest.fixture(
    scope="module", params=[CUDA_13, CUDA_12, CUDA_11, CUDA_10], ids=lambda each: each.cuda
)
def built(request: pytest.FixtureRequest, place: Path) -> tuple[Genuine, Path, Path, Path]:
    """A build, its untouched wheel, its fixed wheel, and a toolkit for it."""
    build: Genuine = request.param
    root = toolkit(build, place)
    source = genuine_wheel(build)
    answer = repack(
        *("build", "--source", source, "--python", build.python, "-w", place / build.cuda),
        *("--set", f'smoke.dll-dirs=["{root / "bin"}"]'),
        cwd=place,
    )
    (wheel,) = answer["wheels"]
    assert answer["source"]["cuda"] in {build.cuda, build.cuda.partition(".")[0]}
    assert smokes(answer)[build.python]["status"] == "passed"
    return build, source, Path(wheel["path"]), root


def seen(wheel: Path, build: Genuine, *options: str | Path, cwd: Path) -> str:
    """Return what the wheel did; a failure is an answer here."""
    command = ("smoke", wheel, "--python", build.python, "--set", "smoke.dlls=[]", *options)
    answer = repack(*command, cwd=cwd, codes=(0, 1))
    (result,) = answer["wheels"]
    return str(result["smoke"]["after"])


def test_with_the_dlls_only_on_path(built: tuple[Genuine, Path, Path, Path], place: Path) -> None:
    build, untouched, fixed, root = built
    on_path = ("--dll-dir", root / "bin")
    assert seen(fixed, build, *on_path, cwd=place).startswith("works")
    before = seen(untouched, build, *on_path, cwd=place)
    # Until Python 3.8 PATH was searched, and it worked as it was.
    assert before.startswith("works" if build is CUDA_10 else "ImportError: DLL load failed")


def test_with_cuda_path(built: tuple[Genuine, Path, Path, Path], place: Path) -> None:
    build, _, fixed, root = built
    variable = f"CUDA_PATH={windows_path(root)}"
    assert seen(fixed, build, "--env", variable, cwd=place).startswith("works")


def test_with_the_dlls_nowhere(built: tuple[Genuine, Path, Path, Path], place: Path) -> None:
    build, untouched, fixed, _ = built
    if build is CUDA_12:
        # One says it for all: under Wine a failing import of so many DLLs takes most of a minute.
        assert seen(untouched, build, cwd=place).startswith("ImportError: DLL load failed")
    said = seen(fixed, build, cwd=place)
    assert said.startswith("ImportError: DLL load failed")
    assert "nppi" in said
    assert "CUDA_PATH" in said


def test_cuda_path_and_a_decoy_on_path(
    built: tuple[Genuine, Path, Path, Path], place: Path, tmp_path: Path
) -> None:
    """A directory that holds only some of the DLLs needed does not answer for the family."""
    build, _, fixed, root = built
    decoy = tmp_path / "decoy"
    decoy.mkdir()
    (decoy / next(path.name for path in (root / "bin").iterdir() if "nppc" in path.name)).touch()
    variable = f"CUDA_PATH={windows_path(root)}"
    options = ("--dll-dir", decoy, "--env", variable)
    assert seen(fixed, build, *options, cwd=place).startswith("works")


@pytest.mark.parametrize(
    ("source", "abi", "oldest"),
    [
        pytest.param(CUDA_12, "1", "1.16", id="4.9 with CUDA 12, NumPy 1"),
        pytest.param(CUDA_13, "2", "1.23", id="4.13 with CUDA 13, NumPy 2"),
        pytest.param("4.6.0.66", "1", "1.13", id="4.6"),
        pytest.param("4.9.0.80", "1", "1.16", id="4.9, the last on NumPy 1"),
        pytest.param("4.11.0.86", "2", "1.16", id="4.11"),
        pytest.param("4.14.0.94", "2", "1.16", id="4.14"),
    ],
)
def test_which_numpy_it_runs_with_is_read_from_the_binary(
    source: Genuine | str, abi: str, oldest: str
) -> None:
    if isinstance(source, str):
        requirement = f"opencv-contrib-python=={source}"
        path = fetch_index(requirement, python="3.11", lock=None, cache=Cache.default()).path
    else:
        path = genuine_wheel(source)
    analysis = analyse(path)
    assert (analysis.numpy, analysis.numpy_floor) == (abi, oldest)
