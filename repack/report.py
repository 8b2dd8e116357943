"""What the builds in a folder did: one page, and the same as Markdown and JSON."""

import base64
import hashlib
import html
import json
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from repack import files
from repack.dlls.families import Kind, classify, distribution
from repack.errors import InputError
from repack.pages import TEMPLATES, render_template
from repack.plan import format_megabytes
from repack.record import FILENAME, BuildRecord, NeededDll, WheelRecord, read_records

#: The version of every JSON object; a change that could break a reader raises it.
JSON_VERSION = 1
NO_WHEEL = "no-wheel"
#: A sign and a word for each, so that nothing is told by colour alone.
STATUSES = {
    "passed": "✓ works",
    "failed": "✗ fails",
    "not-run": "○ not tried",
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
#: In place of the address of the team's index, which no record names.
_INDEX = "https://index.example.com/simple"
#: So many characters of a log are shown: its end, where the error is.
_LOG_LIMIT = 12_000
#: What Markdown, or the HTML in it, would take for more than a character.
_MARKUP = re.compile(r"://|www\.|[\\`*_\[\]#!|~$@]")


def write_report(dist: Path) -> tuple[dict[str, Any], str]:
    """Return the report on the builds in `dist` as JSON and Markdown, written there with the page.

    Raises InputError where no build has left a record.
    """
    builds = [
        _describe_build(dist, folder, record) for folder, record in read_records(dist).items()
    ]
    if not builds:
        raise InputError(
            f"has no {FILENAME}, which a build leaves",
            code="no-build",
            file=dist,
            hint="run `repack build` first, or name the folder that its wheels are in",
        )
    statuses = [row["status"] for build in builds for row in build["pythons"]]
    document: dict[str, Any] = {
        "version": JSON_VERSION,
        "headline": _headline(statuses, builds=len(builds)),
        "verdict": _verdict(statuses),
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
    pythons = _list_pythons(folder, prefix, record)
    statuses = [row["status"] for row in pythons]
    return {
        **msgspec.to_builtins(record),
        "folder": prefix.rstrip("/"),
        "title": record.name or f"{record.source.name} {record.source.version}",
        "headline": _headline(statuses),
        "verdict": _verdict(statuses),
        "pythons": pythons,
        "wheels": [
            {
                "path": f"{prefix}{wheel.path}",
                "size": wheel.size,
                "sha256": wheel.sha256,
                "tag": wheel.tag,
                "works": wheel.works,
            }
            for wheel in record.wheels
        ],
        "dlls": _list_dlls(record),
    }


def _list_pythons(folder: Path, prefix: str, record: BuildRecord) -> list[dict[str, Any]]:
    """Return what was seen on each Python that was asked for, by version."""
    rows = [
        {
            "python": seen.python,
            "status": seen.status,
            "before": seen.before.summary,
            "after": seen.after.summary,
            "reason": seen.after.reason,
            "log": seen.after.log if seen.status == "failed" else "",
            "wheel": f"{prefix}{wheel.path}",
            "install": _list_install_lines(folder, prefix, record, wheel, seen.python),
        }
        for wheel in record.wheels
        for seen in wheel.seen
    ]
    nothing = dict.fromkeys(("before", "after", "log", "wheel"), "")
    rows += [
        {**nothing, "python": row.python, "status": NO_WHEEL, "reason": row.reason, "install": []}
        for row in record.refused
    ]
    return sorted(rows, key=lambda row: list(map(int, re.findall("[0-9]+", str(row["python"])))))


def _list_install_lines(
    folder: Path, prefix: str, record: BuildRecord, wheel: WheelRecord, python: str
) -> list[str]:
    """Return how pip and uv install the wheel: by its pins where they are, none if it fails."""
    if not wheel.works:
        return []
    pins = f"requirements-{python}.txt"
    what = f"{record.source.name}=={wheel.version}"
    if (folder / pins).is_file():
        what = f'--require-hashes -r "{prefix}{pins}"'
    return [f"{tool} install --index-url {_INDEX} {what}" for tool in ("python -m pip", "uv pip")]


def _list_dlls(record: BuildRecord) -> list[dict[str, Any]]:
    """Return each DLL that is carried or asked for, by place, family and name."""
    needs = {need.dll.lower(): need for need in record.needs}
    carried = {cargo.member.rpartition("/")[2].lower(): cargo for cargo in record.carried}
    rows = []
    for key in needs.keys() | carried.keys():
        need, cargo = needs.get(key), carried.get(key)
        rows.append(
            {
                "dll": need.dll if need else key,
                "family": cargo.family if cargo else need.family if need else "",
                "place": "wheel" if cargo or need is None else _place_of(need, record),
                "size": cargo.size if cargo else None,
                "origin": cargo.origin if cargo else need.in_wheel if need else "",
                "needed_by": need.needed_by if need else (),
                "delayed": bool(need and need.delayed),
            }
        )
    places = list(PLACES)
    return sorted(rows, key=lambda row: (places.index(row["place"]), row["family"], row["dll"]))


def _place_of(need: NeededDll, record: BuildRecord) -> str:
    if need.in_wheel:
        return "wheel"
    major = record.source.cuda.partition(".")[0]
    wheel = "msvc-runtime" if need.kind == Kind.VC_RUNTIME.value else ""
    if not wheel and major.isdecimal():
        wheel = distribution(classify(need.dll), int(major))
    if wheel and any(re.match(rf"{re.escape(wheel)}(?![\w.-])", line) for line in record.requires):
        return "nvidia"
    return "system" if need.kind in _SYSTEM_KINDS else "machine"


def _verdict(statuses: list[str]) -> str:
    """Return the worst that was seen; a Python without a wheel tells nothing of one."""
    return min(
        {*statuses} - {NO_WHEEL}, key=["failed", "not-run", "passed"].index, default="not-run"
    )


def _headline(statuses: list[str], builds: int = 1) -> str:
    """Return in one line whether it works, and on how many Pythons."""
    count = {status: statuses.count(status) for status in STATUSES}
    among = f" in {builds} builds" if builds > 1 else ""
    if count["passed"]:
        plural = "" if len(statuses) == 1 else "s"
        begin = f"Works on {count['passed']} of {len(statuses)} Python{plural}{among}"
    elif count["failed"]:
        begin = f"Works on no Python{among}"
    else:
        begin = f"Not tried on any Python{among}"
        count["not-run"] = 0
    words = {"failed": "fails on", "not-run": "not tried on", NO_WHEEL: "no wheel for"}
    rest = [f"{text} {count[status]}" for status, text in words.items() if count[status]]
    return "; ".join([begin, *rest])


def _render(document: Mapping[str, Any]) -> tuple[str, str]:
    """Return the report as Markdown and as a page, which takes its own style alone."""
    style = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    values: dict[str, object] = {"report": document, "STATUSES": STATUSES, "PLACES": PLACES}
    filters: dict[str, Callable[..., object]] = {
        "size": _format_size,
        "families": _group_families,
        "text": _escape_markdown,
        "code": _quote_code,
        "diff_lines": _split_diff,
        "link": lambda path: quote(path, safe="/"),
        "end_of": lambda text: text[-_LOG_LIMIT:],
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


def _split_diff(diff: str) -> list[tuple[str, str]]:
    """Return each line of a unified diff with its class on the page."""
    classes = {"+": "add", "-": "del", "@": "hunk"}
    lines = diff.removesuffix("\n").split("\n")
    return [
        ("file" if number <= 1 else classes.get(line[:1], "same"), line)
        for number, line in enumerate(lines)
    ]


def _escape_markdown(text: str) -> str:
    """Return `text` on one line, with no markup in it that Markdown or HTML would obey."""
    line = html.escape(" ".join(text.split()), quote=False)
    return _MARKUP.sub(lambda match: f"&#{ord(match[0][0])};{match[0][1:]}", line)


def _quote_code(text: str) -> str:
    return "`" + " ".join(text.replace("`", "'").split()) + "`"
