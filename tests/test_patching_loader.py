"""The edits of OpenCV's loader and its configuration: what they change, and that it works."""

import ast
import re
import sys
from pathlib import Path

import pytest
from loading import CONFIGS, INIT, LOADERS, patch_texts, run
from machines import table

from repack.errors import PatchError
from repack.patching.loader import clean_config, patch_loader

IMPORT = "from . import cuda_dlls as _cuda_dlls"
WITH = "with _cuda_dlls.loading():"
EDIT = f"{IMPORT}\n{WITH}\n"
BOOTSTRAP = 'def bootstrap():\n    native = importlib.import_module("cv2")\n\n'
OLD, NEW = "opencv-python-3.4.16.57", "opencv-python-headless-4.10.0.84"


@pytest.mark.parametrize("name", LOADERS)
def test_taking_our_lines_out_again_gives_the_genuine_loader_byte_for_byte(name: str) -> None:
    undone: list[bytes] = []
    is_inside = False
    for line in patch_loader(LOADERS[name]).splitlines(keepends=True):
        is_inside = line.startswith(WITH.encode()) or (is_inside and line.startswith(b"    "))
        if line.strip().decode() not in {IMPORT, WITH}:
            undone.append(line.removeprefix(b"    ") if is_inside else line)
    assert b"".join(undone) == LOADERS[name]


@pytest.mark.parametrize(
    ("name", "release"),
    [*((name, OLD) for name in LOADERS), *((NEW, release) for release in CONFIGS)],
)
def test_a_patched_loader_repeats_its_error_and_works_after_the_cure(
    name: str, release: str, tmp_path: Path
) -> None:
    texts = {INIT: LOADERS[name]}
    if b"config.py" in LOADERS[name]:
        minor = f"config-{sys.version_info[0]}.{sys.version_info[1]}"
        configs = CONFIGS[OLD] | CONFIGS[release]
        texts |= {path.replace("config-3.9", minor): text for path, text in configs.items()}
    outcome = run(tmp_path / "site", patch_texts(texts))
    assert outcome["first"] == outcome["second"]
    assert outcome["first"].startswith("ImportError: DLL load failed while importing cv2: ")
    assert "nppc64_12.dll" in outcome["first"]
    assert outcome["path"] == "C:/before"
    assert outcome["sys.path kept"]
    assert not outcome["flag left"]
    assert outcome["cured"] == outcome["again"] == "resized"
    # OpenCV 3.4.16 to 3.4.18 puts the native module in the place of the package.
    assert outcome["from the package"] == (b"del sys.modules['cv2']" not in LOADERS[name])


@table(
    "before, after",
    {
        "through another function": (
            f"{BOOTSTRAP}def outer(): return bootstrap()\nouter()  # go\n",
            f"{BOOTSTRAP}def outer(): return bootstrap()\n{EDIT}    outer()  # go\n",
        ),
        "by another name": (
            f"{BOOTSTRAP}run = bootstrap\nrun()\n",
            f"{BOOTSTRAP}{EDIT}    run = bootstrap\n{WITH}\n    run()\n",
        ),
        "in try, below a future import": (
            f"from __future__ import division\n{BOOTSTRAP}try:\n\tbootstrap()\n\nfinally:\n\tx\n",
            (
                f"from __future__ import division\n{BOOTSTRAP}{EDIT}"
                "    try:\n    \tbootstrap()\n\n    finally:\n    \tx\n"
            ),
        ),
        "over several lines": (
            "from .cv2 import (\n    a,\n\n  # c\n)\nx = 1\n",
            f"{EDIT}    from .cv2 import (\n        a,\n\n      # c\n    )\nx = 1\n",
        ),
        "beside another on its line, CRLF": (
            "x = 1; from .cv2 import *\r\n",
            f"{IMPORT}\r\n{WITH}\r\n    x = 1; from .cv2 import *\r\n",
        ),
        "byte order mark": (
            "\ufefffrom .data import *\nfrom .cv2 import *\n",
            f"\ufefffrom .data import *\n{EDIT}    from .cv2 import *\n",
        ),
    },
)
def test_each_statement_that_leads_to_the_native_module_is_wrapped(before: str, after: str) -> None:
    assert patch_loader(before.encode()).decode() == after


def test_a_declared_encoding_is_kept() -> None:
    text = "# coding: gbk\nx = '表'\nfrom .cv2 import *  # 表\n".encode("gbk")
    after = patch_loader(text).decode("gbk")
    assert after.endswith(f"x = '表'\n{EDIT}    from .cv2 import *  # 表\n")


#: By which a loader that was never seen before is known.
STATEMENTS = (
    "from cv2 import cv2",
    "import os, cv2.cv2 as native",
    "native = __import__('cv2.cv2', fromlist=['*'])",
    "native = importlib.import_module(f'{__name__}.cv2')",
    "spec = importlib.util.spec_from_file_location('cv2', path)",
    "loader = importlib.machinery.ExtensionFileLoader('cv2', path)",
    "class L:\n  def load(self):\n    from . import cv2\nl = L()\nl.load()",
)


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_loader_never_seen_before_is_known_by_its_parts(statement: str) -> None:
    (*_, last) = ast.parse(patch_loader(f"import os\n{statement}\n".encode())).body
    assert ast.unparse(last).startswith(WITH)


