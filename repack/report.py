"""What the builds in a folder did: one page, and the same as Markdown and JSON."""

import base64
import hashlib
import html
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec

from repack import files
from repack.dlls.families import Kind
from repack.errors import InputError
from repack.pages import TEMPLATES, render_template
from repack.plan import format_megabytes
from repack.record import (
    FAILED,
    FILENAME,
    NOT_RUN,
    PASSED,
    BuildRecord,
    NeededDll,
    read_records,
)

#: The version of every JSON object; a change that could break a reader raises it.
JSON_VERSION = 1
NO_WHEEL = "no-wheel"
#: A sign and a word for each, so that nothing is told by colour alone.
STATUSES = {
    PASSED: "✓ works",
    FAILED: "✗ fails",
    NOT_RUN: "○ not tried",
    NO_WHEEL: "∅ no wheel",
}
#: Where a DLL comes from, in the order in which the page shows them.
PLACES = {
    "wheel": "in the wheel",
    "nvidia": "NVIDIA's wheels, by pip",
    "machine": "the machine",
    "system": "Windows and Python",
}
_SYSTEM_KINDS = {kind.value for kind in (Kind.WINDOWS, Kind.API_SET, Kind.PYTHON, Kind.VC_RUNTIME)}
#: What Markdown, or the HTML in it, would take for more than a character.
_MARKUP = re.compile(r"://|www\.|[\\`*_\[\]#!|~$@]")


def write_report(dist: Path) -> tuple[dict[str, Any], str]:
    """Return the report on the builds in `dist` as JSON and Markdown, written there with the page.

    Raises InputError where no build has left a record.
    """
    builds = [_describe_build(dist, *row) for row in read_records(dist).items()]
    if not builds:
        reason = f"has no {FILENAME}, which a build leaves"
        hint = "run `repack build` first, or name the folder that its wheels are in"
        raise InputError(reason, code="no-build", file=dist, hint=hint)
    statuses = [row["status"] for build in builds for row in build["pythons"]]
    among = f" in {len(builds)} builds" if len(builds) > 1 else ""
    document: dict[str, Any] = {
        "version": JSON_VERSION,
        "headline": _headline(statuses) + among,
        "builds": builds,
    }
    markdown, page = _render(document)
    files.write(dist / "report.json", json.dumps(document, indent=1).encode() + b"\n")
    files.write(dist / "report.md", markdown.encode())
    files.write(dist / "report.html", page.encode())
    return document, markdown


def _describe_build(dist: Path, folder: Path, record: BuildRecord) -> dict[str, Any]:
    """Return the record as a dictionary, with what follows from it; paths are from `dist`."""
    prefix = "" if folder == dist else f"{folder.relative_to(dist).as_posix()}/"
    document: dict[str, Any] = msgspec.to_builtins(record)
    for row, wheel in zip(document["wheels"], record.wheels, strict=True):
        row.update(path=prefix + wheel.path, works=wheel.works)
    pythons = list_pythons(record)
    return {
        **document,
        "folder": prefix.rstrip("/"),
        "title": record.name or f"{record.source.name} {record.source.version}",
        "headline": _headline([row["status"] for row in pythons]),
        "pythons": pythons,
        "reasons": list_reasons(pythons),
        "dlls": _list_dlls(record),
    }


def list_pythons(record: BuildRecord) -> list[dict[str, Any]]:
    """Return what was seen on each Python that was asked for, by version."""
    rows: list[dict[str, Any]] = [
        {
            "python": seen.python,
            "status": seen.status,
            "before": seen.before.summary,
            "after": seen.after.summary,
            "reason": seen.after.reason,
            "log": seen.after.log if seen.status == FAILED else "",
            "wheel": wheel.filename,
        }
        for wheel in record.wheels
        for seen in wheel.seen
    ]
    nothing = {"before": "", "after": "no wheel", "log": "", "wheel": ""}
    rows += [
        {"python": row.python, "status": NO_WHEEL, "reason": row.reason, **nothing}
        for row in record.refused
    ]
    return sorted(rows, key=lambda row: list(map(int, re.findall("[0-9]+", row["python"]))))


def list_reasons(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return why some Pythons have no wheel, or did not try it: each reason once."""
    words = {NOT_RUN: "not run on", NO_WHEEL: "no wheel for"}
    reasons: dict[tuple[str, str], dict[str, None]] = {}
    for row in rows:
        if row["status"] in words:
            reason = row["reason"].replace(f" for Python {row['python']}", "")
            reasons.setdefault((words[row["status"]], reason), {})[row["python"]] = None
    return [f"{word} {', '.join(names)}: {reason}" for (word, reason), names in reasons.items()]


def _list_dlls(record: BuildRecord) -> list[dict[str, Any]]:
    """Return each DLL that is carried or asked for, by place, family and name."""
    rows: dict[str, dict[str, Any]] = {}
    for need in record.needs:
        rows[need.dll.lower()] = {
            "dll": need.dll,
            "family": need.family,
            "place": _place_of(need, record),
            "size": None,
            "origin": need.in_wheel,
            "needed_by": need.needed_by,
            "delayed": need.delayed,
        }
    for cargo in record.carried:
        name = cargo.member.rpartition("/")[2]
        unasked = {"dll": name, "needed_by": (), "delayed": False}
        row = rows.setdefault(name.lower(), unasked)
        row.update(family=cargo.family, place="wheel", size=cargo.size, origin=cargo.origin)
    places = list(PLACES)
    return sorted(
        rows.values(),
        key=lambda row: (places.index(row["place"]), row["family"], row["dll"].lower()),
    )


def _place_of(need: NeededDll, record: BuildRecord) -> str:
    if need.in_wheel:
        return "wheel"
    if need.kind in _SYSTEM_KINDS:
        return "system"
    by_pip = record.mode == "depend" and need.kind in {Kind.CUDA.value, Kind.CUDNN.value}
    return "nvidia" if by_pip and need.dll not in record.left_out else "machine"


def _headline(statuses: list[str]) -> str:
    """Return in one line whether it works, and on how many Pythons."""
    counts = {text[2:]: statuses.count(status) for status, text in STATUSES.items()}
    line = ", ".join(f"{text} on {count}" for text, count in counts.items() if count)
    return f"{line[0].upper()}{line[1:]} of {len(statuses)} Pythons"


def _render(document: Mapping[str, Any]) -> tuple[str, str]:
    """Return the report as Markdown and as a page, which takes its own style alone."""
    style = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    values: dict[str, object] = {"report": document, "STATUSES": STATUSES, "PLACES": PLACES}
    filters: dict[str, Callable[..., object]] = {
        "size": _format_size,
        "families": _group_families,
        "text": _escape_markdown,
    }
    markdown = render_template("report.md.jinja", values, filters=filters)
    values |= {"style": style, "style_hash": digest}
    return markdown, render_template("report.html.jinja", values, filters=filters)


def _format_size(size: int | None) -> str:
    return "size not known" if size is None else format_megabytes(size)


def _group_families(build: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield each family at each place with its DLLs, and its size where any is known."""
    for (place, family), group in groupby(build["dlls"], lambda row: (row["place"], row["family"])):
        dlls = list(group)
        sizes = [row["size"] for row in dlls if row["size"] is not None]
        size = sum(sizes) if sizes else None
        yield {"place": place, "family": family, "dlls": dlls, "size": size}


def _escape_markdown(text: str) -> str:
    """Return `text` on one line, with no markup in it that Markdown or HTML would obey."""
    line = html.escape(" ".join(text.split()), quote=False)
    return _MARKUP.sub(lambda match: f"&#{ord(match[0][0])};{match[0][1:]}", line)
