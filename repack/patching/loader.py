"""Edits OpenCV's loader: `cv2/__init__.py`, and the `cv2/config*.py` that it reads."""

import ast
import re
import warnings
from collections.abc import Collection, Iterable, Iterator
from io import BytesIO
from tokenize import detect_encoding

from repack.errors import PatchError

_IMPORT = "from . import cuda_dlls as _cuda_dlls"
_WITH = "with _cuda_dlls.loading():"
_NATIVE = {"cv2", ".cv2", "cv2.cv2"}
_IMPORTERS = {
    *("import_module", "__import__", "load_dynamic"),
    *("spec_from_file_location", "ExtensionFileLoader"),
}
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)

_EXTENSIONS = "PYTHON_EXTENSIONS_PATHS"
_ASSIGNMENTS = (ast.Assign, ast.AugAssign, ast.AnnAssign)
_LISTS = (ast.List, ast.Tuple)
_LIST = re.compile(rf"\b(BINARIES_PATHS|{_EXTENSIONS})\b")
_EXTENSION = re.compile(r"cv2/((?:.*/)?)cv2[^/]*\.pyd")
_CUDA = re.compile(r"""['"%${](CUDA|CUDNN)_""")
# The first text in an expression is absolute, and it is not put behind a folder of the wheel.
_ABSOLUTE = re.compile(r"""(?!.*(LOADER_DIR|__file__))[^'"]*['"]([A-Za-z]:)?[\\/]""")


def parse(content: bytes) -> ast.Module:
    """Return the tree of a Python file, in the encoding that it declares.

    PatchError names the line that the running Python cannot read.
    """
    try:
        with warnings.catch_warnings():
            # An invalid escape in somebody else's config.py does not concern our caller.
            warnings.simplefilter("ignore")
            return ast.parse(content)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f"line {error.lineno} " if isinstance(error, SyntaxError) and error.lineno else ""
        raise PatchError(
            f"{line}is not Python that can be read: {getattr(error, 'msg', error)}",
            code="syntax",
            hint="correct it, save it as UTF-8, or take the file from where it was published",
        ) from error


def _decode(content: bytes) -> tuple[bytes, str]:
    """Return a Python file in UTF-8, whose bytes a tree's columns count, and its own encoding."""
    encoding, _ = detect_encoding(BytesIO(content).readline)
    return content.decode(encoding).encode(), encoding


# cv2/__init__.py


def patch_loader(content: bytes) -> bytes:
    """Return the loader with its native imports in `with` blocks, all else byte for byte.

    It can have several: OpenCV 4.5.5 has `from .cv2 import *` and, at its end, `bootstrap()`.
    PatchError where no statement at module level leads to a native import.
    """
    tree = parse(content)
    names = _leading_names(tree)
    # A line can have several statements.
    blocks = {
        (statement.lineno, statement.end_lineno or 0)
        for statement in tree.body
        if not isinstance(statement, _DEFINITIONS) and _leads_to_native(statement, names)
    }
    if not blocks:
        raise PatchError(
            "no statement at module level that imports the native module was found: expected "
            '`from .cv2 import *`, `importlib.import_module("cv2")` or the like, or a call of a '
            "function in this file that does so",
            code="no-place",
            hint="this text is not known; a *.patch file of your own can edit it",
        )
    source, encoding = _decode(content)
    newline = b"\r\n" if b"\r\n" in source else b"\n"
    lines = source.splitlines(keepends=True)
    for first, last in sorted(blocks, reverse=True):
        block = [b"    " + line if line.strip() else line for line in lines[first - 1 : last]]
        lines[first - 1 : last] = [_WITH.encode() + newline, *block]
    first, _ = min(blocks)
    lines.insert(first - 1, _IMPORT.encode() + newline)
    new = b"".join(lines).decode().encode(encoding)
    if list(map(ast.dump, _without_ours(parse(new)))) != list(map(ast.dump, tree.body)):
        raise PatchError(
            f"line {first}: the statement cannot be put into a block without changing another",
            code="no-place",
            hint="write it on lines of its own",
        )
    return new


def _without_ours(tree: ast.Module) -> Iterator[ast.stmt]:
    """Yield the module's statements as they were before ours were put around them."""
    for statement in tree.body:
        if isinstance(statement, ast.With) and ast.unparse(statement).startswith(_WITH):
            yield from statement.body
        elif ast.unparse(statement) != _IMPORT:
            yield statement


def _leading_names(tree: ast.Module) -> set[str]:
    """Return the names of functions and classes that import it, and other names given to these."""
    named: list[tuple[str, ast.AST]] = [
        (node.name, node) for node in ast.walk(tree) if isinstance(node, _DEFINITIONS)
    ]
    for node in tree.body:
        if isinstance(node, ast.Assign):
            named += [(ast.unparse(target), node.value) for target in node.targets]
    names: set[str] = set()
    while more := {name for name, node in named if _leads_to_native(node, names)} - names:
        names |= more
    return names


def _leads_to_native(node: ast.AST, names: Collection[str]) -> bool:
    """Return whether `node` imports the native module or mentions one of `names`."""
    return any(
        _is_native_import(part) or (isinstance(part, ast.Name) and part.id in names)
        for part in ast.walk(node)
    )


