"""A patched loader in a folder, with a stand-in for its native module, run in a process."""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dllmaking import make_dll
from machines import BUILD, IMPORTS

from repack.patching import patch_wheel

DATA = Path(__file__).with_name("data")
#: Each text that cv2/__init__.py has had on the index, by the first release seen with it.
LOADERS = {path.stem: path.read_bytes() for path in sorted(DATA.glob("loaders/*.txt"))}
#: The same for the files that it reads, since 3.4.16 and 4.5.4, by release and member.
CONFIGS = {
    folder.name: {f"cv2/{path.stem}": path.read_bytes() for path in sorted(folder.iterdir())}
    for folder in sorted(DATA.glob("configs/*"))
}
INIT = "cv2/__init__.py"

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

# What OpenCV's loaders ask for before anything else, and what they import beside the native module.
NEIGHBOURS = {
    "numpy/__init__.py": "ndarray = object",
    "numpy/core/__init__.py": "",
    "numpy/core/multiarray.py": "",
    "cv2/load_config_py3.py": (
        "def exec_file_wrapper(name, g_vars, l_vars):\n"
        "    with open(name) as file:\n"
        "        exec(compile(file.read(), name, 'exec'), g_vars, l_vars)\n"
    ),
    "cv2/version.py": "ci_build = headless = False\n",
    **{f"cv2/{name}/__init__.py": "" for name in ("data", "gapi", "mat_wrapper", "misc", "utils")},
}

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
outcome = {"first": attempt(), "second": attempt(), "path": os.environ["PATH"]}
outcome["sys.path kept"] = sys.path == path
outcome["flag left"] = hasattr(sys, "OpenCV_LOADER")
os.environ["CURED"] = "1"
outcome["cured"] = attempt()
outcome["again"] = attempt()
outcome["from the package"] = hasattr(sys.modules.get("cv2"), "__path__")
print(json.dumps(outcome))
"""


def patch(
    texts: Mapping[str, bytes], names: Iterable[str] = (), folders: Iterable[Path] = ()
) -> tuple[dict[str, bytes], list[str]]:
    """Return what is made of a wheel with these members, whose content is `texts`, and `names`."""
    members = {*texts, *names, "cv2/cv2.pyd"}
    return patch_wheel(members, texts.__getitem__, BUILD, folders=tuple(folders), file="team.whl")


def patch_texts(texts: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return `texts` with what is made of them."""
    return {**texts, **patch(texts)[0]}


def run(folder: Path, texts: Mapping[str, bytes]) -> dict[str, Any]:
    """Write `texts` beside the stand-ins, import cv2 as the script does, return what came of it."""
    neighbours = {name: text.encode() for name, text in NEIGHBOURS.items()}
    native = {"cv2/cv2.py": NATIVE.encode(), "cv2/cv2.pyd": make_dll("cv2.pyd", imports=IMPORTS)}
    for name, content in {**neighbours, **texts, **native}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=folder.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    outcome: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return outcome
