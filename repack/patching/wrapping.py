"""Puts the statements of a module that lead to something into `with` blocks.

Which ones: every statement at module level whose execution does one of the things looked for, or
calls a function (or method, or another name for one) of the same file that does. The smallest such
statement is wrapped, inside `if`, `try` and the like, never inside a function. Each gets a `with`
of its own, because a loader may well have several: OpenCV 4.5.5 has `from .cv2 import *` at its top
and `bootstrap()` at its end, and either may be the first to fail.

A block on its header's line (`if x: load()`) is not taken apart: its statement is wrapped whole.
Statements joined by `;` get lines of their own.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from repack.errors import PatchError
from repack.patching.patterns import any_finds
from repack.patching.texts import Span, Text, parse, read_text, same_tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from repack.patching.edits import Wrap
    from repack.patching.patterns import Pattern

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_DEFINITIONS = (*_FUNCTIONS, ast.ClassDef)
#: Of what was looked for, so much is told; patch.toml has all.
_SHOWN = 6
_WITH = (ast.With, ast.AsyncWith)
_SEMICOLON = re.compile(r"[ \t\f]*;(?:[ \t\f]|\\(?:\r\n|\r|\n))*\Z")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Target:
    """A statement to wrap, in its block, within a statement of the module."""

    statement: ast.stmt
    block: Sequence[ast.stmt]
    top: ast.stmt


def wrapped(change: Wrap, content: bytes) -> bytes:
    """Return `content` with its statements wrapped; those that are wrapped already stay.

    PatchError where there is none, or none that can be wrapped without changing another.
    """
    text = read_text(content)
    search = _Search(change, text)
    targets = search.targets()
    if not targets:
        if search.is_wrapped():
            return content
        raise PatchError(
            f"{_expected(change)}; {search.elsewhere()}",
            code="no-place",
            hint="this text is not known; a patch folder of your own can edit it",
        )
    new = text.replaced(_edits(change, text, targets))
    if not _is_same(change, search, new):
        lines = ", ".join(str(target.statement.lineno) for target in targets)
        raise PatchError(
            f"line {lines}: the statement cannot be put into a block without changing another",
            code="no-place",
            hint="write it on a line of its own",
        )
    return new


def _expected(change: Wrap) -> str:
    looked_for = [pattern.text for pattern in change.statements]
    more = len(looked_for) - _SHOWN
    others = f" or {more} more like these" if more > 0 else ""
    return (
        "no statement at module level that imports the native module was found: expected one of "
        f"{', '.join(looked_for[:_SHOWN])}{others}, or a call of a function in this file that "
        "does one of these"
    )


class _Search:
    """Finds in one text what leads to the things looked for, and what is wrapped already."""

    def __init__(self, change: Wrap, text: Text) -> None:
        self._change = change
        self._text = text
        self._nodes = list(ast.walk(text.tree))
        self._matches = _matches_among(self._nodes, change.statements)
        self._leading = _leading_names(self._nodes, self._matches)
        self._context = parse(f"with {change.context}: pass").body[0]
        self._bound = {alias.asname or alias.name for alias in change.importing.names} | {
            alias.name for alias in change.importing.names
        }

    def targets(self) -> list[_Target]:
        """Return the statements to wrap, in the order of the text."""
        body = self._text.tree.body
        return [target for statement in body for target in self._within(statement, body, statement)]

    def is_wrapped(self) -> bool:
        """Return whether a wrapped statement is there."""
        return any(
            self.wraps(node) and any(self._leads(inner) for inner in ast.walk(node))
            for node in self._nodes
        )

    def wraps(self, node: ast.AST) -> bool:
        """Return whether `node` is a `with` block of this edit, changed by hand or not."""
        if not isinstance(node, _WITH):
            return False
        return any(self._is_context(item.context_expr) for item in node.items)

    def elsewhere(self) -> str:
        """Return where in the file the things looked for are, if at all, for an error."""
        lines = sorted(
            getattr(node, "lineno", 0) for node in self._nodes if id(node) in self._matches
        )
        if not lines:
            return f"looked at all {len(self._text.tree.body)} of them"
        where = ", ".join(f"line {line}" for line in lines)
        return f"it is imported only in code that nothing here calls ({where})"

    def unwrapped(self) -> ast.AST:
        """Return the tree without this edit's blocks and import."""
        tree = parse(self._text.content)
        _Unwrapped(self, self._change.importing).visit(tree)
        return tree

    def _is_context(self, expression: ast.expr) -> bool:
        """Return whether `expression` calls what this edit's context calls, of the same module."""
        (wanted,) = (item.context_expr for item in getattr(self._context, "items", ()))
        if not isinstance(expression, ast.Call) or not isinstance(wanted, ast.Call):
            return same_tree(expression, wanted)
        name = getattr(expression.func, "attr", getattr(expression.func, "id", ""))
        owners = {
            getattr(part, "attr", getattr(part, "id", "")) for part in ast.walk(expression.func)
        }
        return name == getattr(wanted.func, "attr", None) and bool(owners & self._bound)

    def _leads(self, node: ast.AST) -> bool:
        return _leads(node, self._matches, self._leading)

    def _within(
        self, statement: ast.stmt, block: Sequence[ast.stmt], top: ast.stmt
    ) -> list[_Target]:
        """Return the smallest statements of `statement`, or itself, that are to be wrapped."""
        if self.wraps(statement):
            return []
        whole = _Target(statement=statement, block=block, top=top)
        blocks = _blocks(statement)
        inside = {id(inner) for inner_block in blocks for inner in inner_block}
        if any(self._leads(node) for node in _executed(statement, inside)):
            return [whole]
        found = [
            target
            for inner_block in blocks
            for inner in inner_block
            for target in self._within(inner, inner_block, top)
        ]
        return [whole] if any(_is_inline(self._text, target) for target in found) else found


