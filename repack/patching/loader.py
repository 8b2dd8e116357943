"""Edits `cv2/__init__.py`: what loads the native module runs with CUDA's directories known.

The module-level statements that lead to the native import go into `with _cuda_dlls.loading():`.
A loader can have several: OpenCV 4.5.5 has `from .cv2 import *` and, at its end, `bootstrap()`.
"""

import ast
from collections.abc import Set as AbstractSet

from repack.errors import PatchError
from repack.patching.sources import parse

_IMPORT = "from . import cuda_dlls as _cuda_dlls"
_WITH = "with _cuda_dlls.loading():"
_NATIVE = {"cv2", ".cv2", "cv2.cv2"}
_IMPORTERS = {
    *("import_module", "__import__", "load_dynamic"),
    *("spec_from_file_location", "ExtensionFileLoader"),
}
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def patch_loader(content: bytes) -> bytes:
    """Return the loader with its native imports in `with` blocks, all else byte for byte.

    PatchError where no statement at module level leads to a native import.
    """
    tree = parse(content)
    blocks = _native_blocks(tree)
    if not blocks:
        raise _no_native_import(tree)
    newline = b"\r\n" if b"\r\n" in content else b"\n"
    lines = content.splitlines(keepends=True)
    for first, last in reversed(blocks):
        block = [b"    " + line if line.strip() else line for line in lines[first - 1 : last]]
        lines[first - 1 : last] = [_WITH.encode() + newline, *block]
    first = blocks[0][0]
    lines.insert(first - 1, _IMPORT.encode() + newline)
    new = b"".join(lines)
    if not _is_same(tree, new):
        raise PatchError(
            f"line {first}: the statement cannot be put into a block without changing another",
            code="no-place",
            hint="write it on lines of its own",
        )
    return new


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
    carriers: list[tuple[str, ast.AST]] = [
        (node.name, node) for node in ast.walk(tree) if isinstance(node, _DEFINITIONS)
    ]
    for node in tree.body:
        if isinstance(node, ast.Assign):
            targets = (target.id for target in node.targets if isinstance(target, ast.Name))
            carriers += [(name, node.value) for name in targets]
    names: set[str] = set()
    while more := {
        name for name, node in carriers if name not in names and _leads_to_native(node, names)
    }:
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


def _is_same(tree: ast.Module, content: bytes) -> bool:
    """Return whether `content` without our lines means what `tree` does."""
    try:
        after = parse(content)
    except PatchError:
        return False
    body: list[ast.stmt] = []
    for statement in after.body:
        if ast.unparse(statement).startswith(_WITH) and isinstance(statement, ast.With):
            body += statement.body
        elif ast.unparse(statement) != _IMPORT:
            body.append(statement)
    after.body = body
    return ast.dump(after) == ast.dump(tree)


def _no_native_import(tree: ast.Module) -> PatchError:
    """Return the error that says what was looked for, and where."""
    native = (node for node in ast.walk(tree) if _is_native_import(node))
    lines = sorted(getattr(node, "lineno", 0) for node in native)
    searched = f"looked at all {len(tree.body)} of them"
    if lines:
        where = ", ".join(f"line {line}" for line in lines)
        searched = f"it is imported only in code that nothing here calls ({where})"
    return PatchError(
        "no statement at module level that imports the native module was found: expected "
        '`from .cv2 import *`, `importlib.import_module("cv2")` or the like, or a call of a '
        f"function in this file that does so; {searched}",
        code="no-place",
        hint="this text is not known; a *.patch file of your own can edit it",
    )
