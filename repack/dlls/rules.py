"""Rules by which a DLL's name tells what it is; they hold for CUDA versions not yet out."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Kind(Enum):
    """Where a DLL comes from."""

    CUDA = "cuda"
    CUDNN = "cudnn"
    DRIVER = "driver"
    WINDOWS = "windows"
    API_SET = "api-set"
    PYTHON = "python"
    VC_RUNTIME = "vc-runtime"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True, slots=True)
class Dll:
    """What is known of a DLL by its name alone.

    `name` is as it was asked for; `family` is the library it belongs to ("npp", "cublas", "driver",
    "media-foundation", ...); `majors` are the CUDA majors it can be of, any when empty; `version`
    is the number its own name carries, where that says something (cudnn64_9: 9).
    """

    name: str
    family: str
    kind: Kind
    majors: frozenset[int] = frozenset()
    version: int | None = None

    @property
    def key(self) -> str:
        """The name as Windows compares it."""
        return key_of(self.name)


# No CUDA major beyond this one is thought of; it only ends "and later".
_LAST = 40
# "12" is a number of the library's own, "65" is CUDA 6.5, "1210" 12.10, "2025" a year.
_FIRST_SHORT, _FIRST_OLD, _TWO_DIGIT_MINOR, _FIRST_YEAR = 10, 50, 1000, 2000


@dataclass(frozen=True, kw_only=True, slots=True)
class _Family:
    """A library of the CUDA toolkit and how the number in its DLLs' names follows the major.

    Up to CUDA 10.0 every library carried major and minor ("90", "100"), NVRTC still does ("120").
    Since then the number is the library's own: `ahead` is how far the CUDA major is in front of
    it, and `known` holds the numbers for which that was not so. Where `ahead` is None, a number
    that is not known may be of any major.
    """

    name: str
    libraries: str
    distribution: str = ""
    ahead: int | None = 0
    known: Mapping[int, range] = field(default_factory=dict)

    def majors(self, digits: str) -> frozenset[int]:
        number = int(digits)
        if number >= _FIRST_YEAR:
            return frozenset()
        if number >= _FIRST_OLD:
            return frozenset({int(digits[: -2 if number >= _TWO_DIGIT_MINOR else -1])})
        if number in self.known:
            return frozenset(self.known[number])
        if self.ahead is None or number < _FIRST_SHORT:
            return frozenset()
        return frozenset({number + self.ahead})


# CUDA 11.0 came with cusolver64_10; cuRAND has stood at 10 since CUDA 10.1.
_FAMILIES = (
    _Family(name="npp", libraries=r"npp[a-z]*", distribution="nvidia-npp"),
    _Family(name="cublas", libraries=r"cublas(lt)?|nvblas", distribution="nvidia-cublas"),
    _Family(
        name="cufft",
        libraries=r"cufftw?",
        distribution="nvidia-cufft",
        ahead=1,
        known={10: range(10, 12)},
    ),
    _Family(
        name="curand",
        libraries=r"curand",
        distribution="nvidia-curand",
        ahead=None,
        known={10: range(10, _LAST), 11: range(13, _LAST)},
    ),
    _Family(
        name="cusolver",
        libraries=r"cusolver(mg)?",
        distribution="nvidia-cusolver",
        ahead=1,
        known={10: range(10, 12), 11: range(11, 13)},
    ),
    _Family(
        name="cusparse",
        libraries=r"cusparse",
        distribution="nvidia-cusparse",
        ahead=None,
        known={10: range(10, 11), 11: range(11, 12), 12: range(12, 14)},
    ),
    _Family(name="nvjpeg", libraries=r"nvjpeg", distribution="nvidia-nvjpeg"),
    _Family(name="nvrtc", libraries=r"nvrtc(-builtins)?", distribution="nvidia-cuda-nvrtc"),
    _Family(name="nvjitlink", libraries=r"nvjitlink", distribution="nvidia-nvjitlink"),
    _Family(name="cudart", libraries=r"cudart", distribution="nvidia-cuda-runtime"),
    # These count their own versions, from which nothing follows.
    _Family(name="nvvm", libraries=r"nvvm", ahead=None),
    _Family(name="cupti", libraries=r"cupti", distribution="nvidia-cuda-cupti", ahead=None),
    _Family(name="nvtoolsext", libraries=r"nvtoolsext", distribution="nvidia-nvtx", ahead=None),
)
_OTHER = _Family(name="cuda-other", libraries=r"(cu|nv|npp)\w*", ahead=None)

# "nppc64_12", "nvrtc64_120_0.alt", "nvrtc-builtins64_129", "nvJitLink_120_0", "cupti64_2025.1.0"
_NUMBERED = re.compile(
    r"(?P<library>[a-z][a-z_-]*?)(?P<bits>32|64)?_(?P<digits>\d{1,4})(_\d+|[.\d]+)?(\.alt)?"
)
_CUDNN = re.compile(r"cudnn(_[a-z_]+)?64_(?P<digits>\d+)")
_CUDNN_MAJORS = {5: range(7, 9), 6: range(7, 9), 7: range(8, 11), 8: range(10, 13)}
_CUDNN_SINCE = 11

_PLAIN = (
    (Kind.API_SET, "api-set", r"(api|ext)-ms-.+"),
    (
        Kind.DRIVER,
        "driver",
        (
            r"nvcuda|nvcuvid|nvencodeapi(64)?|nvml|nvapi(64)?|nvofapi(64)?|nvoptix|nvcudadebugger"
            r"|nvdebugdump|nvfbc(64)?|nvifr(64)?|nvoglv(32|64)|nvptxjitcompiler(32|64)?|nvrtum64"
        ),
    ),
    # Installed by whichever graphics driver there is.
    (Kind.DRIVER, "opencl", r"opencl"),
    (Kind.DRIVER, "vulkan", r"vulkan-1"),
    (Kind.PYTHON, "python", r"python\d+t?(_d)?|lib(pypy|python)[\d.]+(-c)?"),
    (
        Kind.VC_RUNTIME,
        "vc-runtime",
        r"(msvc[prm]|vcruntime|concrt|vcomp|vcamp|vccorlib|atl|mfcm?)\d{2,3}\w*|libomp140\.\w+",
    ),
    # Absent from Windows N, KN and Server until the feature of that name is added.
    (
        Kind.WINDOWS,
        "media-foundation",
        (
            r"mf(plat|play|readwrite|core|captureengine|mediaengine|sensorgroup|srcsnk|netcore|ps"
            r"|asfsrcsnk|mp4srcsnk|h264enc|mjpegdec|vdsp)?|evr|wmvcore|wmasf"
        ),
    ),
)
_PLAIN_RULES = tuple((kind, family, re.compile(pattern)) for kind, family, pattern in _PLAIN)

# NVIDIA's wheels begin with CUDA 11; since 13 their names no longer carry the major.
_FIRST_WHEELS, _FIRST_PLAIN_WHEELS, _FIRST_NVJITLINK = 11, 13, 12


def key_of(name: str) -> str:
    """Return a DLL's name as Windows compares it: lower case, and ".dll" where it has no ending."""
    lower = name.lower()
    return lower if "." in lower else f"{lower}.dll"


