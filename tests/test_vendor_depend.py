"""`repack build --mode depend`: which of NVIDIA's wheels the wheel requires, in which versions."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from driving import Ran, Repack
from nvidia import nvidia_wheels
from wheelmaking import make_pyd, make_wheel

NEEDS = {
    "nppif64_12.dll": ["nppiFilter_8u_C1R"],
    "cublas64_12.dll": ["cublasCreate_v2"],
    "cudart64_12.dll": ["cudaGetDeviceCount"],
}
CUDNN_NEEDS = {"cudnn64_9.dll": ["cudnnCreate"]}
NVIDIAS = {
    *("nvidia-cublas-cu12>=12.3,<13", "nvidia-cuda-runtime-cu12>=12.3,<13"),
    "nvidia-npp-cu12>=12.2.2,<13",
}
CUDNN, NPP = "nvidia-cudnn-cu12>=9,<10", "nvidia-npp-cu12>=12.2.2,<13"
NPP_WHEEL = "nvidia_npp_cu12-12.4.1.87-py3-none-win_amd64.whl"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = nvidia_wheels(tmp_path / "index")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def build(
    repack: Repack,
    needs: Mapping[str, Sequence[str]],
    *options: str,
    delayed: Mapping[str, Sequence[str]] | None = None,
) -> Ran:
    files = {"cv2/__init__.py": b"from .cv2 import *\n"}
    pyd = make_pyd(needs, delay_imports=delayed)
    source = make_wheel(
        repack.folder.parent / "opencv_contrib_python-4.13.0.90+cu123-cp37-abi3-win_amd64.whl",
        {**files, "cv2/cv2.pyd": pyd},
    )
    return repack(
        *("build", "--source", source, "--mode", "depend", "--no-smoke", "--json", "-q"),
        *("--python", "3.12", *options),
    )


@pytest.mark.parametrize(
    ("needs", "delayed", "requires"),
    [
        pytest.param({**NEEDS, "nvcuda.dll": ["cuInit"]}, {}, NVIDIAS, id="not the driver"),
        pytest.param(NEEDS, CUDNN_NEEDS, {*NVIDIAS, f'{CUDNN}; extra == "dnn"'}, id="cuDNN late"),
        pytest.param({**NEEDS, **CUDNN_NEEDS}, {}, {*NVIDIAS, CUDNN}, id="cuDNN at load time"),
        pytest.param({}, {"nppif64_12.dll": ["nppiFilter_8u_C1R"]}, {NPP}, id="NPP late"),
        pytest.param(
            {**NEEDS, "VCRUNTIME140.dll": ["g"], "VCRUNTIME140_1.dll": ["h"]},
            *({}, NVIDIAS),
            id="not the part of the VC run-time that Python brings",
        ),
    ],
)
@pytest.mark.usefixtures("index")
def test_exactly_the_distributions_of_what_is_asked_for_are_required(
    needs: Any,  # noqa: ANN401 - DLL -> functions
    delayed: Any,  # noqa: ANN401 - the same
    requires: set[str],
    repack: Repack,
) -> None:
    ran = build(repack, needs, delayed=delayed)
    assert ran.code == 0, ran.err
    assert set(ran.json["requires"]) == requires
    assert "+cu123.depend-" in ran.json["wheels"][0]["path"]


@pytest.mark.usefixtures("index")
def test_a_cuda_of_which_nvidia_has_no_wheels_is_refused(repack: Repack) -> None:
    ran = build(repack, {"nppif64_10.dll": ["f"], "cudart64_101.dll": ["g"]})
    assert (
        "NVIDIA has no wheels with cudart64_101.dll, nppif64_10.dll [no-distribution]" in ran.error
    )


def test_a_distribution_that_the_index_has_not_is_an_error_and_nothing_is_written(
    repack: Repack, index: Path
) -> None:
    (index / NPP_WHEEL).unlink()
    ran = build(repack, NEEDS)
    assert "nvidia-npp-cu12>=12.2.2,<13 for Python 3.12 on win_amd64: " in ran.error
    assert not (repack.folder / "dist").exists()


def test_offline_nobody_is_asked(repack: Repack, index: Path) -> None:
    (index / NPP_WHEEL).unlink()
    ran = build(repack, NEEDS, "--offline")
    assert "nvidia-npp-cu12>=12.2.2,<13" in ran.json["requires"]
