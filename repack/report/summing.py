"""Records of builds -> what a report tells of them: pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from repack.dlls import Kind, classify
from repack.report.dlls import families_of
from repack.report.values import (
    FAILS,
    NO_WHEEL,
    NOT_RUN,
    WORKS,
    Build,
    Edit,
    File,
    Hint,
    OnPython,
    Report,
    Source,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from repack.record import BuildRecord, Change, Seen, WheelRecord

#: To be replaced by the team's own: nothing in a record names it.
INDEX = "https://index.example.com/simple"
#: The worst first: so is a report that has it.
_WORST = (FAILS, NOT_RUN, WORKS)


def summary_of(
    records: Mapping[str, BuildRecord],
    *,
    pins: Collection[str] = (),
    sboms: Mapping[str, tuple[str, str]] | None = None,
) -> Report:
    """Return the report on `records`, which go by their folders, "" for the report's own.

    `pins` are the requirement files that are there, `sboms` what SBOM a wheel has: its file and
    the member that this is a copy of; all by their paths from the report.
    """
    builds = tuple(
        _build(folder, record, pins, sboms or {}) for folder, record in sorted(records.items())
    )
    pythons = [each for build in builds for each in build.pythons]
    verdict = _verdict([each.status for each in pythons])
    among = f" in {len(builds)} builds" if len(builds) > 1 else ""
    return Report(headline=_headline(pythons, among), verdict=verdict, builds=builds)


def _build(
    folder: str,
    record: BuildRecord,
    pins: Collection[str],
    sboms: Mapping[str, tuple[str, str]],
) -> Build:
    pythons = _pythons(folder, record, pins)
    source = record.source
    return Build(
        name=record.name or folder,
        folder=folder,
        verdict=_verdict([each.status for each in pythons]),
        headline=_headline(pythons, ""),
        tool=record.tool,
        mode=record.mode,
        driver_stub=record.driver_stub,
        source=Source(
            filename=source.filename,
            name=source.name,
            version=source.version,
            url=source.url,
            size=source.size,
            sha256=source.sha256,
            cuda=source.cuda,
        ),
        pythons=pythons,
        wheels=tuple(_file(folder, wheel, sboms) for wheel in record.wheels),
        changes=tuple(_edit(change) for change in record.changes),
        families=families_of(record),
        findings=tuple(
            Hint(code=each.code, message=each.message, member=each.member, hint=each.hint)
            for each in record.findings
        ),
        requires=record.requires,
        left_out=tuple(dll for dll in record.left_out if classify(dll).kind is not Kind.WINDOWS),
    )


def _pythons(folder: str, record: BuildRecord, pins: Collection[str]) -> tuple[OnPython, ...]:
    """Return every Python that was asked for, in the order of their versions."""
    tried = [
        _on_python(folder, record, wheel, seen, pins)
        for wheel in record.wheels
        for seen in wheel.seen
    ]
    refused = [
        OnPython(python=python, status=NO_WHEEL, before="", after="no wheel", reason=reason)
        for python, reason in record.refused
    ]
    return tuple(sorted([*tried, *refused], key=lambda each: _by_version(each.python)))


def _on_python(
    folder: str, record: BuildRecord, wheel: WheelRecord, seen: Seen, pins: Collection[str]
) -> OnPython:
    path = _joined(folder, f"requirements-{seen.python}.txt")
    pinned = path if path in pins and wheel.works else ""
    requirement = f"{record.source.name}=={wheel.version}"
    return OnPython(
        python=seen.python,
        status=seen.status,
        before=seen.before,
        after=seen.after,
        reason=seen.reason,
        driver=seen.driver,
        wheel=_joined(folder, wheel.path),
        log=seen.log if seen.status == FAILS else "",
        pins=pinned,
        install=install_lines(pinned, requirement) if wheel.works else (),
    )


def install_lines(pins: str, requirement: str) -> tuple[str, str]:
    """Return the lines with which pip and uv install from an index: pinned files, if there are."""
    what = f"--require-hashes -r {_quoted(pins)}" if pins else _quoted(requirement)
    return (
        f"python -m pip install --index-url {INDEX} {what}",
        f"uv pip install --index-url {INDEX} {what}",
    )


def _quoted(text: str) -> str:
    """Return `text` as cmd, PowerShell and a POSIX shell take it for one word."""
    return text if re.fullmatch(r"[\w./=+-]+", text, re.ASCII) else f'"{text}"'


def _file(folder: str, wheel: WheelRecord, sboms: Mapping[str, tuple[str, str]]) -> File:
    path = _joined(folder, wheel.path)
    sbom, member = sboms.get(path, ("", ""))
    return File(
        path=path,
        size=wheel.size,
        sha256=wheel.sha256,
        tag=wheel.tag,
        works=wheel.works,
        sbom=sbom,
        sbom_member=member,
    )


def _edit(change: Change) -> Edit:
    lines = change.diff.splitlines()[2:]
    return Edit(
        member=change.member,
        new=change.new,
        added=sum(line.startswith("+") for line in lines),
        removed=sum(line.startswith("-") for line in lines),
        diff=change.diff,
    )


def _verdict(statuses: Iterable[str]) -> str:
    """Return the worst that was seen; a Python for which there is no wheel says nothing of one."""
    found = set(statuses)
    return next((status for status in _WORST if status in found), NOT_RUN)


def _headline(pythons: Collection[OnPython], among: str) -> str:
    """Return in one line whether it works, and on which Pythons."""
    count = {
        status: sum(each.status == status for each in pythons)
        for status in (WORKS, FAILS, NOT_RUN, NO_WHEEL)
    }
    of = len(pythons)
    if count[WORKS]:
        begin = f"Works on {count[WORKS]} of {of} Python{'' if of == 1 else 's'}{among}"
    elif count[FAILS]:
        begin = f"Works on no Python{among}"
    else:
        begin = f"Not tried on any Python{among}"
        count[NOT_RUN] = 0
    rest = (
        (FAILS, f"fails on {count[FAILS]}"),
        (NOT_RUN, f"not tried on {count[NOT_RUN]}"),
        (NO_WHEEL, f"no wheel for {count[NO_WHEEL]}"),
    )
    return "; ".join([begin, *(text for status, text in rest if count[status])])


def _joined(folder: str, path: str) -> str:
    return f"{folder}/{path}" if folder else path


def _by_version(python: str) -> tuple[list[int], str]:
    return [int(number) for number in re.findall(r"[0-9]+", python)], python
