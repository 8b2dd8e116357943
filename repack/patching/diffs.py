"""Unified diffs: read by unidiff, applied strictly, byte by byte."""

from collections.abc import Sequence

from unidiff.errors import UnidiffParseError
from unidiff.patch import PatchedFile, PatchSet

from repack.errors import PatchError


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

    Each hunk has to match in exactly one place, wherever that is. Ends of line do not count; a
    member that has CRLF throughout keeps it so.
    """
    crlf = 0 < content.count(b"\r\n") == content.count(b"\n")
    lines = (content.replace(b"\r\n", b"\n") if crlf else content).split(b"\n")
    for number, hunk in enumerate(file, 1):
        place = _place(number, [_encode_line(line.value) for line in hunk.source_lines()], lines)
        rest = lines[place:]
        lines = lines[:place]
        for line in hunk:
            if line.is_added:
                lines.append(_encode_line(line.value))
            elif line.is_context:
                lines.append(rest.pop(0))
            elif line.is_removed:
                rest.pop(0)
        lines += rest
    return (b"\r\n" if crlf else b"\n").join(lines)


def _place(number: int, before: Sequence[bytes], lines: Sequence[bytes]) -> int:
    """Return the one place among `lines` where `before` stands."""
    bare = [line.removesuffix(b"\r") for line in lines]
    # Lines without context have a place in an empty file alone.
    starts = range(len(bare) - len(before) + 1 if before else bare == [b""])
    places = [start for start in starts if bare[start : start + len(before)] == before]
    if len(places) != 1:
        count = f"{len(places)} places" if places else "no place"
        at = "".join(f", line {place + 1}" for place in places)
        raise PatchError(
            f"hunk {number} matches in {count}{at}",
            code="ambiguous" if places else "no-place",
            hint="its context must match exactly once; make the diff anew from this very file",
        )
    return places[0]


def _encode_line(line: str) -> bytes:
    return line.encode("utf-8", "surrogateescape").removesuffix(b"\n").removesuffix(b"\r")
