"""What a wheel's binaries and texts say: who needs which DLL, of which CUDA, and what to tell."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nvidia
import pytest
import wheelmaking
from dllmaking import make_dll
from nvidia import Pretended
from wheelmaking import make_pyd, make_wheel

from repack.errors import InputError
from repack.files import Memory
from repack.inspect import Analysis, analyse, require_original_cv2
from repack.inspect.findings import find_findings

CUDA_12 = {"nppc64_12.dll": ["nppGetLibVersion"], "cudart64_12.dll": ["cudaGetDeviceCount"]}
NUMPY_1 = b"\0numpy.core._multiarray_umath\0numpy.core.multiarray failed to import\0"
NUMPY_2 = b"\0numpy._core._multiarray_umath\0numpy.core._multiarray_umath\0"
#: CUDA 10 and 11 have it.
CUFFT_10 = make_pyd({"cufft64_10.dll": ["x"]})
TOOLKITS = "C:/Program Files/NVIDIA GPU Computing Toolkit/CUDA"

Analyser = Callable[..., Analysis]
#: What an analyser takes by name.
Parts = dict[str, Any]


def config(version: str, directory: str = "os.path.join(LOADER_DIR, '../../')") -> bytes:
    """Return OpenCV's config.py of a CUDA build."""
    return (
        "import os\n\n"
        "BINARIES_PATHS = [\n"
        f"    os.path.join({directory}, 'x64/vc17/bin'),\n"
        f"    os.path.join(os.getenv('CUDA_PATH', '{TOOLKITS}/{version}'), 'bin')\n"
        "] + BINARIES_PATHS\n"
    ).encode()


@pytest.fixture
def analysed(tmp_path: Path) -> Analyser:
    """Give what analyses a wheel of opencv-python's layout, made of these parts."""

    def make(  # noqa: PLR0913 - a wheel's parts
        *,
        pyd: bytes | None = None,
        files: Mapping[str, bytes] | None = None,
        name: str = "opencv_python",
        version: str = "4.9.0.80",
        tag: str = "cp37-abi3",
        requires: Sequence[str] = ("numpy",),
    ) -> Analysis:
        members = {
            "cv2/__init__.py": b"from .cv2 import *\n",
            "cv2/cv2.pyd": pyd or make_pyd(CUDA_12),
            **(files or {}),
        }
        path = tmp_path / f"{name}-{version}-{tag}-win_amd64.whl"
        wheel = make_wheel(path, members, requires=requires)
        return analyse(wheel, allow_startup_hook=True)

    return make


def codes(analysis: Analysis, pythons: Sequence[str] = ("3.7", "3.12")) -> list[str]:
    return [finding.code for finding in find_findings(analysis, pythons)]


def answers(analysis: Analysis) -> dict[str, str | None]:
    return {need.dll.name: need.in_wheel for need in analysis.needs}


def test_a_one_file_build_says_which_dlls_it_needs(analysed: Analyser) -> None:
    pyd = make_pyd(
        {**CUDA_12, "nvcuda.dll": ["cuInit"], "KERNEL32.dll": ["Sleep"]},
        delay_imports={"cublas64_12.dll": ["cublasCreate_v2"]},
    )
    analysis = analysed(pyd=pyd)
    assert analysis.native == ("cv2/cv2.pyd",)
    assert [(need.dll.name, need.dll.family, need.delayed) for need in analysis.needs] == [
        ("cublas64_12.dll", "cublas", True),
        ("cudart64_12.dll", "cudart", False),
        ("KERNEL32.dll", "windows", False),
        ("nppc64_12.dll", "npp", False),
        ("nvcuda.dll", "driver", False),
        ("python3.dll", "python", False),
    ]
    assert {need.needed_by for need in analysis.needs} == {("cv2/cv2.pyd",)}
    assert (analysis.cuda_major, codes(analysis)) == (12, [])


