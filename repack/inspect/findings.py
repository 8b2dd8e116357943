"""What should be said of a wheel, beside what is said of the CUDA DLLs that it carries."""

import re
from collections.abc import Collection, Iterator, Sequence

from packaging.tags import Tag
from packaging.utils import canonicalize_name

from repack.dlls import Kind, possible_majors
from repack.errors import PatchError
from repack.inspect.analysis import Analysis
from repack.inspect.carried import find_carried
from repack.inspect.claims import Claim, read_configs
from repack.patching import machine_directories
from repack.record import Finding
from repack.wheel import Wheel, select_requirements, startup_hooks

_MACHINES = {"win_amd64": "x86-64", "win32": "x86", "win_arm64": "arm64"}
_PYTHON_DLL = re.compile(r"python3(\d+)(t?)\.dll")
_SUFFIX = re.compile(r".+\.(cp3\d+)t?-(win\w+)\.pyd")
_NUMPY_2 = tuple(f"2.{minor}.0" for minor in range(30))
#: NumPy 2 was never published for a Python 3.x before this one.
_FIRST_NUMPY_2 = 9


def find(
    analysis: Analysis, claims: Sequence[Claim], pythons: Collection[str]
) -> tuple[Finding, ...]:
    """Return all that should be said of the wheel, sorted by code and member.

    `claims` are the CUDA versions that it speaks of; `pythons` are those that it is to serve.
    """
    findings = [
        *_about_cuda(analysis, claims),
        *_unknown_dlls(analysis),
        *_about_configs(analysis.wheel),
        *_about_tag(analysis),
        *_about_layout(analysis),
        *_about_numpy(analysis, pythons),
        *find_carried(analysis),
    ]
    return tuple(
        sorted(findings, key=lambda finding: (finding.code, finding.member, finding.message))
    )


def _lets_in_numpy_2(wheel: Wheel, python: str) -> bool:
    """Return whether the wheel's requirements let in a NumPy 2 on `python` ("3.12")."""
    requirements = [
        requirement
        for requirement in select_requirements(wheel.requires, python)
        if canonicalize_name(requirement.name) == "numpy"
    ]
    minor = int(python.removeprefix("3.").removesuffix("t"))
    return minor >= _FIRST_NUMPY_2 and any(
        all(requirement.specifier.contains(version) for requirement in requirements)
        for version in _NUMPY_2
    )


def _about_cuda(analysis: Analysis, claims: Sequence[Claim]) -> Iterator[Finding]:
    if not analysis.is_cuda and analysis.cv2:
        though = f", though {', '.join(map(str, claims))}" if claims else ""
        yield Finding(
            code="not-cuda",
            message=f"a build without CUDA: no module in it imports a CUDA DLL{though}",
            hint="take a build made with WITH_CUDA=ON",
        )
    majors = possible_majors(analysis.cuda_dlls)
    if majors == frozenset():
        names = ", ".join(
            f"{dll.name} (CUDA {', '.join(map(str, sorted(dll.majors)[:3]))})"
            for dll in analysis.cuda_dlls
            if dll.majors
        )
        yield Finding(
            code="cuda-majors-mixed",
            message=f"its DLLs are of CUDA versions that do not go together: {names}",
            hint="no one toolkit holds them all; have the wheel built anew",
        )
    for claim in claims:
        if majors and claim.major and claim.major not in majors:
            yield Finding(
                code="cuda-version-contradicted",
                message=f"{claim}, the binary imports the DLLs of "
                f"CUDA {' or '.join(map(str, sorted(majors)))}",
                hint="the binary is right: install the toolkit that it was built with",
            )


def _unknown_dlls(analysis: Analysis) -> Iterator[Finding]:
    for need in analysis.needs:
        if need.dll.kind is Kind.UNKNOWN and need.in_wheel is None:
            yield Finding(
                code="unknown-dll",
                message=f"it needs {need.dll.name}{' (by delay-load)' if need.delayed else ''}, "
                "which neither lies in the wheel nor belongs to Windows, CUDA or the driver",
                member=need.needed_by[0],
                hint="whoever installs the wheel must have that DLL",
            )


