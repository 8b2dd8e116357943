"""`--mode depend`: which of NVIDIA's wheels a wheel requires, in versions that hold its DLLs."""

import re
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from typing import TypeAlias

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import parse_wheel_filename

from repack.dlls import Dll, Kind, index_requirement
from repack.errors import FetchError, InputError
from repack.fetch import Listing
from repack.inspect import Analysis, Need
from repack.plan import Supplement

#: Takes a requirement and a platform, and returns what the newest wheel holds, None for unknown.
ListWheel: TypeAlias = Callable[[str, str], Listing | None]

#: The extra that brings cuDNN, where the binary can do without it.
EXTRA = "dnn"
_OF_NVIDIA = {Kind.CUDA, Kind.CUDNN}
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
    cudnn = [need for need in needs if need.dll.kind is Kind.CUDNN]
    optional = cudnn if all(need.delayed for need in cudnn) else []
    always = [need for need in needs if need not in optional]
    extra = _find_ranges(analysis, optional, list_wheel)
    return Supplement(
        label="depend",
        requires=(
            *_find_ranges(analysis, always, list_wheel),
            *(f'{requirement}; extra == "{EXTRA}"' for requirement in extra),
        ),
        extras=(EXTRA,) if extra else (),
    )


def _find_ranges(analysis: Analysis, needs: Iterable[Need], list_wheel: ListWheel) -> list[str]:
    """Return a requirement for each distribution, sorted; its newest wheel holds what is needed."""
    names: dict[str, set[str]] = {}
    missing = []
    for need in needs:
        if requirement := _requirement(need.dll, analysis):
            names.setdefault(requirement, set()).add(need.dll.key)
        elif need.dll.kind in _OF_NVIDIA and not need.delayed:
            missing.append(need.dll.name)
    if missing:
        raise _no_distribution(analysis, missing)
    platforms = sorted({tag.platform for tag in analysis.wheel.filename.tags})
    ranges = []
    for requirement in sorted(names):
        narrowed = Requirement(requirement)
        for platform in platforms:
            _narrow(analysis, narrowed, names[requirement], platform, list_wheel)
        ranges.append(str(narrowed))
    return ranges


def _requirement(dll: Dll, analysis: Analysis) -> str:
    """Return what brings the DLL, before anybody has looked into a wheel; "" for nothing."""
    if dll.kind is Kind.VC_RUNTIME and _VC_RUNTIME.fullmatch(dll.key):
        return "msvc-runtime<15,>=14"
    if dll.kind not in _OF_NVIDIA or analysis.cuda_major is None:
        return ""
    name = index_requirement(dll, analysis.cuda_major)
    if not name or analysis.cuda_version is None or dll.family not in _AS_THE_TOOLKIT:
        return name
    requirement = Requirement(name)
    requirement.specifier &= SpecifierSet(">={}.{}".format(*analysis.cuda_version))
    return str(requirement)


def _narrow(
    analysis: Analysis,
    requirement: Requirement,
    names: set[str],
    platform: str,
    list_wheel: ListWheel,
) -> None:
    """End the range at the first version, from the newest on, that lacks one of `names`."""
    wide = requirement.specifier
    while True:
        try:
            listing = list_wheel(str(requirement), platform)
        except FetchError as error:
            if requirement.specifier == wide or error.code != "no-such-version":
                raise
            raise _no_distribution(analysis, sorted(names)) from error
        if listing is None or names <= {
            PurePosixPath(member).name.lower() for member in listing.members
        }:
            return
        _, version, _, _ = parse_wheel_filename(listing.filename)
        requirement.specifier = wide & SpecifierSet(f"<{version}")


def _no_distribution(analysis: Analysis, names: Iterable[str]) -> InputError:
    return InputError(
        f"NVIDIA has no wheels with {', '.join(names)}",
        code="no-distribution",
        file=analysis.wheel.path.name,
        hint="use --mode patch, and a toolkit on each machine",
    )
