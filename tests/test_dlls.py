"""What the name of a DLL tells: the table is that of NVIDIA's wheels, the rule reaches beyond."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repack.dlls import Dll, Kind, classify, distribution, key_of, may_be_shipped, possible_majors

_HASH = "0123456789abcdef0123456789abcdef"
_NPP = (
    *("nppc", "nppial", "nppicc", "nppidei", "nppif", "nppig"),
    *("nppim", "nppist", "nppisu", "nppitc", "npps"),
)


@pytest.mark.parametrize(
    ("name", "family", "majors"),
    [
        *(pytest.param(f"{name}64_11.dll", "npp", {11}, id=f"{name} 11") for name in _NPP),
        *(pytest.param(f"{name}64_12.dll", "npp", {12}, id=f"{name} 12") for name in _NPP),
        pytest.param("nppc64_10.dll", "npp", {10}, id="npp of 10.1 and 10.2"),
        pytest.param("nppc64_80.dll", "npp", {8}, id="npp of 8.0"),
        pytest.param("nppial64_100.dll", "npp", {10}, id="npp of 10.0"),
        pytest.param("npps64_13.dll", "npp", {13}, id="npp of 13"),
        pytest.param("nppif64_14.dll", "npp", {14}, id="npp of a CUDA to come"),
        pytest.param("cublas64_12.dll", "cublas", {12}, id="cublas"),
        pytest.param("cublasLt64_13.dll", "cublas", {13}, id="cublasLt"),
        pytest.param("nvblas64_11.dll", "cublas", {11}, id="nvblas"),
        pytest.param("cufft64_10.dll", "cufft", {10, 11}, id="cufft64_10 is of two majors"),
        pytest.param("cufft64_11.dll", "cufft", {12}, id="cufft64_11 is CUDA 12"),
        pytest.param("cufftw64_12.dll", "cufft", {13}, id="cufftw64_12 is CUDA 13"),
        pytest.param("cufft64_13.dll", "cufft", {14}, id="cufft of a CUDA to come"),
        pytest.param("cufft64_92.dll", "cufft", {9}, id="cufft of 9.2"),
        pytest.param("curand64_10.dll", "curand", set(range(10, 40)), id="curand stands still"),
        pytest.param("cusolver64_10.dll", "cusolver", {10, 11}, id="cusolver of 10 and 11.0"),
        pytest.param("cusolverMg64_11.dll", "cusolver", {11, 12}, id="cusolverMg"),
        pytest.param("cusolver64_12.dll", "cusolver", {13}, id="cusolver of 13"),
        pytest.param("cusparse64_11.dll", "cusparse", {11}, id="cusparse of 11"),
        pytest.param("cusparse64_12.dll", "cusparse", {12, 13}, id="cusparse of 12 and 13"),
        pytest.param("nvjpeg64_13.dll", "nvjpeg", {13}, id="nvjpeg"),
        pytest.param("nvrtc64_112_0.dll", "nvrtc", {11}, id="nvrtc of 11"),
        pytest.param("nvrtc64_120_0.alt.dll", "nvrtc", {12}, id="nvrtc's other build"),
        pytest.param("nvrtc-builtins64_118.dll", "nvrtc", {11}, id="nvrtc's builtins"),
        pytest.param("nvrtc-builtins64_1210.dll", "nvrtc", {12}, id="a minor of two digits"),
        pytest.param("nvJitLink_120_0.dll", "nvjitlink", {12}, id="nvJitLink has no 64"),
        pytest.param("cudart64_101.dll", "cudart", {10}, id="cudart of 10.1"),
        pytest.param("cudart64_110.dll", "cudart", {11}, id="cudart of all 11"),
        pytest.param("cudart64_12.dll", "cudart", {12}, id="cudart of 12"),
        pytest.param("cudart32_110.dll", "cudart", {11}, id="a 32-bit cudart"),
        pytest.param("nvvm64_40_0.dll", "nvvm", set(), id="nvvm"),
        pytest.param("cupti64_2025.1.0.dll", "cupti", set(), id="cupti counts years"),
        pytest.param("nvToolsExt64_1.dll", "nvtoolsext", set(), id="nvToolsExt"),
        pytest.param("cudss64_0.dll", "cuda-other", set(), id="a library without a rule"),
    ],
)
def test_a_toolkit_dll_is_known_by_its_name(name: str, family: str, majors: set[int]) -> None:
    dll = classify(name)
    assert (dll.family, dll.kind, set(dll.majors)) == (family, Kind.CUDA, majors)


@pytest.mark.parametrize(
    ("name", "version", "first", "last"),
    [
        pytest.param("cudnn64_7.dll", 7, 8, 10, id="cuDNN 7"),
        pytest.param("cudnn64_8.dll", 8, 10, 12, id="cuDNN 8"),
        pytest.param("cudnn_ops_infer64_8.dll", 8, 10, 12, id="a sibling of cuDNN 8"),
        pytest.param("cudnn_engines_runtime_compiled64_9.dll", 9, 11, 39, id="a sibling of 9"),
        pytest.param("cudnn64_10.dll", 10, 11, 39, id="a cuDNN to come"),
    ],
)
def test_cudnn_has_majors_of_its_own(name: str, version: int, first: int, last: int) -> None:
    dll = classify(name)
    assert (dll.family, dll.kind, dll.version) == ("cudnn", Kind.CUDNN, version)
    assert (min(dll.majors), max(dll.majors)) == (first, last)


@pytest.mark.parametrize(
    ("name", "family", "kind"),
    [
        pytest.param("nvcuda.dll", "driver", Kind.DRIVER, id="the driver"),
        pytest.param("nvcuvid.dll", "driver", Kind.DRIVER, id="its decoder"),
        pytest.param("nvEncodeAPI64.dll", "driver", Kind.DRIVER, id="its encoder"),
        pytest.param("nvml.dll", "driver", Kind.DRIVER, id="its monitor"),
        pytest.param("nvofapi64.dll", "driver", Kind.DRIVER, id="its optical flow"),
        pytest.param("OpenCL.dll", "opencl", Kind.DRIVER, id="OpenCL"),
        pytest.param("KERNEL32.dll", "windows", Kind.WINDOWS, id="Windows"),
        pytest.param("WINSPOOL.DRV", "windows", Kind.WINDOWS, id="Windows, with another ending"),
        pytest.param("ucrtbase.dll", "windows", Kind.WINDOWS, id="the C run-time of Windows 10"),
        pytest.param("d3d11.dll", "windows", Kind.WINDOWS, id="Direct3D"),
        pytest.param("MFPlat.DLL", "media-foundation", Kind.WINDOWS, id="Media Foundation"),
        pytest.param("MF.dll", "media-foundation", Kind.WINDOWS, id="Media Foundation itself"),
        pytest.param("api-ms-win-crt-heap-l1-1-0.dll", "api-set", Kind.API_SET, id="an API set"),
        pytest.param("ext-ms-win-gdi-l1-1-0.dll", "api-set", Kind.API_SET, id="an extension set"),
        pytest.param("python3.dll", "python", Kind.PYTHON, id="the stable ABI"),
        pytest.param("python312.dll", "python", Kind.PYTHON, id="one Python"),
        pytest.param("python314t.dll", "python", Kind.PYTHON, id="a free-threaded one"),
        pytest.param("python3t.dll", "python", Kind.PYTHON, id="their stable ABI"),
        pytest.param("MSVCP140_1.dll", "vc-runtime", Kind.VC_RUNTIME, id="the C++ run-time"),
        pytest.param("vcruntime140.dll", "vc-runtime", Kind.VC_RUNTIME, id="its core"),
        pytest.param("CONCRT140.dll", "vc-runtime", Kind.VC_RUNTIME, id="its concurrency"),
        pytest.param("mfc140u.dll", "vc-runtime", Kind.VC_RUNTIME, id="MFC, not Media Foundation"),
        pytest.param("msvcr90.dll", "vc-runtime", Kind.VC_RUNTIME, id="an old C run-time"),
        pytest.param("opencv_core490.dll", "unknown", Kind.UNKNOWN, id="somebody's"),
        pytest.param("libopenblas.dll", "unknown", Kind.UNKNOWN, id="OpenBLAS"),
        pytest.param("cublas.dll", "unknown", Kind.UNKNOWN, id="no number, not NVIDIA's"),
        pytest.param("d3dx9_43.dll", "unknown", Kind.UNKNOWN, id="a redistributable of DirectX"),
    ],
)
def test_other_dlls_are_told_apart(name: str, family: str, kind: Kind) -> None:
    dll = classify(name)
    assert dll == Dll(name=name, family=family, kind=kind)


@given(name=st.text(max_size=40))
def test_any_name_has_a_kind(name: str) -> None:
    assert classify(name).name == name


@given(name=st.from_regex(r"(cu|nv|npp)[a-z]{1,9}64_\d{1,4}", fullmatch=True))
def test_case_and_a_missing_ending_change_nothing(name: str) -> None:
    told = {(dll.family, dll.kind, dll.majors) for dll in map(classify, _spellings(name))}
    assert len(told) == 1
    assert len({key_of(spelling) for spelling in _spellings(name)}) == 1


def _spellings(name: str) -> tuple[str, ...]:
    return name, f"{name}.dll", f"{name}.DLL", f"{name.upper()}.dll"


@pytest.mark.parametrize(
    ("names", "majors"),
    [
        pytest.param(["npps64_10.dll", "cufft64_10.dll", "cudnn64_7.dll"], {10}, id="CUDA 10.2"),
        pytest.param(["npps64_11.dll", "cufft64_10.dll", "cudnn64_8.dll"], {11}, id="CUDA 11"),
        pytest.param(["npps64_12.dll", "cufft64_11.dll", "cudnn64_8.dll"], {12}, id="CUDA 12"),
        pytest.param(["npps64_13.dll", "cufft64_12.dll", "cudnn64_9.dll"], {13}, id="CUDA 13"),
        pytest.param(["cusparse64_12.dll", "cusolver64_11.dll"], {12}, id="told by two together"),
        pytest.param(["cufft64_10.dll"], {10, 11}, id="10 or 11"),
        pytest.param(["nppc64_12.dll", "cudart64_110.dll"], set(), id="a contradiction"),
        pytest.param(["nvcuda.dll", "KERNEL32.dll"], None, id="nothing said"),
    ],
)
def test_the_dlls_together_tell_the_cuda_major(names: list[str], majors: set[int] | None) -> None:
    assert possible_majors(map(classify, names)) == majors


@pytest.mark.parametrize(
    ("mangled", "original"),
    [
        pytest.param(f"nppc64_12-{_HASH}.dll", "nppc64_12.dll", id="of the toolkit"),
        pytest.param("NPPIF64_12-0123abcd.DLL", "nppif64_12.dll", id="a short hash, in capitals"),
        pytest.param(f"cublasLt64_12-{_HASH}.dll", "cublasLt64_12.dll", id="mixed case"),
        pytest.param(f"nvrtc64_120_0.alt-{_HASH}.dll", "nvrtc64_120_0.alt.dll", id="with a dot"),
        pytest.param(f"nvrtc-builtins64_129-{_HASH}.dll", "nvrtc-builtins64_129.dll", id="dashed"),
        pytest.param(f"cudnn_ops64_9-{_HASH}.dll", "cudnn_ops64_9.dll", id="of cuDNN"),
        pytest.param(f"nvcuda-{_HASH}.dll", "nvcuda.dll", id="of the driver"),
        pytest.param(f"msvcp140-{_HASH}.dll", "msvcp140.dll", id="the C++ run-time"),
        pytest.param(f"libopenblas-{_HASH}.dll", "libopenblas.dll", id="somebody's"),
    ],
)
def test_a_name_that_delvewheel_has_mangled_tells_what_it_told_before(
    mangled: str, original: str
) -> None:
    dll = classify(mangled)
    assert dll == replace(classify(original), name=mangled)
    assert (dll.key, dll.original) == (mangled.lower(), original.lower())


@pytest.mark.parametrize(
    ("name", "is_listed"),
    [
        pytest.param("nppc64_12.dll", True, id="npp"),
        pytest.param("cublasLt64_12.dll", True, id="cublasLt"),
        pytest.param("cudnn_ops64_9.dll", True, id="cuDNN"),
        pytest.param(f"cufft64_11-{_HASH}.dll", True, id="a mangled name"),
        pytest.param("nvjpeg64_12.dll", False, id="nvJPEG"),
        pytest.param("nvJitLink_120_0.dll", False, id="nvJitLink"),
        pytest.param("cudss64_0.dll", False, id="what nobody knows"),
        pytest.param("nvcuda.dll", False, id="the driver"),
        pytest.param("libopenblas.dll", False, id="somebody's"),
    ],
)
def test_only_what_the_licence_lists_may_be_shipped(name: str, *, is_listed: bool) -> None:
    assert may_be_shipped(classify(name)) == is_listed


@pytest.mark.parametrize(
    ("name", "major", "expected"),
    [
        pytest.param("nppc64_11.dll", 11, "nvidia-npp-cu11", id="npp 11"),
        pytest.param("nppc64_12.dll", 12, "nvidia-npp-cu12", id="npp 12"),
        pytest.param("nppc64_13.dll", 13, "nvidia-npp", id="npp 13 has no suffix"),
        pytest.param("nppc64_14.dll", 14, "nvidia-npp", id="nor will npp 14"),
        pytest.param("cublasLt64_12.dll", 12, "nvidia-cublas-cu12", id="cublasLt"),
        pytest.param("cufftw64_11.dll", 12, "nvidia-cufft-cu12", id="cufftw"),
        pytest.param("cudart64_13.dll", 13, "nvidia-cuda-runtime", id="cudart"),
        pytest.param("nvrtc64_112_0.dll", 11, "nvidia-cuda-nvrtc-cu11", id="nvrtc"),
        pytest.param("nvJitLink_120_0.dll", 12, "nvidia-nvjitlink-cu12", id="nvJitLink"),
        pytest.param("nvJitLink_110_0.dll", 11, None, id="there was none in CUDA 11"),
        pytest.param("cudnn64_9.dll", 13, "nvidia-cudnn-cu13", id="cuDNN keeps its suffix"),
        pytest.param("cudnn_ops64_9.dll", 12, "nvidia-cudnn-cu12", id="cuDNN's siblings"),
        pytest.param("nppc64_10.dll", 10, None, id="no wheels before CUDA 11"),
        pytest.param("nvcuda.dll", 12, None, id="the driver is not distributed"),
        pytest.param("KERNEL32.dll", 12, None, id="nor is Windows"),
    ],
)
def test_nvidias_distribution_is_known(name: str, major: int, expected: str | None) -> None:
    assert distribution(classify(name), major) == expected