def _about_configs(wheel: Wheel) -> Iterator[Finding]:
    for member, content in read_configs(wheel).items():
        try:
            directories = machine_directories(content)
        except PatchError as error:
            yield Finding(
                code="config-broken",
                message=f"{error.what}, so that the package cannot be imported",
                member=member,
                hint="look for a missing comma, or take the file of an unchanged wheel",
            )
            continue
        if directories:
            yield Finding(
                code="build-machine-path",
                message="it names a directory of the machine that built the wheel: "
                + ", ".join(directories),
                member=member,
                hint="such an entry means nothing elsewhere; a patched wheel leaves it out",
            )


def _about_tag(analysis: Analysis) -> Iterator[Finding]:
    name = analysis.wheel.filename
    reached = {need.in_wheel for need in analysis.needs if need.in_wheel} | set(analysis.native)
    for member in sorted(reached):
        machine = analysis.images[member].machine
        problems = [*_linked_python(analysis, member), *_named_python(member, name.tags)]
        if machine not in {_MACHINES.get(tag.platform) for tag in name.tags}:
            problems.append(f"it is for {machine}")
        for problem in problems:
            yield Finding(
                code="tag-mismatch",
                message=f"{problem}, the wheel's tag says {name.tag}",
                member=member,
                hint="an installer offers the wheel where it cannot be loaded; take another",
            )


def _linked_python(analysis: Analysis, member: str) -> Iterator[str]:
    """Yield which Python the module is linked to, where a tag promises another."""
    tags = analysis.wheel.filename.tags
    for imported in analysis.images[member].imports:
        if match := _PYTHON_DLL.fullmatch(imported.dll.lower()):
            python, threaded = f"cp3{match[1]}", match[2]
            # Up to 3.7 the ABI named the memory allocator too (PEP 3149).
            abis = {f"{python}{threaded}", "none", *(() if threaded else (f"{python}m",))}
            if any(tag.interpreter != python or tag.abi not in abis for tag in tags):
                yield f"it imports {imported.dll}"
        elif imported.dll.lower() == "python3.dll" and any(tag.abi.endswith("t") for tag in tags):
            yield f"it imports {imported.dll}, which free-threaded Python does not have"


def _named_python(member: str, tags: frozenset[Tag]) -> Iterator[str]:
    """Yield the tag in the module's own name, where the wheel's is another."""
    match = _SUFFIX.fullmatch(member.rpartition("/")[2])
    if match and (match[1], match[2]) not in {(tag.interpreter, tag.platform) for tag in tags}:
        yield f"its name says {match[1]}-{match[2]}"


def _about_layout(analysis: Analysis) -> Iterator[Finding]:
    wheel = analysis.wheel
    if wheel.root_is_purelib and analysis.images:
        yield Finding(
            code="purelib-mismatch",
            message=f"Root-Is-Purelib is true, but there are {len(analysis.images)} binaries in "
            f"it, such as {min(analysis.images)}",
            member=f"{wheel.dist_info}/WHEEL",
            hint="an emitted wheel says false",
        )
    for member in startup_hooks(wheel.names):
        yield Finding(
            code="startup-hook",
            message="Python runs it at each start, whether the package is imported or not",
            member=member,
            hint="read it before the wheel is installed anywhere",
        )


def _about_numpy(analysis: Analysis, pythons: Collection[str]) -> Iterator[Finding]:
    wheel = analysis.wheel
    if analysis.numpy is None or wheel.filename.name == "numpy":
        return
    member = f"{wheel.dist_info}/METADATA"
    if not any(re.match(r"numpy\b(?!-)", line, re.IGNORECASE) for line in wheel.requires):
        yield Finding(
            code="numpy-missing",
            message=f"it is built for NumPy {analysis.numpy} but requires none",
            member=member,
            hint='add "Requires-Dist: numpy' + ('<2"' if analysis.numpy == "1" else '"'),
        )
    elif analysis.numpy == "1" and (
        wrong := [
            python for python in _select_pythons(wheel, pythons) if _lets_in_numpy_2(wheel, python)
        ]
    ):
        yield Finding(
            code="numpy-contradicted",
            message="it does not import with a NumPy 2, and its requirements let in one on Python "
            + ", ".join(wrong),
            member=member,
            hint='"Requires-Dist: numpy<2" is right',
        )


def _select_pythons(wheel: Wheel, pythons: Collection[str]) -> Collection[str]:
    """Return the one Python that the wheel is for, or `pythons` where it is for any."""
    exact = {
        f"3.{tag.interpreter.removeprefix('cp3')}"
        for tag in wheel.filename.tags
        if tag.abi != "abi3" and re.fullmatch(r"cp3\d+", tag.interpreter)
    }
    return sorted(exact) or pythons
