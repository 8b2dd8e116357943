"""The report beside the wheels that it tells of: page, JSON, Markdown, and copies of the SBOMs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from repack import files
from repack.errors import InputError
from repack.record import FILENAME, read_records
from repack.report.markdown import markdown_of
from repack.report.page import page_of
from repack.report.results import JSON_VERSION
from repack.report.summing import summary_of
from repack.wheel import open_archive, read_member

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from repack.record import BuildRecord, WheelRecord
    from repack.report.values import Report

#: An SBOM names each DLL in some hundred bytes.
_SBOM_LIMIT = 16 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenReport:
    """A report, where its page stands, and its other two forms."""

    page: Path
    headline: str
    json: dict[str, Any]
    markdown: str


def write_report(dist: Path) -> WrittenReport:
    """Return the report of the builds in `dist`, and leave it there; raises InputError for none.

    The same records give the same bytes, and a file that has them already is left alone.
    """
    records = {_relative(folder, dist): each for folder, each in read_records(dist).items()}
    if not records:
        raise InputError(
            f"has no {FILENAME}, which a build leaves",
            code="no-build",
            file=dist,
            hint="run `repack build` first, or name the folder that its wheels are in",
        )
    sboms = {
        path: (copy, member, content)
        for folder, each in records.items()
        for path, copy, member, content in _sboms(dist, folder, each)
    }
    report = summary_of(
        records,
        pins={
            path.relative_to(dist).as_posix()
            for folder in records
            for path in (dist / folder).glob("requirements-*.txt")
        },
        sboms={path: (name, member) for path, (name, member, _) in sboms.items()},
    )
    document = report_json(report)
    markdown = markdown_of(report)
    for name, _, content in sboms.values():
        _write(dist / name, content)
    _write(dist / "report.json", json.dumps(document, indent=1).encode() + b"\n")
    _write(dist / "report.md", markdown.encode())
    _write(dist / "report.html", page_of(report).encode())
    return WrittenReport(
        page=dist / "report.html", headline=report.headline, json=document, markdown=markdown
    )


def report_json(report: Report) -> dict[str, Any]:
    """Return the object that `repack report --json` prints."""
    return {"version": JSON_VERSION, **asdict(report)}


def _relative(folder: Path, dist: Path) -> str:
    return "" if folder == dist else folder.relative_to(dist).as_posix()


def _sboms(dist: Path, folder: str, record: BuildRecord) -> Iterator[tuple[str, str, str, bytes]]:
    """Yield wheel, copy, member and content of each SBOM; a browser cannot look into a wheel."""
    for wheel in record.wheels if record.carried else ():
        path = f"{folder}/{wheel.path}" if folder else wheel.path
        if found := _sbom_in(dist / path, wheel):
            yield path, f"{path}.cdx.json", *found


def _sbom_in(path: Path, wheel: WheelRecord) -> tuple[str, bytes] | None:
    """Return our SBOM in the wheel, None where the wheel is not there, or not the one recorded."""
    if not path.is_file() or path.stat().st_size != wheel.size:
        return None
    archive = open_archive(path)
    for member in archive.names:
        if member.endswith(".dist-info/sboms/repack.cdx.json"):
            return member, read_member(archive, member, limit=_SBOM_LIMIT)
    return None


def _write(path: Path, content: bytes) -> None:
    if not (path.is_file() and path.read_bytes() == content):
        with files.replacing(path) as stream:
            stream.write(content)
