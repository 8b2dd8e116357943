"""Reads patch folders: `patch.toml` and the files beside it, or bare unified diffs."""

from __future__ import annotations

import ast
import difflib
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from repack.errors import ConfigError, PatchError
from repack.patching.additions import assigned
from repack.patching.diffs import parse_diff
from repack.patching.edits import Add, Append, Change, DropElements, Edit, Patch, Wrap
from repack.patching.patterns import Pattern, parse_pattern
from repack.patching.texts import read_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_T = TypeVar("_T")
_RECIPE = "patch.toml"
_DIFFS = (".patch", ".diff")
_LOOK_AT_OURS = f"the README.md beside repack's own patches describes {_RECIPE}"


def builtin_folder() -> Path:
    """Return the folder of repack's own patches, installed or in a source tree."""
    package = Path(__file__).parents[1]
    installed = package / "_patches"
    return installed if installed.is_dir() else package.parent / "patches"


def load_patches(folders: Sequence[Path]) -> tuple[Patch, ...]:
    """Return the patches of `folders`, in the order given, within each by name.

    A folder is a patch itself (it has a `patch.toml`), or holds patch folders and unified diffs
    (`*.patch`, `*.diff`). ConfigError names the file and the key that is wrong.
    """
    return tuple(patch for folder in folders for patch in _patches(folder))


def _patches(folder: Path) -> Iterator[Patch]:
    if not folder.is_dir():
        raise ConfigError(
            "there is no such folder of patches",
            code="no-patches",
            file=folder,
            hint="correct build.patches",
        )
    if (folder / _RECIPE).is_file():
        yield _recipe(folder)
        return
    for entry in sorted(folder.iterdir(), key=lambda path: path.name):
        if entry.suffix in _DIFFS and entry.is_file():
            yield _bare_diff(entry)
        elif entry.is_dir() and not entry.name.startswith((".", "__")):
            if not (entry / _RECIPE).is_file():
                raise ConfigError(
                    f"the patch folder has no {_RECIPE}",
                    code="no-recipe",
                    file=entry,
                    hint=f"a bare diff lies beside such folders, as {entry.name}.patch",
                )
            yield _recipe(entry)


def _bare_diff(file: Path) -> Patch:
    try:
        edits = _diff_edits(_read(file))
    except ValueError as error:
        raise ConfigError(
            str(error), code="bad-diff", file=file, hint="write it with `diff -u` or `git diff`"
        ) from error
    return Patch(name=file.name, origin=file, edits=edits)


def _recipe(folder: Path) -> Patch:
    file = folder / _RECIPE
    try:
        recipe = tomllib.loads(_read(file).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"is not TOML: {error}", code="bad-recipe", file=file, hint=_LOOK_AT_OURS
        ) from error
    try:
        table = _Table(recipe, "")
        table.take("description", str, "")
        tables = table.take("edit", list)
        table.finish()
        edits = [
            edit
            for number, item in enumerate(tables, 1)
            for edit in _edits(_Table(item, f"edit {number}: "), folder)
        ]
    except (ValueError, PatchError) as error:
        raise ConfigError(str(error), code="bad-recipe", file=file, hint=_LOOK_AT_OURS) from error
    return Patch(
        name=folder.name,
        origin=file,
        edits=tuple(replace(edit, number=number) for number, edit in enumerate(edits, 1)),
    )


class _Table:
    """A table of `patch.toml`, whose keys are taken one by one; what is left over is a mistake."""

    def __init__(self, table: object, where: str) -> None:
        if not isinstance(table, dict):
            raise ValueError(f"{where}is not a table")  # noqa: TRY004 - a user's value, not ours
        self._left: dict[str, object] = dict(table)
        self._where = where
        self._known: list[str] = []

    def take(self, key: str, kind: type[_T], default: _T | None = None) -> _T:
        """Return the value of `key`, which has to be of `kind`, or the default if there is one."""
        self._known.append(key)
        value = self._left.pop(key, default)
        if value is None:
            raise ValueError(f"{self._where}{key} is missing")
        if not isinstance(value, kind):
            raise ValueError(  # noqa: TRY004 - a user's value, not ours
                f"{self._where}{key} has to be {_KINDS[kind]}, not {value!r}"
            )
        return value

    def strings(self, key: str, default: Sequence[str] | None = None) -> tuple[str, ...]:
        """Return the value of `key`: strings, or a single one."""
        value = self._left.get(key)
        if isinstance(value, str):
            self._left[key] = [value]
        values = self.take(key, list, None if default is None else list(default))
        if not all(isinstance(item, str) and item for item in values):
            raise ValueError(f"{self._where}{key} has to be a list of strings, not {value!r}")
        return tuple(values)

    def finish(self) -> None:
        """Refuse the keys that nobody took."""
        for key in self._left:
            close = difflib.get_close_matches(key, self._known, 1)
            meant = f"did you mean {close[0]}?" if close else f"known are {', '.join(self._known)}"
            raise ValueError(f"{self._where}unknown key {key!r}; {meant}")

    def wrong(self, key: str, reason: object) -> ValueError:
        """Return the error that says what is wrong with `key`."""
        return ValueError(f"{self._where}{key}: {reason}")


