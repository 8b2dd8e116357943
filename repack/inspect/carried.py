"""What should be said of the CUDA DLLs that somebody has put into a wheel."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from repack.dlls import Kind, classify, may_be_shipped, partners, parts_of
from repack.inspect.values import Analysis
from repack.record import Finding

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from repack.dlls import Dll
    from repack.inspect.configs import Texts

#: Where stand-ins for the driver's DLLs lie; each has a folder of its own in it.
STAND_INS = "cv2/stand-ins"
_OF_NVIDIA = {Kind.CUDA, Kind.CUDNN}
#: So many files are named to a person; an archive's listing has them all.
_SHOWN = 4


def about_carried(analysis: Analysis, texts: Texts) -> Iterator[Finding]:
    """Yield what is superfluous, not licensed or missing among the DLLs that the wheel carries."""
    carried = carried_dlls(analysis)
    ours = [member for member, dll in carried.items() if dll.kind in _OF_NVIDIA]
    yield from _superfluous(analysis, carried, ours)
    yield from _unlisted(ours, carried)
    yield from _driver(carried)
    yield from _incomplete(analysis, carried, ours)
    if ours and not texts.nvidia_terms:
        yield Finding(
            code="vendored-without-licence",
            message=f"it carries {_shown(ours)} without the text of NVIDIA's licence",
            member=ours[0],
            hint="the licence asks for it: it belongs into licenses/ of the wheel's .dist-info",
        )


def carried_dlls(analysis: Analysis) -> dict[str, Dll]:
    """Return the DLLs of CUDA, cuDNN and the driver in the wheel, by member."""
    named = {
        member: classify(PurePosixPath(member).name)
        for member in sorted(analysis.images)
        if not member.startswith(f"{STAND_INS}/")
    }
    return {
        member: dll
        for member, dll in named.items()
        if dll.kind in _OF_NVIDIA or dll.family == "driver"
    }


def _superfluous(
    analysis: Analysis, carried: dict[str, Dll], ours: Sequence[str]
) -> Iterator[Finding]:
    used = _used(analysis, carried)
    idle = [member for member in ours if member not in used]
    if idle:
        sizes = {member.name: member.compressed_size for member in analysis.wheel.archive.members}
        weight = sum(sizes[member] for member in idle) / 1e6
        yield Finding(
            code="vendored-superfluous",
            message=f"nothing in it asks for {_shown(idle)}, which weigh {weight:,.1f} MB of it",
            member=idle[0],
            hint="start from the wheel as it was built; --mode vendor takes what is asked for",
        )


def _used(analysis: Analysis, carried: dict[str, Dll]) -> set[str]:
    """Return the members that modules lead to, by import tables or by name."""
    by_key: dict[str, list[str]] = {}
    for member, dll in carried.items():
        by_key.setdefault(dll.key, []).append(member)
    used: set[str] = set()
    waiting = [need.in_wheel for need in analysis.needs if need.in_wheel in carried]
    while waiting:
        member = str(waiting.pop())
        if member in used:
            continue
        used.add(member)
        image = analysis.images[member]
        names = {classify(each.dll).key for each in (*image.imports, *image.delay_imports)}
        patterns = [each.names for each in partners(carried[member], analysis.cuda_major)]
        waiting += [
            other
            for key, members in by_key.items()
            if key in names or any(pattern.fullmatch(key) for pattern in patterns)
            for other in members
        ]
    return used


def _unlisted(ours: Sequence[str], carried: dict[str, Dll]) -> Iterator[Finding]:
    unlisted = [member for member in ours if not may_be_shipped(carried[member])]
    if unlisted:
        yield Finding(
            code="vendored-unlisted",
            message=f"it carries {_shown(unlisted)}, which NVIDIA's licence does not list among "
            "what may be passed on",
            member=unlisted[0],
            hint="be sure that you have leave to pass it on",
        )


def _driver(carried: dict[str, Dll]) -> Iterator[Finding]:
    driver = [member for member, dll in carried.items() if dll.kind is Kind.DRIVER]
    if driver:
        yield Finding(
            code="vendored-driver",
            message=f"it carries {_shown(driver)} of the display driver, which fits that driver "
            "alone, hides the machine's own and may not be passed on",
            member=driver[0],
            hint="take it out; for machines without a driver there is --driver-stub",
        )


def _incomplete(
    analysis: Analysis, carried: dict[str, Dll], ours: Sequence[str]
) -> Iterator[Finding]:
    there = {dll.key for dll in carried.values()}
    for member in ours:
        dll = carried[member]
        missing = [part for part in parts_of(dll) if part not in there]
        missing += [] if _has_builtins(dll, there, analysis) else ["nvrtc-builtins64_*.dll"]
        if missing:
            yield Finding(
                code="vendored-incomplete",
                message=f"it carries {dll.name} without {_shown(missing)}, which that loads by "
                "name while it runs",
                member=member,
                hint="cv2 imports, and what needs them fails later; --mode vendor takes them along",
            )


def _has_builtins(dll: Dll, there: Collection[str], analysis: Analysis) -> bool:
    """Return whether `dll` is no NVRTC, or has the built-ins that it loads."""
    if dll.family != "nvrtc":
        return True
    wanted = [each.names for each in partners(dll, analysis.cuda_major)]
    return all(any(pattern.fullmatch(key) for key in there) for pattern in wanted)


def _shown(members: Sequence[str]) -> str:
    """Return the names of files, of very many the first few."""
    names = [PurePosixPath(member).name for member in members]
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
