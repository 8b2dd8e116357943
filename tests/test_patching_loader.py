"""The edit of the loader: which statements are wrapped, and that nothing else changes."""

from __future__ import annotations

import ast
import re
import textwrap

import pytest
from loading import LOADERS

from repack.errors import PatchError
from repack.patching.loader import patch_loader

IMPORT = "from . import cuda_dlls as _cuda_dlls"
WITH = "with _cuda_dlls.loading():"
BOOTSTRAP = 'def bootstrap():\n    native = importlib.import_module("cv2")\n\n'


def patch(text: str) -> str:
    return patch_loader(text.encode()).decode()


@pytest.mark.parametrize(
    ("name", "statements"),
    [
        ("opencv-python-3.4.0.14", ["from .cv2 import *", "globals().update(...)"]),
        ("opencv-python-3.4.11.45", ["from .cv2 import *", "globals().update(...)"]),
        ("opencv-python-3.4.16.57", ["bootstrap()"]),
        ("opencv-python-3.4.16.59", ["from .cv2 import *", "bootstrap()"]),
        (
            "opencv-python-4.5.4.60",
            ["from .cv2 import *", "from .cv2 import _registerMatType", "bootstrap()"],
        ),
        ("opencv-contrib-python-5.1.0.95", ["bootstrap()"]),
    ],
)
def test_the_native_imports_of_a_generation_are_wrapped(name: str, statements: list[str]) -> None:
    tree = ast.parse(patch_loader(LOADERS[name]))
    parts = [part for node in tree.body if isinstance(node, ast.With) for part in node.body]
    wrapped = [re.sub(r"update\(.+\)", "update(...)", ast.unparse(part)) for part in parts]
    assert wrapped == statements


@pytest.mark.parametrize("name", LOADERS)
def test_taking_our_lines_out_again_gives_the_genuine_loader_byte_for_byte(name: str) -> None:
    undone: list[bytes] = []
    inside = False
    for line in patch_loader(LOADERS[name]).splitlines(keepends=True):
        ours = line.strip().decode() in {IMPORT, WITH}
        inside = line.startswith(WITH.encode()) or (inside and line.startswith(b"    "))
        if not ours:
            undone.append(line.removeprefix(b"    ") if inside else line)
    assert b"".join(undone) == LOADERS[name]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(
            "from .cv2 import *", f"{IMPORT}\n{WITH}\n    from .cv2 import *", id="no end of line"
        ),
        pytest.param(
            f"{BOOTSTRAP}def outer(): return bootstrap()\nouter()  # go\n",
            f"{BOOTSTRAP}def outer(): return bootstrap()\n{IMPORT}\n{WITH}\n    outer()  # go\n",
            id="through another function",
        ),
        pytest.param(
            f"{BOOTSTRAP}run = bootstrap\nrun()\n",
            f"{BOOTSTRAP}{IMPORT}\n{WITH}\n    run = bootstrap\n{WITH}\n    run()\n",
            id="by another name",
        ),
        pytest.param(
            f"{BOOTSTRAP}try:\n    bootstrap()\n\nexcept ImportError:\n    raise\n",
            f"{BOOTSTRAP}{IMPORT}\n{WITH}\n    try:\n        bootstrap()\n\n"
            "    except ImportError:\n        raise\n",
            id="in try",
        ),
        pytest.param(
            "'Doc.'\nfrom __future__ import division\nfrom .cv2 import *\n",
            f"'Doc.'\nfrom __future__ import division\n{IMPORT}\n{WITH}\n    from .cv2 import *\n",
            id="below future imports",
        ),
        pytest.param(
            "from .cv2 import (\n    a,\n\n  # c\n)\nx = 1\n",
            f"{IMPORT}\n{WITH}\n    from .cv2 import (\n        a,\n\n      # c\n    )\nx = 1\n",
            id="over several lines",
        ),
        pytest.param(
            "x = 1; from .cv2 import *\r\n",
            f"{IMPORT}\r\n{WITH}\r\n    x = 1; from .cv2 import *\r\n",
            id="beside another on its line, CRLF",
        ),
        pytest.param(
            "\ufefffrom .data import *\nfrom .cv2 import *\n",
            f"\ufefffrom .data import *\n{IMPORT}\n{WITH}\n    from .cv2 import *\n",
            id="byte order mark",
        ),
    ],
)
def test_each_statement_that_leads_to_the_native_module_is_wrapped(before: str, after: str) -> None:
    assert patch(before) == after


