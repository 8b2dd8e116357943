"""`report.md`: the same for the summary of a CI run, which shows GitHub's Markdown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from repack.pages import visible
from repack.plan import megabytes
from repack.report.page import PLACES, STATUSES, changed, size_text
from repack.report.values import FAILS, NO_WHEEL, SYSTEM

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from repack.report.values import Build, Edit, OnPython, Report

#: What Markdown, or the HTML in it, would take for more than a letter.
_MARKS = re.compile(r"://|www\.|[\\`*_\[\]#!|~$@]")
#: A longer diff is left to the page: GitHub takes 1 MiB of summary.
_DIFF_LIMIT = 20_000


def markdown_of(report: Report) -> str:
    """Return the report as Markdown; the same report gives the same text."""
    lines = [f"# {_text(report.headline)}", ""]
    for build in report.builds:
        lines += _build(build)
    return "\n".join(lines)


def _build(build: Build) -> Iterator[str]:
    title = build.name or f"{build.source.name} {build.source.version}"
    yield from (f"## {_text(title)}", "")
    cuda = f"CUDA {build.source.cuda}" if build.source.cuda else "no CUDA"
    facts = f"{build.source.name} {build.source.version}, {cuda}, mode {build.mode}"
    yield from (f"{_text(facts)}. Changed: {_text(changed(build))}. {_text(build.headline)}.", "")
    yield from _table(
        ("Python", "fixed wheel", "what it did", "what the untouched wheel did"),
        [
            (each.python, STATUSES[each.status], _did(each), each.before or "not tried")
            for each in build.pythons
        ],
    )
    for edit in build.changes:
        yield from _edit(edit)
    yield from _rest(build)


def _did(each: OnPython) -> str:
    told_by_reason = each.status in {FAILS, NO_WHEEL} and each.reason
    return each.reason if told_by_reason else each.after


def _edit(edit: Edit) -> Iterator[str]:
    lines = "line" if edit.added == 1 else "lines"
    counted = f"{edit.added} {lines} added, {edit.removed} removed"
    if edit.new or len(edit.diff) > _DIFF_LIMIT:
        yield from (f"- {_code(edit.member)}: {'new, ' if edit.new else ''}{counted}", "")
        return
    diff = visible(edit.diff).rstrip("\n")
    fence = _fence(diff)
    summary = f"<summary>{_text(edit.member)}: {counted}</summary>"
    yield from ("<details>", summary, "", f"{fence}diff", diff, fence, "", "</details>", "")


def _rest(build: Build) -> Iterator[str]:
    for line in build.requires:
        yield f"- requires {_code(line)}"
    if build.requires:
        yield ""
    families = [it for it in build.families if it.place != SYSTEM]
    if families:
        yield from _table(
            ("DLLs", "how many", "come from", "size"),
            [
                (it.family, str(len(it.dlls)), PLACES[it.place], size_text(it.size))
                for it in families
            ],
        )
    for each in build.findings:
        hint = f"; {each.hint}" if each.hint else ""
        member = f" ({each.member})" if each.member else ""
        yield f"- {_code(each.code)}: {_text(each.message + member + hint)}"
    if build.findings:
        yield ""
    yield from _table(
        ("file", "size", "SHA-256"),
        [(it.path, megabytes(it.size), it.sha256) for it in build.wheels],
    )


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(headings)} |"
    yield f"|{' --- |' * len(headings)}"
    for row in rows:
        yield f"| {' | '.join(map(_text, row))} |"
    yield ""


def _text(text: str) -> str:
    """Return `text` on one line, so that nothing in it is markup or markdown."""
    line = " ".join(visible(text).split())
    escaped = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKS.sub(_escaped, escaped)


def _escaped(found: re.Match[str]) -> str:
    """Return the mark as an entity, which no dialect of Markdown looks at twice."""
    return f"&#{ord(found[0][0])};{found[0][1:]}"


def _code(text: str) -> str:
    line = " ".join(visible(text).split())
    ticks = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    return f"{ticks} {line} {ticks}" if "`" in line else f"`{line}`"


def _fence(text: str) -> str:
    return "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
