"""Takes elements out of list literals, as the search paths in OpenCV's config files are.

The elements of a list are those of the literals in whatever is assigned to its name, added to it
or sliced into it, and what is appended or inserted one by one.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import chain
from typing import TYPE_CHECKING

from repack.errors import PatchError
from repack.patching.edits import Note
from repack.patching.patterns import any_finds
from repack.patching.texts import Span, Text, parse, read_text, same_tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from repack.patching.edits import DropElements

# "C:\", "C:/", a share, or a directory of a POSIX machine.
_ABSOLUTE = re.compile(r"[A-Za-z]:[\\/]|[\\/]")
_DRIVE = re.compile(r"[A-Za-z]:|\\\\|//")
# Calls whose arguments are the parts of a path, often only one.
_PATHS = frozenset(
    {"abspath", "expanduser", "fspath", "join", "normpath", "realpath", "str"}
    | {"Path", "PurePath", "PureWindowsPath", "WindowsPath"}
)
# What OpenCV's loader calls the folder that it lies in.
_LOADER = "LOADER_DIR"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Place:
    """An element, with the literal or the statement that it stands in."""

    element: ast.expr
    holder: ast.List | ast.Expr


def dropped(
    change: DropElements, content: bytes, member: str, names: Iterable[str]
) -> tuple[bytes, tuple[Note, ...]]:
    """Return `content` without the elements that `change` is about, and what to say of it.

    `names` are the wheel's members, among which `instead` is looked for. PatchError where such an
    element stands in a form that is not understood.
    """
    text = read_text(content)
    values = _given(text.tree, change.list)
    places = list(_places(text.tree, change.list))
    unwanted = [place for place in places if _is_unwanted(change, place.element, values)]
    instead = _instead(change, member, names)
    new = _without(text, places, unwanted, instead)
    after = read_text(new)
    _check(change, after)
    notes = tuple(_note(change, place, values, instead, member) for place in unwanted)
    return new, notes if change.note else ()


def _places(tree: ast.Module, name: str) -> Iterator[_Place]:
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt):
            for literal in _literals(_assigned(node, name)):
                yield from (_Place(element=element, holder=literal) for element in literal.elts)
            call = _method(node, name, {"append", "insert"})
            if call is not None and call.args and isinstance(node, ast.Expr):
                yield _Place(element=call.args[-1], holder=node)


def _assigned(node: ast.stmt, name: str) -> ast.expr | None:
    """Return what the statement `node` puts into the list `name`."""
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AugAssign | ast.AnnAssign):
        targets = [node.target]
    if any(_is_list(target, name) for target in targets):
        return getattr(node, "value", None)
    extending = _method(node, name, {"extend"})
    return extending.args[0] if extending is not None and extending.args else None


def _is_list(target: ast.expr, name: str) -> bool:
    if isinstance(target, ast.Subscript):
        target = target.value
    return isinstance(target, ast.Name) and target.id == name


def _method(node: ast.stmt, name: str, methods: set[str]) -> ast.Call | None:
    """Return the call if `node` is nothing but a call of one of the list's `methods`."""
    call = node.value if isinstance(node, ast.Expr) else None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
        return None
    return call if call.func.attr in methods and _is_list(call.func.value, name) else None


def _literals(value: ast.expr | None) -> Iterator[ast.List]:
    match value:
        case ast.List():
            yield value
        case ast.BinOp(left=left, right=right):
            yield from chain(_literals(left), _literals(right))
        case ast.IfExp(body=body, orelse=orelse):
            yield from chain(_literals(body), _literals(orelse))
        case ast.Call(args=arguments):
            yield from chain.from_iterable(_literals(argument) for argument in arguments)


