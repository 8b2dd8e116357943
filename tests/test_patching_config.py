"""The clean-up of config.py and its neighbours: what is dropped, what takes its place."""

from __future__ import annotations

import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repack.errors import PatchError
from repack.patching import Patched, apply, builtin_folder, load_patches

PATCHES = tuple(patch for patch in load_patches([builtin_folder()]) if patch.name == "config")
CONFIG = "cv2/config.py"
NAMES = ("cv2/__init__.py", "cv2/cv2.pyd")
CUDA = "os.path.join(os.getenv('CUDA_PATH', 'C:/Program Files/CUDA/v12.6'), 'bin')"
BUILD = "os.path.join('F:/make/install', 'x64/vc17/bin')"
OWN = "os.path.join(os.path.join(LOADER_DIR, '../../'), 'x64/vc17/bin')"


def patched(text: str, member: str = CONFIG, names: tuple[str, ...] = NAMES) -> Patched:
    return apply(PATCHES, {member: text.encode()}, {}, names=names)


def clean(text: str, member: str = CONFIG, names: tuple[str, ...] = NAMES) -> str:
    return patched(text, member, names).files.get(member, text.encode()).decode()


def binaries(*lines: str) -> str:
    body = "".join(f"    {line}\r\n" for line in lines)
    return f"import os\r\n\r\nBINARIES_PATHS = [\r\n{body}] + BINARIES_PATHS\r\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(binaries(OWN), binaries(OWN), id="OpenCV's-own"),
        pytest.param(binaries(f"{OWN},", CUDA), binaries(f"{OWN},"), id="CUDA-as-CMake-writes-it"),
        pytest.param(binaries(f"{BUILD},", CUDA), binaries(), id="both"),
        pytest.param(binaries(f"{CUDA},", OWN), binaries(OWN), id="the-first-of-two"),
        pytest.param(
            binaries(f"{OWN},  # ours", f"{CUDA},  # theirs", "LOADER_DIR"),
            binaries(f"{OWN},  # ours", "# theirs", "LOADER_DIR"),
            id="comments-stay",
        ),
        pytest.param(
            "BINARIES_PATHS = [os.path.join(os.environ['CUDA_PATH'], 'bin', 'x64'), LOADER_DIR]\n",
            "BINARIES_PATHS = [LOADER_DIR]\n",
            id="on-one-line-CUDA-13",
        ),
        pytest.param(
            "BINARIES_PATHS = [a, (environ.get('CUDA_PATH_V12_9', '')), b]\n",
            "BINARIES_PATHS = [a, b]\n",
            id="in-parentheses",
        ),
        pytest.param(
            "root = os.environ.get('CUDA_PATH')\nBINARIES_PATHS += [root + r'\\bin', x]\n",
            "root = os.environ.get('CUDA_PATH')\nBINARIES_PATHS += [x]\n",
            id="by-a-name-added",
        ),
        pytest.param(
            "if x:\n    BINARIES_PATHS.append(os.path.expandvars(r'%CUDA_PATH%\\bin'))\n",
            "if x:\n    pass\n",
            id="appended",
        ),
        pytest.param(
            "BINARIES_PATHS.insert(0, 'D:\\\\cuda')\nBINARIES_PATHS.extend([r'D:\\x', y])\n",
            "pass\nBINARIES_PATHS.extend([y])\n",
            id="inserted-and-extended",
        ),
        pytest.param(
            "BINARIES_PATHS = [r'\\\\host\\share\\bin']\n", "BINARIES_PATHS = []\n", id="UNC"
        ),
        pytest.param("BINARIES_PATHS = ['/opt/cv/lib']\n", "BINARIES_PATHS = []\n", id="POSIX"),
        pytest.param(
            "d = 'D:/cv'\nBINARIES_PATHS = [f'{d}/bin', f'{LOADER_DIR}/bin', d + '/x']\n",
            "d = 'D:/cv'\nBINARIES_PATHS = [f'{LOADER_DIR}/bin', ]\n",
            id="f-string-and-sum",
        ),
        pytest.param(
            "BINARIES_PATHS = [str(Path('D:/cv') / 'bin'), os.path.abspath('D:/x'), 'rel/bin']\n",
            "BINARIES_PATHS = ['rel/bin']\n",
            id="pathlib-and-abspath",
        ),
        pytest.param(
            "BINARIES_PATHS = [os.path.join(LOADER_DIR, 'D:/x'), os.path.join(LOADER_DIR, '/x')]\n",
            "BINARIES_PATHS = [os.path.join(LOADER_DIR, '/x')]\n",
            id="a-drive-begins-anew",
        ),
        pytest.param(
            "PATHS = ['D:/x']\nx = os.getenv('CUDA_PATH')\n",
            "PATHS = ['D:/x']\nx = os.getenv('CUDA_PATH')\n",
            id="other-names-are-left-alone",
        ),
    ],
)
def test_only_cuda_directories_and_those_of_the_build_machine_are_dropped(
    before: str, after: str
) -> None:
    assert clean(before) == after
    assert clean(after) == after


