"""Patched loaders at work: with a native module that first fails, and then is cured."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest
from loading import patched, run

if TYPE_CHECKING:
    from pathlib import Path

# The three ways in which OpenCV has loaded its native module, in as few lines as they take.
EARLY = """\
import importlib
from .cv2 import *
globals().update(importlib.import_module("cv2.cv2").__dict__)
"""
BOOTSTRAP = """
def bootstrap():
    import importlib, os, sys
    if hasattr(sys, "OpenCV_LOADER"):
        raise ImportError("ERROR: recursion is detected")
    sys.OpenCV_LOADER = True
    saved = list(sys.path)
    LOADER_DIR = os.path.dirname(os.path.abspath(__file__))
    scope = {"LOADER_DIR": LOADER_DIR, "BINARIES_PATHS": [], "PYTHON_EXTENSIONS_PATHS": []}
    for name in ("config.py", "config-3.py"):
        with open(os.path.join(LOADER_DIR, name)) as file:
            exec(file.read(), globals(), scope)
    sys.path[1:1] = scope["PYTHON_EXTENSIONS_PATHS"]
    os.environ["PATH"] = ";".join(scope["BINARIES_PATHS"]) + ";" + os.environ["PATH"]
    package = sys.modules.pop("cv2")
    native = importlib.import_module(NAME)
    sys.modules["cv2"] = package
    for key, value in native.__dict__.items():
        globals().setdefault(key, value)
    sys.path = saved
    del sys.OpenCV_LOADER

bootstrap()
"""
LOADERS = [
    pytest.param(EARLY, id="before-4.5.4"),
    pytest.param(
        "from .cv2 import *\nfrom .cv2 import _registerMatType\nNAME = 'cv2.cv2'\n" + BOOTSTRAP,
        id="4.5.4",
    ),
    pytest.param("NAME = 'cv2'\n" + BOOTSTRAP.replace("(NAME)", "('cv2')"), id="since-4.6"),
]
CONFIGS = {
    "cv2/config.py": b"import os\nBINARIES_PATHS = [\n    os.path.join(LOADER_DIR, 'x64'),\n"
    b"    os.path.join(os.getenv('CUDA_PATH', 'C:/CUDA'), 'bin')\n] + BINARIES_PATHS\n",
    "cv2/config-3.py": b"PYTHON_EXTENSIONS_PATHS = ['F:/build/cv2'] + PYTHON_EXTENSIONS_PATHS\n",
}


def check(said: dict[str, object]) -> None:
    assert said["first"] == said["second"]
    assert str(said["first"]).startswith("ImportError: DLL load failed while importing cv2: ")
    assert "nppc64_12.dll not found. To cure it: " in str(said["first"])
    assert said["path"] == "C:/before"
    assert said["sys.path kept"]
    assert not said["flag left"]
    assert said["cured"] == said["again"] == "resized"
    assert said["from the package"]


@pytest.mark.parametrize("loader", LOADERS)
def test_a_patched_loader_repeats_its_error_and_works_after_the_cure(
    loader: str, tmp_path: Path
) -> None:
    check(run(tmp_path / "site", patched({"cv2/__init__.py": loader.encode(), **CONFIGS})))


def test_an_unpatched_loader_hides_its_error_which_is_what_the_patch_mends(tmp_path: Path) -> None:
    loader = "NAME = 'cv2'\n" + BOOTSTRAP
    config = {**CONFIGS, "cv2/config-3.py": b"PYTHON_EXTENSIONS_PATHS = [LOADER_DIR]\n"}
    said = run(tmp_path / "site", {"cv2/__init__.py": loader.encode(), **config})
    assert said["flag left"]
    assert not said["sys.path kept"]
    assert not said["from the package"]


# One release for each text that cv2/__init__.py has had.
GENUINE = [
    ("opencv-contrib-python==3.4.11.45", "39"),
    ("opencv-contrib-python==4.3.0.36", "37"),
    ("opencv-contrib-python==4.5.3.56", "39"),
    ("opencv-contrib-python==4.5.5.64", "39"),
    ("opencv-contrib-python==4.6.0.66", "39"),
    ("opencv-contrib-python==4.9.0.80", "311"),
    ("opencv-contrib-python==4.12.0.88", "311"),
    ("opencv-contrib-python==4.14.0.94", "311"),
    ("opencv-contrib-python==5.0.0.93", "311"),
    ("opencv-cu126==4.12.0", "39"),
]


def downloaded(requirement: str, python: str, folder: Path) -> Path:
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
         "--platform=win_amd64", f"--python-version={python}", f"--dest={folder}", requirement],
        check=True,
        timeout=600,
    )  # fmt: skip
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.mark.network
@pytest.mark.parametrize(("requirement", "python"), GENUINE)
def test_every_loader_that_opencv_has_had_is_patched_and_works(
    requirement: str, python: str, tmp_path: Path
) -> None:
    with zipfile.ZipFile(downloaded(requirement, python, tmp_path)) as wheel:
        names = tuple(wheel.namelist())
        # The submodules ask more of the native module than a stand-in has: they are emptied.
        texts = {
            name: b"" if name.count("/") > 1 else wheel.read(name)
            for name in names
            if re.match(r"cv2/.*\.py\Z", name)
        }
    after = patched(texts, names)
    assert patched(after, names) == after
    # Whatever Python runs the tests: a config file for another one stands for its own.
    for name in [name for name in after if name.startswith("cv2/config-3.")]:
        minor = sys.version_info.minor
        after[f"cv2/config-3.{minor}.py" if name != "cv2/config-3.py" else name] = after[name]
    check(run(tmp_path / "site", after))
