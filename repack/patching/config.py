"""Edits `cv2/config*.py`: takes CUDA's and the build machine's directories out of its lists.

`cuda_dlls.py` alone chooses a CUDA directory: with %CUDA_PATH% registered beside it, Windows may
take either. And a directory of the machine that built the wheel means nothing on any other.
"""

import ast
import codecs
import re
from collections.abc import Iterable, Iterator

from repack.errors import PatchError
from repack.patching.loader import parse

_EXTENSIONS = "PYTHON_EXTENSIONS_PATHS"
_LIST = re.compile(rf"\b(BINARIES_PATHS|{_EXTENSIONS})\b")
_NATIVE = re.compile(r"cv2/((?:.*/)?)cv2[^/]*\.pyd")
_CUDA = re.compile(r"""['"%${](CUDA|CUDNN)_""")
# The first text in an expression is absolute, and it is not put behind a folder of the wheel.
_ABSOLUTE = re.compile(r"""(?!.*(LOADER_DIR|__file__))[^'"]*['"]([A-Za-z]:)?[\\/]""")


def clean_config(content: bytes, names: Iterable[str]) -> bytes:
    """Return the file without those directories.

    Without its directory the extension would not be found: the folder in which the wheel, whose
    members are `names`, has it takes the place of another. PatchError where such a directory
    stands in a form that is not understood.
    """
    mark = codecs.BOM_UTF8 if content.startswith(codecs.BOM_UTF8) else b""
    new = content.removeprefix(mark)
    left: list[str] = []
    # From the last to the first, so that the places of those before stay true.
    for name, element in reversed(_elements(parse(content))):
        kept = [ast.unparse(element)]
        if _ABSOLUTE.match(kept[0]) or _CUDA.search(kept[0]):
            kept = _native_folders(names) if name == _EXTENSIONS else []
            new = _replace(new, element, ", ".join(kept))
        left = [*kept, *left]
    new = mark + new
    tree = parse(new)
    has_cuda = any(_CUDA.search(ast.unparse(statement)) for _, statement in _statements(tree))
    if has_cuda or [ast.unparse(element) for _, element in _elements(tree)] != left:
        raise PatchError(
            "it names directories of CUDA or of the build machine in a form that is not known",
            code="no-place",
            hint=f"write BINARIES_PATHS and {_EXTENSIONS} as lists with one element a line",
        )
    return new


def machine_directories(content: bytes) -> list[str]:
    """Return the elements of the lists that are directories of the build machine, as expressions.

    PatchError where the file is not Python that can be read.
    """
    sources = [ast.unparse(element) for _, element in _elements(parse(content))]
    return [source for source in sources if _ABSOLUTE.match(source)]


def _elements(tree: ast.Module) -> list[tuple[str, ast.expr]]:
    """Return the elements of the list literals that the lists are given, with the list's name."""
    elements = [
        (name, element)
        for name, statement in _statements(tree)
        for part in ast.walk(statement)
        if isinstance(part, ast.List)
        for element in part.elts
    ]
    return sorted(elements, key=lambda pair: (pair[1].lineno, pair[1].col_offset))


def _statements(tree: ast.Module) -> Iterator[tuple[str, ast.stmt]]:
    """Yield the statements about the lists, each with the list's name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Expr):
            name = _LIST.search(ast.unparse(node))
            if name:
                yield name[0], node


def _native_folders(names: Iterable[str]) -> list[str]:
    """Return expressions for the folders of the wheel that have the extension."""
    matches = [match for match in map(_NATIVE.fullmatch, names) if match]
    folders = sorted({match[1].rstrip("/") for match in matches} or {""})
    return [
        f"os.path.join(LOADER_DIR, {folder!r})" if folder else "LOADER_DIR" for folder in folders
    ]


def _replace(content: bytes, element: ast.expr, text: str) -> bytes:
    """Return the file with `text` for the element, or without it, its comma and its line."""
    lines = content.splitlines(keepends=True)
    start = sum(map(len, lines[: element.lineno - 1])) + element.col_offset
    end = sum(map(len, lines[: (element.end_lineno or 0) - 1])) + (element.end_col_offset or 0)
    if not text:
        comma = re.compile(rb"\s*,[ \t]*").match(content, end)
        end = comma.end() if comma else end
        line = len(content[:start].rstrip(b" \t"))
        tail = re.compile(rb"[ \t]*(\r\n|\n)").match(content, end)
        if tail and content[:line].endswith(b"\n"):
            start, end = line, tail.end()
    return content[:start] + text.encode() + content[end:]