def test_a_directory_of_the_build_machine_is_named_once_in_a_note() -> None:
    result = patched(binaries(f"{BUILD},", CUDA))
    (note,) = result.notes
    assert (note.code, note.member) == ("build-machine-path", CONFIG)
    assert "'F:/make/install/x64/vc17/bin'" in note.message
    assert not apply(PATCHES, result.files, {}, names=NAMES).notes


EXTENSION = "PYTHON_EXTENSIONS_PATHS = [\r\n    {}\r\n] + PYTHON_EXTENSIONS_PATHS\r\n"
THEIRS = EXTENSION.format("os.path.join('F:\\\\py39\\\\site-packages/cv2', 'python-3.9')")


@pytest.mark.parametrize(
    ("names", "instead"),
    [
        pytest.param(NAMES, "LOADER_DIR", id="beside-the-loader"),
        pytest.param((), "LOADER_DIR", id="not-known"),
        pytest.param(
            ("cv2/python-3.9/cv2.cp39-win_amd64.pyd", "other/cv2.pyd"),
            "os.path.join(LOADER_DIR, 'python-3.9')",
            id="in-a-folder-of-its-own",
        ),
    ],
)
def test_the_extension_is_looked_for_where_the_wheel_has_it(
    names: tuple[str, ...], instead: str
) -> None:
    result = patched(THEIRS, "cv2/config-3.9.py", names)
    assert result.files["cv2/config-3.9.py"].decode() == EXTENSION.format(instead)
    assert [note.code for note in result.notes] == ["build-machine-path"]


def test_it_is_not_looked_for_twice() -> None:
    before = "PYTHON_EXTENSIONS_PATHS = ['D:/cv2', LOADER_DIR]\n"
    assert clean(before, "cv2/config-3.py") == "PYTHON_EXTENSIONS_PATHS = [LOADER_DIR]\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(
            "import os\nBINARIES_PATHS = [\n    'a'\n    os.path.join('b')\n]\n",
            r"line 3 is not Python",
            id="a-comma-forgotten-by-hand",
        ),
        pytest.param(
            "BINARIES_PATHS = ['C:\\Users']\n", "line 1 is not Python", id="half-an-escape"
        ),
        pytest.param(
            "BINARIES_PATHS = [p for p in [os.getenv('CUDA_PATH')]]\n",
            "line 1 gives BINARIES_PATHS what should not be in it",
            id="comprehension",
        ),
        pytest.param(
            "BINARIES_PATHS = (os.getenv('CUDA_PATH'),)\n",
            "in a form that is not known",
            id="tuple",
        ),
        pytest.param(
            "BINARIES_PATHS = ['D:/a' # x\n , 'b']\n", "cannot be taken out", id="comma-far-away"
        ),
    ],
)
def test_what_cannot_be_cleaned_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(PatchError, match=re.escape(said)) as caught:
        patched(text)
    assert caught.value.member == CONFIG


def test_a_wheel_without_config_files_is_none_of_our_business() -> None:
    assert not apply(PATCHES, {"cv2/__init__.py": b""}, {}).files


ELEMENT = st.sampled_from(
    [CUDA, BUILD, OWN, "LOADER_DIR", "'rel'", "(r'D:\\x')", "os.environ['CUDA_PATH_V13_0']"]
)


@given(
    st.lists(ELEMENT, max_size=6),
    st.sampled_from([", ", ",\n    ", " ,\r\n", ",  # c\n"]),
    st.sampled_from(["", ","]),
)
def test_what_is_left_is_what_was_unobjectionable(
    elements: list[str], separator: str, trailing: str
) -> None:
    text = f"BINARIES_PATHS = [{separator.join(elements)}{trailing if elements else ''}\n]\n"
    once = clean(text)
    kept = [element for element in elements if element in (OWN, "LOADER_DIR", "'rel'")]
    scope: dict[str, object] = {"os": os, "LOADER_DIR": "here"}
    expected: dict[str, object] = dict(scope)
    exec(once, scope)  # noqa: S102 - our own text
    exec(f"BINARIES_PATHS = [{', '.join(kept)}]", expected)  # noqa: S102 - our own text
    assert scope["BINARIES_PATHS"] == expected["BINARIES_PATHS"]
    assert clean(once) == once
