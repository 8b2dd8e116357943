"""The record of a finished build."""

from __future__ import annotations

from difflib import unified_diff
from typing import TYPE_CHECKING

import msgspec

from repack.record import (
    Beside,
    BuildRecord,
    Change,
    NeededDll,
    Origin,
    Outcome,
    Seen,
    WheelRecord,
)
from repack.results import cuda_text
from repack.wheel import Added, read_member

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from repack.config import Build
    from repack.plan import PlannedWheel
    from repack.results import BuildResult, Row
    from repack.wheel import Wheel

#: More is no text that a person would read as a diff.
_MOST = 1 << 20


def record_of(result: BuildResult, build: Build) -> BuildRecord:
    """Return the record of the build that `result` came from."""
    analysis, plan = result.analysis, result.plan
    return BuildRecord(
        source=_origin(result),
        name=build.name,
        mode=build.mode,
        driver_stub=build.driver_stub,
        wheels=tuple(_wheels(result, build)),
        requires=plan.requires,
        carried=plan.cargo,
        left_out=plan.left_out,
        needs=tuple(
            NeededDll(
                dll=need.dll.name,
                kind=need.dll.kind.value,
                family=need.dll.family,
                needed_by=need.needed_by,
                delayed=need.delayed,
                in_wheel=need.in_wheel or "",
            )
            for need in analysis.needs
        ),
        changes=tuple(_changes(plan.wheels[0], analysis.wheel)),
        findings=plan.findings,
        refused=plan.refused,
    )


def _origin(result: BuildResult) -> Origin:
    wheel = result.analysis.wheel
    return Origin(
        filename=wheel.path.name,
        name=wheel.filename.name,
        version=str(wheel.filename.version),
        url=result.url,
        size=wheel.size,
        sha256=wheel.sha256,
        cuda=cuda_text(result.analysis) or "",
    )


def _wheels(result: BuildResult, build: Build) -> Iterator[WheelRecord]:
    """Yield each planned wheel with what it did on its Pythons."""
    rows = {
        planned.filename: [row for row in result.rows if row.path.name == planned.filename]
        for planned in result.plan.wheels
    }
    for planned in result.plan.wheels:
        first, *_ = those = rows[planned.filename]
        yield WheelRecord(
            path=first.path.relative_to(build.out).as_posix(),
            version=planned.version,
            tag=planned.tag,
            size=first.size,
            sha256=first.sha256,
            recipe=planned.recipe,
            seen=_seen(those),
        )


def _seen(rows: Sequence[Row]) -> tuple[Seen, ...]:
    return tuple(
        Seen(
            python=row.python,
            before=_lasting(row.before),
            after=_lasting(row.after),
            beside=_beside(row),
        )
        for row in rows
    )


def _lasting(outcome: Outcome) -> Outcome:
    """Return the outcome without how long it took, which is another each time."""
    return msgspec.structs.replace(outcome, seconds=0.0)


def _beside(row: Row) -> tuple[Beside, ...]:
    pins = sorted(row.beside, key=lambda pin: pin.filename)
    return tuple(Beside(filename=pin.filename, size=pin.size, sha256=pin.sha256) for pin in pins)


def _changes(planned: PlannedWheel, wheel: Wheel) -> Iterator[Change]:
    """Yield the texts of a wheel that are not the source's; RECORD follows from the others."""
    ours = planned.filename.split("-")[:2]
    moved = f"{'-'.join(ours)}.dist-info/"
    for entry in planned.entries:
        if not (isinstance(entry, Added) and isinstance(entry.content, bytes)):
            continue
        name = entry.name
        origin = f"{wheel.dist_info}/{name[len(moved) :]}" if name.startswith(moved) else name
        before = _text(read_member(wheel.archive, origin)) if origin in wheel.names else ""
        after = _text(entry.content)
        if before is None or after is None or before == after or name == f"{moved}RECORD":
            continue
        lines = unified_diff(before.splitlines(), after.splitlines(), origin, name, lineterm="")
        yield Change(member=name, new=origin not in wheel.names, diff="\n".join(lines) + "\n")


def _text(content: bytes) -> str | None:
    """Return the content as text, None where it is none."""
    try:
        return content.decode() if len(content) <= _MOST and b"\0" not in content else None
    except UnicodeDecodeError:
        return None
