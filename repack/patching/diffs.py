"""Unified diffs: read by unidiff, applied strictly, byte by byte."""

from __future__ import annotations

import re
from collections.abc import Sequence

from unidiff.errors import UnidiffParseError
from unidiff.patch import Hunk, PatchedFile, PatchSet

from repack.errors import PatchError

_LINE = re.compile(rb"[^\n]*\n|[^\n]+\Z")
_KEPT, _ADDED, _REMOVED = " ", "+", "-"


def parse_diff(content: bytes) -> tuple[PatchedFile, ...]:
    """Return what the unified diff `content` does to each member, whose name is its `path`.

    ValueError says what is not understood, or what a diff cannot do to a wheel (remove a member,
    rename it, change a binary one).
    """
    try:
        files = tuple(PatchSet(content.decode("utf-8", "surrogateescape")))
    except UnidiffParseError as error:
        raise ValueError(f"is not a unified diff: {error}") from error
    if not files:
        raise ValueError("is not a unified diff: it names no file")
    for file in files:
        if file.is_removed_file or file.is_rename or file.is_binary_file or not len(file):
            raise ValueError(f"{file.path}: a diff can change lines or add a file, nothing else")
    return files


def apply_diff(file: PatchedFile, content: bytes) -> bytes:
    """Return `content`, empty where the diff adds the file, with the hunks of `file` applied.

    Each hunk has to match in exactly one place, wherever that is. Ends of line do not count, and
    lines that are added take those of the line before.
    """
    lines = _LINE.findall(content)
    for number, hunk in enumerate(file, 1):
        lines = _applied(number, hunk, lines)
    return b"".join(lines)


def _applied(number: int, hunk: Hunk, lines: Sequence[bytes]) -> list[bytes]:
    """Return `lines` with one hunk applied."""
    changes = [
        (line.line_type, _bare(line.value.encode("utf-8", "surrogateescape")))
        for line in hunk
        if line.line_type in {_KEPT, _ADDED, _REMOVED}
    ]
    before = [line for kind, line in changes if kind != _ADDED]
    place = _place(number, before, [_bare(line) for line in lines])
    result, rest = list(lines[:place]), list(lines[place:])
    for kind, line in changes:
        if kind == _ADDED:
            end = next(filter(None, map(_end, reversed(result))), _end(b"".join(lines[:1])))
            if result and not _end(result[-1]):
                result[-1] += end
            result.append(line + (end or b"\n"))
        elif kind == _KEPT:
            result.append(rest.pop(0))
        else:
            rest.pop(0)
    return result + rest


def _place(number: int, before: Sequence[bytes], lines: Sequence[bytes]) -> int:
    """Return the one place among `lines` where `before` stands."""
    if not before and not lines:
        return 0
    places = [
        start
        for start in range(len(lines) - len(before) + 1)
        if before and lines[start : start + len(before)] == before
    ]
    if len(places) != 1:
        count = f"{len(places)} places" if places else "no place"
        at = "".join(f", line {place + 1}" for place in places)
        raise PatchError(
            f"hunk {number} matches in {count}{at}",
            code="ambiguous" if places else "no-place",
            hint="its context must match exactly once; make the diff anew from this very file",
        )
    return places[0]


def _bare(line: bytes) -> bytes:
    return line.removesuffix(b"\n").removesuffix(b"\r")


def _end(line: bytes) -> bytes:
    return line[len(_bare(line)) :]
