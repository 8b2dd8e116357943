"""What should be said of a wheel: one function per finding, in the tuple at the end."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from repack.dlls import Kind, possible_majors
from repack.inspect.carried import about_carried
from repack.inspect.configs import Texts, machine_directories
from repack.inspect.configs import Version as Claim
from repack.inspect.values import Analysis
from repack.record import Finding
from repack.wheel import requirement, startup_hooks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from packaging.requirements import Requirement
    from packaging.tags import Tag

    from repack.dlls import Dll

_MACHINES = {"win_amd64": "x86-64", "win32": "x86", "win_arm64": "arm64"}
_PYTHON_DLL = re.compile(r"python(3)(\d+)(t?)\.dll")
_SUFFIX = re.compile(r".+\.(cp3\d+t?)-(win\w+)\.pyd")
# The newest Python that is asked after where a wheel is for any.
_NEWEST_MINOR = 14
_NUMPY_2 = tuple(f"2.{minor}.0" for minor in range(30))
# The oldest NumPy that has a wheel for a Python, where a module may ask for a later one.
_FIRST_NUMPY = {6: "1.11.3", 7: "1.14.5", 8: "1.17.3", 9: "1.19.3", 10: "1.21.2", 11: "1.23.2"}
# NumPy 2 was never published for a Python before this one.
_NUMPY_2_MINOR = 9


def find(analysis: Analysis, texts: Texts) -> tuple[Finding, ...]:
    """Return all that should be said of the wheel, sorted by code and member."""
    found = [finding for check in _CHECKS for finding in check(analysis, texts)]
    return tuple(sorted(found, key=lambda one: (one.code, one.member, one.message)))


def cuda_dlls(analysis: Analysis) -> tuple[Dll, ...]:
    """Return the DLLs of the toolkit and of cuDNN that the modules lead to."""
    return tuple(need.dll for need in analysis.needs if need.dll.kind in {Kind.CUDA, Kind.CUDNN})


def is_cuda(analysis: Analysis) -> bool:
    """Return whether the modules lead to anything of NVIDIA's."""
    driver = any(need.dll.family == "driver" for need in analysis.needs)
    return driver or bool(cuda_dlls(analysis))


def _not_cuda(analysis: Analysis, texts: Texts) -> Iterator[Finding]:
    if is_cuda(analysis) or not analysis.cv2:
        return
    claims = dict.fromkeys(
        f"{where} says CUDA {_dotted(version)}".rstrip() for where, version in texts.claims
    )
    said = f", though {', '.join(claims)}" if claims else ""
    yield Finding(
        code="not-cuda",
        message=f"a build without CUDA: no module in it imports a CUDA DLL{said}",
        hint="take a build made with WITH_CUDA=ON",
    )


def _mixed_majors(analysis: Analysis, texts: Texts) -> Iterator[Finding]:
    del texts
    dlls = cuda_dlls(analysis)
    if possible_majors(dlls) == frozenset():
        names = ", ".join(
            f"{dll.name} (CUDA {', '.join(map(str, sorted(dll.majors)[:3]))})"
            for dll in dlls
            if dll.majors
        )
        yield Finding(
            code="cuda-majors-mixed",
            message=f"its DLLs are of CUDA versions that do not go together: {names}",
            hint="no one toolkit holds them all; have the wheel built anew",
        )


def _contradicted_version(analysis: Analysis, texts: Texts) -> Iterator[Finding]:
    majors = possible_majors(cuda_dlls(analysis))
    if not majors:
        return
    for where, version in texts.claims:
        if version[0] is not None and version[0] not in majors:
            yield Finding(
                code="cuda-version-contradicted",
                message=f"{where} says CUDA {_dotted(version)}, the binary imports the DLLs of "
                f"CUDA {' or '.join(map(str, sorted(majors)))}",
                hint="the binary is right: install the toolkit that it was built with",
            )


def _unknown_dlls(analysis: Analysis, texts: Texts) -> Iterator[Finding]:
    del texts
    for need in analysis.needs:
        if need.dll.kind is Kind.UNKNOWN and need.in_wheel is None:
            yield Finding(
                code="unknown-dll",
                message=f"it needs {need.dll.name}{' (by delay-load)' if need.delayed else ''}, "
                "which neither lies in the wheel nor belongs to Windows, CUDA or the driver",
                member=need.needed_by[0],
                hint="whoever installs the wheel must have that DLL",
            )


