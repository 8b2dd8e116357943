"""The loader edit: which statements are wrapped, and that nothing else changes."""

from __future__ import annotations

import builtins
import re
import textwrap
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repack.errors import PatchError
from repack.patching import apply, builtin_folder, load_patches
from repack.patching.texts import parse

if TYPE_CHECKING:
    from collections.abc import Mapping

PATCHES = tuple(patch for patch in load_patches([builtin_folder()]) if patch.name == "loader")
INIT = "cv2/__init__.py"
IMPORT = "from . import cuda_dlls as _cuda_dlls"
WITH = "with _cuda_dlls.loading():"


def patch(text: str | bytes) -> bytes:
    content = text.encode() if isinstance(text, str) else text
    return apply(PATCHES, {INIT: content}, {}).files.get(INIT, content)


def dedent(text: str) -> str:
    return textwrap.dedent(text).lstrip("\n")


BOOTSTRAP = dedent("""
    def bootstrap():
        native = importlib.import_module("cv2")

""")

CASES = [
    pytest.param(
        "from .cv2 import *", f"{IMPORT}\n{WITH}\n    from .cv2 import *", id="a-single-line"
    ),
    pytest.param(
        f"{BOOTSTRAP}m = bootstrap()\nprint(m)\n",
        f"{BOOTSTRAP}{IMPORT}\n{WITH}\n    m = bootstrap()\nprint(m)\n",
        id="what-a-function-returned-does-not-import",
    ),
    pytest.param("from .cv2 import *\n", f"{IMPORT}\n{WITH}\n    from .cv2 import *\n", id="star"),
    pytest.param(
        "from . import cv2\n", f"{IMPORT}\n{WITH}\n    from . import cv2\n", id="from-dot"
    ),
    pytest.param(
        "from .cv2 import *\nx = 1\nm = importlib.import_module('cv2.cv2')\n",
        f"{IMPORT}\n{WITH}\n    from .cv2 import *\nx = 1\n"
        f"{WITH}\n    m = importlib.import_module('cv2.cv2')\n",
        id="each-of-two-with-one-import",
    ),
    pytest.param(
        f"{BOOTSTRAP}bootstrap()",
        f"{BOOTSTRAP}{IMPORT}\n{WITH}\n    bootstrap()",
        id="a-call-of-what-imports-and-no-end-of-line",
    ),
    pytest.param(
        f"{BOOTSTRAP}def outer(): return bootstrap()\nouter()  # go\n",
        f"{BOOTSTRAP}def outer(): return bootstrap()\n{IMPORT}\n{WITH}\n    outer()  # go\n",
        id="through-another-function",
    ),
    pytest.param(
        f"{BOOTSTRAP}run = bootstrap\nrun()\n",
        f"{BOOTSTRAP}run = bootstrap\n{IMPORT}\n{WITH}\n    run()\n",
        id="by-another-name",
    ),
    pytest.param(
        "class L:\n  def load(self):\n    from . import cv2\nl = L()\nl.load()\n",
        "class L:\n  def load(self):\n    from . import cv2\n"
        f"{IMPORT}\n{WITH}\n  l = L()\n{WITH}\n  l.load()\n",
        id="a-method-and-the-object-it-is-of-at-two-spaces",
    ),
    pytest.param(
        f"{BOOTSTRAP}try:\n    bootstrap()\nexcept ImportError:\n    raise\n",
        f"{BOOTSTRAP}{IMPORT}\ntry:\n    {WITH}\n        bootstrap()\n"
        "except ImportError:\n    raise\n",
        id="inside-try",
    ),
    pytest.param(
        f"{BOOTSTRAP}if x:\n\tbootstrap()\n",
        f"{BOOTSTRAP}{IMPORT}\nif x:\n\t{WITH}\n\t\tbootstrap()\n",
        id="tabs",
    ),
    pytest.param(
        f"{BOOTSTRAP}if x: bootstrap()\nelse: y = 1\n",
        f"{BOOTSTRAP}{IMPORT}\n{WITH}\n    if x: bootstrap()\n    else: y = 1\n",
        id="block-on-its-headers-line",
    ),
    pytest.param(
        f"{BOOTSTRAP}if x:\n    y = 1\nelif z: bootstrap()\n",
        f"{BOOTSTRAP}{IMPORT}\n{WITH}\n    if x:\n        y = 1\n    elif z: bootstrap()\n",
        id="elif-on-one-line",
    ),
    pytest.param(
        f"{BOOTSTRAP}a = 1; bootstrap(); b = 2\n",
        f"{BOOTSTRAP}a = 1\n{IMPORT}\n{WITH}\n    bootstrap()\nb = 2\n",
        id="between-semicolons",
    ),
    pytest.param(
        '"""Doc."""; from .cv2 import *; from .cv2 import x;\n',
        f'"""Doc."""\n{IMPORT}\n{WITH}\n    from .cv2 import *\n{WITH}\n    from .cv2 import x;\n',
        id="docstring-on-the-line-stays-one",
    ),
    pytest.param(
        "'Doc.'\nfrom __future__ import division\nfrom .cv2 import *\n",
        f"'Doc.'\nfrom __future__ import division\n{IMPORT}\n{WITH}\n    from .cv2 import *\n",
        id="below-future-imports",
    ),
    pytest.param(
        "from .cv2 import (\n    a,\n\n  # c\n)\n",
        f"{IMPORT}\n{WITH}\n    from .cv2 import (\n        a,\n\n      # c\n    )\n",
        id="over-several-lines",
    ),
    pytest.param(
        f'{BOOTSTRAP}log(bootstrap(), """a\n  b\n""",\n"c"  # d\n)\n',
        f'{BOOTSTRAP}{IMPORT}\n{WITH}\n    log(bootstrap(), """a\n  b\n""",\n    "c"  # d\n    )\n',
        id="a-string-over-lines-keeps-its-content",
    ),
    pytest.param(
        f"{BOOTSTRAP}@do(bootstrap())\ndef f():\n    '''a\n    '''\n",
        f"{BOOTSTRAP}{IMPORT}\n{WITH}\n    @do(bootstrap())\n    def f():\n        '''a\n    '''\n",
        id="decorator",
    ),
    pytest.param(
        "x = 1\r\nfrom .cv2 import *\r\ny = 2\n",
        f"x = 1\r\n{IMPORT}\r\n{WITH}\r\n    from .cv2 import *\r\ny = 2\n",
        id="crlf",
    ),
    pytest.param(
        "x = 1\rfrom .cv2 import *\r",
        f"x = 1\r{IMPORT}\r{WITH}\r    from .cv2 import *\r",
        id="carriage-returns",
    ),
    pytest.param(
        "\ufefffrom .cv2 import *\n",
        f"\ufeff{IMPORT}\n{WITH}\n    from .cv2 import *\n",
        id="byte-order-mark",
    ),
    pytest.param(
        "name = 'ä\u2028\x0c'; from .cv2 import *\n",
        f"name = 'ä\u2028\x0c'\n{IMPORT}\n{WITH}\n    from .cv2 import *\n",
        id="beyond-ascii",
    ),
    pytest.param(
        "\x0c\nfrom .cv2 import *\n", f"\x0c\n{IMPORT}\n{WITH}\n    from .cv2 import *\n", id="feed"
    ),
    pytest.param(
        f"{IMPORT}\nfrom .cv2 import *\n",
        f"{IMPORT}\n{WITH}\n    from .cv2 import *\n",
        id="imported-already",
    ),
]


