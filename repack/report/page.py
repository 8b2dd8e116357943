"""`report.html`: one page, whole in itself, without scripts."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

from repack.pages import rendered
from repack.plan import megabytes
from repack.report.values import BY_PIP, FAILS, IN_WHEEL, MACHINE, NO_WHEEL, NOT_RUN, SYSTEM, WORKS

if TYPE_CHECKING:
    from repack.report.values import Build, Family, Report

#: What is shown of a log, in characters: its end, where the error is. `build.json` has all of it.
LOG_LIMIT = 12_000
#: A sign and a word for each, so that nothing is said by colour alone.
STATUSES = {
    WORKS: "✓ works",
    FAILS: "✗ fails",
    NOT_RUN: "○ not tried",
    NO_WHEEL: "∅ no wheel",
}
PLACES = {
    IN_WHEEL: "in the wheel",
    BY_PIP: "NVIDIA's wheels, by pip",
    MACHINE: "the machine",
    SYSTEM: "Windows and Python",
}
#: One bar of the picture and the line above it, in CSS pixels.
_ROW = 46
#: The bar of what has no known size, and the least that is still seen, in per cent.
_UNKNOWN, _LEAST = 12.0, 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """A family in the picture: where its line and its bar begin, and how long that is in per cent.

    The longest leaves room for nothing: the text stands above it.
    """

    text: str
    top: int
    width: str
    place: str
    known: bool


def page_of(report: Report) -> str:
    """Return the page; the same report gives the same page."""
    style = rendered("report.css", {}, filters={})
    return rendered(
        "report.html.jinja",
        {
            "report": report,
            "style_hash": base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
            "NOT_RUN": NOT_RUN,
            "FAILS": FAILS,
            "SYSTEM": SYSTEM,
            "ROW": _ROW,
            "many": len(report.builds) > 1,
        },
        filters={
            "status": STATUSES.__getitem__,
            "place": PLACES.__getitem__,
            "megabytes": megabytes,
            "size": size_text,
            "bars": bars_of,
            "diff_lines": diff_lines,
            "link": partial(quote, safe="/"),
            "end_of": end_of,
            "changed": changed,
            "basename": lambda path: path.rpartition("/")[2],
        },
        reveal=True,
    )


def size_text(size: int | None) -> str:
    """Return a size as a person reads it."""
    return "size not known" if size is None else megabytes(size)


def changed(build: Build) -> str:
    """Return in a line what is other than in the source."""
    new = sum(edit.new for edit in build.changes)
    parts = [
        _counted(len(build.changes) - new, "file", "edited"),
        _counted(new, "file", "added"),
        _counted(sum(len(it.dlls) for it in _carried(build)), "DLL", "carried along"),
        _counted(len(build.requires), "requirement", "added"),
    ]
    return ", ".join(filter(None, parts)) or "nothing"


def _carried(build: Build) -> tuple[Family, ...]:
    return tuple(it for it in build.families if it.place == IN_WHEEL and it.size is not None)


def _counted(number: int, what: str, done: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'} {done}" if number else ""


def bars_of(families: tuple[Family, ...]) -> list[Bar]:
    """Return the picture's bars; what Windows and Python bring themselves is left to the table."""
    shown = [it for it in families if it.place != SYSTEM]
    most = max((it.size or 0 for it in shown), default=0)
    return [
        Bar(
            text=(
                f"{it.family}: {_counted(len(it.dlls), 'DLL', '').strip()}, "
                f"{size_text(it.size)}, {PLACES[it.place]}"
            ),
            top=_ROW * number,
            width=f"{_width(it.size, most):.1f}%",
            place=it.place,
            known=it.size is not None,
        )
        for number, it in enumerate(shown)
    ]


def _width(size: int | None, most: int) -> float:
    return _UNKNOWN if size is None or not most else max(_LEAST, 100 * size / most)


def diff_lines(diff: str) -> list[tuple[str, str]]:
    """Return each line with what it is: "file", "hunk", "add", "del" or "same"."""
    kinds = {"+": "add", "-": "del", "@": "hunk"}
    lines = diff.split("\n")[:-1] if diff.endswith("\n") else diff.split("\n")
    return [
        ("file" if number <= 1 else kinds.get(line[:1], "same"), line)
        for number, line in enumerate(lines)
    ]


def end_of(text: str) -> str:
    """Return the end of a long text, in whole lines."""
    if len(text) <= LOG_LIMIT:
        return text
    tail = text[-LOG_LIMIT:]
    return "…\n" + (tail[tail.find("\n") + 1 :] or tail)
