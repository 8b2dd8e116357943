"""What `inspect` says of wheels into which somebody else has put CUDA's DLLs."""

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

Needs = Mapping[str, Sequence[str]]

NEEDS = {"nppif64_12.dll": ["nppiFilter_8u_C1R"], "cudart64_12.dll": ["cudaGetDeviceCount"]}
CUDNN_NEEDS = {"cudnn64_9.dll": ["cudnnGetVersion"]}
USED = (CUDART, NPPC, NPPIF)
OPS = Pretended(name="cudnn_ops64_9.dll", imports={"cublas64_12.dll": ["cublasCreate_v2"]})
OTHER_PARTS = tuple(part for part in CUDNN_PARTS if part.name != OPS.name)
TERMS = "opencv_contrib_python-4.12.0.88.dist-info/licenses/EULA.txt"


def found(
    folder: Path, *dlls: Pretended, needs: Needs, files: Mapping[str, bytes] | None = None
) -> tuple[Finding, ...]:
    """Return what is said of a wheel with these DLLs beside cv2.pyd, and NVIDIA's terms."""
    content = {"cv2/__init__.py": b"from .cv2 import *\n", "cv2/cv2.pyd": make_pyd(needs)}
    content |= {TERMS: LICENCE, **(files or {})}
    content |= {f"cv2/{dll.name}": dll.content for dll in dlls}
    path = folder / "opencv_contrib_python-4.12.0.88-cp37-abi3-win_amd64.whl"
    return analyse(make_wheel(path, content, requires=["numpy"])).findings


JPEG_NEEDS = {**NEEDS, "nvjpeg64_12.dll": ["nvjpegCreate"]}
DRIVER_NEEDS = {**NEEDS, "nvcuda.dll": ["cuInit"]}
BOTH_NEEDS = {**NEEDS, **CUDNN_NEEDS}
WITH_NVRTC = (CUDNN, *CUDNN_PARTS, NVRTC, NVRTC_BUILTINS)
WITH_CUBLAS = (CUDNN, *OTHER_PARTS, OPS, CUBLAS, CUBLAS_LT)
INCOMPLETE = ["vendored-incomplete"]

#: The DLLs carried, those that the module asks for, the codes of the findings.
CARRIED: dict[str, tuple[Sequence[Pretended], Needs, list[str]]] = {
    "what is asked for, and no more": (USED, NEEDS, []),
    "what nobody asks for": ((*USED, NPPS), NEEDS, ["vendored-superfluous"]),
    "what the licence does not list": ((*USED, NVJPEG), JPEG_NEEDS, ["vendored-unlisted"]),
    "the driver's": ((*USED, DRIVER), DRIVER_NEEDS, ["vendored-driver"]),
    "cuDNN with all of its parts": ((CUDNN, *CUDNN_PARTS), CUDNN_NEEDS, []),
    "cuDNN's shim alone": ((CUDNN,), CUDNN_NEEDS, INCOMPLETE),
    "NVRTC, which cuDNN loads by name": (WITH_NVRTC, BOTH_NEEDS, []),
    "what a DLL imports that is loaded by name": (WITH_CUBLAS, CUDNN_NEEDS, []),
    "NVRTC without its built-ins": ((CUDNN, *CUDNN_PARTS, NVRTC), CUDNN_NEEDS, INCOMPLETE),
}


@pytest.mark.parametrize(("dlls", "needs", "codes"), CARRIED.values(), ids=CARRIED)
def test_carried_dlls_are_judged(
    dlls: Sequence[Pretended], needs: Needs, codes: list[str], tmp_path: Path
) -> None:
    assert [finding.code for finding in found(tmp_path, *dlls, needs=needs)] == codes


@pytest.mark.parametrize(("dlls", "codes"), [(USED, ["vendored-without-licence"]), ((), [])])
def test_a_wheel_with_dlls_of_nvidias_needs_its_terms(
    dlls: Sequence[Pretended], codes: list[str], tmp_path: Path
) -> None:
    findings = found(tmp_path, *dlls, needs=NEEDS, files={TERMS: b"Apache License\n"})
    assert [finding.code for finding in findings] == codes


def test_what_is_superfluous_is_weighed_and_of_many_the_first_are_named(tmp_path: Path) -> None:
    idle = [Pretended(name=f"npp{letter}64_12.dll") for letter in "abcdefghijk"]
    (finding,) = found(tmp_path, *USED, *idle, needs=NEEDS)
    assert (
        "nppa64_12.dll, nppb64_12.dll, nppd64_12.dll, nppe64_12.dll and 6 more" in finding.message
    )


def test_a_stand_in_is_no_driver(tmp_path: Path) -> None:
    files = {"cv2/stand-ins/nvcuda/nvcuda.dll": DRIVER.content}
    needs = {**NEEDS, "nvcuda.dll": ["cuInit"]}
    assert found(tmp_path, *USED, needs=needs, files=files) == ()
