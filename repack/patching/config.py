"""Edits `cv2/config*.py`: takes CUDA's and the build machine's directories out of its lists.

`cuda_dlls.py` alone chooses a CUDA directory: with %CUDA_PATH% registered beside it, Windows may
take either. And a directory of the machine that built the wheel means nothing on any other.
"""

import ast
import codecs
import re
from collections.abc import Iterable, Iterator

from repack.errors import PatchError
from repack.patching.sources import parse
from repack.record import Finding

_EXTENSIONS = "PYTHON_EXTENSIONS_PATHS"
_LISTS = ("BINARIES_PATHS", _EXTENSIONS)
_NATIVE = re.compile(r"cv2[^/]*\.pyd")
_CUDA = re.compile(r"""['"%${](CUDA|CUDNN)_""")
# The first text in an expression is absolute, and it is not put behind a folder of the wheel.
_ABSOLUTE = re.compile(r"""(?!.*(LOADER_DIR|__file__))[^'"]*['"]([A-Za-z]:)?[\\/]""")


def clean_config(
    content: bytes, member: str, names: Iterable[str]
) -> tuple[bytes, tuple[Finding, ...]]:
    """Return the file without those directories, and a finding for each of the build machine's.

    Without its directory the extension would not be found: the folder in which the wheel, whose
    members are `names`, has it takes the place of an absolute one. PatchError where such a
    directory stands in a form that is not understood.
    """
    tree = parse(content)
    left: list[str] = []
    notes: list[Finding] = []
    new = content
    # From the last to the first, so that the places of those before stay true.
    for name, element in reversed(_elements(tree)):
        source = ast.unparse(element)
        absolute = _ABSOLUTE.match(source)
        if not absolute and not _CUDA.search(source):
            left.insert(0, source)
            continue
        instead = _native_folders(member, names) if absolute and name == _EXTENSIONS else []
        left[:0] = instead
        new = _without(new, element, ", ".join(instead))
        if absolute:
            notes.insert(0, _note(name, source, instead, member))
    _check(parse(new), left)
    return new, tuple(notes)


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
            names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
            for name in names.intersection(_LISTS):
                yield name, node


def _native_folders(member: str, names: Iterable[str]) -> list[str]:
    """Return the expressions for the folders, below the loader's, that have the extension."""
    home = member.rpartition("/")[0]
    folders = {
        folder.removeprefix(home).strip("/")
        for folder, _, name in (path.rpartition("/") for path in names)
        if _NATIVE.fullmatch(name) and f"{folder}/".startswith(f"{home}/")
    }
    return [
        f"os.path.join(LOADER_DIR, {folder!r})" if folder else "LOADER_DIR"
        for folder in sorted(folders or {""})
    ]


def _without(content: bytes, element: ast.expr, instead: str) -> bytes:
    """Return the file with `instead` for the element, or without it, its comma and its line."""
    start = _offset(content, element.lineno, element.col_offset)
    end = _offset(content, element.end_lineno or 0, element.end_col_offset or 0)
    if not instead:
        comma = re.compile(rb"\s*,[ \t]*").match(content, end)
        end = comma.end() if comma else end
        line = len(content[:start].rstrip(b" \t"))
        tail = re.compile(rb"[ \t]*(\r\n|\n)").match(content, end)
        if tail and content[:line].endswith(b"\n"):
            start, end = line, tail.end()
    return content[:start] + instead.encode() + content[end:]


def _offset(content: bytes, line: int, column: int) -> int:
    """Return where a place of the tree lies in the file; a byte order mark is no column."""
    lines = content.splitlines(keepends=True)
    mark = line == 1 and content.startswith(codecs.BOM_UTF8)
    return sum(map(len, lines[: line - 1])) + column + (len(codecs.BOM_UTF8) if mark else 0)


def _check(tree: ast.Module, left: list[str]) -> None:
    """Refuse a file in which the lists are given anything but the elements `left`."""
    statements = (statement for _, statement in _statements(tree))
    wrong = [statement.lineno for statement in statements if _CUDA.search(ast.unparse(statement))]
    if wrong or [ast.unparse(element) for _, element in _elements(tree)] != left:
        place = f"line {wrong[0]}" if wrong else "the file"
        raise PatchError(
            f"{place} gives a list what should not be in it, in a form that is not known",
            code="no-place",
            hint=f"write {' and '.join(_LISTS)} as lists with one element a line",
        )


def _note(name: str, source: str, instead: list[str], member: str) -> Finding:
    fate = f"{' and '.join(instead)} takes its place" if instead else "it is dropped"
    return Finding(
        code="build-machine-path",
        message=f"{name} names a directory of the build machine, {source}: {fate}",
        member=member,
    )
