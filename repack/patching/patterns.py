"""What an edit looks for, written in Python's own syntax.

`__` stands for anything: an expression, the names of an import, the rest of a call's arguments. A
set stands for any one of its members, `*` in a string for any characters, and a bare name also for
the last part of a dotted one: `getenv("CUDA_*", __)` finds `os.getenv("CUDA_PATH")`.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_ANYTHING = "__"
_IGNORED = ("ctx", "kind", "type_comment")


@dataclass(frozen=True, kw_only=True, slots=True)
class Pattern:
    """An expression or an import, as written and as parsed; `kind` is that of all it can find."""

    text: str
    node: ast.AST
    kind: type[ast.AST]

    def finds(self, node: ast.AST) -> bool:
        """Return whether `node` itself is such a thing."""
        return _matches(self.node, node)


def parse_pattern(text: str) -> Pattern:
    """Return the pattern written as `text`; ValueError says why it is none."""
    try:
        (statement,) = ast.parse(text.strip()).body
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"{text!r} is not one Python expression or import: {error}") from error
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return Pattern(text=text, node=statement, kind=type(statement))
    if isinstance(statement, ast.Expr):
        node = statement.value
        # A name and a set stand for things of other kinds.
        kind = ast.AST if isinstance(node, ast.Name | ast.Set) else type(node)
        return Pattern(text=text, node=node, kind=kind)
    raise ValueError(f"{text!r} is neither an expression nor an import")


def any_finds(patterns: Iterable[Pattern], node: ast.AST) -> bool:
    """Return whether one of `patterns` finds `node`."""
    return any(isinstance(node, pattern.kind) and pattern.finds(node) for pattern in patterns)


def _matches(pattern: object, node: object) -> bool:
    match pattern:
        case ast.Name(id=name):
            found = name == _ANYTHING or _last_name(node) == name
        case ast.Set(elts=members):
            found = any(_matches(member, node) for member in members)
        case ast.Constant(value=str(glob)):
            value = node.value if isinstance(node, ast.Constant) else None
            found = isinstance(value, str) and fnmatchcase(value, glob)
        case ast.Call():
            found = isinstance(node, ast.Call) and _calls(pattern, node)
        case ast.Import() | ast.ImportFrom():
            found = _imports(pattern, node)
        case ast.AST():
            found = type(pattern) is type(node) and all(
                _matches(getattr(pattern, field), getattr(node, field))
                for field in pattern._fields
                if field not in _IGNORED
            )
        case [*parts]:
            found = (
                isinstance(node, list)
                and len(parts) == len(node)
                and all(_matches(*pair) for pair in zip(parts, node, strict=True))
            )
        case _:
            found = pattern == node
    return found


def _last_name(node: object) -> str | None:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else None


def _calls(pattern: ast.Call, node: ast.Call) -> bool:
    """Compare calls; a last argument `__` lets any further arguments be."""
    wanted = list(pattern.args)
    open_end = bool(wanted) and isinstance(wanted[-1], ast.Name) and wanted[-1].id == _ANYTHING
    if open_end:
        del wanted[-1]
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    named = {keyword.arg: keyword.value for keyword in pattern.keywords}
    if not open_end and (len(node.args) != len(wanted) or given.keys() != named.keys()):
        return False
    return (
        _matches(pattern.func, node.func)
        and len(wanted) <= len(node.args)
        and all(_matches(*pair) for pair in zip(wanted, node.args, strict=False))
        and all(name in given and _matches(value, given[name]) for name, value in named.items())
    )


def _imports(pattern: ast.Import | ast.ImportFrom, node: object) -> bool:
    """Compare imports by module and by the names taken from it, whatever they are called here."""
    if not isinstance(node, ast.Import | ast.ImportFrom) or type(pattern) is not type(node):
        return False
    if isinstance(pattern, ast.ImportFrom) and isinstance(node, ast.ImportFrom):
        same_module = (pattern.module, pattern.level) == (node.module, node.level)
    else:
        same_module = True
    wanted = {alias.name for alias in pattern.names}
    return same_module and (_ANYTHING in wanted or wanted <= {alias.name for alias in node.names})
