"""Folders that are laid over a wheel: files that go to the same path in it, and unified diffs."""

from collections.abc import Collection, Iterable
from pathlib import Path

from unidiff.errors import UnidiffParseError
from unidiff.patch import Line, PatchedFile, PatchSet

from repack.errors import ConfigError, PatchError
from repack.files import decode_text
from repack.patching.loader import parse
from repack.wheel.names import check_names

RENAME_HINT = "give your own file another name"


def builtin_folder() -> Path:
    """Return the folder of repack's own patches, installed or in a source tree."""
    package = Path(__file__).parents[1]
    installed = package / "_patches"
    return installed if installed.is_dir() else package.parent / "patches"


def read_overlay(
    folder: Path, *, reserved: Collection[str] = ()
) -> tuple[dict[str, bytes], list[tuple[str, PatchedFile]]]:
    """Return the content of each member in `folder`, then its diffs, with the name of their file.

    Hidden files, and a README at its top, are left out. ConfigError names a file that cannot go
    into a wheel, or is of a name that is `reserved`.
    """
    if not folder.is_dir():
        raise ConfigError(
            "there is no such folder of patches",
            code="no-patches",
            file=folder,
            hint="correct build.patches",
        )
    files: dict[str, bytes] = {}
    diffs: list[tuple[str, PatchedFile]] = []
    for path in sorted(folder.rglob("*")):
        member = path.relative_to(folder).as_posix()
        is_hidden = any(part.startswith((".", "__pycache__")) for part in member.split("/"))
        if not path.is_file() or is_hidden or member.partition(".")[0] == "README":
            continue
        if path.suffix == ".patch":
            for diff in _read_diffs(path):
                _check_place(path, diff.path, reserved)
                diffs.append((member, diff))
        else:
            _check_place(path, member, reserved)
            files[member] = path.read_bytes()
    return files, diffs


def _check_place(path: Path, member: str, reserved: Collection[str]) -> None:
    """Refuse a name that no wheel may have, lies in no package, or is that of repack's own file."""
    check_names([member], path, RENAME_HINT)
    top, _, rest = member.partition("/")
    if member in reserved or not rest or top.endswith((".dist-info", ".data")):
        raise ConfigError(
            "it cannot go into a wheel: files go to the same path in it, into a package, "
            f"but not over repack's own ({', '.join(sorted(reserved))})",
            code="bad-overlay",
            file=path,
            member=member,
            hint="give it another place, such as cv2/team.py; a unified diff ends in .patch",
        )


def _read_diffs(path: Path) -> list[PatchedFile]:
    """Return what a file of unified diffs does to each member, whose name is the diff's `path`."""
    reason = "it names no file"
    try:
        text = decode_text(path.read_bytes(), "surrogateescape")
        diffs = list(PatchSet(text.replace("\r\n", "\n")))
    except (UnidiffParseError, UnicodeDecodeError) as error:
        diffs, reason = [], str(error)
    for diff in diffs:
        if diff.is_removed_file or diff.is_rename or diff.is_binary_file or not len(diff):
            files = f"{diff.source_file} to {diff.target_file}"
            reason = f"{files}: a diff can change lines of one member, or add one, nothing else"
            diffs = []
    if not diffs:
        raise ConfigError(
            f"is not a unified diff of a wheel's members: {reason}",
            code="bad-diff",
            file=path,
            hint="write it with `diff -u` or `git diff`",
        )
    return diffs


def apply_diff(diff: PatchedFile, content: bytes) -> bytes:
    """Return `content`, empty where the diff adds the file, with the hunks of `diff` applied.

    Each hunk has to match in exactly one place, wherever that is. Ends of line do not count: a
    member that has CRLF keeps it. PatchError where a hunk has no place, or leaves no Python.
    """
    newline = b"\r\n" if b"\r\n" in content else b"\n"
    lines = content.replace(b"\r\n", b"\n").split(b"\n")
    for number, hunk in enumerate(diff, 1):
        before, after = _encode(hunk.source_lines()), _encode(hunk.target_lines())
        # Lines without context have a place in an empty file alone.
        starts = range(len(lines) - len(before) + 1 if before else lines == [b""])
        places = [start for start in starts if lines[start : start + len(before)] == before]
        if len(places) != 1:
            at = ", ".join(f"line {place + 1}" for place in places) or "no line"
            raise PatchError(
                f"hunk {number} has to match in exactly one place, and matches at {at}",
                code="no-place",
                hint="make the diff anew from this very file, with more context",
            )
        lines[places[0] : places[0] + len(before)] = after
    new = newline.join(lines)
    if diff.path.endswith(".py"):
        parse(new)
    return new


def _encode(lines: Iterable[Line]) -> list[bytes]:
    """Return lines of a diff as bytes, without their ends."""
    return [line.value.rstrip("\r\n").encode("utf-8", "surrogateescape") for line in lines]