def test_a_declared_encoding_is_kept() -> None:
    text = "# coding: gbk\nx = '表'\nfrom .cv2 import *  # 表\n".encode("gbk")
    new = patch_loader(text)
    assert new.decode("gbk").endswith(f"x = '表'\n{IMPORT}\n{WITH}\n    from .cv2 import *  # 表\n")


@pytest.mark.parametrize(
    "statement",
    [
        "from . import cv2",
        "from cv2.cv2 import a, b as c",
        "from cv2 import cv2",
        "import cv2.cv2",
        "import os, cv2.cv2 as native",
        "native = __import__('cv2.cv2', fromlist=['*'])",
        "native = import_module('.cv2', __package__)",
        "native = importlib.import_module(name='.cv2', package='cv2')",
        "native = importlib.import_module(__name__ + '.cv2')",
        "native = importlib.import_module(f'{__name__}.cv2')",
        "spec = importlib.util.spec_from_file_location('cv2', path)",
        "native = imp.load_dynamic('cv2.cv2', path)",
        "loader = importlib.machinery.ExtensionFileLoader('cv2', path)",
        "load = lambda: importlib.import_module('cv2.cv2')\nload()",
        "class L:\n  def load(self):\n    from . import cv2\nl = L()\nl.load()",
        "with lock:\n    from .cv2 import *",
    ],
)
def test_a_loader_never_seen_before_is_known_by_its_parts(statement: str) -> None:
    (*_, last) = ast.parse(patch(f"import os\n{statement}\n")).body
    assert ast.unparse(last).startswith(WITH)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("", "looked at all 0", id="empty"),
        pytest.param("import os\nfrom . import data\n", "looked at all 2", id="other imports"),
        pytest.param("importlib.import_module(name)\n", "expected `from .cv2", id="unknown name"),
        pytest.param(
            "def __getattr__(name):\n    from . import cv2\n", "line 2", id="only in a function"
        ),
        pytest.param(
            "try:\n    x = '''a\n  b'''\n    from .cv2 import *\nfinally:\n    pass\n",
            "line 1: the statement cannot be put into a block without changing another",
            id="with a text over lines",
        ),
        pytest.param("import os\nprint 'x'\n", "line 2 is not Python", id="Python 2"),
        pytest.param("from .cv2 import *\nx = (\n", "line 2 is not Python", id="cut off"),
        pytest.param("x = 1\n\0from .cv2 import *\n", "not Python", id="null byte"),
    ],
)
def test_a_loader_that_lacks_the_parts_is_refused(text: str, reason: str) -> None:
    with pytest.raises(PatchError, match=re.escape(reason)) as caught:
        patch(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"x = '\xe4'\nfrom .cv2 import *\n", id="not UTF-8"),
        pytest.param(b"# coding: klingon\nfrom .cv2 import *\n", id="unknown codec"),
        pytest.param(b"# coding: ascii\n# \xe4\nfrom .cv2 import *\n", id="not what it declares"),
    ],
)
def test_an_encoding_that_does_not_hold_is_refused(content: bytes) -> None:
    with pytest.raises(PatchError, match="not Python"):
        patch_loader(content)


def test_a_loader_in_two_tabs_and_deep_blocks_means_the_same() -> None:
    text = f"{BOOTSTRAP}if x:\n\tfor y in z:\n\t\tbootstrap()\nelse:\n\ty = 1\n"
    assert patch(text) == BOOTSTRAP + f"{IMPORT}\n{WITH}\n" + textwrap.indent(
        text.removeprefix(BOOTSTRAP), "    "
    )
