"""Windows Pythons: found on Windows, given, or put together for Wine."""

from repack.pythons.assembling import RECIPES
from repack.pythons.interpreter import Interpreter, Unavailable
from repack.pythons.providing import Pythons
from repack.pythons.trees import make_once, work_folder
from repack.pythons.wine import windows_path

__all__ = [
    "RECIPES",
    "Interpreter",
    "Pythons",
    "Unavailable",
    "make_once",
    "windows_path",
    "work_folder",
]