def _is_native_import(node: ast.AST) -> bool:
    match node:
        case ast.Import(names=aliases):
            return any(alias.name in _NATIVE for alias in aliases)
        case ast.ImportFrom(module=module, names=aliases, level=level):
            source = "." * level + (module or "")
            here = source in {".", "cv2"} and any(alias.name == "cv2" for alias in aliases)
            return here or source in {".cv2", "cv2.cv2"}
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in _IMPORTERS:
            texts = {part.value for part in ast.walk(node) if isinstance(part, ast.Constant)}
            return not texts.isdisjoint(_NATIVE)
    return False


# cv2/config*.py


def clean_config(content: bytes, names: Iterable[str]) -> bytes:
    """Return a `cv2/config*.py` without directories of CUDA and of the build machine.

    `cuda_dlls.py` alone chooses a CUDA directory: with %CUDA_PATH% registered beside it, Windows
    may take either. Without its directory the extension would not be found: the folder in which
    the wheel, whose members are `names`, has it takes the place of another. Of `cv2/__init__.py`,
    into which people write them too, nothing else changes. PatchError where such a directory
    stands in a form that is not understood.
    """
    tree = parse(content)
    source, encoding = _decode(content)
    edits: list[tuple[int, int, bytes]] = []
    for name, statement in _find_statements(tree):
        for node in ast.walk(statement):
            if not isinstance(node, _LISTS) or not any(map(_is_foreign, node.elts)):
                continue
            begin, stop = _find_span(source, node)
            if any(start <= begin < end for start, end, _ in edits):
                continue  # a list in a list goes, or stays, with it
            kept = [element for element in node.elts if not _is_foreign(element)]
            instead = _native_folders(names) if name == _EXTENSIONS else []
            spans = [_find_span(source, element) for element in kept]
            texts = [*(source[start:end] for start, end in spans), *map(str.encode, instead)]
            edits.append((begin, stop, _format_list(node, texts)))
            node.elts = kept + [ast.parse(folder, mode="eval").body for folder in instead]
        if isinstance(statement, ast.Expr) and _is_foreign(statement):
            edits.append((*_find_span(source, statement), b"..."))
            statement.value = ast.Constant(...)
    unknown = [node.lineno for _, node in _find_statements(tree) if _is_foreign(node)]
    for start, end, text in sorted(edits, reverse=True):
        source = source[:start] + text + source[end:]
    # OpenCV's loader cannot read a file with a byte order mark.
    new = source.decode().encode(encoding.removesuffix("-sig"))
    if unknown or (edits and ast.dump(parse(new)) != ast.dump(tree)):
        raise PatchError(
            f"line {min(unknown, default=1)} names directories of CUDA or of the build machine in "
            "a form that is not known",
            code="no-place",
            hint=f"write BINARIES_PATHS and {_EXTENSIONS} as lists with one element a line",
        )
    return new


def machine_directories(content: bytes) -> list[str]:
    """Return the elements of the lists that are directories of the build machine, as expressions.

    Of a statement without a list it is the statement. PatchError where the file is not Python that
    can be read.
    """
    expressions = [
        ast.unparse(node)
        for _, statement in _find_statements(parse(content))
        for node in _find_elements(statement) or [statement]
    ]
    return [expression for expression in expressions if _ABSOLUTE.match(expression)]


def _format_list(node: ast.expr, texts: Iterable[bytes]) -> bytes:
    if isinstance(node, ast.List):
        return b"[" + b", ".join(texts) + b"]"
    return b"(" + b"".join(text + b", " for text in texts) + b")"


def _find_elements(statement: ast.stmt) -> list[ast.AST]:
    lists = [part for part in ast.walk(statement) if isinstance(part, _LISTS)]
    return [element for part in lists for element in part.elts]


def _find_statements(tree: ast.Module) -> Iterator[tuple[str, ast.stmt]]:
    """Yield the statements about the lists, each with the list's name, and plain registrations.

    Of a loop it is the list that it goes over, where that is written there.
    """
    for node in ast.walk(tree):
        if not isinstance(node, (*_ASSIGNMENTS, ast.Expr, ast.For)):
            continue
        text = ast.unparse(node)
        match = _LIST.search(text)
        name = match[0] if match else ""
        if not name and (isinstance(node, _ASSIGNMENTS) or "add_dll_directory(" not in text):
            continue
        if not isinstance(node, ast.For):
            yield name, node
        elif isinstance(node.iter, _LISTS):
            yield name, ast.copy_location(ast.Expr(node.iter), node.iter)


def _is_foreign(node: ast.AST) -> bool:
    """Return whether the node names a directory of CUDA or of the build machine."""
    text = ast.unparse(node)
    return bool(_ABSOLUTE.match(text) or _CUDA.search(text))


def _native_folders(names: Iterable[str]) -> list[str]:
    """Return expressions for the folders of the wheel that have the extension."""
    matches = [match for match in map(_EXTENSION.fullmatch, names) if match]
    folders = sorted({match[1].rstrip("/") for match in matches} or {""})
    return [
        f"os.path.join(LOADER_DIR, {folder!r})" if folder else "LOADER_DIR" for folder in folders
    ]


def _find_span(source: bytes, node: ast.expr | ast.stmt) -> tuple[int, int]:
    """Return where the node begins and ends in the file."""
    lines = source.splitlines(keepends=True)
    start = sum(map(len, lines[: node.lineno - 1])) + node.col_offset
    end = sum(map(len, lines[: (node.end_lineno or 0) - 1])) + (node.end_col_offset or 0)
    return start, end
