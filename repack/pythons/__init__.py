"""Windows Pythons: found on Windows, given, or put together for Wine."""

from repack.pythons.assembly import RECIPES
from repack.pythons.choice import Pythons
from repack.pythons.interpreter import Interpreter
from repack.pythons.trees import make_once, work_folder
from repack.pythons.wine import windows_path

__all__ = ["RECIPES", "Interpreter", "Pythons", "make_once", "windows_path", "work_folder"]