def test_a_large_module_is_read_whole(analysed: Analyser) -> None:
    pyd = make_dll("cv2.pyd", code={"run": bytes(range(256)) * 12_000}, imports=CUDA_12)
    # The mark lies across the edge of two pieces that are looked through.
    analysis = analysed(pyd=pyd + bytes((1 << 22) - len(pyd) - 9) + NUMPY_2)
    assert set(answers(analysis)) == set(CUDA_12)
    assert analysis.numpy == "2"


def test_needs_reach_through_dlls_that_lie_in_the_wheel(analysed: Analyser) -> None:
    core, arithmetic = "cv2/opencv_core490.dll", "cv2/opencv_cudaarithm490.dll"
    needs = {"opencv_core490.dll": ["a"], "cufft64_11.dll": ["cufftPlan1d"]}
    analysis = analysed(
        pyd=make_pyd(
            {"opencv_core490.dll": ["a"], "OPENCV_CUDAARITHM490.DLL": ["b"]},
            delay_imports={"late.dll": ["x"]},
        ),
        files={
            core: make_dll("a.dll", imports={"OpenCV_CudaArithm490.dll": ["b"]}),
            arithmetic: make_dll("x.dll", imports=needs),
            "cv2/late.dll": make_dll("late.dll", imports={"curand64_10.dll": ["x"]}),
            "cv2/opencv_unused490.dll": make_dll("x.dll", imports={"npps64_11.dll": ["x"]}),
        },
    )
    by_key = {need.dll.key: (need.in_wheel, need.needed_by) for need in analysis.needs}
    assert by_key["cufft64_11.dll"] == (None, (arithmetic,))
    assert by_key["opencv_core490.dll"] == (core, ("cv2/cv2.pyd", arithmetic))
    assert "npps64_11.dll" not in by_key
    delayed = {need.dll.name for need in analysis.needs if need.delayed}
    assert (delayed, analysis.cuda_major) == ({"late.dll", "curand64_10.dll"}, 12)


def test_a_need_is_met_by_the_dll_beside_the_module_before_another(analysed: Analyser) -> None:
    places = {"a.dll": "cv2/A.dll", "b.dll": "cv2.libs/b.dll"}
    dlls = {name: make_dll("x.dll") for name in ("aaa/a.dll", *places.values())}
    analysis = analysed(pyd=make_pyd({"a.dll": ["x"], "b.dll": ["x"]}), files=dlls)
    assert answers(analysis) == {**places, "python3.dll": None}


def cuda(major: int | None, minor: int | None = None) -> Parts:
    return {
        "cuda_major": major,
        "cuda_version": None if major is None or minor is None else (major, minor),
    }


def marked(text: bytes) -> Parts:
    return {"pyd": make_pyd(CUDA_12) + text}


DRIVER_ALONE = make_pyd({"nvcuda.dll": ["cuInit"]})
#: A wheel's parts, and what is known of it.
FACTS: dict[str, tuple[Parts, Parts]] = {
    "no CUDA version is said": ({}, cuda(12)),
    "one in config.py": ({"files": {"cv2/config.py": config("v12.6")}}, cuda(12, 6)),
    "a minor of two digits": ({"version": "4.9+cu1210.x"}, cuda(12, 10)),
    "the text decides": ({"version": "4.9+cu118", "pyd": CUFFT_10}, cuda(11, 8)),
    "two majors": ({"pyd": CUFFT_10}, cuda(None)),
    "no minor of another major": (
        *({"name": "opencv_cu102", "version": "4.9+cu11", "pyd": CUFFT_10}, cuda(11)),
    ),
    "the driver alone": ({"version": "4.9+cu126", "pyd": DRIVER_ALONE}, cuda(12, 6)),
    "no CUDA": ({"version": "4.9+cu126", "pyd": make_pyd()}, cuda(None)),
    "NumPy 1": (marked(NUMPY_1), {"numpy": "1"}),
    "a NumPy before 1.16": (marked(b"\0numpy.core.multiarray\0"), {"numpy": "1"}),
    "NumPy 2": (marked(NUMPY_2), {"numpy": "2"}),
    "a message about NumPy": (marked(b"numpy.core.multiarray failed"), {"numpy": None}),
}


