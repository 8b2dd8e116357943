"""What the name of a DLL tells, by `families.toml`; the rules hold for CUDA versions to come."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from fnmatch import filter as filter_names
from functools import cache
from pathlib import Path

#: "12" is a number of the library's own, "65" is CUDA 6.5, "1210" is 12.10, "2025" is a year.
_FIRST_VERSION, _FIRST_LONG_VERSION, _FIRST_YEAR = 50, 1000, 2000
#: NVIDIA's wheels begin with CUDA 11; since 13 their names no longer carry the major.
_FIRST_WHEELS, _FIRST_PLAIN_NAMES = 11, 13
#: What a library's own major version can be; other numbers count something else.
_LIBRARY_MAJORS = range(10, 100)

# "nppc64_12", "nvrtc64_120_0.alt", "nvrtc-builtins64_129", "nvJitLink_120_0", "cupti64_2025.1.0"
_NUMBERED = re.compile(
    r"(?P<library>[a-z][a-z_-]*?)(32|64)?_(?P<number>\d{1,4})(_\d+|[.\d]+)?(\.alt)?"
)
#: delvewheel renames what it puts into a wheel: "nppc64_12-0123456789abcdef0123456789abcdef.dll".
_MANGLED = re.compile(r"-[0-9a-f]{8,64}(?=\.dll$)")


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
class Family:
    """A row of the table; the table says what its columns mean. A pattern left out fits nothing."""

    kind: str
    name: str = r"(?!)"
    library: str = r"(?!)"
    ahead: int | None = None
    majors: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    distribution: str = ""
    listed: bool = False
    cure: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Dll:
    """What is known of a DLL by its name alone.

    `name` is as it was asked for; `family` is the library it belongs to ("npp", "cublas", "driver",
    "media-foundation", ...); `majors` are the CUDA majors it can be of, any when empty; `version`
    is the number in its name, where that says something (cudnn64_9: 9).
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

    @property
    def is_cuda(self) -> bool:
        """Whether it is of the CUDA toolkit or of cuDNN."""
        return self.kind in {Kind.CUDA, Kind.CUDNN}

    @property
    def is_nvidia(self) -> bool:
        """Whether it is of these, or of NVIDIA's display driver."""
        return self.is_cuda or self.family == "driver"


def _read(name: str) -> str:
    return Path(__file__).with_name(name).read_text("utf-8")


FAMILIES: Mapping[str, Family] = {
    name: Family(**row) for name, row in tomllib.loads(_read("families.toml")).items()
}
_WINDOWS = frozenset(re.sub("#.*", "", _read("windows.txt")).split())


def key_of(name: str) -> str:
    """Return a DLL's name as Windows compares it: lower case, and ".dll" where it has no ending."""
    lower = name.lower()
    return lower if "." in lower else f"{lower}.dll"


@cache
def classify(name: str) -> Dll:
    """Return what the name of a DLL tells; the family is "unknown" where no rule fits."""
    key = _MANGLED.sub("", key_of(name))
    stem = key.removesuffix(".dll")
    numbered = _NUMBERED.fullmatch(stem)
    for family, row in FAMILIES.items() if key.endswith(".dll") else ():
        has_library = numbered and re.fullmatch(row.library, numbered["library"])
        if has_library or re.fullmatch(row.name, stem):
            kind = Kind(row.kind)
            if not numbered:
                return Dll(name=name, family=family, kind=kind)
            number = numbered["number"]
            majors = _majors(row, number)
            return Dll(name=name, family=family, kind=kind, majors=majors, version=int(number))
    family = "windows" if key in _WINDOWS else "unknown"
    return Dll(name=name, family=family, kind=Kind(family))


def _majors(row: Family, text: str) -> frozenset[int]:
    """Return the CUDA majors that a library with the number `text` in its name can be of."""
    number = int(text)
    if text in row.majors:
        first, last = row.majors[text]
        return frozenset(range(first, last + 1))
    if _FIRST_VERSION <= number < _FIRST_YEAR:
        return frozenset({int(text[: -2 if number >= _FIRST_LONG_VERSION else -1])})
    if number >= _FIRST_YEAR or row.ahead is None:
        return frozenset()
    return frozenset({number + row.ahead})


def possible_majors(dlls: Iterable[Dll]) -> frozenset[int] | None:
    """Return the CUDA majors that all of `dlls` can be of: none left where they contradict.

    None where no name among them says anything.
    """
    majors = [dll.majors for dll in dlls if dll.majors]
    return frozenset.intersection(*majors) if majors else None