def classify(name: str) -> Dll:
    """Return what the name of a DLL tells; the family is "unknown" where no rule fits."""
    key = key_of(name)
    stem = key.removesuffix(".dll")
    if key.endswith(".dll"):
        for kind, family, pattern in _PLAIN_RULES:
            if pattern.fullmatch(stem):
                return Dll(name=name, family=family, kind=kind)
        if dll := _cudnn(name, stem) or _toolkit(name, stem):
            return dll
    if key in _windows_names():
        return Dll(name=name, family="windows", kind=Kind.WINDOWS)
    return Dll(name=name, family="unknown", kind=Kind.UNKNOWN)


def possible_majors(dlls: Iterable[Dll]) -> frozenset[int] | None:
    """Return the CUDA majors that all of `dlls` can be of: none left where they contradict.

    None where no name among them says anything.
    """
    told = [dll.majors for dll in dlls if dll.majors]
    return frozenset.intersection(*told) if told else None


def common_major(dlls: Iterable[Dll]) -> int | None:
    """Return the one CUDA major that all of `dlls` can be of, None where it is not just one."""
    majors = possible_majors(dlls) or frozenset()
    return next(iter(majors)) if len(majors) == 1 else None


def distribution(dll: Dll, cuda_major: int) -> str | None:
    """Return the name of NVIDIA's distribution that holds `dll` of that CUDA major, if any does."""
    if cuda_major < _FIRST_WHEELS:
        return None
    if dll.kind is Kind.CUDNN:
        return f"nvidia-cudnn-cu{cuda_major}"
    if dll.family == "nvjitlink" and cuda_major < _FIRST_NVJITLINK:
        return None
    name = next((each.distribution for each in _FAMILIES if each.name == dll.family), "")
    if not name:
        return None
    return name if cuda_major >= _FIRST_PLAIN_WHEELS else f"{name}-cu{cuda_major}"


def _cudnn(name: str, stem: str) -> Dll | None:
    """Return the DLL if it is of cuDNN, which has majors of its own."""
    found = _CUDNN.fullmatch(stem)
    if not found:
        return None
    version = int(found["digits"])
    since = range(_CUDNN_SINCE, _LAST) if version > max(_CUDNN_MAJORS) else range(0)
    majors = frozenset(_CUDNN_MAJORS.get(version, since))
    return Dll(name=name, family="cudnn", kind=Kind.CUDNN, majors=majors, version=version)


def _toolkit(name: str, stem: str) -> Dll | None:
    """Return the DLL if it is of the CUDA toolkit."""
    found = _NUMBERED.fullmatch(stem)
    if not found:
        return None
    for family in (*_FAMILIES, _OTHER):
        if re.fullmatch(family.libraries, found["library"]):
            if family is _OTHER and not found["bits"]:
                return None
            return Dll(
                name=name,
                family=family.name,
                kind=Kind.CUDA,
                majors=family.majors(found["digits"]),
                version=int(found["digits"]),
            )
    return None


@cache
def _windows_names() -> frozenset[str]:
    text = Path(__file__).with_name("windows.txt").read_text("utf-8")
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    return frozenset(name for line in lines for name in line.split())
