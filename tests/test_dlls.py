"""What the name of a DLL tells: the table is that of NVIDIA's wheels, the rule reaches beyond."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repack.dlls import Dll, Kind, classify, distribution, key_of, may_be_shipped, possible_majors

HASH = "0123456789abcdef0123456789abcdef"
NPP = (
    *("nppc", "nppial", "nppicc", "nppidei", "nppif", "nppig"),
    *("nppim", "nppist", "nppisu", "nppitc", "npps"),
)

#: By name: the family, and the CUDA majors that the DLL can be of.
TOOLKIT: dict[str, tuple[str, set[int]]] = {
    **{f"{name}64_{major}.dll": ("npp", {major}) for name in NPP for major in (11, 12)},
    "nppc64_10.dll": ("npp", {10}),
    "nppc64_80.dll": ("npp", {8}),
    "nppif64_14.dll": ("npp", {14}),
    "cublas64_12.dll": ("cublas", {12}),
    "nvblas64_11.dll": ("cublas", {11}),
    "cufft64_10.dll": ("cufft", {10, 11}),
    "cufft64_11.dll": ("cufft", {12}),
    "cufftw64_12.dll": ("cufft", {13}),
    "curand64_10.dll": ("curand", set(range(10, 40))),
    "cusolver64_10.dll": ("cusolver", {10, 11}),
    "cusolverMg64_11.dll": ("cusolver", {11, 12}),
    "cusparse64_12.dll": ("cusparse", {12, 13}),
    "nvjpeg64_13.dll": ("nvjpeg", {13}),
    "nvrtc64_112_0.dll": ("nvrtc", {11}),
    "nvrtc64_120_0.alt.dll": ("nvrtc", {12}),
    "nvrtc-builtins64_118.dll": ("nvrtc", {11}),
    "nvrtc-builtins64_1210.dll": ("nvrtc", {12}),
    "nvJitLink_120_0.dll": ("nvjitlink", {12}),
    "cudart64_101.dll": ("cudart", {10}),
    "cudart32_110.dll": ("cudart", {11}),
    "nvvm64_40_0.dll": ("nvvm", set()),
    "cupti64_2025.1.0.dll": ("cupti", set()),
    "nvToolsExt64_1.dll": ("nvtoolsext", set()),
    "cudss64_0.dll": ("cuda-other", set()),
}


@pytest.mark.parametrize("name", TOOLKIT)
def test_a_toolkit_dll_is_known_by_its_name(name: str) -> None:
    dll = classify(name)
    assert dll.kind is Kind.CUDA
    assert (dll.family, set(dll.majors)) == TOOLKIT[name]


#: The version, and the first and last of the CUDA majors.
CUDNN = {
    "cudnn64_7.dll": (7, 8, 10),
    "cudnn_ops_infer64_8.dll": (8, 10, 12),
    "cudnn_engines_runtime_compiled64_9.dll": (9, 11, 39),
    "cudnn64_10.dll": (10, 11, 39),
}


@pytest.mark.parametrize("name", CUDNN)
def test_cudnn_has_majors_of_its_own(name: str) -> None:
    dll = classify(name)
    assert (dll.family, dll.kind) == ("cudnn", Kind.CUDNN)
    assert (dll.version, min(dll.majors), max(dll.majors)) == CUDNN[name]


#: Names by family and kind.
OTHERS = {
    ("driver", Kind.DRIVER): (
        *("nvcuda.dll", "nvcuvid.dll", "nvEncodeAPI64.dll", "nvml.dll", "nvofapi64.dll"),
    ),
    ("opencl", Kind.DRIVER): ("OpenCL.dll",),
    ("windows", Kind.WINDOWS): ("KERNEL32.dll", "WINSPOOL.DRV", "ucrtbase.dll", "d3d11.dll"),
    ("media-foundation", Kind.WINDOWS): ("MFPlat.DLL", "MF.dll"),
    ("api-set", Kind.API_SET): ("api-ms-win-crt-heap-l1-1-0.dll", "ext-ms-win-gdi-l1-1-0.dll"),
    ("python", Kind.PYTHON): ("python3.dll", "python312.dll", "python314t.dll", "python3t.dll"),
    # mfc140u.dll is MFC, not Media Foundation.
    ("vc-runtime", Kind.VC_RUNTIME): (
        *("MSVCP140_1.dll", "vcruntime140.dll", "CONCRT140.dll", "mfc140u.dll", "msvcr90.dll"),
    ),
    # cublas.dll without a number is not NVIDIA's, d3dx9_43.dll is a redistributable of DirectX.
    ("unknown", Kind.UNKNOWN): (
        *("opencv_core490.dll", "libopenblas.dll", "cublas.dll", "d3dx9_43.dll"),
    ),
}


@pytest.mark.parametrize(("family", "kind"), OTHERS)
def test_other_dlls_are_told_apart(family: str, kind: Kind) -> None:
    for name in OTHERS[family, kind]:
        assert classify(name) == Dll(name=name, family=family, kind=kind)


@given(name=st.text(max_size=40))
def test_any_name_has_a_kind(name: str) -> None:
    assert classify(name).name == name


@given(name=st.from_regex(r"(cu|nv|npp)[a-z]{1,9}64_\d{1,4}", fullmatch=True))
def test_case_and_a_missing_ending_change_nothing(name: str) -> None:
    spellings = (name, f"{name}.dll", f"{name}.DLL", f"{name.upper()}.dll")
    dlls = [classify(spelling) for spelling in spellings]
    assert len({(dll.family, dll.kind, dll.majors) for dll in dlls}) == 1
    assert len({key_of(spelling) for spelling in spellings}) == 1


TOGETHER = {
    "CUDA 10.2": (["npps64_10.dll", "cufft64_10.dll", "cudnn64_7.dll"], {10}),
    "CUDA 11": (["npps64_11.dll", "cufft64_10.dll", "cudnn64_8.dll"], {11}),
    "CUDA 13": (["npps64_13.dll", "cufft64_12.dll", "cudnn64_9.dll"], {13}),
    "told by two together": (["cusparse64_12.dll", "cusolver64_11.dll"], {12}),
    "10 or 11": (["cufft64_10.dll"], {10, 11}),
    "a contradiction": (["nppc64_12.dll", "cudart64_110.dll"], set()),
    "nothing said": (["nvcuda.dll", "KERNEL32.dll"], None),
}


@pytest.mark.parametrize(("names", "majors"), TOGETHER.values(), ids=TOGETHER)
def test_the_dlls_together_tell_the_cuda_major(names: list[str], majors: set[int] | None) -> None:
    assert possible_majors(map(classify, names)) == majors


ORIGINALS = (
    *("nppc64_12.dll", "cublasLt64_12.dll", "nvrtc64_120_0.alt.dll", "nvrtc-builtins64_129.dll"),
    *("cudnn_ops64_9.dll", "nvcuda.dll", "msvcp140.dll", "libopenblas.dll"),
)


@pytest.mark.parametrize("original", ORIGINALS)
@pytest.mark.parametrize("ending", [f"-{HASH}.dll", "-0123ABCD.DLL"], ids=["long", "short"])
def test_a_name_that_delvewheel_has_mangled_tells_what_it_told_before(
    original: str, ending: str
) -> None:
    mangled = original.replace(".dll", ending)
    dll = classify(mangled)
    assert dll == replace(classify(original), name=mangled)
    assert (dll.key, dll.original) == (mangled.lower(), original.lower())


LISTED = ("nppc64_12.dll", "cublasLt64_12.dll", "cudnn_ops64_9.dll", f"cufft64_11-{HASH}.dll")
UNLISTED = (
    *("nvjpeg64_12.dll", "nvJitLink_120_0.dll", "cudss64_0.dll", "nvcuda.dll"),
    "libopenblas.dll",
)


@pytest.mark.parametrize("name", LISTED + UNLISTED)
def test_only_what_the_licence_lists_may_be_shipped(name: str) -> None:
    assert may_be_shipped(classify(name)) == (name in LISTED)


#: By name and CUDA major; NVIDIA's wheels begin with 11, and 13 dropped the suffix.
DISTRIBUTIONS = {
    ("nppc64_11.dll", 11): "nvidia-npp-cu11",
    ("nppc64_13.dll", 13): "nvidia-npp",
    ("nppc64_14.dll", 14): "nvidia-npp",
    ("cublasLt64_12.dll", 12): "nvidia-cublas-cu12",
    ("cufftw64_11.dll", 12): "nvidia-cufft-cu12",
    ("cudart64_13.dll", 13): "nvidia-cuda-runtime",
    ("nvrtc64_112_0.dll", 11): "nvidia-cuda-nvrtc-cu11",
    ("nvJitLink_120_0.dll", 12): "nvidia-nvjitlink-cu12",
    ("nvJitLink_110_0.dll", 11): None,
    ("cudnn64_9.dll", 13): "nvidia-cudnn-cu13",
    ("cudnn_ops64_9.dll", 12): "nvidia-cudnn-cu12",
    ("nppc64_10.dll", 10): None,
    ("nvcuda.dll", 12): None,
    ("KERNEL32.dll", 12): None,
}


@pytest.mark.parametrize(("name", "major"), DISTRIBUTIONS)
def test_nvidias_distribution_is_known(name: str, major: int) -> None:
    assert distribution(classify(name), major) == DISTRIBUTIONS[name, major]
