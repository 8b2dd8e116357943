"""What should be said of a wheel: a stable code, the member, a sentence, and what to do."""

import re
import textwrap
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from repack.dlls.families import Kind, classify, may_be_shipped, missing_parts, possible_majors
from repack.errors import PatchError
from repack.inspect import Analysis
from repack.inspect.pythons import is_numpy, lets_in_numpy_2, python_dlls, serves
from repack.patching.loader import machine_directories
from repack.record import Finding
from repack.wheel.reader import read_member, startup_hooks

#: Where stand-ins for the driver's DLLs lie; each has a folder of its own in it.
STAND_INS = "cv2/stand-ins"
#: By code: the sentence and the hint.
TEXTS: Mapping[str, Mapping[str, str]] = tomllib.loads(
    Path(__file__).with_name("findings.toml").read_text("utf-8")
)
_MACHINES = {"win_amd64": "x86-64", "win32": "x86", "win_arm64": "arm64"}
_TERMS = re.compile(r".*\.dist-info/.*(licen[cs]e|eula|notice)[^/]*", re.IGNORECASE)


def find_findings(analysis: Analysis, pythons: Collection[str] = ()) -> tuple[Finding, ...]:
    """Return all that should be said of the wheel, sorted by code and member.

    `pythons` are those that it is to serve.
    """
    findings = [
        *_check_cuda(analysis),
        *_check_texts(analysis),
        *_check_tag(analysis),
        *_check_numpy(analysis, pythons),
        *_check_carried(analysis),
    ]
    return tuple(sorted(findings, key=lambda finding: (finding.code, finding.member)))


def make_finding(code: str, member: str, *words: object) -> Finding:
    """Return the finding whose sentence has `words` filled in."""
    text = TEXTS[code]
    return Finding(code=code, member=member, message=text["says"].format(*words), hint=text["hint"])


def _check_cuda(analysis: Analysis) -> Iterator[Finding]:
    claims = analysis.claims
    if analysis.native and not any(need.dll.is_nvidia for need in analysis.needs):
        though = f", though {', '.join(map(str, claims))}" if claims else ""
        yield make_finding("not-cuda", "", though)
    dlls = [need.dll for need in analysis.needs if need.dll.is_cuda and need.dll.majors]
    majors = possible_majors(dlls)
    if majors == frozenset():
        names = [f"{dll.name} (CUDA {', '.join(map(str, sorted(dll.majors)[:3]))})" for dll in dlls]
        yield make_finding("cuda-majors-mixed", "", ", ".join(names))
    for claim in claims:
        if majors and claim.version[0] not in majors:
            right = " or ".join(map(str, sorted(majors)))
            yield make_finding("cuda-version-contradicted", "", claim, right)
    for need in analysis.needs:
        if need.dll.kind is Kind.UNKNOWN and need.in_wheel is None:
            how = " (by delay-load)" if need.delayed else ""
            yield make_finding("unknown-dll", need.needed_by[0], need.dll.name + how)


def _check_texts(analysis: Analysis) -> Iterator[Finding]:
    wheel = analysis.wheel
    if wheel.root_is_purelib and analysis.images:
        yield make_finding("purelib-mismatch", f"{wheel.dist_info}/WHEEL", len(analysis.images))
    for member in startup_hooks(wheel.names):
        yield make_finding("startup-hook", member)
    for member, content in analysis.configs.items():
        try:
            directories = machine_directories(content)
        except PatchError as error:
            yield make_finding("config-broken", member, error.what)
            continue
        if directories:
            yield make_finding("build-machine-path", member, ", ".join(directories))


def _check_tag(analysis: Analysis) -> Iterator[Finding]:
    name = analysis.wheel.filename
    machines = {_MACHINES.get(tag.platform) for tag in name.tags}
    pythons = frozenset.intersection(*map(python_dlls, name.tags))
    for need in analysis.needs:
        if need.dll.kind is Kind.PYTHON and need.dll.key not in pythons:
            what = f"it imports {need.dll.name}"
            yield make_finding("tag-mismatch", need.needed_by[0], what, name.tag)
    needed = {*analysis.native, *(need.in_wheel for need in analysis.needs)}
    for member, image in analysis.images.items():
        if member in needed and image.machine not in machines:
            yield make_finding("tag-mismatch", member, f"it is for {image.machine}", name.tag)


def _check_numpy(analysis: Analysis, pythons: Collection[str]) -> Iterator[Finding]:
    wheel, abi = analysis.wheel, analysis.numpy
    if not abi or wheel.filename.name == "numpy":
        return
    member = f"{wheel.dist_info}/METADATA"
    if not any(map(is_numpy, wheel.requires)):
        yield make_finding("numpy-missing", member, abi, analysis.requires[-1])
        return
    for line, lifted in zip(wheel.requires, analysis.requires, strict=False):
        if line != lifted:
            yield make_finding("numpy-bound-lifted", member, line, lifted)
    served = [python for python in pythons if serves(wheel.filename.tags, python)]
    wrong = [python for python in served if lets_in_numpy_2(wheel.requires, python)]
    if wrong and abi == "1":
        yield make_finding("numpy-contradicted", member, ", ".join(wrong))


def _check_carried(analysis: Analysis) -> Iterator[Finding]:
    """Yield what is superfluous, not licensed or missing among the DLLs that the wheel carries."""
    wheel = analysis.wheel
    named = {
        member: classify(PurePosixPath(member).name)
        for member in sorted(analysis.images)
        if not member.startswith(f"{STAND_INS}/")
    }
    driver = [member for member, dll in named.items() if dll.family == "driver"]
    if driver:
        yield make_finding("vendored-driver", driver[0], _join(driver))
    carried = {member: dll for member, dll in named.items() if dll.is_cuda}
    if not carried:
        return
    used = {need.in_wheel for need in analysis.needs}
    idle = [member for member in carried if member not in used]
    if idle:
        weight = sum(wheel.archive.members[member].compressed_size for member in idle) / 1e6
        yield make_finding("vendored-superfluous", idle[0], _join(idle), weight)
    unlisted = [member for member, dll in carried.items() if not may_be_shipped(dll)]
    if unlisted:
        yield make_finding("vendored-unlisted", unlisted[0], _join(unlisted))
    terms = [name for name in wheel.names if _TERMS.fullmatch(name)]
    if not any(b"NVIDIA" in read_member(wheel.archive, name) for name in terms):
        yield make_finding("vendored-without-licence", min(carried), _join(carried))
    keys = {dll.key for dll in carried.values()}
    for member, dll in carried.items():
        if missing := missing_parts(dll, keys):
            yield make_finding("vendored-incomplete", member, dll.name, _join(missing))


def _join(members: Iterable[str]) -> str:
    """Return the names of files, of very many the first few."""
    names = ", ".join(PurePosixPath(member).name for member in members)
    return textwrap.shorten(names, 100, placeholder=" ...")
