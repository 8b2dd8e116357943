"""What a wheel's binaries and texts say: who needs which DLL, of which CUDA, and what to tell."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nvidia
import pytest
import wheelmaking
from dllmaking import make_dll
from machines import table
from nvidia import Pretended
from wheelmaking import make_analysis, make_pyd, make_wheel

from repack.errors import InputError
from repack.files import Memory
from repack.inspect import Analysis, analyse
from repack.inspect.findings import find_findings

#: A wheel's parts.
Parts = dict[str, Any]

CUDA_12 = {"nppc64_12.dll": ["nppGetLibVersion"], "cudart64_12.dll": ["cudaGetDeviceCount"]}
PYD = "cv2/cv2.pyd"
NUMPY_1 = b"\0numpy.core._multiarray_umath\0numpy.core.multiarray failed to import\0"
NUMPY_2 = b"\0numpy._core._multiarray_umath\0numpy.core._multiarray_umath\0"
#: CUDA 10 and 11 have it.
CUFFT_10 = make_pyd({"cufft64_10.dll": ["x"]})
TOOLKITS = "C:/Program Files/NVIDIA GPU Computing Toolkit/CUDA"


def analysed(folder: Path, pyd: bytes | None = None, **parts: Any) -> Analysis:  # noqa: ANN401 - a wheel's parts
    return make_analysis(folder, pyd or make_pyd(CUDA_12), **parts)


def config(version: str, directory: str = "os.path.join(LOADER_DIR, '../../')") -> bytes:
    """Return OpenCV's config.py of a CUDA build."""
    return (
        "import os\n\n"
        "BINARIES_PATHS = [\n"
        f"    os.path.join({directory}, 'x64/vc17/bin'),\n"
        f"    os.path.join(os.getenv('CUDA_PATH', '{TOOLKITS}/{version}'), 'bin')\n"
        "] + BINARIES_PATHS\n"
    ).encode()


def codes(analysis: Analysis, pythons: Sequence[str] = ("3.7", "3.12")) -> list[str]:
    return [finding.code for finding in find_findings(analysis, pythons)]


def test_needs_reach_through_dlls_that_lie_in_the_wheel(tmp_path: Path) -> None:
    core, arithmetic = "cv2/opencv_core490.dll", "cv2/opencv_cudaarithm490.dll"
    needs = {"opencv_core490.dll": ["a"], "cufft64_11.dll": ["cufftPlan1d"]}
    analysis = analysed(
        tmp_path,
        make_pyd(
            {"opencv_core490.dll": ["a"], "OPENCV_CUDAARITHM490.DLL": ["b"]},
            delay_imports={"late.dll": ["x"]},
        ),
        files={
            # What lies beside the module comes before all others.
            "aaa/opencv_core490.dll": make_dll("x.dll"),
            core: make_dll("a.dll", imports={"OpenCV_CudaArithm490.dll": ["b"]}),
            arithmetic: make_dll("x.dll", imports=needs),
            "cv2.libs/late.dll": make_dll("late.dll", imports={"curand64_10.dll": ["x"]}),
            "cv2/opencv_unused490.dll": make_dll("x.dll", imports={"npps64_11.dll": ["x"]}),
        },
    )
    by_key = {need.dll.key: (need.in_wheel, need.needed_by) for need in analysis.needs}
    assert by_key["cufft64_11.dll"] == (None, (arithmetic,))
    assert by_key["opencv_core490.dll"] == (core, (PYD, arithmetic))
    assert by_key["late.dll"] == ("cv2.libs/late.dll", (PYD,))
    assert "npps64_11.dll" not in by_key
    delayed = {need.dll.name for need in analysis.needs if need.delayed}
    assert (delayed, analysis.cuda) == ({"late.dll", "curand64_10.dll"}, (12,))


def marked(text: bytes) -> Parts:
    return {"pyd": make_pyd(CUDA_12) + text}


DRIVER_ALONE = make_pyd({"nvcuda.dll": ["cuInit"]})


@table(
    "parts, facts",
    {
        "one in config.py": ({"files": {"cv2/config.py": config("v12.6")}}, {"cuda": (12, 6)}),
        "a minor of two digits": ({"version": "4.9+cu12.cu1210"}, {"cuda": (12, 10)}),
        "the text decides": ({"version": "4.9+cu118", "pyd": CUFFT_10}, {"cuda": (11, 8)}),
        "no minor of another major": (
            {"name": "opencv_cu102", "version": "4.9+cu11", "pyd": CUFFT_10},
            {"cuda": (11,)},
        ),
        "the driver alone": ({"version": "4.9+cu126", "pyd": DRIVER_ALONE}, {"cuda": (12, 6)}),
        "a message about NumPy": (marked(b"numpy.core.multiarray failed"), {"numpy": ""}),
    },
)
def test_what_the_binary_and_the_texts_say_is_known(
    parts: Parts, facts: Parts, tmp_path: Path
) -> None:
    analysis = analysed(tmp_path, **parts)
    assert {name: getattr(analysis, name) for name in facts} == facts


