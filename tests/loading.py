"""A patched loader in a folder, with a stand-in for its native module, run in a process."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from repack.patching import apply, builtin_folder, load_patches, texts_wanted
from repack.pe import make_dll

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PATCHES = load_patches([builtin_folder()])
BUILD = {
    "cuda": (12, 9),
    "cures": {"npp": "set CUDA_PATH to a toolkit of CUDA 12"},
    "delayed": (),
    "families": {"npp": ("nppc64_12.dll",)},
    "help": "",
    "kinds": {"nppc64_12.dll": "npp"},
    "machine": "x86-64",
    "numpy": "numpy",
    "opencv": "4.14.0",
    "requires": {"npp": ("nvidia-npp-cu12",)},
    "stand_ins": {},
    "vendored": (),
}

# It fails as an extension does whose DLL is missing, until a variable is set. (It stands for a
# .pyd: what an ImportError about one says in `path` is what counts.)
NATIVE = """\
import os
if "CURED" not in os.environ:
    raise ImportError("DLL load failed while importing cv2: not found", name="cv2",
                      path=os.path.join(os.path.dirname(__file__), "cv2.pyd"))
__version__ = "4.14.0"
def resize(): return "resized"
def _registerMatType(kind): pass
"""

# OpenCV's loaders ask for these before anything else.
NUMPY = {"numpy/__init__.py": "ndarray = object", "numpy/core/__init__.py": "",
         "numpy/core/multiarray.py": ""}  # fmt: skip

# The loader believes that this is Windows; so does our module.
SCRIPT = """\
import json, os, platform, sys
def attempt():
    try:
        import cv2
        return cv2.resize()
    except BaseException as error:
        return "{}: {}".format(type(error).__name__, error)
os.name = "nt"
os.environ["PATH"] = "C:/before"
path = list(sys.path)
said = {"first": attempt(), "second": attempt(), "path": os.environ["PATH"]}
said["sys.path kept"] = sys.path == path
said["flag left"] = hasattr(sys, "OpenCV_LOADER")
os.environ["CURED"] = "1"
said["cured"] = attempt()
said["again"] = attempt()
said["from the package"] = hasattr(sys.modules.get("cv2"), "__path__")
print(json.dumps(said))
"""


def patched(texts: Mapping[str, bytes], names: tuple[str, ...] = ()) -> dict[str, bytes]:
    """Return `texts` as the built-in patches make them."""
    wanted = {name: texts[name] for name in texts_wanted(PATCHES, texts)}
    files = apply(PATCHES, wanted, {"build": BUILD}, names=(*names, "cv2/cv2.pyd")).files
    return {**texts, **files}


def run(folder: Path, texts: Mapping[str, bytes], python: str = sys.executable) -> dict[str, Any]:
    """Write `texts` beside the stand-ins, import cv2 as the script does, return what it said."""
    pyd = make_dll("cv2.pyd", imports={"nppc64_12.dll": ["nppGetLibVersion"]})
    files = {**texts, "cv2/cv2.py": NATIVE.encode(), "cv2/cv2.pyd": pyd}
    files.update((name, text.encode()) for name, text in NUMPY.items())
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    done = subprocess.run(
        [python, "-c", SCRIPT],
        env={"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=folder.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said
