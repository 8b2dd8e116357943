"""Windows Pythons put together for Wine, once, in the cache."""

from __future__ import annotations

import hashlib
import logging
import tempfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from repack.config import IndexSource
from repack.dlls import make_dll, read_exports
from repack.errors import UsageError
from repack.fetch import fetch
from repack.pythons.maven import fetch_artifact
from repack.pythons.recipes import PANDA3D, RECIPES
from repack.pythons.trees import is_whole, place_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from repack.console import Progress
    from repack.fetch import Cache
    from repack.pythons.recipes import Recipe

_log = logging.getLogger(__name__)

ASSEMBLED = tuple(recipe.version for recipe in RECIPES)
# Raise it when a tree is put together in another way.
_FORMAT = 1

_JAR_TOP = "org/bytedeco/cpython/windows-x86_64/"
# Not part of what a Windows Python needs to import and install, and half of all files.
_LEFT_OUT = frozenset(
    ("test", "tests", "idle_test", "idlelib", "turtledemo", "lib2to3", "tkinter", "ensurepip")
)
# A newcomer's Python has no packages; the jar's lie where they would be imported from.
_PACKAGES = ("pip", "setuptools", "pkg_resources", "site-packages")
# Wine 8 aborts in it (propsys.dll.VariantToString); `platform` does without.
BREAKS_WINE = "_wmi.pyd"


def recipe_for(version: str) -> Recipe:
    """Return how the Python "3.12" is made; UsageError names those that can be."""
    for recipe in RECIPES:
        if recipe.version == version:
            return recipe
    raise UsageError(
        f"Python {version} cannot be put together for Wine",
        code="no-recipe",
        hint=f"there are {', '.join(ASSEMBLED)}",
    )


def tree_of(recipe: Recipe, cache: Cache) -> Path:
    """Return the folder where the Python lies once it is put together."""
    parts = (str(_FORMAT), recipe.panda3d_sha256, recipe.jar.sha256)
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    return cache.folder("pythons") / f"{recipe.full_version}-{digest}"


def assemble_tree(recipe: Recipe, *, cache: Cache, offline: bool, progress: Progress) -> Path:
    """Return the folder of a whole Windows Python, put together if it is not there or damaged.

    Safe for several processes at once.
    """
    tree = tree_of(recipe, cache)
    if is_whole(tree):
        return tree
    with cache.lock(f"python {tree.name}", progress):
        if is_whole(tree):
            return tree
        if tree.exists():
            _log.warning("%s was damaged and is put together anew", tree)
        source = IndexSource(
            requirement=PANDA3D, python=recipe.version, sha256=recipe.panda3d_sha256
        )
        wheel = fetch(source, lock=None, cache=cache, offline=offline, progress=progress).path
        jar = fetch_artifact(recipe.jar, cache=cache, offline=offline, progress=progress)
        with progress.task(
            f"Putting Python {recipe.full_version} together", total=None, unit="steps"
        ) as task:
            place_tree(tree, _contents(recipe, wheel, jar), task.advance)
    return tree


def _contents(recipe: Recipe, wheel: Path, jar: Path) -> Iterator[tuple[str, bytes]]:
    """Yield every file of the Python: its path in the tree, its content."""
    yield from _members(jar, _place_of_jar)
    for place, content in _members(wheel, _place_of_wheel):
        yield place, content
        if place == f"{recipe.dll}.dll":
            yield "python3.dll", _stable_abi(recipe.dll, content)
    # Only a folder is needed, and a manifest knows files.
    yield "Lib/site-packages/README.txt", b""


def _members(path: Path, place_of: Callable[[str], str]) -> Iterator[tuple[str, bytes]]:
    """Yield the members that have a place in the tree.

    Both files are known by their SHA-256, so what matters of their names and sizes was seen; the
    strict reader is for files that may be anything, and refuses how some of the jars are written.
    """
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            place = place_of(name)
            if place and ".." not in PurePosixPath(place).parts:
                yield place, archive.read(name)


def _place_of_jar(name: str) -> str:
    """Return where a member of the jar goes: python.exe and the standard library's texts."""
    if name == f"{_JAR_TOP}bin/python.exe":
        return "python.exe"
    path = PurePosixPath(name.removeprefix(f"{_JAR_TOP}lib/"))
    if not name.startswith(f"{_JAR_TOP}lib/") or name.endswith("/"):
        return ""
    if path.suffix in {".pyd", ".dll", ".exe"} or not _LEFT_OUT.isdisjoint(path.parts):
        return ""
    if path.parts[0] in _PACKAGES or path.parts[0].endswith(".dist-info"):
        return ""
    return f"Lib/{path}"


def _place_of_wheel(name: str) -> str:
    """Return where a member of the wheel goes: the DLL that is Python and extension modules."""
    folder, _, file = name.rpartition("/")
    if folder != "deploy_libs" or file.startswith("api-ms-") or file == BREAKS_WINE:
        return ""
    # "_ssl.cp314t-win_amd64.pyd" is the free-threaded Python's.
    if file.endswith(".pyd"):
        return "" if "." in file.removesuffix(".pyd") else f"DLLs/{file}"
    if file.lower().startswith(("python", "vcruntime")):
        return file
    return f"DLLs/{file}" if file.endswith(".dll") else ""


def _stable_abi(dll: str, content: bytes) -> bytes:
    """Return python3.dll, what abi3 modules import: every export forwarded to `dll`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{dll}.dll"
        path.write_bytes(content)
        exports = read_exports(path)
    return make_dll("python3.dll", forwards={name: f"{dll}.{name}" for name in exports})