SPLIT = ['numpy<2; python_version < "3.9"', 'numpy; python_version >= "3.9"']
OF_4_12 = ["numpy<2.0; python_version < '3.9'", "numpy<2.3.0,>=2; python_version >= '3.9'"]
CONTRADICTED, OF_3_8 = ["numpy-contradicted"], {"tag": "cp38-cp38"}


def requiring(marks: bytes, *requires: str) -> Parts:
    return {**marked(marks), "lines": [f"Requires-Dist: {line}" for line in requires]}


@table(
    "parts, pythons, expected",
    {
        "none required": (requiring(NUMPY_1), ["3.12"], ["numpy-missing"]),
        "a cap that it disproves": (requiring(NUMPY_2, *OF_4_12), [], ["numpy-bound-lifted"]),
        "the other Python is not asked for": (requiring(NUMPY_1, *SPLIT), ["3.7"], []),
        "it is asked for": (requiring(NUMPY_1, *SPLIT), ["3.7", "3.12"], CONTRADICTED),
        "it takes no such wheel": ({**requiring(NUMPY_1, *SPLIT), **OF_3_8}, ["3.12"], []),
    },
)
def test_requirements_must_fit_the_binary_on_the_pythons_asked_for(
    parts: Parts, pythons: list[str], expected: list[str], tmp_path: Path
) -> None:
    assert codes(analysed(tmp_path, **parts), pythons) == expected


def linked(dll: str, machine: str = "x86-64") -> bytes:
    """Return a CUDA module that imports that DLL of Python's."""
    return make_dll("cv2.pyd", imports={dll: ["x"], **CUDA_12}, machine=machine)


INFO = "opencv_contrib_python-4.13.0.90.dist-info"
CONFIG, LOCAL_CONFIG = "cv2/config.py", "cv2/config-3.9.py"
WHEEL, TERMS = f"{INFO}/WHEEL", f"{INFO}/licenses/EULA.txt"
PURE = wheelmaking.wheel_file(["cp37-abi3-win_amd64"], purelib=True)
NOT_CUDA = {"name": "opencv_cu126", "files": {CONFIG: config("v12.6")}, "pyd": make_pyd()}
SAID = "though cv2/config.py says CUDA 12.6, its name says CUDA 12.6"
DISAGREEING = "says CUDA 11.8, the binary imports the DLLs of CUDA 12"
MACHINE_PATH = config("v12.6", "'F:/make_software/install'")
LOCAL = b"PYTHON_EXTENSIONS_PATHS = ['F:\\python39\\Lib'] + PYTHON_EXTENSIONS_PATHS\r\n"
NO_COMMA = config("v12.6").replace(b"bin'),", b"bin')")
LAPACK = make_pyd({**CUDA_12, "libopenblas.dll": ["x"]})
MIXED = make_pyd({**CUDA_12, "cufft64_10.dll": ["x"]})
ARM = linked("python3.dll", "arm64")
OTHER_PYTHON = {"pyd": linked("python311.dll"), "tag": "cp312-cp312"}

#: The code of the one finding; a wheel's parts, the member that is named, a part of the text.
FINDINGS: dict[str, list[tuple[Parts, str, str]]] = {
    "not-cuda": [(NOT_CUDA, "", SAID)],
    "cuda-version-contradicted": [({"files": {CONFIG: config("v11.8")}}, "", DISAGREEING)],
    "cuda-majors-mixed": [({"pyd": MIXED}, "", "cufft64_10.dll (CUDA 10, 11)")],
    "build-machine-path": [
        ({"files": {CONFIG: MACHINE_PATH}}, CONFIG, "F:/make_software/install"),
        ({"files": {LOCAL_CONFIG: LOCAL}}, LOCAL_CONFIG, "python39"),
        ({"files": {CONFIG: b"BINARIES_PATHS.append('D:/x')\n"}}, CONFIG, "append('D:/x')"),
    ],
    "config-broken": [({"files": {CONFIG: NO_COMMA}}, CONFIG, "line 4 is not Python")],
    "tag-mismatch": [
        ({"pyd": ARM}, PYD, "it is for arm64, the wheel's tag says cp37-abi3-win_amd64"),
        (OTHER_PYTHON, PYD, "it imports python311.dll"),
        ({"tag": "cp314-cp314t"}, PYD, "it imports python3.dll"),
    ],
    "purelib-mismatch": [({"files": {WHEEL: PURE}}, WHEEL, "1 binaries")],
    "startup-hook": [({"files": {"cv2.pth": b"import cv2\n"}}, "cv2.pth", "at each start")],
    "unknown-dll": [({"pyd": LAPACK}, PYD, "it needs libopenblas.dll")],
}