def _build_machine(analysis: Analysis, texts: Texts) -> Iterator[Finding]:
    del analysis
    for member, module in texts.configs.items():
        if module is None:
            yield Finding(
                code="config-broken",
                message="it is not Python, so that the package cannot be imported",
                member=member,
                hint="look for a missing comma, or take the file of an unchanged wheel",
            )
        elif directories := machine_directories(module):
            yield Finding(
                code="build-machine-path",
                message="it names a directory of the machine that built the wheel: "
                + ", ".join(directories),
                member=member,
                hint="such an entry means nothing elsewhere; a patched wheel leaves it out",
            )


def _machines(analysis: Analysis, texts: Texts) -> Iterator[Finding]:
    del texts
    reached = {need.in_wheel for need in analysis.needs if need.in_wheel} | set(analysis.native)
    platforms = {tag.platform for tag in analysis.wheel.filename.tags}
    expected = {_MACHINES[platform] for platform in platforms if platform in _MACHINES}
    for member in sorted(reached):
        machine = analysis.images[member].machine
        if machine not in expected:
            yield Finding(
                code="tag-mismatch",
                message=f"it is for {machine}, the wheel's tag says {'.'.join(sorted(platforms))}",
                member=member,
                hint="Windows will not load it; take the wheel for your platform",
            )


def _pythons(analysis: Analysis, texts: Texts) -> Iterator[Finding]:
    del texts
    tags = analysis.wheel.filename.tags
    for member in analysis.native:
        for problem in (_python_dll(analysis, member, tags), _suffix(member, tags)):
            if problem:
                yield Finding(
                    code="tag-mismatch",
                    message=f"{problem}, the wheel's tag says {analysis.wheel.filename.tag}",
                    member=member,
                    hint="an installer will offer the wheel to Pythons that cannot load it",
                )


def _python_dll(analysis: Analysis, member: str, tags: frozenset[Tag]) -> str:
    """Return which Python the module is linked to, where a tag promises another."""
    for wanted in analysis.images[member].imports:
        name = wanted.dll.lower()
        if found := _PYTHON_DLL.fullmatch(name):
            exact = f"cp3{found[2]}"
            abis = {f"{exact}{found[3]}", "none", *({f"{exact}m"} if not found[3] else ())}
            if any(tag.interpreter != exact or tag.abi not in abis for tag in tags):
                return f"it imports {wanted.dll}"
        elif name == "python3.dll" and any(tag.abi.endswith("t") for tag in tags):
            return f"it imports {wanted.dll}, which free-threaded Python does not have"
    return ""


def _suffix(member: str, tags: frozenset[Tag]) -> str:
    """Return the tag in the module's own name, where the wheel's is another."""
    found = _SUFFIX.fullmatch(member.rsplit("/", 1)[-1])
    if not found:
        return ""
    python, platform = found[1].rstrip("t"), found[2]
    fits = any(tag.interpreter == python and tag.platform == platform for tag in tags)
    return "" if fits else f"its name says {found[1]}-{platform}"


def _purelib(analysis: Analysis, texts: Texts) -> Iterator[Finding]:
    del texts
    wheel = analysis.wheel
    if wheel.root_is_purelib and analysis.images:
        yield Finding(
            code="purelib-mismatch",
            message=f"Root-Is-Purelib is true, but there are {len(analysis.images)} binaries in "
            f"it, such as {min(analysis.images)}",
            member=f"{wheel.dist_info}/WHEEL",
            hint="an emitted wheel says false",
        )


def _hooks(analysis: Analysis, texts: Texts) -> Iterator[Finding]:
    del texts
    for member in startup_hooks(analysis.wheel.names):
        yield Finding(
            code="startup-hook",
            message="Python runs it at each start, whether the package is imported or not",
            member=member,
            hint="read it before the wheel is installed anywhere",
        )