@table(
    "content, reason",
    {
        "other imports": (b"import os\nfrom . import data\n", "expected `from .cv2"),
        "only in a function": (b"def __getattr__(x):\n    from . import cv2\n", "expected `from"),
        "with a text over lines": (
            b"try:\n    x = '''a\n  b'''\n    from .cv2 import *\nfinally:\n    pass\n",
            "line 1: the statement cannot be put into a block without changing another",
        ),
        "Python 2": (b"import os\nprint 'x'\n", "line 2 is not Python"),
        "unknown codec": (b"# coding: klingon\nfrom .cv2 import *\n", "not Python"),
    },
)
def test_a_loader_that_lacks_the_parts_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(PatchError, match=re.escape(reason)) as caught:
        patch_loader(content)
    assert "\n" not in str(caught.value)


# cv2/config*.py

CONFIG = "cv2/config.py"
NAMES = ("cv2/__init__.py", "cv2/cv2.pyd")
GENUINE = "opencv-cu126-4.12.0"
CUDA = "os.path.join(os.getenv('CUDA_PATH', 'C:/Program Files/CUDA/v12.6'), 'bin')"
OWN = "os.path.join(os.path.join(LOADER_DIR, '../../'), 'x64/vc17/bin')"
BELOW = "BINARIES_PATHS = [LOADER_DIR + '/bin', os.path.join(LOADER_DIR, '/x'), 'rel/bin']\n"
OTHER_NAMES = "PATHS = ['D:/x']\nx = os.getenv('CUDA_PATH')\n"


def binaries(*lines: str) -> str:
    """Return the list as CMake writes it."""
    body = "".join(f"\r\n    {line}" for line in lines) + "\r\n" * bool(lines)
    return f"import os\r\n\r\nBINARIES_PATHS = [{body}] + BINARIES_PATHS\r\n"


@pytest.mark.parametrize("release", sorted(CONFIGS.keys() - {GENUINE}))
def test_the_genuine_files_of_the_index_stay_as_they_are(release: str) -> None:
    for content in CONFIGS[release].values():
        assert clean_config(content, NAMES) == content


@table(
    "before, after",
    {
        "as CMake writes it": (
            binaries(f"{OWN},", f"{CUDA},  # theirs", "LOADER_DIR"),
            f"import os\r\n\r\nBINARIES_PATHS = [{OWN}, LOADER_DIR] + BINARIES_PATHS\r\n",
        ),
        "as in issue 17632 of opencv, with PATH": (
            (
                'BINARIES_PATHS = [\n    "E:/lib/opencv/build/bin/",\n    "C:/Program/CUDA"\n'
                '] + BINARIES_PATHS + os.getenv("PATH").split(";")\n'
            ),
            'BINARIES_PATHS = [] + BINARIES_PATHS + os.getenv("PATH").split(";")\n',
        ),
        "over several lines, beside others": (
            (
                "if True:\n    BINARIES_PATHS = [\n        os.path.join(\n"
                "            os.getenv('CUDA_PATH', 'C:/CUDA/v13.2'),\n            'bin/x64',\n"
                "        ),\n        str(Path(__file__).parents[2] / 'x64'),\n    ]; x = 1\n"
            ),
            "if True:\n    BINARIES_PATHS = [str(Path(__file__).parents[2] / 'x64')]; x = 1\n",
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
        "below the loader": (BELOW, BELOW),
        "byte order mark, beyond ASCII": (
            "\ufeffimport os\nx = 'ä'; BINARIES_PATHS = ['ü', ('D:/ä')]  # ö\n",
            "\ufeffimport os\nx = 'ä'; BINARIES_PATHS = ['ü']  # ö\n",
        ),
        "other names are left alone": (OTHER_NAMES, OTHER_NAMES),
    },
)
def test_only_cuda_directories_and_those_of_the_build_machine_are_dropped(
    before: str, after: str
) -> None:
    assert clean_config(before.encode(), NAMES).decode() == after


@table(
    "names, instead",
    {
        "beside the loader": (NAMES, "LOADER_DIR"),
        "not known": ((), "LOADER_DIR"),
        "in a folder of its own": (
            ("cv2/python-3.9/cv2.cp39-win_amd64.pyd", "other/cv2.pyd"),
            "os.path.join(LOADER_DIR, 'python-3.9')",
        ),
    },
)
def test_the_extension_is_looked_for_where_the_wheel_has_it(
    names: tuple[str, ...], instead: str
) -> None:
    (member,) = CONFIGS[GENUINE].keys() - {CONFIG}
    assert clean_config(CONFIGS[GENUINE][CONFIG], names).decode() == binaries()
    after = clean_config(CONFIGS[GENUINE][member], names).decode()
    assert after == f"PYTHON_EXTENSIONS_PATHS = [{instead}] + PYTHON_EXTENSIONS_PATHS\r\n"


NOT_KNOWN = "in a form that is not known"


@table(
    "text, reason",
    {
        "a comma forgotten by hand": (
            "import os\nBINARIES_PATHS = [\n    'a'\n    os.path.join('b')\n]\n",
            "line 3 is not Python",
        ),
        "a tuple": ("BINARIES_PATHS = (os.getenv('CUDA_PATH'),)\n", NOT_KNOWN),
        "inserted": ("BINARIES_PATHS.insert(0, r'C:\\CUDA\\bin')\n", NOT_KNOWN),
    },
)
def test_what_cannot_be_cleaned_is_refused(text: str, reason: str) -> None:
    with pytest.raises(PatchError, match=re.escape(reason)):
        clean_config(text.encode(), NAMES)
