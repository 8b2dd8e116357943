"""What should be said of a wheel: a stable code, the member, a sentence, and what to do."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import TypeAlias

from repack.dlls import Dll, Kind, classify, may_be_shipped, missing_parts, possible_majors
from repack.errors import PatchError
from repack.inspect.analysis import Analysis
from repack.inspect.claims import Claim, read_configs
from repack.inspect.pythons import (
    correct_requirements,
    has_tag_for,
    is_numpy,
    lets_in_numpy_2,
    python_dlls,
)
from repack.patching import machine_directories
from repack.record import Finding
from repack.wheel import read_member, startup_hooks

#: Where stand-ins for the driver's DLLs lie; each has a folder of its own in it.
STAND_INS = "cv2/stand-ins"
#: Each code, and what to do about what it says.
HINTS = {
    "build-machine-path": "such an entry means nothing elsewhere; a patched wheel leaves it out",
    "config-broken": "look for a missing comma, or take the file of an unchanged wheel",
    "cuda-majors-mixed": "no one toolkit holds them all; have the wheel built anew",
    "cuda-version-contradicted": "the binary is right: install the toolkit that it was built with",
    "not-cuda": "take a build made with WITH_CUDA=ON",
    "numpy-bound-lifted": "set the bound where the wheels are installed, if you need it",
    "numpy-contradicted": '"Requires-Dist: numpy<2" is right',
    "numpy-missing": "add it to Requires-Dist; the wheels made from it have it",
    "purelib-mismatch": "an emitted wheel says false",
    "startup-hook": "read it before the wheel is installed anywhere",
    "tag-mismatch": "an installer offers the wheel where it cannot be loaded; take another",
    "unknown-dll": "whoever installs the wheel must have that DLL",
    "vendored-driver": "take it out; for machines without a driver there is --driver-stub",
    "vendored-incomplete": "cv2 imports, and what needs them fails later; --mode vendor takes them "
    "along",
    "vendored-superfluous": "start from the wheel as it was built; --mode vendor takes what is "
    "asked for",
    "vendored-unlisted": "be sure that you have leave to pass it on",
    "vendored-without-licence": "the licence asks for it: it belongs into licenses/ of the wheel's "
    ".dist-info",
}
_OF_NVIDIA = {Kind.CUDA, Kind.CUDNN}
_MACHINES = {"win_amd64": "x86-64", "win32": "x86", "win_arm64": "arm64"}
_PYTHON_DLL = re.compile(r"python\d+t?\.dll")
_SUFFIX = re.compile(r".+\.(cp3\d+)t?-(win\w+)\.pyd")
_TERMS = re.compile(r".*\.dist-info/.*(licen[cs]e|eula|notice)[^/]*", re.IGNORECASE)
#: So many files are named to a person; an archive's listing has them all.
_SHOWN = 4

#: Code, member ("" for the wheel) and message.
Row: TypeAlias = tuple[str, str, str]


def find_findings(
    analysis: Analysis, claims: Sequence[Claim], pythons: Collection[str]
) -> tuple[Finding, ...]:
    """Return all that should be said of the wheel, sorted by code and member.

    `claims` are the CUDA versions that it speaks of; `pythons` are those that it is to serve.
    """
    rows = [
        *_about_cuda(analysis, claims),
        *_about_unknown_dlls(analysis),
        *_about_configs(analysis),
        *_about_tag(analysis),
        *_about_layout(analysis),
        *_about_numpy(analysis, pythons),
        *_about_carried(analysis),
    ]
    return tuple(
        Finding(code=code, member=member, message=message, hint=HINTS[code])
        for code, member, message in sorted(rows)
    )


def _about_cuda(analysis: Analysis, claims: Sequence[Claim]) -> Iterator[Row]:
    if analysis.cv2 and not any(need.is_nvidia for need in analysis.needs):
        though = f", though {', '.join(map(str, claims))}" if claims else ""
        yield "not-cuda", "", f"a build without CUDA: no module imports a CUDA DLL{though}"
    dlls = [need.dll for need in analysis.needs if need.is_cuda and need.dll.majors]
    majors = possible_majors(dlls)
    if majors == frozenset():
        names = [f"{dll.name} (CUDA {', '.join(map(str, sorted(dll.majors)[:3]))})" for dll in dlls]
        message = "its DLLs are of CUDA versions that do not go together: "
        yield "cuda-majors-mixed", "", message + ", ".join(names)
    for claim in claims:
        if majors and claim.major not in majors:
            right = " or ".join(map(str, sorted(majors)))
            message = f"{claim}, the binary imports the DLLs of CUDA {right}"
            yield "cuda-version-contradicted", "", message


def _about_unknown_dlls(analysis: Analysis) -> Iterator[Row]:
    for need in analysis.needs:
        if need.dll.kind is Kind.UNKNOWN and need.in_wheel is None:
            how = " (by delay-load)" if need.delayed else ""
            message = f"it needs {need.dll.name}{how}, which neither lies in the wheel nor belongs "
            yield "unknown-dll", need.needed_by[0], f"{message}to Windows, CUDA or the driver"


def _about_configs(analysis: Analysis) -> Iterator[Row]:
    for member, content in read_configs(analysis.wheel).items():
        try:
            directories = machine_directories(content)
        except PatchError as error:
            message = f"{error.what}, so that the package cannot be imported"
            yield "config-broken", member, message
            continue
        if directories:
            message = "it names a directory of the machine that built the wheel: "
            yield "build-machine-path", member, message + ", ".join(directories)


def _about_tag(analysis: Analysis) -> Iterator[Row]:
    name = analysis.wheel.filename
    machines = {_MACHINES.get(tag.platform) for tag in name.tags}
    places = {(tag.interpreter, tag.platform) for tag in name.tags}
    pythons = frozenset.intersection(*map(python_dlls, name.tags))
    reached = {need.in_wheel for need in analysis.needs if need.in_wheel} | set(analysis.native)
    for member in sorted(reached):
        image = analysis.images[member]
        problems = [
            f"it imports {imported.dll}"
            for imported in image.imports
            if _PYTHON_DLL.fullmatch(imported.dll.lower()) and imported.dll.lower() not in pythons
        ]
        suffix = _SUFFIX.fullmatch(PurePosixPath(member).name)
        if suffix and (suffix[1], suffix[2]) not in places:
            problems.append(f"its name says {suffix[1]}-{suffix[2]}")
        if image.machine not in machines:
            problems.append(f"it is for {image.machine}")
        for problem in problems:
            yield "tag-mismatch", member, f"{problem}, the wheel's tag says {name.tag}"


def _about_layout(analysis: Analysis) -> Iterator[Row]:
    wheel = analysis.wheel
    if wheel.root_is_purelib and analysis.images:
        message = f"Root-Is-Purelib is true, and there are {len(analysis.images)} binaries in it"
        yield "purelib-mismatch", f"{wheel.dist_info}/WHEEL", message
    for member in startup_hooks(wheel.names):
        message = "Python runs it at each start, whether the package is imported or not"
        yield "startup-hook", member, message


def _about_numpy(analysis: Analysis, pythons: Collection[str]) -> Iterator[Row]:
    wheel, abi = analysis.wheel, analysis.numpy
    if abi is None or wheel.filename.name == "numpy":
        return
    member = f"{wheel.dist_info}/METADATA"
    right = correct_requirements(wheel.requires, abi)
    if not any(map(is_numpy, wheel.requires)):
        message = f"it is built for NumPy {abi} and does not require {right[-1]}"
        yield "numpy-missing", member, message
        return
    for line, lifted in zip(wheel.requires, right, strict=False):
        if line != lifted:
            message = f"it requires {line}, which leaves a Python without any NumPy; its binary is "
            message += f"built for NumPy 2, and the wheels made from it require {lifted}"
            yield "numpy-bound-lifted", member, message
    asked = [python for python in pythons if has_tag_for(wheel.filename, python)]
    wrong = [python for python in asked if abi == "1" and lets_in_numpy_2(wheel.requires, python)]
    if wrong:
        message = "it does not import with a NumPy 2, and its requirements let in one on Python "
        yield "numpy-contradicted", member, message + ", ".join(wrong)


def _about_carried(analysis: Analysis) -> Iterator[Row]:
    """Yield what is superfluous, not licensed or missing among the DLLs that the wheel carries."""
    named = {
        member: classify(PurePosixPath(member).name)
        for member in sorted(analysis.images)
        if not member.startswith(f"{STAND_INS}/")
    }
    driver = [member for member, dll in named.items() if dll.family == "driver"]
    if driver:
        message = (
            f"it carries {_join(driver)} of the display driver, which fits that driver alone, "
        )
        message += "hides the machine's own and may not be passed on"
        yield "vendored-driver", driver[0], message
    carried = {member: dll for member, dll in named.items() if dll.kind in _OF_NVIDIA}
    used = {need.in_wheel for need in analysis.needs}
    idle = [member for member in carried if member not in used]
    if idle:
        sizes = {member.name: member.compressed_size for member in analysis.wheel.archive.members}
        weight = sum(sizes[member] for member in idle) / 1e6
        message = f"nothing in it asks for {_join(idle)}, which weigh {weight:,.1f} MB of it"
        yield "vendored-superfluous", idle[0], message
    yield from _about_licence(analysis, carried)
    keys = {dll.key for dll in carried.values()}
    for member, dll in carried.items():
        if missing := missing_parts(dll, keys):
            message = f"it carries {dll.name} without {_join(missing)}, which that loads by name "
            yield "vendored-incomplete", member, f"{message}while it runs"


def _about_licence(analysis: Analysis, carried: Mapping[str, Dll]) -> Iterator[Row]:
    wheel = analysis.wheel
    unlisted = [member for member, dll in carried.items() if not may_be_shipped(dll)]
    if unlisted:
        message = f"it carries {_join(unlisted)}, which NVIDIA's licence does not list among what "
        yield "vendored-unlisted", unlisted[0], f"{message}may be passed on"
    terms = [name for name in wheel.names if carried and _TERMS.fullmatch(name)]
    if carried and not any(b"NVIDIA" in read_member(wheel.archive, name) for name in terms):
        message = f"it carries {_join(list(carried))} without the text of NVIDIA's licence"
        yield "vendored-without-licence", min(carried), message


def _join(members: Sequence[str]) -> str:
    """Return the names of files, of very many the first few."""
    names = [PurePosixPath(member).name for member in members]
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
