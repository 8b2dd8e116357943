"""DLLs that NVIDIA's DLLs need in their turn: by their import tables, or by name as they run."""

import re
from collections.abc import Iterable
from fnmatch import filter as filter_names

from repack.dlls.families import Dll, Kind

#: What cuDNN has been made of since the major version; later releases have more parts than these.
_CUDNN_PARTS = {
    8: ("ops_infer", "cnn_infer", "adv_infer"),
    9: (
        *("graph", "ops", "cnn", "adv", "heuristic"),
        *("engines_precompiled", "engines_runtime_compiled"),
    ),
}
#: Which DLLs of the same number a DLL imports itself. cuBLAS has been two libraries since
#: CUDA 10.1, from whose number on it is its own.
_COMPANIONS = (
    (re.compile(r"cublas64_([1-4]\d)\.dll"), ("cublasLt64_{}.dll",)),
    (re.compile(r"nvblas64_([1-4]\d)\.dll"), ("cublas64_{}.dll", "cublasLt64_{}.dll")),
    (re.compile(r"npp(?!c64)[a-z]+64_(\d+)\.dll"), ("nppc64_{}.dll",)),
    (re.compile(r"cufftw64_(\d+)\.dll"), ("cufft64_{}.dll",)),
)


def partners(dll: Dll) -> tuple[re.Pattern[str], ...]:
    """Return what `dll` loads by name, as patterns of keys.

    cuDNN's library is a shim that loads its parts, cuBLASLt and NVRTC; NVRTC loads its built-ins.
    """
    names: tuple[str, ...] = ()
    if dll.kind is Kind.CUDNN and (dll.version or 0) >= min(_CUDNN_PARTS):
        names = (rf"cudnn\w*64_{dll.version}", r"cublaslt64_\d\d", r"nvrtc64_\d{3}_0")
    elif dll.family == "nvrtc" and not dll.key.startswith("nvrtc-"):
        names = (r"nvrtc-builtins64_\d+",)
    return tuple(re.compile(rf"{name}\.dll") for name in names)


def companions(dll: Dll) -> tuple[str, ...]:
    """Return the names of the DLLs that NVIDIA's `dll` imports at load time, of its own family."""
    for pattern, names in _COMPANIONS:
        if match := pattern.fullmatch(dll.key):
            return tuple(name.format(match[1]) for name in names)
    return ()


def missing_parts(dll: Dll, keys: Iterable[str]) -> list[str]:
    """Return the files, as patterns, that are not among `keys` and without which `dll` fails.

    It loads without them, and what needs them does not work.
    """
    parts: tuple[str, ...] = ()
    if dll.original == f"cudnn64_{dll.version}.dll":
        names = _CUDNN_PARTS.get(dll.version or 0, ())
        parts = tuple(f"cudnn_{name}64_{dll.version}.dll" for name in names)
    elif dll.original.startswith("nvrtc64_"):
        parts = ("nvrtc-builtins64_*.dll",)
    return [part for part in parts if not filter_names(keys, part)]
