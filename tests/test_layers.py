"""Libraries have one room each, and are declared; `lint-imports` sees to the layers of rooms."""

import ast
import os
import sys
import tomllib
from pathlib import Path

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


def test_a_library_is_imported_by_its_adapter_alone_and_declared() -> None:
    text = (Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    extras = project["optional-dependencies"].values()
    lines = [*project["dependencies"], *(line for lines in extras for line in lines)]
    declared = {Requirement(line).name.replace("-", "_") for line in lines}
    known = declared | sys.stdlib_module_names | {"repack"}
    for path in ROOT.rglob("*.py"):
        room = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if room == "_patches":
            continue
        libraries = imported(path)
        strays = {name for name in libraries & ADAPTERS.keys() if room not in ADAPTERS[name]}
        assert not strays, path
        # What runs inside the Python under test finds these there.
        assert libraries <= known | ({"numpy", "cv2"} if path.name == "probe.py" else set()), path


def test_what_nox_tests_is_the_installed_wheel() -> None:
    in_source_tree = ROOT.parent == Path(__file__).parent.parent
    assert not (in_source_tree and "REPACK_INSTALLED" in os.environ)