class _Unwrapped(ast.NodeTransformer):
    """Takes out of a tree what wrapping puts into it."""

    def __init__(self, search: _Search, importing: ast.ImportFrom) -> None:
        self._search = search
        self._importing = importing

    def visit_With(self, node: ast.With) -> ast.AST | list[ast.stmt]:
        """Return the body of a block of ours, any other as it is."""
        self.generic_visit(node)
        return node.body if self._search.wraps(node) else node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        """Return nothing for our own import."""
        return None if same_tree(node, self._importing) else node


def _matches_among(nodes: Iterable[ast.AST], patterns: Sequence[Pattern]) -> AbstractSet[int]:
    """Return the identities of the nodes that are themselves what is looked for."""
    kinds = tuple({pattern.kind for pattern in patterns})
    return {id(node) for node in nodes if isinstance(node, kinds) and any_finds(patterns, node)}


def _leading_names(nodes: Iterable[ast.AST], matches: AbstractSet[int]) -> dict[str, bool]:
    """Return the names that lead to a match when called; True for those of functions.

    A function or class does if its body does, and a name that is given one, or an object made of
    one (not a function's result).
    """
    carriers = [
        _defined(node, matches) if isinstance(node, _DEFINITIONS) else node
        for node in nodes
        if isinstance(node, (*_DEFINITIONS, ast.Assign))
    ]
    names: dict[str, bool] = {}
    while True:
        found = {
            name: kind
            for carrier in carriers
            for name, kind in _named(carrier, matches, names)
            if name not in names
        }
        if not found:
            return names
        names |= found


@dataclass(frozen=True, kw_only=True, slots=True)
class _Defined:
    """A function or class: whether a match stands in it, and the names that its calls mention."""

    name: str
    function: bool
    matches: bool
    mentioned: AbstractSet[str]


def _named(
    carrier: _Defined | ast.Assign, matches: AbstractSet[int], names: dict[str, bool]
) -> Iterator[tuple[str, bool]]:
    if isinstance(carrier, _Defined):
        if carrier.matches or not carrier.mentioned.isdisjoint(names):
            yield carrier.name, carrier.function
    elif _carries(carrier.value, matches, names):
        for target in carrier.targets:
            if isinstance(target, ast.Name):
                yield target.id, False


def _defined(
    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, matches: AbstractSet[int]
) -> _Defined:
    inner = [each for part in node.body for each in ast.walk(part)]
    return _Defined(
        name=node.name,
        function=isinstance(node, _FUNCTIONS),
        matches=any(id(each) in matches for each in inner),
        mentioned=frozenset(
            part.id
            for each in inner
            if isinstance(each, ast.Call)
            for part in ast.walk(each)
            if isinstance(part, ast.Name)
        ),
    )


def _carries(node: ast.AST, matches: AbstractSet[int], names: dict[str, bool]) -> bool:
    """Return whether the value of `node` may lead to a match when it is called later."""
    if isinstance(node, ast.Lambda):
        return any(_leads(inner, matches, names) for inner in ast.walk(node.body))
    if isinstance(node, ast.Name):
        return node.id in names
    parts = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and names.get(node.func.id):
        parts.remove(node.func)
    return any(_carries(part, matches, names) for part in parts)


def _leads(node: ast.AST, matches: AbstractSet[int], names: dict[str, bool]) -> bool:
    """Return whether `node` itself is a match, or a call that has to do with a leading name."""
    if id(node) in matches:
        return True
    calls = isinstance(node, ast.Call)
    return calls and any(isinstance(p, ast.Name) and p.id in names for p in ast.walk(node))


def _executed(node: ast.AST, leave_out: set[int]) -> Iterator[ast.AST]:
    """Return the nodes that are executed with `node`, without those blocks."""
    yield node
    children: Iterable[ast.AST] = ast.iter_child_nodes(node)
    if isinstance(node, _FUNCTIONS):
        defaults = [default for default in node.args.kw_defaults if default is not None]
        children = [*node.decorator_list, *node.args.defaults, *defaults]
    elif isinstance(node, ast.Lambda):
        children = []
    for child in children:
        if id(child) not in leave_out:
            yield from _executed(child, leave_out)


def _blocks(statement: ast.stmt) -> list[Sequence[ast.stmt]]:
    """Return the blocks of a compound statement that stay at module level."""
    if isinstance(statement, _DEFINITIONS):
        return []
    parts = [statement, *getattr(statement, "handlers", ()), *getattr(statement, "cases", ())]
    names = ("body", "orelse", "finalbody")
    blocks = [getattr(part, name, []) for part in parts for name in names]
    return [block for block in blocks if block]


