"""Windows Pythons: found on Windows, given, unpacked, or put together for Wine."""

from repack.pythons.providing import Pythons
from repack.pythons.recipes import RECIPES
from repack.pythons.trees import is_whole, place_tree
from repack.pythons.values import Interpreter, Unavailable
from repack.pythons.wine import windows_path

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
