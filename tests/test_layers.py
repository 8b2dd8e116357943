"""What repack imports is declared; `lint-imports` sees to the layers of rooms."""

import ast
import os
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

import repack

ROOT = Path(repack.__file__).parent
#: What the program that runs inside the Python under test finds there.
PROBED = {"numpy", "cv2"}


def imported(path: Path) -> set[str]:
    """Return the packages that a module imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write the room's full name"
            names.add((node.module or "").split(".")[0])
    return names


def test_every_library_that_is_imported_is_declared() -> None:
    text = (Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    extras = project["optional-dependencies"].values()
    lines = [*project["dependencies"], *(line for lines in extras for line in lines)]
    declared = {Requirement(line).name.replace("-", "_") for line in lines}
    known = declared | sys.stdlib_module_names | {"repack"}
    for path in ROOT.rglob("*.py"):
        if "_patches" not in path.relative_to(ROOT).parts:
            assert imported(path) <= known | (PROBED if path.name == "probe.py" else set()), path


def test_what_nox_tests_is_the_installed_wheel() -> None:
    in_source_tree = ROOT.parent == Path(__file__).parent.parent
    assert not (in_source_tree and "REPACK_INSTALLED" in os.environ)
