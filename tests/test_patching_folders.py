"""Patch folders: what `patch.toml` may say, and what is said of a mistake in it."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repack.errors import ConfigError, PatchError
from repack.patching import apply, builtin_folder, load_patches, texts_wanted
from repack.patching.additions import literal
from repack.patching.patterns import parse_pattern

if TYPE_CHECKING:
    from pathlib import Path

INIT = "cv2/__init__.py"
BUILD = {"families": {"npp": ("nppc64_12.dll",)}, "cuda": (12, None)}


def write(folder: Path, recipe: str, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "patch.toml").write_text(recipe, encoding="utf-8")
    for name, text in files.items():
        (folder / f"{name}.py").write_bytes(text.encode())
    return folder


def test_the_built_in_patches_are_there_and_named_by_their_folders() -> None:
    patches = load_patches([builtin_folder()])
    assert [patch.name for patch in patches] == ["config", "cuda-dlls", "loader"]


def test_together_they_make_a_wheel_that_they_then_leave_alone() -> None:
    patches = load_patches([builtin_folder()])
    texts = {INIT: b"from .cv2 import *\n", "cv2/other.py": b"x"}
    files = apply(patches, texts, {"build": BUILD}).files
    assert sorted(files) == [INIT, "cv2/cuda_dlls.py"]
    assert not apply(patches, {**texts, **files}, {"build": BUILD}).files


def test_an_older_module_of_ours_is_replaced_and_a_note_says_so() -> None:
    patches = load_patches([builtin_folder()])
    texts = {INIT: b"from .cv2 import *\n"}
    files = apply(patches, texts, {"build": BUILD}).files
    old = {**files, "cv2/cuda_dlls.py": b"# of an older repack\n"}
    result = apply(patches, old, {"build": BUILD})
    assert result.files == {"cv2/cuda_dlls.py": files["cv2/cuda_dlls.py"]}
    assert [note.code for note in result.notes] == ["replaced-file"]


def test_only_the_members_that_an_edit_is_for_are_wanted() -> None:
    patches = load_patches([builtin_folder()])
    names = [INIT, "cv2/config-3.9.py", "cv2/config.py", "cv2/cv2.pyd", "cv2/data/__init__.py"]
    assert texts_wanted(patches, names) == (INIT, "cv2/config-3.9.py", "cv2/config.py")


def test_values_known_at_build_time_are_written_as_literals(tmp_path: Path) -> None:
    recipe = '[[edit]]\ndo="add"\nfile="m.py"\nmember="cv2/m.py"\nvalues={BUILD="build"}\n'
    text = "'''Doc.'''\r\nA = 1\r\nBUILD = {}  # shape\r\nB = BUILD\r\n"
    patches = load_patches([write(tmp_path / "p", recipe, m=text)])
    content = apply(patches, {}, {"build": BUILD}).files["cv2/m.py"].decode()
    assert content == (
        "'''Doc.'''\nA = 1\n"
        'BUILD = {"cuda": (12, None), "families": {"npp": ("nppc64_12.dll",)}}  # shape\n'
        "B = BUILD\n"
    )
    with pytest.raises(PatchError, match="needs a value called 'build' for BUILD"):
        apply(patches, {}, {})


def test_lines_are_appended_once_in_the_members_own_line_ends(tmp_path: Path) -> None:
    recipe = '[[edit]]\ndo="append"\nfile="m.py"\nmember="cv2/*.py"\n'
    patches = load_patches([write(tmp_path / "p", recipe, m="y = 2\nz = 3")])
    texts = {"cv2/a.py": b"x = 1\r\n", "cv2/b.py": b"x = 1", "cv2/c.py": b"y = 2\nz = 3\nx = 1\n"}
    files = apply(patches, texts, {}).files
    assert files == {
        "cv2/a.py": b"x = 1\r\ny = 2\r\nz = 3\r\n",
        "cv2/b.py": b"x = 1\ny = 2\nz = 3\n",
    }
    assert not apply(patches, {**texts, **files}, {}).files


def test_a_teams_folders_come_after_the_built_in_ones_in_the_order_given(tmp_path: Path) -> None:
    recipe = '[[edit]]\ndo="append"\nfile="m.py"\nmember="cv2/__init__.py"\n'
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "sub", recipe, m=f"{name} = 1\n")
    patches = load_patches([builtin_folder(), tmp_path / "b", tmp_path / "a" / "sub"])
    text = apply(patches, {INIT: b"from .cv2 import *\n"}, {"build": BUILD}).files[INIT].decode()
    assert text.endswith("    from .cv2 import *\nb = 1\na = 1\n")


def test_an_edit_of_a_file_that_is_not_there_names_patch_edit_and_member(tmp_path: Path) -> None:
    recipe = '[[edit]]\ndo="append"\nfile="m.py"\nmember=["cv2/a.py", "cv2/b.py"]\n'
    patches = load_patches([write(tmp_path / "ours", recipe, m="x")])
    with pytest.raises(PatchError) as caught:
        apply(patches, {INIT: b""}, {}, file="some.whl")
    assert str(caught.value) == (
        "some.whl: 'cv2/a.py or cv2/b.py': patch 'ours', edit 1 (append): the wheel has no such "
        "member [no-member]; take another wheel, or correct the path, or say `optional = true`"
    )
    optional = load_patches([write(tmp_path / "ours", f"{recipe}optional = true\n", m="x")])
    assert not apply(optional, {INIT: b""}, {}).files


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        pytest.param("[[edit]", "is not TOML", id="no-TOML"),
        pytest.param("description = 'x'", "edit is missing", id="no-edit"),
        pytest.param(
            "edits = []\nedit = []", "unknown key 'edits'; did you mean edit?", id="edits"
        ),
        pytest.param("edit = ['x']", "edit 1: is not a table", id="no-table"),
        pytest.param("[[edit]]\ndo='rap'", "there is no edit 'rap'; did you mean wrap?", id="do"),
        pytest.param(
            "[[edit]]\ndo='append'\nfile='m.py'\nmembers='x'",
            "edit 1: member is missing",
            id="member-missing",
        ),
        pytest.param(
            "[[edit]]\ndo='append'\nfile='m.py'\nmember='x'\noptionl=true",
            "edit 1: unknown key 'optionl'; did you mean optional?",
            id="key-misspelt",
        ),
        pytest.param(
            "[[edit]]\ndo='append'\nfile='m.py'\nmember='x'\noptional='yes'",
            "optional has to be true or false, not 'yes'",
            id="wrong-type",
        ),
        pytest.param(
            "[[edit]]\ndo='append'\nfile='gone.py'\nmember='x'",
            "there is no 'gone.py'",
            id="no-file",
        ),
        pytest.param(
            "[[edit]]\ndo='append'\nfile='../m.py'\nmember='x'",
            "is not a file beside",
            id="outside",
        ),
        pytest.param(
            "[[edit]]\ndo='add'\nfile='m.py'\nmember='cv2/*.py'", "not the path of one", id="glob"
        ),
        pytest.param(
            "[[edit]]\ndo='add'\nfile='m.py'\nmember='m.py'\nvalues={X='x'}",
            "has 0 top-level assignments to X",
            id="no-such-name",
        ),
        pytest.param(
            "[[edit]]\ndo='wrap'\nmember='x'\nimport='import os'\nwith='os'\nstatements=['f(__)']",
            "is not a line `from ... import ...`",
            id="import",
        ),
        pytest.param(
            "[[edit]]\ndo='wrap'\nmember='x'\nimport='from . import a'\nwith='a('\nstatements=[]",
            "import, with: not Python",
            id="with",
        ),
        pytest.param(
            "[[edit]]\ndo='drop-elements'\nmember='x'\nlist='L'\nmentioning=['a b']",
            "mentioning: 'a b' is not one Python expression or import",
            id="pattern",
        ),
        pytest.param(
            "[[edit]]\ndo='drop-elements'\nmember='x'\nlist='L'",
            "one of the two",
            id="what-to-drop",
        ),
        pytest.param("[[edit]]\ndo='diff'\nfile='m.py'", "m.py: is not a unified diff", id="diff"),
    ],
)
def test_a_mistake_in_a_recipe_is_named(recipe: str, said: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "p", recipe, m="x")
    with pytest.raises(ConfigError, match=re.escape(said)) as caught:
        load_patches([folder])
    assert caught.value.file == str(folder / "patch.toml")
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_no_folder_of_patches_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        load_patches([tmp_path / "gone"])
    (tmp_path / "half").mkdir()
    with pytest.raises(ConfigError, match=r"half: the patch folder has no patch\.toml"):
        load_patches([tmp_path])


@pytest.mark.parametrize(
    ("pattern", "found", "not_found"),
    [
        ("getenv('CUDA_*', __)", "os.getenv('CUDA_PATH', 'C:/')", "os.getenv('PATH')"),
        ("getenv('CUDA_*')", "getenv('CUDA_PATH')", "getenv('CUDA_PATH', 1)"),
        ("f(__)", "a.b.f(1, x=2)", "g(1)"),
        ("f(__, name={'a', 'b'})", "f(1, name='b', z=1)", "f(1, name='c')"),
        ("f(1, __)", "f(1)", "f()"),
        ("environ['X']", "os.environ['X']", "os.environ['Y']"),
        ("from . import x", "from . import y, x as z", "from .. import x"),
        ("from .m import __", "from .m import *", "from . import m"),
        ("import a.b", "import c, a.b as d", "import a"),
        ("{__name__, __package__} + '.x'", "__package__ + '.x'", "name + '.x'"),
    ],
)
def test_a_pattern_finds_what_it_looks_like(pattern: str, found: str, not_found: str) -> None:
    def node(text: str) -> ast.AST:
        (statement,) = ast.parse(text).body
        return statement.value if isinstance(statement, ast.Expr) else statement

    assert parse_pattern(pattern).finds(node(found))
    assert not parse_pattern(pattern).finds(node(not_found))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=20), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(VALUES)
def test_a_literal_is_ascii_and_reads_as_the_value(value: object) -> None:
    assert literal(value).isascii()
    assert ast.literal_eval(literal(value)) == value


def test_a_long_literal_has_one_item_a_line_in_order() -> None:
    value = {"b": {"y" * 50, "x" * 50}, "a": (1,)}
    lines = [
        "{",
        '    "a": (1,),',
        '    "b": (',
        f'        "{"x" * 50}",',
        f'        "{"y" * 50}",',
    ]
    assert literal(value).splitlines() == [*lines, "    ),", "}"]
