"""Windows Pythons: found on Windows, given, unpacked, or put together for Wine."""

from repack.interpreters.providing import Pythons
from repack.interpreters.recipes import RECIPES
from repack.interpreters.trees import is_whole, place_tree
from repack.interpreters.values import Interpreter, Unavailable
from repack.interpreters.wine import windows_path

#: The Pythons that can be put together for Wine.
ASSEMBLED = tuple(recipe.version for recipe in RECIPES)

__all__ = [
    "ASSEMBLED",
    "Interpreter",
    "Pythons",
    "Unavailable",
    "is_whole",
    "place_tree",
    "windows_path",
]