@pytest.mark.parametrize(("before", "after"), CASES)
def test_each_statement_that_leads_to_the_native_module_is_wrapped(before: str, after: str) -> None:
    assert patch(before).decode() == after


@pytest.mark.parametrize(("before", "after"), CASES)
def test_patching_what_is_patched_changes_nothing(before: str, after: str) -> None:
    assert patch(patch(before)) == patch(before)
    assert patch(after).decode() == after


@pytest.mark.parametrize(
    "statement",
    [
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
        "def f(then=importlib.import_module('cv2.cv2')): pass",
        "with lock:\n    from .cv2 import *",
        "for name in 'ab':\n    from .cv2 import *",
        "class Native:\n    from . import cv2",
        "from functools import partial\ndef b(): import cv2\npartial(b)()",
    ],
)
def test_a_loader_never_seen_before_is_known_by_its_parts(statement: str) -> None:
    assert WITH.encode() in patch(f"import os\n{statement}\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("", "looked at all 0", id="empty"),
        pytest.param("import os\nfrom . import data\n", "looked at all 2", id="other-imports"),
        pytest.param("importlib.import_module(name)\n", "expected one of", id="unknown-module"),
        pytest.param(
            "def __getattr__(name):\n    from . import cv2\n", "line 2", id="only-in-a-function"
        ),
        pytest.param("f = lambda: import_module('cv2')\n", "line 1", id="only-in-a-lambda"),
        pytest.param("if x: \\\n  from .cv2 import *\n", "line 2", id="after-a-backslash"),
        pytest.param("import os\nprint 'x'\n", "line 2 is not Python", id="Python-2"),
        pytest.param("from .cv2 import *\nx = (\n", "line 2 is not Python", id="cut"),
        pytest.param("x = 1\n\0from .cv2 import *\n", "is not Python", id="null-byte"),
    ],
)
def test_a_loader_that_lacks_the_parts_is_refused(text: str, said: str) -> None:
    with pytest.raises(PatchError, match=re.escape(said)) as caught:
        patch(text)
    assert caught.value.member == INIT
    assert "patch 'loader', edit 1 (wrap)" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("codec", ["latin-1", "cp1252", "utf-8", "gbk", "shift_jis"])