def _given(tree: ast.Module, name: str) -> Mapping[str, ast.expr]:
    """Return what each name but the list's own is given in the file, where only once."""
    found: dict[str, list[ast.expr]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    found.setdefault(target.id, []).append(node.value)
    return {key: value for key, (value, *more) in found.items() if not more and key != name}


def _is_unwanted(change: DropElements, element: ast.expr, values: Mapping[str, ast.expr]) -> bool:
    if change.absolute:
        return bool(_ABSOLUTE.match(_directory(element, values)))
    return _mentions(change, element, values)


def _mentions(change: DropElements, node: ast.AST, values: Mapping[str, ast.expr]) -> bool:
    """Return whether `node`, or what a name in it was given, is one of the things looked for."""
    rest = dict(values)
    nodes = [node]
    while nodes:
        for part in ast.walk(nodes.pop()):
            if any_finds(change.mentioning, part):
                return True
            if isinstance(part, ast.Name) and part.id in rest:
                nodes.append(rest.pop(part.id))
    return False


def _directory(node: ast.expr, values: Mapping[str, ast.expr]) -> str:
    """Return the directory that `node` gives, with `{...}` for what only a run can tell."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.Name(id=name) if name in values:
            rest = {key: value for key, value in values.items() if key != name}
            return _directory(values[name], rest)
        case ast.JoinedStr(values=parts):
            return "".join(_directory(part, values) for part in parts)
        case ast.FormattedValue(value=value):
            return _directory(value, values)
    joined = _joined([_directory(part, values) for part in _path_parts(node)])
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        joined = "".join(_directory(part, values) for part in (node.left, node.right))
    return joined or f"{{{ast.unparse(node)}}}"


def _path_parts(node: ast.expr) -> Sequence[ast.expr]:
    """Return the parts of a path that `node` joins, or the one that it gives in another form."""
    match node:
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            return left, right
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=arguments):
            return arguments if name in _PATHS else ()
    return ()


def _joined(parts: Iterable[str]) -> str:
    """Return the parts of a path as one; a drive or a share begins it anew."""
    result = ""
    for part in parts:
        result = f"{result}/{part}" if result and not _DRIVE.match(part) else part
    return result


def _instead(change: DropElements, member: str, names: Iterable[str]) -> tuple[str, ...]:
    """Return the expressions that take the place of what is dropped.

    They are the folders below the loader's in which the wheel has the file: what the build machine
    had there. Where it is in none that is known, the loader's own.
    """
    if not change.instead:
        return ()
    home = member.rpartition("/")[0]
    folders = {
        folder.removeprefix(home).strip("/")
        for folder, _, name in (path.rpartition("/") for path in names)
        if fnmatchcase(name, change.instead) and f"{folder}/".startswith(f"{home}/")
    }
    return tuple(
        f"os.path.join({_LOADER}, {folder!r})" if folder else _LOADER
        for folder in sorted(folders or {""})
    )


def _without(
    text: Text, places: list[_Place], unwanted: list[_Place], instead: tuple[str, ...]
) -> bytes:
    """Return the file with `instead` for the first unwanted element of each holder, none else."""
    edits: dict[Span, str] = {}
    expected: dict[int, list[ast.expr]] = {}
    for place in unwanted:
        missing = [] if id(place.holder) in expected else _missing(places, place, instead)
        start = expected.setdefault(id(place.holder), [])
        start.extend(ast.parse(expression, mode="eval").body for expression in missing)
        edits |= _edit(text, place, missing)
    if not edits:
        return text.content.encode(text.encoding)
    new = text.replaced(edits)
    gone = {id(place.element) for place in unwanted}
    # The tree is not looked at again: it may become what the new text has to mean.
    wanted = _Expected(gone, expected).visit(text.tree)
    if not _is_tree(new, text.encoding, wanted):
        line = unwanted[0].element.lineno
        raise PatchError(
            f"line {line}: the element cannot be taken out without touching what is beside it",
            code="no-place",
            hint="write the list with one element a line",
        )
    return new


def _is_tree(content: bytes, encoding: str, wanted: ast.AST) -> bool:
    try:
        return same_tree(wanted, parse(content.decode(encoding)))
    except PatchError:
        return False


def _missing(places: list[_Place], place: _Place, instead: tuple[str, ...]) -> list[str]:
    """Return those of `instead` that the holder of `place` does not hold already."""
    there = {ast.unparse(other.element) for other in places if other.holder is place.holder}
    return [expression for expression in instead if expression not in there]


def _edit(text: Text, place: _Place, instead: list[str]) -> dict[Span, str]:
    if isinstance(place.holder, ast.Expr):
        if len(instead) == 1:
            return {text.span(place.element): instead[0]}
        return {text.span(place.holder): "pass"}
    start, end = _bracketed(text, place)
    if instead:
        return {(start, end): ", ".join(instead)}
    comma = re.compile(r"\s*,[ \t]*").match(text.content, end)
    end = comma.end() if comma else end
    line = text.line_start(start)
    tail = re.compile(r"[ \t]*(\r\n|\r|\n)").match(text.content, end)
    if tail and not text.content[line:start].strip():
        return {(line, tail.end()): ""}
    return {(start, end): ""}


def _bracketed(text: Text, place: _Place) -> Span:
    """Return where the element lies, with the parentheses around it."""
    start, end = text.span(place.element)
    while True:
        before = re.search(r"\(\s*\Z", text.content[:start])
        after = re.compile(r"\s*\)").match(text.content, end)
        if not before or not after or before.start() < text.span(place.holder)[0]:
            return start, end
        start, end = before.start(), after.end()


class _Expected(ast.NodeTransformer):
    """Makes the tree that the edited text must have."""

    def __init__(self, gone: set[int], instead: Mapping[int, list[ast.expr]]) -> None:
        self._gone = gone
        self._instead = instead

    def visit_List(self, node: ast.List) -> ast.AST:
        """Return the list without what is gone, `instead` where the first of it was."""
        gone = [element for element in node.elts if id(element) in self._gone]
        new: list[ast.expr] = []
        for element in node.elts:
            if gone and element is gone[0]:
                new += self._instead[id(node)]
            if id(element) not in self._gone:
                new.append(element)
        node.elts = new
        return self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        """Return `pass` for an append of what is gone, or the append of what is there instead."""
        call = node.value
        if isinstance(call, ast.Call) and call.args and id(call.args[-1]) in self._gone:
            instead = self._instead[id(node)]
            if len(instead) != 1:
                return ast.Pass()
            call.args[-1] = instead[0]
        return self.generic_visit(node)


def _check(change: DropElements, text: Text) -> None:
    """Refuse a file in which the list still gets what is looked for, in some other form."""
    values = _given(text.tree, change.list)
    for node in ast.walk(text.tree):
        if not isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Expr):
            continue
        if _is_about(node, change.list) and _mentions(change, node, values):
            raise PatchError(
                f"line {node.lineno} gives {change.list} what should not be in it, in a form that "
                f"is not known: {ast.unparse(node)}",
                code="no-place",
                hint="write it as an element of a list",
            )


def _is_about(node: ast.AST, name: str) -> bool:
    return any(isinstance(part, ast.Name) and part.id == name for part in ast.walk(node))


def _note(
    change: DropElements,
    place: _Place,
    values: Mapping[str, ast.expr],
    instead: tuple[str, ...],
    member: str,
) -> Note:
    directory = _directory(place.element, values)
    fate = f"{' and '.join(instead)} takes its place" if instead else "it is dropped"
    return Note(
        code=change.note,
        message=f"{change.list} names a directory of the build machine, {directory!r}: {fate}",
        member=member,
    )
