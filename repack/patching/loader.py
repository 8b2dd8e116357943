"""Edits `cv2/__init__.py`: what loads the native module runs with CUDA's directories known.

The module-level statements that lead to the native import go into `with _cuda_dlls.loading():`.
A loader can have several: OpenCV 4.5.5 has `from .cv2 import *` and, at its end, `bootstrap()`.
"""

import ast
import warnings
from collections.abc import Iterator
from collections.abc import Set as AbstractSet

from repack.errors import PatchError

_IMPORT = "from . import cuda_dlls as _cuda_dlls"
_WITH = "with _cuda_dlls.loading():"
_NATIVE = {"cv2", ".cv2", "cv2.cv2"}
_IMPORTERS = {
    *("import_module", "__import__", "load_dynamic"),
    *("spec_from_file_location", "ExtensionFileLoader"),
}
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


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
            hint="correct the line, or take the file from where it was published",
        ) from error


def patch_loader(content: bytes) -> bytes:
    """Return the loader with its native imports in `with` blocks, all else byte for byte.

    PatchError where no statement at module level leads to a native import.
    """
    tree = parse(content)
    blocks = _native_blocks(tree)
    if not blocks:
        raise PatchError(
            "no statement at module level that imports the native module was found: expected "
            '`from .cv2 import *`, `importlib.import_module("cv2")` or the like, or a call of a '
            "function in this file that does so",
            code="no-place",
            hint="this text is not known; a *.patch file of your own can edit it",
        )
    newline = b"\r\n" if b"\r\n" in content else b"\n"
    lines = content.splitlines(keepends=True)
    for first, last in reversed(blocks):
        block = [b"    " + line if line.strip() else line for line in lines[first - 1 : last]]
        lines[first - 1 : last] = [_WITH.encode() + newline, *block]
    first = blocks[0][0]
    lines.insert(first - 1, _IMPORT.encode() + newline)
    new = b"".join(lines)
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


def _native_blocks(tree: ast.Module) -> list[tuple[int, int]]:
    """Return the first and last lines of the module's statements that lead to a native import."""
    names = _leading_names(tree)
    lines = {
        (statement.lineno, statement.end_lineno or 0)
        for statement in tree.body
        if not isinstance(statement, _DEFINITIONS) and _leads_to_native(statement, names)
    }
    return sorted(lines)


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


def _leads_to_native(node: ast.AST, names: AbstractSet[str]) -> bool:
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