def test_a_declared_encoding_is_kept(codec: str) -> None:
    letters = "ä" if codec in ("latin-1", "cp1252", "utf-8") else "表"
    text = f"# -*- coding: {codec} -*-\nx = '{letters}'; from .cv2 import *  # {letters}\n"
    new = patch(text.encode(codec)).decode(codec)
    assert f"x = '{letters}'\n{IMPORT}\n{WITH}\n    from .cv2 import *  # {letters}\n" in new


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"# \xe4\nfrom .cv2 import *\n", id="not-utf-8"),
        pytest.param(b"# coding: utf-7\n# +AGE-\nfrom .cv2 import *\n", id="not-one-to-one"),
        pytest.param(b"# coding: klingon\nfrom .cv2 import *\n", id="unknown-codec"),
        pytest.param(b"# coding: ascii\n# \xe4\nfrom .cv2 import *\n", id="not-what-it-declares"),
    ],
)
def test_an_encoding_that_does_not_hold_is_refused(content: bytes) -> None:
    with pytest.raises(PatchError, match=r"\[encoding\]"):
        patch(content)


@pytest.mark.parametrize(
    "text",
    [
        "from . import cuda_dlls\nwith cuda_dlls.loading():\n  import os\n  from .cv2 import *\n",
        "import cv2.cuda_dlls\nif x:\n    with cv2.cuda_dlls.loading() as y, z:\n     import cv2\n",
    ],
)
def test_a_block_that_was_changed_by_hand_is_known_again(text: str) -> None:
    assert patch(text).decode() == text


def test_another_block_does_not_count() -> None:
    assert WITH in patch("with other.loading():\n    from .cv2 import *\n").decode()


# A law: whatever a loader looks like, wrapping it changes neither what it does nor any other byte.


NATIVE = st.sampled_from(
    ["from .cv2 import *", "bootstrap()", "log(8, bootstrap())", "Boot().run()"]
)
HARMLESS = st.sampled_from(
    [
        "log(1)",
        "log(2)",
        "x = '''a\n  b\n'''",
        "log(3)  # ä",
        "# c:\\",
        "",
        "import os",
        "log(\n4\n)",
    ]
)


@st.composite
def blocks(draw: st.DrawFn, depth: int = 0) -> list[str]:
    """Return the lines of some statements, at least one of them native."""
    lines: list[str] = []
    for _ in range(draw(st.integers(0, 3))):
        lines += draw(HARMLESS).split("\n")
    shape = draw(st.sampled_from(["plain", "semicolons", "inline", "elif", "if", "try", "with"]))
    if depth > 2 or shape in ("plain", "semicolons"):
        native = draw(NATIVE)
        lines.append(f"log(5); {native}; log(6)" if shape == "semicolons" else native)
    elif shape == "inline":
        lines.append("if True: log(7); bootstrap()")
    elif shape == "elif":
        lines += ["if False:", "    log(9)", "elif True: bootstrap()", "else:", "    log(9)"]
    else:
        head = {"if": "if True:", "try": "try:", "with": "with manager:"}[shape]
        inner = draw(blocks(depth + 1))
        lines += [head, "    pass", *indented(inner)]
        if shape == "try":
            lines += ["finally:", "    log(0)"]
    return [*lines, *draw(HARMLESS).split("\n")]


def indented(lines: list[str]) -> list[str]:
    """Return the lines a step deeper; those that go on in a string or call as they are."""
    return [
        f"    {line}" if line and line not in ("  b", "'''", "4", ")") else line for line in lines
    ]


