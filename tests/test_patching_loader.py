"""The edit of the loader: which statements are wrapped, and that the result works."""

import ast
import re
import sys
from pathlib import Path

import pytest
from loading import CONFIGS, INIT, LOADERS, patch_texts, run
from machines import table

from repack.errors import PatchError
from repack.patching.loader import patch_loader

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
        "no end of line": ("from .cv2 import *", f"{EDIT}    from .cv2 import *"),
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
    "from . import cv2",
    "from cv2 import cv2",
    "import os, cv2.cv2 as native",
    "native = __import__('cv2.cv2', fromlist=['*'])",
    "native = importlib.import_module(name='.cv2', package='cv2')",
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
        "unknown name": (b"importlib.import_module(name)\n", "expected `from .cv2"),
        "only in a function": (b"def __getattr__(x):\n    from . import cv2\n", "expected `from"),
        "with a text over lines": (
            b"try:\n    x = '''a\n  b'''\n    from .cv2 import *\nfinally:\n    pass\n",
            "line 1: the statement cannot be put into a block without changing another",
        ),
        "Python 2": (b"import os\nprint 'x'\n", "line 2 is not Python"),
        "null byte": (b"x = 1\n\0from .cv2 import *\n", "not Python"),
        "not UTF-8": (b"x = '\xe4'\nfrom .cv2 import *\n", "not Python"),
        "unknown codec": (b"# coding: klingon\nfrom .cv2 import *\n", "not Python"),
    },
)
def test_a_loader_that_lacks_the_parts_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(PatchError, match=re.escape(reason)) as caught:
        patch_loader(content)
    assert "\n" not in str(caught.value)
