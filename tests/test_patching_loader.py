"""The edits of OpenCV's loader and its configuration: what they change, and that it works."""

import re

import pytest
from loading import CONFIGS, LOADERS
from machines import table

from repack.errors import PatchError
from repack.patching.loader import clean_config, patch_loader

IMPORT = "from . import cuda_dlls as _cuda_dlls"
WITH = "with _cuda_dlls.loading():"


def find_wrapped(patched: bytes) -> tuple[list[bytes], bytes]:
    """Return the statements that stand in our blocks, and the text without our lines."""
    blocks: list[bytes] = []
    undone = b""
    is_inside = False
    for line in patched.splitlines(keepends=True):
        is_inside = is_inside and (line.startswith(b"    ") or not line.strip())
        if line.strip() == WITH.encode():
            blocks.append(b"")
            is_inside = True
        elif is_inside:
            blocks[-1] += line.removeprefix(b"    ")
            undone += line.removeprefix(b"    ")
        else:
            undone += re.sub(rb"%b\r?\n" % IMPORT.encode(), b"", line)
    return blocks, undone


@pytest.mark.parametrize("name", LOADERS)
def test_taking_our_lines_out_again_gives_the_genuine_loader_byte_for_byte(name: str) -> None:
    blocks, undone = find_wrapped(patch_loader(LOADERS[name]))
    assert undone == LOADERS[name]
    assert blocks


BOOTSTRAP = 'def bootstrap():\n    native = importlib.import_module("cv2")\n\n'
OUTER = f"{BOOTSTRAP}def outer(): return bootstrap()\n"
IN_TRY = "try:\n\tbootstrap()\n\nfinally:\n\tx\n"
OVER_LINES = "from .cv2 import (\n    a,\n\n  # c\n)\n"
FUTURE = "from __future__ import division\n"
BY_PATH = "spec = importlib.util.spec_from_file_location('cv2', path)\n"
CLASS = "class L:\n  def load(self):\n    from . import cv2\n"


@table(
    "before, wrapped",
    {
        "through another function": (f"{OUTER}outer()  # go\n", ["outer()  # go\n"]),
        "a class's": (f"{CLASS}l = L()\nl.load()\n", ["l = L()\n", "l.load()\n"]),
        "in try, below a future import": (f"{FUTURE}{BOOTSTRAP}{IN_TRY}", [IN_TRY]),
        "over several lines": (f"{OVER_LINES}x = 1\n", [OVER_LINES]),
        "beside another, CRLF": (
            "x = 1; from .cv2 import *\r\n",
            ["x = 1; from .cv2 import *\r\n"],
        ),
        "byte order mark": ("\ufeffimport cv2.cv2\n", ["import cv2.cv2\n"]),
        "from itself": ("import os\nfrom cv2 import cv2\n", ["from cv2 import cv2\n"]),
        "by its path": (f"{BY_PATH}x = 1\n", [BY_PATH]),
    },
)
def test_what_leads_to_the_native_module_is_wrapped(before: str, wrapped: list[str]) -> None:
    after = patch_loader(before.encode())
    assert find_wrapped(after) == ([text.encode() for text in wrapped], before.encode())
    compile(after, "cv2/__init__.py", "exec")


@table(
    "content, reason",
    {
        "only in a function": (b"def __getattr__(x):\n    from . import cv2\n", "expected `from"),
        "with a text over lines": (
            b"try:\n    x = '''a\n  b'''\n    from .cv2 import *\nfinally:\n    pass\n",
            "line 1: the statement cannot be put into a block without changing another",
        ),
        "unknown codec": (b"# coding: klingon\nfrom .cv2 import *\n", "not Python"),
    },
)
def test_a_loader_that_lacks_the_parts_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(PatchError, match=re.escape(reason)):
        patch_loader(content)


# cv2/config*.py

CONFIG = "cv2/config.py"
NAMES = ("cv2/__init__.py", "cv2/cv2.pyd")
GENUINE = "opencv-cu126-4.12.0"
CUDA = "os.path.join(os.getenv('CUDA_PATH', 'C:/Program Files/CUDA/v12.6'), 'bin')"
OWN = "os.path.join(os.path.join(LOADER_DIR, '../../'), 'x64/vc17/bin')"


def binaries(*lines: str) -> str:
    """Return the list as CMake writes it."""
    body = "".join(f"\r\n    {line}" for line in lines) + "\r\n" * bool(lines)
    return f"import os\r\n\r\nBINARIES_PATHS = [{body}] + BINARIES_PATHS\r\n"