@pytest.mark.parametrize(("parts", "facts"), FACTS.values(), ids=FACTS)
def test_what_the_binary_and_the_texts_say_is_known(
    parts: Parts, facts: Parts, analysed: Analyser
) -> None:
    analysis = analysed(**parts)
    assert {name: getattr(analysis, name) for name in facts} == facts
    assert set(codes(analysis)) <= {"not-cuda", "numpy-contradicted"}


SPLIT = ['numpy<2; python_version < "3.9"', 'numpy; python_version >= "3.9"']
ON_WINDOWS = ['numpy; sys_platform == "linux"', "numpy==1.*"]
OF_4_12 = ["numpy<2.0; python_version < '3.9'", "numpy<2.3.0,>=2; python_version >= '3.9'"]
MISSING, CONTRADICTED, LIFTED = ["numpy-missing"], ["numpy-contradicted"], ["numpy-bound-lifted"]
#: The binary's marks, the wheel's requirements, the Pythons asked for, the findings.
REQUIREMENTS: dict[str, tuple[bytes, list[str], list[str], list[str]]] = {
    "none required": (NUMPY_1, [], ["3.12"], MISSING),
    "no cap": (NUMPY_1, ["numpy>=1.17"], ["3.12"], CONTRADICTED),
    "capped on Windows": (NUMPY_1, ON_WINDOWS, ["3.12"], []),
    "a cap that the binary disproves": (NUMPY_2, OF_4_12, ["3.12"], LIFTED),
    "the other Python is not asked for": (NUMPY_1, SPLIT, ["3.7"], []),
    "it is asked for": (NUMPY_1, SPLIT, ["3.7", "3.12"], CONTRADICTED),
    "no Python asked for": (NUMPY_1, ["numpy"], [], []),
}


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_requirements_must_fit_the_binary_on_the_pythons_asked_for(
    name: str, analysed: Analyser
) -> None:
    marks, requires, pythons, expected = REQUIREMENTS[name]
    pyd = make_pyd(CUDA_12) + marks
    assert codes(analysed(pyd=pyd, requires=requires), pythons) == expected


def test_a_wheel_for_one_python_is_asked_about_for_that_one(analysed: Analyser) -> None:
    for python, expected in {"37": [], "39": CONTRADICTED}.items():
        tag = f"cp{python}-cp{python}{'m' if python == '37' else ''}"
        pyd = linked(f"python{python}.dll") + NUMPY_1
        assert codes(analysed(pyd=pyd, tag=tag, requires=SPLIT)) == expected


def linked(dll: str, machine: str = "x86-64") -> bytes:
    """Return a CUDA module that imports that DLL of Python's."""
    return make_dll("cv2.pyd", imports={dll: ["x"], **CUDA_12}, machine=machine)


LOCAL = b"PYTHON_EXTENSIONS_PATHS = ['F:\\python39\\Lib'] + PYTHON_EXTENSIONS_PATHS\r\n"


NOT_CUDA = {"name": "opencv_cu126", "files": {"cv2/config.py": config("v12.6")}}
MACHINE_PATH = config("v12.6", "'F:/make_software/install'")
NO_COMMA = config("v12.6").replace(b"bin'),", b"bin')")
WHEEL = "opencv_python-4.9.0.80.dist-info/WHEEL"
PURE = wheelmaking.wheel_file(["cp37-abi3-win_amd64"], purelib=True)
OTHER_PYD = "cv2/cv2.cp311-win_amd64.pyd"
PYD = "cv2/cv2.pyd"

