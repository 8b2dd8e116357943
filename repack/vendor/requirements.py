"""`--mode depend`: which of NVIDIA's wheels a wheel requires, in versions that hold its DLLs."""

import re
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from typing import TypeAlias

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import parse_wheel_filename

from repack.dlls.families import Dll, Kind, index_requirement
from repack.errors import FetchError, InputError
from repack.fetch import Listing
from repack.inspect import Analysis
from repack.plan import Supplement

#: Takes a requirement and a platform, and returns what the newest wheel holds, None for unknown.
ListWheel: TypeAlias = Callable[[str, str], Listing | None]

#: The extra that brings cuDNN, where the binary can do without it.
EXTRA = "dnn"
#: Libraries whose wheels never have a lower version than the toolkit that they came with.
_AS_THE_TOOLKIT = {"cublas", "cudart", "nvjitlink", "nvrtc"}
#: What `msvc-runtime` brings; Python has vcruntime140.dll and vcruntime140_1.dll itself.
_VC_RUNTIME = re.compile(
    r"(msvcp140|concrt140|vcomp140|vcamp140|vccorlib140|vcruntime140_(?!1\.))\w*\.dll"
)


def require_distributions(analysis: Analysis, list_wheel: ListWheel) -> Supplement:
    """Return what the wheel has to require; raises InputError where no distribution has a DLL.

    That is exactly the distributions of the DLLs that the binary asks for: what those load in
    their turn, NVIDIA's wheels require themselves. The driver is none of pip's business. Raises
    FetchError where the index has no such wheel.
    """
    needs = [need for need in analysis.needs if need.in_wheel is None]
    always = {need.dll.kind for need in needs if not need.delayed}
    names: dict[tuple[bool, str], set[str]] = {}
    missing = []
    for need in needs:
        is_extra = need.dll.kind is Kind.CUDNN and Kind.CUDNN not in always
        if requirement := _requirement(need.dll, analysis):
            names.setdefault((is_extra, requirement), set()).add(need.dll.key)
        elif need.dll.is_cuda and not need.delayed:
            missing.append(need.dll.name)
    if missing:
        raise _no_distribution(analysis, missing)
    requires = [
        _narrow(analysis, requirement, names[is_extra, requirement], list_wheel)
        + (f'; extra == "{EXTRA}"' if is_extra else "")
        for is_extra, requirement in sorted(names)
    ]
    extras = (EXTRA,) if any(is_extra for is_extra, _ in names) else ()
    return Supplement(label="depend", requires=tuple(requires), extras=extras)


def _requirement(dll: Dll, analysis: Analysis) -> str:
    """Return what brings the DLL, before anybody has looked into a wheel; "" for nothing."""
    if dll.kind is Kind.VC_RUNTIME and _VC_RUNTIME.fullmatch(dll.key):
        return "msvc-runtime<15,>=14"
    if not dll.is_cuda or analysis.cuda_major is None:
        return ""
    name = index_requirement(dll, analysis.cuda_major)
    if not name or analysis.cuda_version is None or dll.family not in _AS_THE_TOOLKIT:
        return name
    requirement = Requirement(name)
    requirement.specifier &= SpecifierSet(">={}.{}".format(*analysis.cuda_version))
    return str(requirement)


def _narrow(analysis: Analysis, requirement: str, names: set[str], list_wheel: ListWheel) -> str:
    """Return the requirement, ended at the first version from the newest on that lacks a DLL."""
    narrowed = Requirement(requirement)
    for platform in sorted({tag.platform for tag in analysis.wheel.filename.tags}):
        wide = narrowed.specifier
        while True:
            try:
                listing = list_wheel(str(narrowed), platform)
            except FetchError as error:
                if narrowed.specifier == wide or error.code != "no-such-version":
                    raise
                raise _no_distribution(analysis, names) from error
            if listing is None or names <= _dlls_in(listing):
                break
            _, version, _, _ = parse_wheel_filename(listing.filename)
            narrowed.specifier = wide & SpecifierSet(f"<{version}")
    return str(narrowed)


def _dlls_in(listing: Listing) -> set[str]:
    return {PurePosixPath(member).name.lower() for member in listing.members}


def _no_distribution(analysis: Analysis, names: Iterable[str]) -> InputError:
    return InputError(
        f"NVIDIA has no wheels with {', '.join(sorted(names))}",
        code="no-distribution",
        file=analysis.wheel.path.name,
        hint="use --mode patch, and a toolkit on each machine",
    )
