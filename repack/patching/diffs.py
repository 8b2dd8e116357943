"""Unified diffs: read by unidiff, applied strictly, byte by byte (the only user of unidiff)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from repack.errors import PatchError
from repack.patching.edits import Diff, Hunk

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from unidiff.patch import PatchedFile

# The fourth kind, "\\", says of the line before that it has no end.
_KINDS: Mapping[str, Literal[" ", "+", "-"]] = {" ": " ", "+": "+", "-": "-"}
_LINE = re.compile(rb"[^\n]*\n|[^\n]+\Z")


def parse_diff(content: bytes) -> tuple[tuple[str, Diff], ...]:
    """Return each member that the unified diff `content` changes, with the change.

    ValueError says what is not understood, or what a patch cannot do to a wheel (remove a member,
    rename it, change a binary one).
    """
    # Most teams have no diff of their own.
    from unidiff.errors import UnidiffParseError  # noqa: PLC0415
    from unidiff.patch import PatchSet  # noqa: PLC0415

    try:
        files = PatchSet(content.decode("utf-8", "surrogateescape"))
    except UnidiffParseError as error:
        raise ValueError(f"is not a unified diff: {error}") from error
    if not files:
        raise ValueError("is not a unified diff: it names no file")
    return tuple((file.path, _diff(file)) for file in files)


def apply_diff(diff: Diff, content: bytes | None) -> bytes:
    """Return `content` (None: no such member yet) with `diff` applied; once applied, as it is.

    Each hunk must be found in exactly one place, wherever that is. Ends of line do not count, and
    lines that are added take those of the line before.
    """
    if diff.new:
        return _created(diff, content)
    lines = _LINE.findall(content or b"")
    for hunk in diff.hunks:
        lines = _applied(hunk, lines)
    return b"".join(lines)


def _diff(file: PatchedFile) -> Diff:
    if file.is_removed_file or file.is_rename or file.is_binary_file or not len(file):
        raise ValueError(f"{file.path}: a patch can change lines or add a file, nothing else")
    diff = Diff(
        hunks=tuple(
            Hunk(
                number=number,
                lines=tuple(
                    (_KINDS[line.line_type], _bare(line.value.encode("utf-8", "surrogateescape")))
                    for line in hunk
                    if line.line_type in _KINDS
                ),
            )
            for number, hunk in enumerate(file, 1)
        ),
        new=bool(file.is_added_file),
    )
    for hunk in diff.hunks:
        if not hunk.after:
            raise ValueError(
                f"{file.path}: hunk {hunk.number} leaves no line by which it could be known "
                "again; make the diff with lines of context"
            )
    return diff


def _created(diff: Diff, content: bytes | None) -> bytes:
    created = b"".join(line + b"\n" for hunk in diff.hunks for line in hunk.after)
    if content is not None and content.replace(b"\r\n", b"\n") != created:
        raise PatchError("is there already, with other content than the diff adds", code="no-place")
    return created if content is None else content


def _applied(hunk: Hunk, lines: list[bytes]) -> list[bytes]:
    bare = [_bare(line) for line in lines]
    before, after = _places(hunk.before, bare), _places(hunk.after, bare)
    if _is_done(hunk, before, after):
        return lines
    if len(before) != 1:
        found = "in no place" if not before else f"in {len(before)} places"
        at = "".join(f", line {place + 1}" for place in before)
        raise PatchError(
            f"hunk {hunk.number} matches {found}{at}",
            code="ambiguous" if before else "no-place",
            hint="its context must match exactly once; make the diff anew from this very file",
        )
    return _spliced(hunk, lines, before[0])


def _is_done(hunk: Hunk, before: Sequence[int], after: Sequence[int]) -> bool:
    """Return whether the hunk has been applied already.

    An insertion at the hunk's edge leaves the lines it was found by: they then lie within the
    lines that it leaves.
    """
    if not after:
        return False
    slack = len(hunk.after) - len(hunk.before)
    return all(any(0 <= place - start <= slack for start in after) for place in before)


def _spliced(hunk: Hunk, lines: list[bytes], place: int) -> list[bytes]:
    result, at = lines[:place], place
    first = _end(b"".join(lines[:1])) or b"\n"
    for kind, line in hunk.lines:
        if kind == "+":
            end = next((_end(above) for above in reversed(result) if _end(above)), first)
            if result and not _end(result[-1]):
                result[-1] += end
            result.append(line + end)
        else:
            if kind == " ":
                result.append(lines[at])
            at += 1
    return result + lines[at:]


def _places(block: Sequence[bytes], lines: Sequence[bytes]) -> list[int]:
    if not block:
        # Only a file without a line has its place for lines without context.
        return [] if lines else [0]
    wanted = list(block)
    return [
        start
        for start in range(len(lines) - len(block) + 1)
        if lines[start : start + len(block)] == wanted
    ]


def _bare(line: bytes) -> bytes:
    return line.removesuffix(b"\n").removesuffix(b"\r")


def _end(line: bytes) -> bytes:
    return line[len(_bare(line)) :]