CONFIG, LOCAL_CONFIG = "cv2/config.py", "cv2/config-3.9.py"
DISAGREEING = "says CUDA 11.8, the binary imports the DLLs of CUDA 12"
SAID = "though cv2/config.py says CUDA 12.6, its name says CUDA 12.6"
LAPACK = make_pyd({**CUDA_12, "libopenblas.dll": ["x"]})
MIXED = make_pyd({**CUDA_12, "cufft64_10.dll": ["x"]})
ARM = linked("python3.dll", "arm64")
OTHER_PYTHON = {"pyd": linked("python311.dll"), "tag": "cp312-cp312"}

#: The code of the one finding; a wheel's parts, the member that is named, a part of the text.
FINDINGS: dict[str, list[tuple[Parts, str, str]]] = {
    "not-cuda": [({**NOT_CUDA, "pyd": make_pyd()}, "", SAID)],
    "cuda-version-contradicted": [({"files": {CONFIG: config("v11.8")}}, "", DISAGREEING)],
    "cuda-majors-mixed": [({"pyd": MIXED}, "", "cufft64_10.dll (CUDA 10, 11)")],
    "build-machine-path": [
        ({"files": {CONFIG: MACHINE_PATH}}, CONFIG, "F:/make_software/install"),
        ({"files": {LOCAL_CONFIG: LOCAL}}, LOCAL_CONFIG, "python39"),
    ],
    "config-broken": [({"files": {CONFIG: NO_COMMA}}, CONFIG, "line 4 is not Python")],
    "tag-mismatch": [
        ({"pyd": ARM}, PYD, "it is for arm64, the wheel's tag says cp37-abi3-win_amd64"),
        ({"pyd": linked("python37.dll")}, PYD, "it imports python37.dll"),
        (OTHER_PYTHON, PYD, "it imports python311.dll"),
        ({"tag": "cp314-cp314t"}, PYD, "it imports python3.dll"),
    ],
    "purelib-mismatch": [({"files": {WHEEL: PURE}}, WHEEL, "1 binaries")],
    "startup-hook": [({"files": {"cv2.pth": b"import cv2\n"}}, "cv2.pth", "at each start")],
    "unknown-dll": [({"pyd": LAPACK}, PYD, "it needs libopenblas.dll")],
}


@pytest.mark.parametrize("code", FINDINGS)
def test_what_is_wrong_is_found(code: str, analysed: Analyser) -> None:
    for parts, member, text in FINDINGS[code]:
        (finding,) = find_findings(analysed(**parts), ["3.12"])
        assert (finding.code, finding.member) == (code, member)
        assert text in finding.message


RIGHT_TAGS = {
    "stable ABI for one Python": ("python3.dll", "cp312-cp312"),
    "one Python, no ABI said": ("python39.dll", "cp39-none"),
    "a Python with m": ("python37.dll", "cp37-cp37m"),
    "a free-threaded Python": ("python314t.dll", "cp314-cp314t"),
}


@pytest.mark.parametrize(("dll", "tag"), RIGHT_TAGS.values(), ids=RIGHT_TAGS)
def test_a_tag_that_the_binary_bears_out_is_right(dll: str, tag: str, analysed: Analyser) -> None:
    assert codes(analysed(pyd=linked(dll), tag=tag)) == []


#: One for all Pythons, one Python's, in OpenCV's own layout, at the root.
PLACES = (PYD, OTHER_PYD, "cv2/python-3.9/cv2.cp39-win_amd64.pyd", "cv2.pyd")


def test_no_place_where_cv2_lies_is_refused(tmp_path: Path) -> None:
    for member in PLACES:
        files = {member: make_dll("cv2.pyd", imports=CUDA_12)}
        require_original_cv2(analyse(make_wheel(tmp_path / "x-1-cp39-cp39-win_amd64.whl", files)))


# A wheel that was looked through once is known by its hash, and by nothing less.


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path / "seen")


