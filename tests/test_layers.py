"""Libraries have one room each, and are declared; `lint-imports` sees to the layers of rooms."""

import ast
import os
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import repack

#: The one room that may import each third-party library.
ADAPTERS = {
    "argcomplete": {"cli"},
    "delvewheel": {"vendor"},
    "filelock": {"index", "fetch", "pythons"},
    "jinja2": {"pages"},
    "lief": {"sample"},
    "obstore": {"index"},
    "pefile": {"dlls"},
    "pip": {"fetch"},
    "platformdirs": {"fetch"},
    "requests": {"fetch", "index"},
    "rich": {"console"},
    "unidiff": {"patching"},
    "urllib3": {"fetch"},
    "zlib_ng": {"wheel"},
}
ROOT = Path(repack.__file__).parent


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def modules() -> list[Path]:
    scripts = {"__init__", "__main__", "_patches"}
    return [path for path in sorted(ROOT.rglob("*.py")) if room_of(path) not in scripts]


def imported(path: Path) -> set[str]:
    """Every dotted name that the module imports, at run time or for types."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write the room's full name"
            module = node.module or ""
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_library_is_imported_by_its_adapter_alone(path: Path) -> None:
    libraries = {name.split(".")[0] for name in imported(path)} & ADAPTERS.keys()
    strays = {library for library in libraries if room_of(path) not in ADAPTERS[library]}
    assert not strays


def declared_requirements() -> list[str]:
    """Every requirement of the project, of its extras too."""
    text = (Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    extras = project["optional-dependencies"].values()
    return [*project["dependencies"], *(line for lines in extras for line in lines)]


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_library_that_is_imported_is_declared_as_a_dependency(path: Path) -> None:
    names = {Requirement(line).name for line in declared_requirements()}
    declared = {name.replace("-", "_") for name in names}
    known = declared | sys.stdlib_module_names | {"repack"}
    imports = {name.split(".")[0] for name in imported(path)}
    assert imports <= known | ({"numpy", "cv2"} if path.name == "probe.py" else set())


def test_what_nox_tests_is_the_installed_wheel() -> None:
    in_source_tree = ROOT.parent == Path(__file__).parent.parent
    assert not (in_source_tree and "REPACK_INSTALLED" in os.environ)