@pytest.mark.parametrize("code", FINDINGS)
def test_what_is_wrong_is_found(code: str, tmp_path: Path) -> None:
    for parts, member, text in FINDINGS[code]:
        (finding,) = find_findings(analysed(tmp_path, **parts), ["3.12"])
        assert (finding.code, finding.member) == (code, member)
        assert text in finding.message


def test_a_tag_that_the_binary_bears_out_is_right(tmp_path: Path) -> None:
    for dll, tag in (("python39.dll", "cp39-none"), ("python314t.dll", "cp314-cp314t")):
        assert codes(analysed(tmp_path, linked(dll), tag=tag)) == []


# A wheel that was looked through once is known by its hash, and by nothing less.


def test_a_memory_gives_the_same_as_the_first_look_and_forgets_what_is_damaged(
    tmp_path: Path,
) -> None:
    memory = Memory(tmp_path / "seen")
    wheel = wheelmaking.cuda_wheel(tmp_path, numpy=b"numpy._core._multiarray_umath")
    first = analyse(wheel, memory=memory)
    assert analyse(wheel, memory=memory) == first == analyse(wheel)
    (entry,) = memory.folder.iterdir()
    text = entry.read_text("utf-8")
    entry.write_text(text.replace('"machine"', '"x"'), encoding="utf-8")
    assert analyse(wheel, memory=memory) == first
    assert entry.read_text("utf-8") == text


def test_a_memory_lets_nothing_in_that_is_refused(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "seen")
    files = {PYD: make_pyd(), "evil.pth": b"import os\n"}
    wheel = make_wheel(tmp_path / "opencv_python-1.0-cp37-abi3-win_amd64.whl", files)
    analyse(wheel, allow_startup_hook=True, memory=memory)
    with pytest.raises(InputError, match="at each start"):
        analyse(wheel, memory=memory)
    content = bytearray(wheel.read_bytes())
    content[content.index(PYD.encode()) + 80] ^= 1
    wheel.write_bytes(content)
    with pytest.raises(InputError, match="checksum"):
        analyse(wheel, allow_startup_hook=True, memory=memory)


# CUDA's DLLs that somebody has put into the wheel.

CUDNN_NEEDS = {"cudnn64_9.dll": ["cudnnGetVersion"]}
NEEDS = {"nppif64_12.dll": ["nppiFilter_8u_C1R"], "cudart64_12.dll": ["cudaGetDeviceCount"]}
JPEG_NEEDS = {**NEEDS, "nvjpeg64_12.dll": ["nvjpegCreate"]}
DRIVER_NEEDS = {**NEEDS, "nvcuda.dll": ["cuInit"]}
USED = (nvidia.CUDART, nvidia.NPPC, nvidia.NPPIF)
WHOLE_CUDNN = (nvidia.CUDNN, *nvidia.CUDNN_PARTS)
WITH_NVRTC = (*WHOLE_CUDNN, nvidia.NVRTC)


@table(
    "dlls, needs, texts",
    {
        "what is asked for, and no more": (USED, NEEDS, []),
        "what nobody asks for": (
            (*USED, nvidia.NPPS),
            NEEDS,
            ["vendored-superfluous", "npps64_12"],
        ),
        "the licence does not list it": ((*USED, nvidia.NVJPEG), JPEG_NEEDS, ["vendored-unlisted"]),
        "the driver's": ((*USED, nvidia.DRIVER), DRIVER_NEEDS, ["vendored-driver"]),
        "cuDNN's shim alone": ((nvidia.CUDNN,), CUDNN_NEEDS, ["vendored-incomplete"]),
        "NVRTC without its built-ins": (
            *(WITH_NVRTC, CUDNN_NEEDS),
            ["vendored-incomplete", "nvrtc-builtins64_*.dll"],
        ),
    },
)
def test_carried_dlls_are_judged(
    dlls: Sequence[Pretended], needs: Parts, texts: list[str], tmp_path: Path
) -> None:
    # A stand-in is no driver.
    files = {TERMS: nvidia.LICENCE, "cv2/stand-ins/nvcuda/nvcuda.dll": nvidia.DRIVER.content}
    files |= {f"cv2/{dll.name}": dll.content for dll in dlls}
    findings = find_findings(analysed(tmp_path, make_pyd(needs), files=files))
    assert len(findings) == bool(texts)
    assert all(text in f"{findings[0].code} {findings[0].message}" for text in texts)