@pytest.mark.parametrize(("old", "new"), [("{", ""), ('"images"', '"image"')])
def test_a_memory_gives_the_same_as_the_first_look_and_forgets_what_is_damaged(
    old: str, new: str, tmp_path: Path, memory: Memory
) -> None:
    wheel = wheelmaking.cuda_wheel(tmp_path, numpy=b"numpy._core._multiarray_umath")
    first = analyse(wheel, memory=memory)
    assert analyse(wheel, memory=memory) == first == analyse(wheel)
    (entry,) = memory.folder.iterdir()
    text = entry.read_text("utf-8")
    entry.write_text(text.replace(old, new, 1), encoding="utf-8")
    assert analyse(wheel, memory=memory) == first
    assert entry.read_text("utf-8") == text


def test_a_memory_lets_nothing_in_that_is_refused(tmp_path: Path, memory: Memory) -> None:
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
OPS = Pretended(name="cudnn_ops64_9.dll", imports={"cublas64_12.dll": ["cublasCreate_v2"]})
WITH_CUBLAS = (
    *(part for part in WHOLE_CUDNN if part.name != OPS.name),
    *(OPS, nvidia.CUBLAS, nvidia.CUBLAS_LT),
)
IDLE = [Pretended(name=f"npp{letter}64_12.dll") for letter in "abcdefghijk"]
OF_MANY = ["nppa64_12.dll, nppb64_12.dll, nppd64_12.dll, nppe64_12.dll and 6 more"]

#: The DLLs carried, those that the module asks for, code and a part of each finding's text.
CARRIED: dict[str, tuple[Sequence[Pretended], Parts, list[str]]] = {
    "what is asked for, and no more": (USED, NEEDS, []),
    "what nobody asks for": ((*USED, *IDLE), NEEDS, ["vendored-superfluous", *OF_MANY]),
    "what the licence does not list": ((*USED, nvidia.NVJPEG), JPEG_NEEDS, ["vendored-unlisted"]),
    "the driver's": ((*USED, nvidia.DRIVER), DRIVER_NEEDS, ["vendored-driver"]),
    "cuDNN's shim alone": ((nvidia.CUDNN,), CUDNN_NEEDS, ["vendored-incomplete"]),
    "NVRTC, which cuDNN loads by name": (
        (*WHOLE_CUDNN, nvidia.NVRTC, nvidia.NVRTC_BUILTINS),
        CUDNN_NEEDS,
        [],
    ),
    "what a DLL imports that is loaded by name": (WITH_CUBLAS, CUDNN_NEEDS, []),
    "NVRTC without its built-ins": (
        (*WHOLE_CUDNN, nvidia.NVRTC),
        CUDNN_NEEDS,
        ["vendored-incomplete", "nvrtc-builtins64_*.dll"],
    ),
}
TERMS = "opencv_python-4.9.0.80.dist-info/licenses/EULA.txt"


@pytest.mark.parametrize("name", CARRIED)
def test_carried_dlls_are_judged(name: str, analysed: Analyser) -> None:
    dlls, needs, texts = CARRIED[name]
    # A stand-in is no driver.
    files = {TERMS: nvidia.LICENCE, "cv2/stand-ins/nvcuda/nvcuda.dll": nvidia.DRIVER.content}
    files |= {f"cv2/{dll.name}": dll.content for dll in dlls}
    findings = find_findings(analysed(pyd=make_pyd(needs), files=files))
    assert len(findings) == bool(texts)
    assert all(text in f"{findings[0].code} {findings[0].message}" for text in texts)


def test_a_wheel_with_dlls_of_nvidias_needs_its_terms(analysed: Analyser) -> None:
    files = {f"cv2/{dll.name}": dll.content for dll in USED}
    files[TERMS] = b"Apache License\n"
    analysis = analysed(pyd=make_pyd(NEEDS), files=files)
    assert codes(analysis) == ["vendored-without-licence"]