PRELUDE = [
    '"""A loader."""',
    "from __future__ import division",
    "def bootstrap():",
    "    import_module('cv2.cv2')",
    "class Boot:",
    "    def run(self):",
    "        bootstrap()",
]


@st.composite
def loaders(draw: st.DrawFn) -> bytes:
    """Return a loader in some indentation and with some ends of line."""
    lines = [*PRELUDE, *draw(blocks())]
    step = draw(st.sampled_from(["    ", "  ", "\t"]))
    lines = [re.sub(r"^(?:    )+", lambda m: step * (len(m[0]) // 4), line) for line in lines]
    ends = draw(
        st.one_of(
            st.sampled_from([["\n"], ["\r\n"], ["\r"]]),
            st.lists(st.sampled_from(["\n", "\r\n", "\r"]), min_size=1, max_size=5),
        )
    )
    text = "".join(line + ends[number % len(ends)] for number, line in enumerate(lines))
    bom = draw(st.sampled_from(["", "\ufeff"]))
    return (bom + (text if draw(st.booleans()) else text.rstrip("\r\n"))).encode()


def events(content: bytes) -> list[str]:
    """Return what the loader does, in order, when it is executed."""
    seen: list[str] = []
    manager = SimpleNamespace(
        loading=lambda: Manager(seen, "in"),
    )

    def importing(name: str, *_: object, **__: object) -> object:
        if name == "cv2":
            seen.append("native")
        return SimpleNamespace(cuda_dlls=manager, division=None, __all__=[])

    scope: Mapping[str, object] = {
        "__builtins__": {**vars(builtins), "__import__": importing},
        "__name__": "cv2",
        "__package__": "cv2",
        "log": lambda *values: seen.append(f"log {values[0]}"),
        "import_module": lambda name: seen.append("native" if name == "cv2.cv2" else name),
        "manager": Manager(seen, "other"),
    }
    exec(compile(content, "cv2", "exec"), dict(scope))  # noqa: S102 - our own texts
    return seen


class Manager:
    def __init__(self, seen: list[str], word: str) -> None:
        self.seen, self.word = seen, word

    def __enter__(self) -> None:
        self.seen.append(f"{self.word} {{")

    def __exit__(self, *_: object) -> None:
        self.seen.append(f"{self.word} }}")


@given(loaders())
def test_a_wrapped_loader_does_the_same_in_the_same_order_inside_the_block(content: bytes) -> None:
    after = events(patch(content))
    assert [event for event in after if not event.startswith("in ")] == events(content)
    depth = 0
    for event in after:
        depth += (event == "in {") - (event == "in }")
        assert event != "native" or depth == 1


@given(loaders())
def test_wrapping_twice_is_wrapping_once(content: bytes) -> None:
    once = patch(content)
    assert once != content
    assert patch(once) == once


@given(loaders())
def test_nothing_but_lines_of_ours_and_one_step_of_indentation_is_added(content: bytes) -> None:
    ours = (IMPORT.encode(), WITH.encode())
    new = [line for line in lines_of(patch(content)) if line.strip() not in ours]
    above = re.findall(rb"\r\n|\r|\n", content)[-1]
    old = [part for line in lines_of(content) for part in parted(line, above)]
    assert len(new) == len(old)
    for one, other in zip(new, old, strict=True):
        assert one.removesuffix(other) in (b"", b"    ", b"  ", b"\t")


def lines_of(content: bytes) -> list[bytes]:
    return re.findall(rb"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z", content)


def parted(line: bytes, above: bytes) -> list[bytes]:
    """Return the line, or what becomes of one that has a native statement between semicolons.

    `above` ends the line before the last: where the last has no end, new lines take that.
    """
    if not line.strip().startswith(b"log(5);"):
        return [line]
    bare = line.rstrip(b"\r\n")
    margin = bare[: -len(bare.lstrip())]
    first, native, last = (margin + part for part in bare.strip().split(b"; "))
    end = line[len(bare) :]
    return [first + (end or above), native + (end or above), last + end]


@given(st.text(alphabet="abc.()'\"\\#:;\n\r\t\x0c ", max_size=30))
def test_any_text_is_patched_or_refused(noise: str) -> None:
    text = f"{noise}\nfrom .cv2 import *\n"
    try:
        new = patch(text)
    except PatchError:
        return
    parse(new.decode())
    assert patch(new) == new
