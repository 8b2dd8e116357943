"""DLLs that NVIDIA's DLLs need in their turn: by their import tables, or by name as they run."""

import re
from collections.abc import Iterable
from fnmatch import filter as filter_names
from typing import NamedTuple

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


class Partner(NamedTuple):
    """DLLs that a DLL loads by name, their keys as a pattern.

    `beside` where all of them must be of the same release, and so of one directory.
    """

    names: re.Pattern[str]
    beside: bool = False


def partners(dll: Dll, cuda_major: int | None) -> tuple[Partner, ...]:
    """Return what `dll` loads by name.

    cuDNN's library is a shim that loads its parts, cuBLASLt and NVRTC; NVRTC loads its built-ins.
    """
    if dll.kind is Kind.CUDNN and (dll.version or 0) >= min(_CUDNN_PARTS):
        major = r"\d\d" if cuda_major is None else str(cuda_major)
        return (
            Partner(re.compile(rf"cudnn\w*64_{dll.version}\.dll"), beside=True),
            Partner(re.compile(rf"cublaslt64_{major}\.dll")),
            Partner(re.compile(rf"nvrtc64_{major}\d_0\.dll")),
        )
    if dll.family == "nvrtc" and not dll.key.startswith("nvrtc-"):
        return (Partner(re.compile(r"nvrtc-builtins64_\d+\.dll"), beside=True),)
    return ()


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