_KINDS: Mapping[type, str] = {
    bool: "true or false",
    dict: "a table",
    list: "a list",
    str: "a string",
}


class _Reader(Protocol):
    def __call__(self, table: _Table, folder: Path) -> Iterable[Edit]:
        """Return the edits of `table`."""


def _edits(table: _Table, folder: Path) -> list[Edit]:
    word = table.take("do", str)
    if word not in _READERS:
        close = difflib.get_close_matches(word, _READERS, 1)
        meant = f"did you mean {close[0]}?" if close else f"known are {', '.join(_READERS)}"
        raise table.wrong("do", f"there is no edit {word!r}; {meant}")
    edits = list(_READERS[word](table, folder))
    table.finish()
    return edits


def _add(table: _Table, folder: Path) -> Iterable[Edit]:
    content = _file(table, folder)
    values = table.take("values", dict, {})
    for name, key in values.items():
        if not isinstance(key, str):
            raise table.wrong(f"values.{name}", f"has to be a string, not {key!r}")
        assigned(read_text(content), name)
    member = table.take("member", str)
    if any(letter in member for letter in "*?[") or member.endswith("/") or not member:
        raise table.wrong("member", f"{member!r} is not the path of one file")
    change = Add(member=member, content=content, values=tuple(values.items()))
    yield Edit(number=0, members=(member,), change=change, optional=True)


def _append(table: _Table, folder: Path) -> Iterable[Edit]:
    content = _file(table, folder)
    if not content.endswith(b"\n"):
        content += b"\n"
    yield _edit(table, Append(content=content))


def _wrap(table: _Table, folder: Path) -> Iterable[Edit]:
    del folder
    importing, context = table.take("import", str), table.take("with", str)
    try:
        (statement,) = ast.parse(importing).body
        (block,) = ast.parse(f"with {context}: pass").body
    except (SyntaxError, ValueError) as error:
        raise table.wrong("import, with", f"not Python: {error}") from error
    if not isinstance(statement, ast.ImportFrom) or not isinstance(block, ast.With):
        raise table.wrong("import", f"{importing!r} is not a line `from ... import ...`")
    if len(block.items) != 1 or block.items[0].optional_vars is not None:
        raise table.wrong("with", f"{context!r} is not one context expression")
    change = Wrap(
        statements=_patterns(table, "statements"),
        importing=statement,
        import_line=importing.strip(),
        context=context.strip(),
    )
    yield _edit(table, change)


def _drop_elements(table: _Table, folder: Path) -> Iterable[Edit]:
    del folder
    change = DropElements(
        list=table.take("list", str),
        mentioning=_patterns(table, "mentioning", default=()),
        absolute=table.take("absolute", bool, default=False),
        instead=table.take("instead", str, ""),
        note=table.take("note", str, ""),
    )
    if bool(change.mentioning) == change.absolute:
        raise table.wrong("mentioning, absolute", "one of the two is needed")
    yield _edit(table, change)


def _diff(table: _Table, folder: Path) -> Iterable[Edit]:
    name = table.take("file", str)
    optional = table.take("optional", bool, default=False)
    try:
        edits = _diff_edits(_content(table, folder, name))
    except ValueError as error:
        raise table.wrong(name, error) from error
    for edit in edits:
        yield replace(edit, optional=edit.optional or optional)


_READERS: Mapping[str, _Reader] = {
    "add": _add,
    "append": _append,
    "wrap": _wrap,
    "drop-elements": _drop_elements,
    "diff": _diff,
}


def _edit(table: _Table, change: Change) -> Edit:
    return Edit(
        number=0,
        members=table.strings("member"),
        change=change,
        optional=table.take("optional", bool, default=False),
    )


def _diff_edits(content: bytes) -> tuple[Edit, ...]:
    return tuple(
        Edit(number=number, members=(member,), change=change, optional=change.new)
        for number, (member, change) in enumerate(parse_diff(content), 1)
    )


def _patterns(table: _Table, key: str, default: Sequence[str] | None = None) -> tuple[Pattern, ...]:
    texts = table.strings(key, default)
    try:
        return tuple(parse_pattern(text) for text in texts)
    except ValueError as error:
        raise table.wrong(key, error) from error


def _file(table: _Table, folder: Path) -> bytes:
    name = table.take("file", str)
    # A checkout on Windows may have changed the line ends; what is built must not depend on it.
    return _content(table, folder, name).replace(b"\r\n", b"\n")


def _content(table: _Table, folder: Path, name: str) -> bytes:
    if not name or Path(name).name != name:
        raise table.wrong("file", f"{name!r} is not a file beside {_RECIPE}")
    if not (folder / name).is_file():
        raise table.wrong("file", f"there is no {name!r} beside {_RECIPE}")
    return _read(folder / name)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"cannot be read: {error.strerror or error}", code="unreadable", file=file
        ) from error
