"""The DLLs of a build by where they come from, and by family."""

from __future__ import annotations

from typing import TYPE_CHECKING

from repack.dlls import Kind, classify, distribution
from repack.report.values import BY_PIP, IN_WHEEL, MACHINE, SYSTEM, Family, Library

if TYPE_CHECKING:
    from collections.abc import Iterator

    from repack.record import Asked, BuildRecord

#: In the order in which they are shown.
_PLACES = (IN_WHEEL, BY_PIP, MACHINE, SYSTEM)
_OF_THE_SYSTEM = frozenset(
    {Kind.WINDOWS.value, Kind.API_SET.value, Kind.PYTHON.value, Kind.VC_RUNTIME.value}
)


def families_of(record: BuildRecord) -> tuple[Family, ...]:
    """Return each family at each place, what weighs most first."""
    grouped: dict[tuple[str, str], list[Library]] = {}
    for place, family, library in sorted(_libraries(record), key=lambda it: it[2].dll.lower()):
        grouped.setdefault((place, family), []).append(library)
    families = [
        Family(place=place, family=family, size=_sum(dlls), dlls=tuple(dlls))
        for (place, family), dlls in grouped.items()
    ]
    return tuple(
        sorted(families, key=lambda it: (_PLACES.index(it.place), -(it.size or 0), it.family))
    )


def _libraries(record: BuildRecord) -> Iterator[tuple[str, str, Library]]:
    """Yield what is carried, and what is asked for beside it, with place and family."""
    asked = {need.dll.lower(): need for need in record.needs}
    carried = set()
    for cargo in record.carried:
        name = cargo.member.rpartition("/")[2]
        carried.add(name.lower())
        need = asked.get(name.lower())
        library = Library(
            dll=name,
            size=cargo.size,
            needed_by=need.needed_by if need else (),
            delayed=bool(need and need.delayed),
            origin=cargo.origin,
        )
        yield IN_WHEEL, cargo.family, library
    for key, need in asked.items():
        if key not in carried:
            place = _place(need, record)
            library = Library(
                dll=need.dll,
                size=None,
                needed_by=need.needed_by,
                delayed=need.delayed,
                origin=need.in_wheel,
            )
            yield place, need.family, library


def _place(need: Asked, record: BuildRecord) -> str:
    if need.in_wheel:
        return IN_WHEEL
    brought = _distribution(need, record.source.cuda)
    if brought and any(_names(line, brought) for line in record.requires):
        return BY_PIP
    return SYSTEM if need.kind in _OF_THE_SYSTEM else MACHINE


def _distribution(need: Asked, cuda: str) -> str:
    """Return the distribution of NVIDIA's, or Microsoft's, that brings the DLL; "" for none."""
    if need.kind == Kind.VC_RUNTIME.value:
        return "msvc-runtime"
    major = cuda.partition(".")[0]
    return distribution(classify(need.dll), int(major)) or "" if major.isdecimal() else ""


def _names(requirement: str, name: str) -> bool:
    """Return whether the line of Requires-Dist is about the distribution `name`."""
    rest = requirement.removeprefix(name)
    return rest != requirement and not (rest[:1].isalnum() or rest[:1] in {"-", "_", "."})


def _sum(dlls: list[Library]) -> int | None:
    """Return the sum of the sizes that are known, None where none is."""
    known = [each.size for each in dlls if each.size is not None]
    return sum(known) if known else None
