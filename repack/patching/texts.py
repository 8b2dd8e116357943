"""A Python text and its AST, edited by position; what is not edited stays byte for byte."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from repack.errors import PatchError

if TYPE_CHECKING:
    from collections.abc import Mapping

_SAVE_AS_UTF_8 = "save it as UTF-8, or take the wheel from where it was published"
_CORRECT = "correct the line; a member in another Python's syntax cannot be patched"
# The three ends of line that Python knows; str.splitlines() knows a dozen more.
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n|\Z)")

Span = tuple[int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Text:
    """One Python file: its text, how it is encoded, its tree, and where its lines begin."""

    content: str
    encoding: str
    tree: ast.Module
    starts: tuple[int, ...]

    def line(self, number: int) -> str:
        """Return the physical line `number` (from 1) with its end."""
        return self.content[self.starts[number - 1] : self.starts[number]]

    def offset(self, line: int, column: int) -> int:
        """Return the offset in `content` of an AST position; `column` counts UTF-8 bytes."""
        return self.starts[line - 1] + len(self.line(line).encode()[:column].decode())

    def span(self, node: ast.expr | ast.stmt) -> Span:
        """Return where `node` begins and ends, its decorators included."""
        if node.end_lineno is None or node.end_col_offset is None:
            message = "a node that was not parsed has no place"
            raise ValueError(message)
        decorators = getattr(node, "decorator_list", None)
        if decorators:
            start = self.content.rindex("@", 0, self.span(decorators[0])[0])
        else:
            start = self.offset(node.lineno, node.col_offset)
        return start, self.offset(node.end_lineno, node.end_col_offset)

    def line_start(self, offset: int) -> int:
        """Return where the physical line of `offset` begins."""
        return max(start for start in self.starts if start <= offset)

    def newline(self, offset: int) -> str:
        """Return the end of the line at `offset`; on the last line, that of the one before."""
        for start in reversed([start for start in self.starts if start <= offset]):
            found = re.match(r"[^\r\n]*(\r\n|\r|\n)", self.content[start:])
            if found:
                return found[1]
        return "\n"

    def replaced(self, edits: Mapping[Span, str]) -> bytes:
        """Return the file with each span replaced; spans must not overlap."""
        content = self.content
        for (start, end), new in sorted(edits.items(), reverse=True):
            content = content[:start] + new + content[end:]
        return content.encode(self.encoding)


def read_text(content: bytes) -> Text:
    """Return the Python file `content`, parsed.

    The text must be in the encoding that it declares (PEP 263; UTF-8 where it declares none) and
    in a syntax that the running Python knows: otherwise PatchError, with the line.
    """
    encoding = _encoding(content)
    try:
        text = content.decode(encoding)
    except (UnicodeDecodeError, LookupError) as error:
        raise PatchError(
            f"is not in its encoding, {encoding}: {error}", code="encoding", hint=_SAVE_AS_UTF_8
        ) from error
    if text.encode(encoding) != content:
        raise PatchError(
            f"cannot be written back byte for byte in {encoding}",
            code="encoding",
            hint=_SAVE_AS_UTF_8,
        )
    starts = [match.start() for match in _LINE.finditer(text)]
    return Text(
        content=text,
        encoding=encoding,
        tree=parse(text),
        starts=(*starts, len(text)),
    )


def parse(text: str) -> ast.Module:
    """Return the tree of `text`, or raise PatchError with the line that is no Python."""
    try:
        with warnings.catch_warnings():
            # An invalid escape in somebody else's config.py is not our caller's to hear of.
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except SyntaxError as error:
        where = f"line {error.lineno}" if error.lineno else "some line"
        raise PatchError(
            f"{where} is not Python that can be read: {error.msg}",
            code="syntax",
            hint=_CORRECT,
        ) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise PatchError(
            f"is not Python that can be read: {error}", code="syntax", hint=_CORRECT
        ) from error


def same_tree(one: ast.AST, other: ast.AST) -> bool:
    """Return whether both mean the same to Python, wherever they stand."""
    return ast.dump(one) == ast.dump(other)


def _encoding(content: bytes) -> str:
    """Return the codec of a Python file, "utf-8-sig" for one with a byte order mark."""
    try:
        return tokenize.detect_encoding(io.BytesIO(content).readline)[0]
    except SyntaxError as error:
        raise PatchError(
            f"is neither UTF-8 nor in an encoding that it declares: {error.msg}",
            code="encoding",
            hint=_SAVE_AS_UTF_8,
        ) from error
