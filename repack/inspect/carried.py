"""What should be said of the CUDA DLLs that somebody has put into a wheel."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from repack.dlls import Dll, Kind, classify, key_of, may_be_shipped, partners, parts_of
from repack.inspect.analysis import Analysis
from repack.record import Finding
from repack.wheel import Wheel, read_member

#: Where stand-ins for the driver's DLLs lie; each has a folder of its own in it.
STAND_INS = "cv2/stand-ins"
_OF_NVIDIA = {Kind.CUDA, Kind.CUDNN}
_TERMS = re.compile(r".*\.dist-info/.*(licen[cs]e|eula|notice)[^/]*", re.IGNORECASE)
#: So many files are named to a person; an archive's listing has them all.
_SHOWN = 4


def find_carried(analysis: Analysis) -> Iterator[Finding]:
    """Yield what is superfluous, not licensed or missing among the DLLs that the wheel carries."""
    named = {
        member: classify(PurePosixPath(member).name)
        for member in sorted(analysis.images)
        if not member.startswith(f"{STAND_INS}/")
    }
    driver = [member for member, dll in named.items() if dll.family == "driver"]
    if driver:
        yield Finding(
            code="vendored-driver",
            message=f"it carries {_join(driver)} of the display driver, which fits that driver "
            "alone, hides the machine's own and may not be passed on",
            member=driver[0],
            hint="take it out; for machines without a driver there is --driver-stub",
        )
    carried = {member: dll for member, dll in named.items() if dll.kind in _OF_NVIDIA}
    if carried:
        yield from _superfluous(analysis, carried)
        yield from _not_licensed(analysis.wheel, carried)
        yield from _incomplete(analysis, carried)


def _superfluous(analysis: Analysis, carried: Mapping[str, Dll]) -> Iterator[Finding]:
    used = _find_used(analysis, carried)
    idle = [member for member in carried if member not in used]
    if idle:
        sizes = {member.name: member.compressed_size for member in analysis.wheel.archive.members}
        weight = sum(sizes[member] for member in idle) / 1e6
        yield Finding(
            code="vendored-superfluous",
            message=f"nothing in it asks for {_join(idle)}, which weigh {weight:,.1f} MB of it",
            member=idle[0],
            hint="start from the wheel as it was built; --mode vendor takes what is asked for",
        )


def _find_used(analysis: Analysis, carried: Mapping[str, Dll]) -> set[str]:
    """Return the members that modules lead to, by import tables or by name."""
    used: set[str] = set()
    waiting = [need.in_wheel for need in analysis.needs if need.in_wheel in carried]
    while waiting:
        member = str(waiting.pop())
        if member in used:
            continue
        used.add(member)
        image = analysis.images[member]
        keys = {key_of(imported.dll) for imported in (*image.imports, *image.delay_imports)}
        patterns = [partner.names for partner in partners(carried[member], analysis.cuda_major)]
        waiting += [
            other
            for other, dll in carried.items()
            if dll.key in keys or any(pattern.fullmatch(dll.key) for pattern in patterns)
        ]
    return used


def _not_licensed(wheel: Wheel, carried: Mapping[str, Dll]) -> Iterator[Finding]:
    unlisted = [member for member, dll in carried.items() if not may_be_shipped(dll)]
    if unlisted:
        yield Finding(
            code="vendored-unlisted",
            message=f"it carries {_join(unlisted)}, which NVIDIA's licence does not list among "
            "what may be passed on",
            member=unlisted[0],
            hint="be sure that you have leave to pass it on",
        )
    terms = [name for name in wheel.names if _TERMS.fullmatch(name)]
    if not any(b"NVIDIA" in read_member(wheel.archive, name) for name in terms):
        yield Finding(
            code="vendored-without-licence",
            message=f"it carries {_join(list(carried))} without the text of NVIDIA's licence",
            member=min(carried),
            hint="the licence asks for it: it belongs into licenses/ of the wheel's .dist-info",
        )


def _incomplete(analysis: Analysis, carried: Mapping[str, Dll]) -> Iterator[Finding]:
    keys = {dll.key for dll in carried.values()}
    for member, dll in carried.items():
        missing = [part for part in parts_of(dll) if part not in keys]
        if dll.family == "nvrtc":
            patterns = [partner.names for partner in partners(dll, analysis.cuda_major)]
            has_builtins = all(any(map(pattern.fullmatch, keys)) for pattern in patterns)
            missing += [] if has_builtins else ["nvrtc-builtins64_*.dll"]
        if missing:
            yield Finding(
                code="vendored-incomplete",
                message=f"it carries {dll.name} without {_join(missing)}, which that loads by "
                "name while it runs",
                member=member,
                hint="cv2 imports, and what needs them fails later; --mode vendor takes them along",
            )


def _join(members: Sequence[str]) -> str:
    """Return the names of files, of very many the first few."""
    names = [PurePosixPath(member).name for member in members]
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