def test_the_genuine_files_of_the_index_stay_as_they_are() -> None:
    configs = [text for name in CONFIGS.keys() - {GENUINE} for text in CONFIGS[name].values()]
    for content in [*LOADERS.values(), *configs]:
        assert clean_config(content, NAMES) == content


BELOW = "BINARIES_PATHS = [LOADER_DIR + '/bin', os.path.join(LOADER_DIR, '/x'), 'rel/bin']\n"
OTHER_NAMES = "PATHS = ['D:/x']\nx = os.getenv('CUDA_PATH')\n"
OF_17632 = '["E:/lib/opencv/build/bin/", "C:/CUDA"] + BINARIES_PATHS + os.getenv("PATH").split(";")'


@table(
    "before, after",
    {
        "as CMake writes it": (
            binaries(f"{OWN},", f"{CUDA},  # theirs", "LOADER_DIR"),
            f"import os\r\n\r\nBINARIES_PATHS = [{OWN}, LOADER_DIR] + BINARIES_PATHS\r\n",
        ),
        "as in issue 17632 of opencv, with PATH": (
            f"BINARIES_PATHS = {OF_17632}\n",
            f"BINARIES_PATHS = [] + {OF_17632.partition(' + ')[2]}\n",
        ),
        "cuDNN": ("BINARIES_PATHS = [os.environ['CUDNN_PATH'], y]\n", "BINARIES_PATHS = [y]\n"),
        "extended": (
            "BINARIES_PATHS.extend([os.path.expandvars(r'%CUDA_PATH%\\bin'), y])\n",
            "BINARIES_PATHS.extend([y])\n",
        ),
        "a share, a drive, POSIX": (
            "BINARIES_PATHS = [r'\\\\host\\share\\bin', r'C:\\CUDA\\bin', '/opt/cv/lib']\n",
            "BINARIES_PATHS = []\n",
        ),
        "byte order mark, beyond ASCII": (
            "\ufeffx = 'ä'; BINARIES_PATHS = ['ü', ('D:/ä')]  # ö\n",
            "x = 'ä'; BINARIES_PATHS = ['ü']  # ö\n",
        ),
        "another encoding": (
            "# coding: gbk\nx = '户'; BINARIES_PATHS = ['中', 'D:/户']\n",
            "# coding: gbk\nx = '户'; BINARIES_PATHS = ['中']\n",
        ),
        "appended, registered": (
            "BINARIES_PATHS.append('D:/x')\nos.add_dll_directory('D:/x'); y = 1\n",
            "...\n...; y = 1\n",
        ),
        "in a loop": (
            "for x in ('D:/x', y): add_dll_directory(x)\nfor x in d: add_dll_directory(x)\n",
            "for x in (y, ): add_dll_directory(x)\nfor x in d: add_dll_directory(x)\n",
        ),
        "below the loader, relative, other names": (BELOW + OTHER_NAMES, BELOW + OTHER_NAMES),
    },
)
def test_directories_of_cuda_and_of_the_build_machine_go(before: str, after: str) -> None:
    encoding = "gbk" if "gbk" in before else "utf-8"
    assert clean_config(before.encode(encoding), NAMES).decode(encoding) == after


OWN_FOLDER = ("cv2/python-3.9/cv2.cp39-win_amd64.pyd", "other/cv2.pyd")


@pytest.mark.parametrize(
    ("names", "instead"),
    [(NAMES, "LOADER_DIR"), (OWN_FOLDER, "os.path.join(LOADER_DIR, 'python-3.9')")],
)
def test_the_extension_is_found_where_it_lies(names: tuple[str, ...], instead: str) -> None:
    (member,) = CONFIGS[GENUINE].keys() - {CONFIG}
    assert clean_config(CONFIGS[GENUINE][CONFIG], names).decode() == binaries()
    after = clean_config(CONFIGS[GENUINE][member], names).decode()
    assert after == f"PYTHON_EXTENSIONS_PATHS = [{instead}] + PYTHON_EXTENSIONS_PATHS\r\n"


def test_what_cannot_be_cleaned_is_refused() -> None:
    with pytest.raises(PatchError, match="in a form that is not known"):
        clean_config(b"BINARIES_PATHS[0] = os.getenv('CUDA_PATH')\n", NAMES)
