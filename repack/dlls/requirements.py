"""Which distributions of the package index bring a DLL, and in which versions."""

from __future__ import annotations

import re

from repack.dlls.families import Dll, Kind, distribution

#: CUDA's major and, where it is known, minor version.
Cuda = tuple[int, "int | None"]

#: Libraries whose wheels never have a lower version than the toolkit that they came with.
_AS_THE_TOOLKIT = frozenset({"cublas", "cudart", "nvjitlink", "nvrtc"})
#: The others count for themselves: with which version each release of the toolkit began, from the
#: tables of its release notes.
_FIRST = {
    "cufft": {
        (12, 0): "11.0.0",
        (12, 1): "11.0.2",
        (12, 2): "11.0.8",
        (12, 3): "11.0.11",
        (12, 4): "11.2.0",
        (12, 5): "11.2.3",
        (12, 6): "11.2.6",
        (12, 8): "11.3.3",
        (12, 9): "11.4.0",
        (13, 0): "12.0.0",
        (13, 1): "12.1.0",
    },
    "npp": {
        (12, 0): "12.0.0",
        (12, 1): "12.0.2",
        (12, 2): "12.1.1",
        (12, 3): "12.2.2",
        (12, 4): "12.2.5",
        (12, 5): "12.3.0",
        (12, 6): "12.3.1",
        (12, 8): "12.3.3",
        (12, 9): "12.4.0",
        (13, 0): "13.0.0",
    },
}
#: Families whose DLLs' own number says nothing of the wheel's version: that is the toolkit's.
_UNTOLD = frozenset({"cupti", "nvtoolsext"})
#: Two digits are a major version, three a major and a minor.
_WITH_MINOR = 100
#: Python brings these itself.
_OF_PYTHON = re.compile(r"vcruntime140(_1)?\.dll")
_VC_RUNTIME = re.compile(
    r"(msvcp140|concrt140|vcomp140|vcamp140|vccorlib140|vcruntime140_)\w*\.dll"
)


def required(dll: Dll, cuda: Cuda) -> str:
    """Return the requirement that has pip install `dll` in a version that fits, "" for none.

    The upper bound is the next major version of the library, whose DLL has another name; the
    lower one is the version that came with the toolkit of the build, where that is known.
    """
    if dll.kind is Kind.VC_RUNTIME:
        wanted = _VC_RUNTIME.fullmatch(dll.original) and not _OF_PYTHON.fullmatch(dll.original)
        return "msvc-runtime>=14,<15" if wanted else ""
    name = distribution(dll, cuda[0])
    if not name:
        return ""
    major = library_major(dll, cuda[0])
    return f"{name}>={_lowest(dll.family, major, cuda)},<{major + 1}"


def library_major(dll: Dll, cuda_major: int) -> int:
    """Return the major version of the library that `dll` is; it need not be CUDA's."""
    if dll.version is None or dll.family in _UNTOLD:
        return cuda_major
    # nvrtc64_130_0 and cudart64_110 carry the minor version as well.
    return dll.version // 10 if dll.version >= _WITH_MINOR else dll.version


def _lowest(family: str, major: int, cuda: Cuda) -> str:
    known = _FIRST.get(family, {})
    reached = [version for version in known if cuda[1] is not None and version <= cuda]
    same = [known[version] for version in reached if version[0] == cuda[0]]
    if same:
        return same[-1]
    if family in _AS_THE_TOOLKIT and cuda[1] is not None:
        return f"{cuda[0]}.{cuda[1]}"
    return str(major)