def _numpy(analysis: Analysis, texts: Texts) -> Iterator[Finding]:
    del texts
    wheel = analysis.wheel
    if analysis.numpy is None or wheel.filename.name == "numpy":
        return
    member = f"{wheel.dist_info}/METADATA"
    wanted = [each for each in map(requirement, wheel.requires) if each and _is_numpy(each)]
    if not wanted:
        yield Finding(
            code="numpy-missing",
            message=f"it is built for NumPy {analysis.numpy} but requires none",
            member=member,
            hint='add "Requires-Dist: numpy' + ('<2"' if analysis.numpy == "1" else '"'),
        )
    elif wrong := wrong_numpy(analysis, _minors(analysis)):
        minor, release = wrong
        too_new = analysis.numpy == "1" and Version(release).major > 1
        range_ = "2" if too_new else f"before {analysis.numpy_floor}"
        right = "numpy<2" if too_new else f"numpy>={analysis.numpy_floor}"
        yield Finding(
            code="numpy-contradicted",
            message=f"it does not import with a NumPy {range_}, and its requirements let in "
            f"{release} on Python 3.{minor}",
            member=member,
            hint=f'"Requires-Dist: {right}" is right',
        )


def wrong_numpy(analysis: Analysis, minors: Iterable[int]) -> tuple[int, str] | None:
    """Return a Python 3.x of `minors` and a NumPy let in there that the binary does not work with.

    None where there is none; of several the oldest Python.
    """
    wheel = analysis.wheel
    wanted = [each for each in map(requirement, wheel.requires) if each and _is_numpy(each)]
    for minor in sorted(minors):
        specifiers = _required(wanted, minor)
        for release in _unusable(analysis, minor):
            if specifiers.contains(release):
                return minor, release
    return None


def _unusable(analysis: Analysis, minor: int) -> Iterator[str]:
    """Yield releases of NumPy for Python 3.`minor` that the binary does not import with."""
    if analysis.numpy == "1" and minor >= _NUMPY_2_MINOR:
        yield from _NUMPY_2
    first = _FIRST_NUMPY.get(minor)
    if first and analysis.numpy_floor and Version(first) < Version(analysis.numpy_floor):
        yield first


def _is_numpy(wanted: Requirement) -> bool:
    return canonicalize_name(wanted.name) == "numpy"


def _required(wanted: list[Requirement], minor: int) -> SpecifierSet:
    """Return what the requirements ask of a version on Python 3.`minor`."""
    specifiers = SpecifierSet()
    for each in wanted:
        if each.marker is None or each.marker.evaluate(_environment(minor)):
            specifiers &= each.specifier
    return specifiers


def _minors(analysis: Analysis) -> set[int]:
    """Return the Pythons 3.x that the wheel's tags and Requires-Python let in."""
    minors: set[int] = set()
    for tag in analysis.wheel.filename.tags:
        found = re.fullmatch(r"cp3(\d+)", tag.interpreter)
        first = int(found[1]) if found else 6
        newest = first if found and tag.abi != "abi3" else _NEWEST_MINOR
        minors.update(range(first, newest + 1))
    allowed = SpecifierSet(analysis.wheel.requires_python)
    return {minor for minor in minors if allowed.contains(f"3.{minor}.99")}


def _environment(minor: int) -> dict[str, str]:
    return {
        "implementation_name": "cpython",
        "implementation_version": f"3.{minor}.0",
        "os_name": "nt",
        "platform_machine": "AMD64",
        "platform_python_implementation": "CPython",
        "platform_release": "10",
        "platform_system": "Windows",
        "platform_version": "10.0",
        "python_full_version": f"3.{minor}.0",
        "python_version": f"3.{minor}",
        "sys_platform": "win32",
        "extra": "",
    }


def _dotted(version: Claim) -> str:
    return ".".join(str(part) for part in version if part is not None)


_CHECKS: tuple[Callable[[Analysis, Texts], Iterator[Finding]], ...] = (
    _not_cuda,
    _mixed_majors,
    _contradicted_version,
    _unknown_dlls,
    _build_machine,
    _machines,
    _pythons,
    _purelib,
    _hooks,
    _numpy,
    about_carried,
)
