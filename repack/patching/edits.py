"""A patch as values: what is to be done to which members."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import ast
    from collections.abc import Iterable
    from pathlib import Path

    from repack.patching.patterns import Pattern


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    """Something that an edit did and that a report should say."""

    code: str
    message: str
    member: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Add:
    """A new member; each of `values` is a top-level name of it and the key of its value."""

    member: str
    content: bytes
    values: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Append:
    """Lines put at the end of a member that does not hold them yet."""

    content: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Wrap:
    """Statements put into a `with` block, below an import that it needs."""

    statements: tuple[Pattern, ...]
    importing: ast.ImportFrom
    import_line: str
    context: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DropElements:
    """Elements taken out of the list literals that are given to the name `list`.

    Those that mention something, or whose directory is absolute. `instead` is the file name (a
    glob) whose folder in the wheel takes the place of what is dropped; `note` is the finding's
    code.
    """

    list: str
    mentioning: tuple[Pattern, ...] = ()
    absolute: bool = False
    instead: str = ""
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Hunk:
    """One hunk of a unified diff: lines without their ends, each with " ", "+" or "-"."""

    number: int
    lines: tuple[tuple[Literal[" ", "+", "-"], bytes], ...]

    @property
    def before(self) -> tuple[bytes, ...]:
        """Return the lines that the hunk expects."""
        return tuple(line for kind, line in self.lines if kind != "+")

    @property
    def after(self) -> tuple[bytes, ...]:
        """Return the lines that it leaves."""
        return tuple(line for kind, line in self.lines if kind != "-")


@dataclass(frozen=True, kw_only=True, slots=True)
class Diff:
    """What a unified diff does to one member; `new` if the member is not there before."""

    hunks: tuple[Hunk, ...]
    new: bool = False


Change = Add | Append | Wrap | DropElements | Diff

_WORDS: dict[type[Change], str] = {
    Add: "add",
    Append: "append",
    Wrap: "wrap",
    DropElements: "drop-elements",
    Diff: "diff",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Edit:
    """One change and the members it is for (paths or globs); `optional` if there may be none."""

    number: int
    members: tuple[str, ...]
    change: Change
    optional: bool = False

    @property
    def kind(self) -> str:
        """Return the word that `patch.toml` has for the change."""
        return _WORDS[type(self.change)]

    def members_among(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return those of `names` that the edit is for, sorted."""
        return tuple(
            sorted(
                name for name in set(names) if any(fnmatchcase(name, glob) for glob in self.members)
            )
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Patch:
    """A patch folder or a bare diff: its name, where it lies, its edits in order."""

    name: str
    origin: Path
    edits: tuple[Edit, ...]