def index_requirement(dll: Dll, cuda_major: int) -> str:
    """Return the index requirement of NVIDIA's wheel with `dll`, "" where there is none.

    Where the distribution's name does not say the major (cuDNN's always, the toolkit's from
    CUDA 13 on), its version has to: it follows the number in the DLL's name.
    """
    name = FAMILIES[dll.family].distribution if dll.family in FAMILIES else ""
    if not name or cuda_major < _FIRST_WHEELS:
        return ""
    is_cudnn = dll.kind is Kind.CUDNN
    is_plain = cuda_major >= _FIRST_PLAIN_NAMES and not is_cudnn
    name = name if is_plain else f"{name}-cu{cuda_major}"
    if dll.version is None or not (is_plain or is_cudnn):
        return name
    # nvrtc64_130_0 has the toolkit's minor as well, cupti64_2025.1.0 and nvToolsExt64_1 count
    # otherwise; their wheels follow the toolkit.
    is_major = is_cudnn or dll.version in _LIBRARY_MAJORS
    return f"{name}=={dll.version if is_major else cuda_major}.*"


def may_be_shipped(dll: Dll) -> bool:
    """Return whether NVIDIA's licences list the DLL among what may be passed on with a program."""
    return dll.family in FAMILIES and FAMILIES[dll.family].listed


def list_cures(dlls: Iterable[Dll], cuda: tuple[int, ...]) -> dict[str, str]:
    """Return by family what brings `dlls` of that CUDA onto a machine, where it is known.

    `cuda` is (12, 9), (12,) where its minor is not known, or (). What others need in their turn is
    always among them.
    """
    toolkit = f"CUDA {cuda[0]}" if cuda else "CUDA"
    best = " (best {}.{} or later)".format(*cuda) if cuda[1:] else ""
    cures = {family: FAMILIES[family].cure for family in ("api-set", "vc-runtime", "windows")}
    for dll in dlls:
        if dll.kind is Kind.CUDA:
            cures[dll.family] = f"set CUDA_PATH to a toolkit of {toolkit}{best}"
        elif dll.kind is Kind.CUDNN:
            cures[dll.family] = f"set CUDNN_PATH to cuDNN {dll.version} for {toolkit}"
        elif dll.family in FAMILIES:
            cures[dll.family] = FAMILIES[dll.family].cure
    return cures


#: What cuDNN has been made of since the major version; later releases have more parts than these.
_CUDNN_PARTS = {
    8: "ops_infer cnn_infer adv_infer",
    9: "graph ops cnn adv heuristic engines_precompiled engines_runtime_compiled",
}
#: Which DLLs of the same number a DLL imports itself. cuBLAS has been two libraries since
#: CUDA 10.1, from whose number on it is its own.
_COMPANIONS = (
    (r"cublas64_([1-4]\d)\.dll", ("cublasLt64_{}.dll",)),
    (r"nvblas64_([1-4]\d)\.dll", ("cublas64_{}.dll", "cublasLt64_{}.dll")),
    (r"npp(?!c64)[a-z]+64_(\d+)\.dll", ("nppc64_{}.dll",)),
    (r"cufftw64_(\d+)\.dll", ("cufft64_{}.dll",)),
)


def companions(dll: Dll) -> tuple[str, ...]:
    """Return the names of the DLLs that NVIDIA's `dll` imports at load time, of its own family."""
    for pattern, names in _COMPANIONS:
        if match := re.fullmatch(pattern, dll.key):
            return tuple(name.format(match[1]) for name in names)
    return ()


def partners(dll: Dll, keys: Iterable[str]) -> list[str]:
    """Return those of `keys` that `dll` loads by name.

    cuDNN's library is a shim that loads its parts, cuBLASLt and NVRTC; NVRTC loads its built-ins.
    """
    patterns: tuple[str, ...] = ()
    if dll.kind is Kind.CUDNN and (dll.version or 0) >= min(_CUDNN_PARTS):
        patterns = (f"cudnn_*64_{dll.version}.dll", "cublaslt64_[0-9][0-9].dll", "nvrtc64_*_0.dll")
    elif dll.key.startswith("nvrtc64_"):
        patterns = ("nvrtc-builtins64_*.dll",)
    return [key for pattern in patterns for key in filter_names(keys, pattern)]


def missing_parts(dll: Dll, keys: Iterable[str]) -> list[str]:
    """Return the files, as patterns, that are not among `keys` and without which `dll` fails.

    It loads without them, and what needs them does not work.
    """
    parts: list[str] = []
    if dll.key.startswith(f"cudnn64_{dll.version}"):
        names = _CUDNN_PARTS.get(dll.version or 0, "").split()
        parts = [f"cudnn_{name}64_{dll.version}.dll" for name in names]
    elif dll.key.startswith("nvrtc64_"):
        parts = ["nvrtc-builtins64_*.dll"]
    return [part for part in parts if not filter_names(keys, part)]
