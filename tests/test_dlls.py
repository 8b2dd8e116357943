"""What the name of a DLL tells: the table is that of NVIDIA's wheels, the rule reaches beyond."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repack.dlls.families import (
    Dll,
    Kind,
    classify,
    index_requirement,
    may_be_shipped,
    possible_majors,
)

HASH = "0123456789abcdef0123456789abcdef"

#: By name: the family, and the first and last of the CUDA majors that the DLL can be of.
TOOLKIT = {
    "nppc64_80.dll": ("npp", 8, 8),
    "nppial64_11.dll": ("npp", 11, 11),
    "nppif64_14.dll": ("npp", 14, 14),
    "cublasLt64_12.dll": ("cublas", 12, 12),
    "nvblas64_11.dll": ("cublas", 11, 11),
    "cufft64_10.dll": ("cufft", 10, 11),
    "cufftw64_12.dll": ("cufft", 13, 13),
    "curand64_10.dll": ("curand", 10, 39),
    "cusolver64_10.dll": ("cusolver", 10, 11),
    "cusolverMg64_11.dll": ("cusolver", 11, 12),
    "cusparse64_12.dll": ("cusparse", 12, 13),
    "nvjpeg64_13.dll": ("nvjpeg", 13, 13),
    "nvrtc64_120_0.alt.dll": ("nvrtc", 12, 12),
    "nvrtc-builtins64_1210.dll": ("nvrtc", 12, 12),
    "nvJitLink_120_0.dll": ("nvjitlink", 12, 12),
    "cudart32_110.dll": ("cudart", 11, 11),
    "nvvm64_40_0.dll": ("nvvm", 0, 0),
    "cupti64_2025.1.0.dll": ("cupti", 0, 0),
    "nvToolsExt64_1.dll": ("nvtoolsext", 0, 0),
    "cudss64_0.dll": ("cuda-other", 0, 0),
    "cudnn64_7.dll": ("cudnn", 8, 10),
    "cudnn_ops_infer64_8.dll": ("cudnn", 10, 12),
    "cudnn_engines_runtime_compiled64_9.dll": ("cudnn", 11, 39),
}


@pytest.mark.parametrize("name", TOOLKIT)
@pytest.mark.parametrize("mangling", ["", f"-{HASH}", "-0123ABCD"], ids=["plain", "long", "short"])
def test_a_toolkit_dll_is_known_by_its_name_also_as_delvewheel_writes_it(
    name: str, mangling: str
) -> None:
    dll = classify(name.replace(".dll", f"{mangling}.dll"))
    family, first, last = TOOLKIT[name]
    assert (dll.family, min(dll.majors, default=0), max(dll.majors, default=0)) == TOOLKIT[name]
    assert dll.kind is (Kind.CUDNN if family == "cudnn" else Kind.CUDA)
    assert (dll.original, dll.majors) == (name.lower(), classify(name).majors)
    assert len(dll.majors) == (last - first + 1 if first else 0)


#: Names by family and kind.
OTHERS = {
    ("driver", Kind.DRIVER): ("nvcuda.dll", "nvcuvid.dll", "nvEncodeAPI64.dll", "nvofapi64.dll"),
    ("opencl", Kind.DRIVER): ("OpenCL.dll",),
    ("windows", Kind.WINDOWS): ("KERNEL32.dll", "WINSPOOL.DRV", "ucrtbase.dll", "d3d11.dll"),
    ("media-foundation", Kind.WINDOWS): ("MFPlat.DLL", "MF.dll"),
    ("api-set", Kind.API_SET): ("api-ms-win-crt-heap-l1-1-0.dll", "ext-ms-win-gdi-l1-1-0.dll"),
    ("python", Kind.PYTHON): ("python3.dll", "python312.dll", "python314t.dll", "python3t.dll"),
    # mfc140u.dll is MFC, not Media Foundation.
    ("vc-runtime", Kind.VC_RUNTIME): ("MSVCP140_1.dll", "CONCRT140.dll", "mfc140u.dll"),
    # cublas.dll without a number is not NVIDIA's, d3dx9_43.dll is a redistributable of DirectX.
    ("unknown", Kind.UNKNOWN): ("opencv_core490.dll", "cublas.dll", "d3dx9_43.dll"),
}


@pytest.mark.parametrize(("family", "kind"), OTHERS)
def test_other_dlls_are_told_apart(family: str, kind: Kind) -> None:
    for name in OTHERS[family, kind]:
        assert classify(name) == Dll(name=name, family=family, kind=kind)


@given(name=st.text(max_size=40) | st.from_regex(r"(cu|nv|npp)[a-z]{1,9}64_\d{1,4}"))
def test_any_name_has_a_kind_and_case_changes_nothing(name: str) -> None:
    dll = classify(name)
    assert dll.name == name
    if name.isascii():
        assert replace(classify(name.upper()), name=name) == dll


TOGETHER = {
    "CUDA 10.2": (["npps64_10.dll", "cufft64_10.dll", "cudnn64_7.dll"], {10}),
    "CUDA 13": (["npps64_13.dll", "cufft64_12.dll", "cudnn64_9.dll"], {13}),
    "told by two together": (["cusparse64_12.dll", "cusolver64_11.dll"], {12}),
    "a contradiction": (["nppc64_12.dll", "cudart64_110.dll"], set()),
    "nothing said": (["nvcuda.dll", "KERNEL32.dll"], None),
}


@pytest.mark.parametrize(("names", "majors"), TOGETHER.values(), ids=TOGETHER)
def test_the_dlls_together_tell_the_cuda_major(names: list[str], majors: set[int] | None) -> None:
    assert possible_majors(map(classify, names)) == majors


LISTED = ("nppc64_12.dll", "cublasLt64_12.dll", "cudnn_ops64_9.dll", f"cufft64_11-{HASH}.dll")
UNLISTED = ("nvjpeg64_12.dll", "nvJitLink_120_0.dll", "cudss64_0.dll", "nvcuda.dll", "blas.dll")


def test_only_what_the_licence_lists_may_be_shipped() -> None:
    assert all(may_be_shipped(classify(name)) for name in LISTED)
    assert not any(may_be_shipped(classify(name)) for name in UNLISTED)


#: NVIDIA's wheels begin with CUDA 11; 13 dropped the suffix, and most names then tell no major.
WHEELS = {
    ("nppc64_10.dll", 10): "",
    ("nppc64_11.dll", 11): "nvidia-npp-cu11",
    ("nppc64_14.dll", 14): "nvidia-npp==14.*",
    ("cublasLt64_12.dll", 12): "nvidia-cublas-cu12",
    ("cufftw64_12.dll", 13): "nvidia-cufft==12.*",
    ("cudart64_13.dll", 13): "nvidia-cuda-runtime==13.*",
    ("cupti64_2025.1.0.dll", 13): "nvidia-cuda-cupti==13.*",
    ("nvToolsExt64_1.dll", 13): "nvidia-nvtx==13.*",
    ("nvrtc64_112_0.dll", 11): "nvidia-cuda-nvrtc-cu11",
    ("nvrtc64_130_0.dll", 13): "nvidia-cuda-nvrtc==13.*",
    ("nvJitLink_110_0.dll", 11): "",
    ("nvJitLink_120_0.dll", 12): "nvidia-nvjitlink-cu12",
    ("cudnn64_8.dll", 11): "nvidia-cudnn-cu11==8.*",
    ("cudnn_ops64_9.dll", 12): "nvidia-cudnn-cu12==9.*",
    ("cudnn64_9.dll", 13): "nvidia-cudnn-cu13==9.*",
    ("nvcuda.dll", 12): "",
    ("KERNEL32.dll", 12): "",
}


@pytest.mark.parametrize(("name", "major"), WHEELS)
def test_nvidias_wheel_is_known_for_each_dll(name: str, major: int) -> None:
    assert index_requirement(classify(name), major) == WHEELS[name, major]