def _is_inline(text: Text, target: _Target) -> bool:
    """Return whether the target cannot be wrapped where it stands.

    It is an `elif`, or its block stands on the line of the block's header.
    """
    first = _line_leader(text, target)
    is_elif = isinstance(first, ast.If) and text.content.startswith("elif", text.span(first)[0])
    return is_elif or bool(_indentation(text, first).strip())


def _line_leader(text: Text, target: _Target) -> ast.stmt:
    """Return the first of the statements that `;` puts on one line with the target."""
    first = target.statement
    for statement in reversed(target.block[: target.block.index(first)]):
        if not _joined(text, statement, first):
            break
        first = statement
    return first


def _indentation(text: Text, statement: ast.stmt) -> str:
    """Return what stands before `statement` on its line."""
    start = text.span(statement)[0]
    return text.content[text.line_start(start) : start]


def _joined(text: Text, one: ast.stmt, other: ast.stmt) -> bool:
    """Return whether `other` follows `one` on the same line, after a semicolon."""
    between = text.content[text.span(one)[1] : text.span(other)[0]]
    return bool(_SEMICOLON.match(between))


def _edits(change: Wrap, text: Text, targets: Sequence[_Target]) -> dict[Span, str]:
    edits: dict[Span, str] = {}
    for target in targets:
        edits |= _wrapping(change, text, target)
    top = targets[0].top
    if not _is_imported(change, text, top):
        start = text.span(top)[0]
        # A statement of the module has no margin, unless it is a form feed.
        edits[start, start] = f"{change.import_line}{text.newline(start)}" + edits.get(
            (start, start), ""
        )
    return edits


def _wrapping(change: Wrap, text: Text, target: _Target) -> dict[Span, str]:
    """Return the edits that put one statement into a block, and on lines of its own."""
    start, end = text.span(target.statement)
    margin = _margin(text, target)
    step = "\t" if "\t" in margin else _step(text)
    line_end = text.newline(start)
    edits = {(start, start): f"with {change.context}:{line_end}{margin}{step}"}
    before, after = _neighbours(text, target)
    if before is not None:
        edits[text.span(before)[1], start] = line_end + margin
    if after is not None:
        edits[end, text.span(after)[0]] = line_end + margin
    for line in _lines_to_indent(text, target.statement):
        edits[line, line] = step
    return edits


def _neighbours(text: Text, target: _Target) -> tuple[ast.stmt | None, ast.stmt | None]:
    """Return the statements on the same line, before and after the target."""
    place = target.block.index(target.statement)
    before = target.block[place - 1] if place else None
    after = target.block[place + 1] if place + 1 < len(target.block) else None
    return (
        before if before is not None and _joined(text, before, target.statement) else None,
        after if after is not None and _joined(text, target.statement, after) else None,
    )


def _margin(text: Text, target: _Target) -> str:
    """Return the white space before the target, or before the first statement on its line."""
    first = _line_leader(text, target)
    return _indentation(text, first)


def _step(text: Text) -> str:
    """Return by how much this file indents a block."""
    for node in ast.walk(text.tree):
        body = getattr(node, "body", None)
        if isinstance(node, ast.stmt) and isinstance(body, list):
            outer, inner = _indentation(text, node), _indentation(text, body[0])
            if not inner.strip() and inner.startswith(outer) and inner != outer:
                return inner[len(outer) :]
    return "    "


def _lines_to_indent(text: Text, statement: ast.stmt) -> list[int]:
    """Return where the further lines of `statement` begin, but for blank ones and in strings."""
    start, end = text.span(statement)
    strings = [text.span(node) for node in _strings(statement)]
    return [
        line
        for number, line in enumerate(text.starts[:-1], 1)
        if start < line < end
        and text.line(number).strip()
        and not any(first < line < last for first, last in strings)
    ]


def _strings(node: ast.AST) -> Iterator[ast.expr]:
    """Return the literals in `node` that may run over lines, each part of an f-string in it."""
    if isinstance(node, ast.Constant | ast.JoinedStr) or type(node).__name__ == "TemplateStr":
        yield node  # type: ignore[misc]  # TemplateStr is an expression of Python 3.14
        return
    for child in ast.iter_child_nodes(node):
        yield from _strings(child)


def _is_imported(change: Wrap, text: Text, before: ast.stmt) -> bool:
    """Return whether the name that the context needs is imported above `before`."""
    needed = {alias.asname or alias.name for alias in change.importing.names}
    above = text.tree.body[: text.tree.body.index(before)]
    return needed <= {
        alias.asname or alias.name
        for statement in above
        if isinstance(statement, ast.Import | ast.ImportFrom)
        for alias in statement.names
    }


def _is_same(change: Wrap, before: _Search, content: bytes) -> bool:
    try:
        after = _Search(change, read_text(content))
    except PatchError:
        return False
    whole = not after.targets() and after.is_wrapped()
    return whole and same_tree(before.unwrapped(), after.unwrapped())
