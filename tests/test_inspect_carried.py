"""What `inspect` says of wheels into which somebody else has put CUDA's DLLs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from nvidia import (
    CUBLAS,
    CUBLAS_LT,
    CUDART,
    CUDNN,
    CUDNN_PARTS,
    DRIVER,
    LICENCE,
    NPPC,
    NPPIF,
    NPPS,
    NVJPEG,
    NVRTC,
    NVRTC_BUILTINS,
    Pretended,
)
from wheelmaking import make_pyd, make_wheel

from repack.inspect import analyse
from repack.record import Finding

NEEDS = {"nppif64_12.dll": ["nppiFilter_8u_C1R"], "cudart64_12.dll": ["cudaGetDeviceCount"]}
CUDNN_NEEDS = {"cudnn64_9.dll": ["cudnnGetVersion"]}
USED = (CUDART, NPPC, NPPIF)
OPS = Pretended(name="cudnn_ops64_9.dll", imports={"cublas64_12.dll": ["cublasCreate_v2"]})
OTHER_PARTS = tuple(part for part in CUDNN_PARTS if part.name != OPS.name)
TERMS = "opencv_contrib_python-4.12.0.88.dist-info/licenses/EULA.txt"


def found(
    folder: Path,
    *dlls: Pretended,
    needs: Mapping[str, Sequence[str]],
    files: Mapping[str, bytes] | None = None,
) -> tuple[Finding, ...]:
    """Return what is said of a wheel with these DLLs beside cv2.pyd, and NVIDIA's terms."""
    beside = {f"cv2/{dll.name}": dll.content for dll in dlls}
    content = {
        "cv2/__init__.py": b"from .cv2 import *\n",
        "cv2/cv2.pyd": make_pyd(needs),
        TERMS: LICENCE,
        **beside,
        **(files or {}),
    }
    path = folder / "opencv_contrib_python-4.12.0.88-cp37-abi3-win_amd64.whl"
    return analyse(make_wheel(path, content, requires=["numpy"])).findings


@pytest.mark.parametrize(
    ("dlls", "needs", "codes"),
    [
        pytest.param(USED, NEEDS, [], id="what is asked for, and no more"),
        pytest.param((*USED, NPPS), NEEDS, ["vendored-superfluous"], id="what nobody asks for"),
        pytest.param(
            (*USED, NVJPEG),
            {**NEEDS, "nvjpeg64_12.dll": ["nvjpegCreate"]},
            ["vendored-unlisted"],
            id="what the licence does not list",
        ),
        pytest.param(
            (*USED, DRIVER),
            {**NEEDS, "nvcuda.dll": ["cuInit"]},
            ["vendored-driver"],
            id="the driver's",
        ),
        pytest.param((CUDNN, *CUDNN_PARTS), CUDNN_NEEDS, [], id="cuDNN with all of its parts"),
        pytest.param((CUDNN,), CUDNN_NEEDS, ["vendored-incomplete"], id="cuDNN's shim alone"),
        pytest.param(
            (CUDNN, *CUDNN_PARTS, NVRTC, NVRTC_BUILTINS),
            {**NEEDS, **CUDNN_NEEDS},
            [],
            id="NVRTC, which cuDNN loads by name",
        ),
        pytest.param(
            (CUDNN, *OTHER_PARTS, OPS, CUBLAS, CUBLAS_LT),
            CUDNN_NEEDS,
            [],
            id="what a DLL imports that is loaded by name",
        ),
        pytest.param(
            (CUDNN, *CUDNN_PARTS, NVRTC),
            CUDNN_NEEDS,
            ["vendored-incomplete"],
            id="NVRTC without its built-ins",
        ),
    ],
)
def test_carried_dlls_are_judged(
    dlls: Sequence[Pretended],
    needs: Mapping[str, Sequence[str]],
    codes: Sequence[str],
    tmp_path: Path,
) -> None:
    assert [each.code for each in found(tmp_path, *dlls, needs=needs)] == codes


def test_a_wheel_without_nvidias_terms_is_spoken_of(tmp_path: Path) -> None:
    findings = found(tmp_path, *USED, needs=NEEDS, files={TERMS: b"Apache License\n"})
    assert [each.code for each in findings] == ["vendored-without-licence"]


def test_a_wheel_without_dlls_of_nvidias_needs_no_terms(tmp_path: Path) -> None:
    assert found(tmp_path, needs=NEEDS, files={TERMS: b"Apache License\n"}) == ()


def test_what_is_superfluous_is_weighed_and_of_many_the_first_are_named(tmp_path: Path) -> None:
    idle = [Pretended(name=f"npp{letter}64_12.dll") for letter in "abcdefghijk"]
    (finding,) = found(tmp_path, *USED, *idle, needs=NEEDS)
    assert finding.message == (
        "nothing in it asks for nppa64_12.dll, nppb64_12.dll, nppd64_12.dll, nppe64_12.dll and "
        "6 more, which weigh 0.0 MB of it"
    )


def test_a_stand_in_is_no_driver(tmp_path: Path) -> None:
    files = {"cv2/stand-ins/nvcuda/nvcuda.dll": DRIVER.content}
    needs = {**NEEDS, "nvcuda.dll": ["cuInit"]}
    assert found(tmp_path, *USED, needs=needs, files=files) == ()
