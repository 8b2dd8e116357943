"""The clean-up of config.py and its neighbours: what is dropped, what takes its place."""

from __future__ import annotations

import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loading import CONFIGS

from repack.errors import PatchError
from repack.patching.config import clean_config
from repack.record import Finding

CONFIG = "cv2/config.py"
NAMES = ("cv2/__init__.py", "cv2/cv2.pyd")
CUDA = "os.path.join(os.getenv('CUDA_PATH', 'C:/Program Files/CUDA/v12.6'), 'bin')"
BUILD = "os.path.join('F:/make/install', 'x64/vc17/bin')"
OWN = "os.path.join(os.path.join(LOADER_DIR, '../../'), 'x64/vc17/bin')"


def cleaned(
    text: str, member: str = CONFIG, names: tuple[str, ...] = NAMES
) -> tuple[str, tuple[Finding, ...]]:
    content, notes = clean_config(text.encode(), member, names)
    return content.decode(), notes


def binaries(*lines: str) -> str:
    body = "".join(f"    {line}\r\n" for line in lines)
    return f"import os\r\n\r\nBINARIES_PATHS = [\r\n{body}] + BINARIES_PATHS\r\n"


@pytest.mark.parametrize("release", ["opencv-python-3.4.16.57", "opencv-python-4.12.0.88"])
def test_the_genuine_files_of_the_index_stay_as_they_are(release: str) -> None:
    for member, content in CONFIGS[release].items():
        assert clean_config(content, member, NAMES) == (content, ())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(binaries(f"{OWN},", CUDA), binaries(f"{OWN},"), id="CUDA as CMake writes it"),
        pytest.param(binaries(f"{BUILD},", CUDA), binaries(), id="both"),
        pytest.param(binaries(f"{CUDA},", OWN), binaries(OWN), id="the first of two"),
        pytest.param(
            binaries(f"{OWN},  # ours", f"{CUDA},  # theirs", "LOADER_DIR"),
            binaries(f"{OWN},  # ours", "# theirs", "LOADER_DIR"),
            id="comments stay",
        ),
        pytest.param(
            "BINARIES_PATHS = [os.path.join(os.environ['CUDA_PATH'], 'bin', 'x64'), LOADER_DIR]\n",
            "BINARIES_PATHS = [LOADER_DIR]\n",
            id="on one line, CUDA 13",
        ),
        pytest.param(
            'BINARIES_PATHS = [\n    "E:/lib/opencv/build/bin/",\n    "C:/Program Files/CUDA"\n'
            '] + BINARIES_PATHS + os.getenv("PATH").split(";")\n',
            'BINARIES_PATHS = [\n] + BINARIES_PATHS + os.getenv("PATH").split(";")\n',
            id="as in issue 17632 of opencv, with PATH",
        ),
        pytest.param(
            "here = Path(__file__).parents[2]\nBINARIES_PATHS = [\n    str(here / 'x64'),\n"
            "    os.path.join(\n        os.getenv('CUDA_PATH', 'C:/CUDA/v13.2'),\n"
            "        'bin/x64',\n    ),\n] + BINARIES_PATHS\n",
            "here = Path(__file__).parents[2]\nBINARIES_PATHS = [\n    str(here / 'x64'),\n"
            "] + BINARIES_PATHS\n",
            id="over several lines, beside one below the file",
        ),
        pytest.param(
            "BINARIES_PATHS = [\n    # 'C:/opencv/bin'\n"
            "    os.path.join(os.getenv('QT_PATH', 'C:/Qt'), 'bin'),\n"
            "    os.path.join(os.getenv('CUDA_PATH' , 'C:/CUDA/V10.2'), 'bin'),\n"
            "    *os.environ.get('OPENVINO_LIB_PATHS', '').split(';'),\n] + BINARIES_PATHS\n",
            "BINARIES_PATHS = [\n    # 'C:/opencv/bin'\n"
            "    os.path.join(os.getenv('QT_PATH', 'C:/Qt'), 'bin'),\n"
            "    *os.environ.get('OPENVINO_LIB_PATHS', '').split(';'),\n] + BINARIES_PATHS\n",
            id="with variables of others",
        ),
        pytest.param(
            "BINARIES_PATHS.extend([os.path.expandvars(r'%CUDA_PATH%\\bin'), y])\n",
            "BINARIES_PATHS.extend([y])\n",
            id="extended",
        ),
        pytest.param(
            "BINARIES_PATHS = [r'\\\\host\\share\\bin', r'C:\\CUDA\\bin', '/opt/cv/lib']\n",
            "BINARIES_PATHS = []\n",
            id="a share, a drive, POSIX",
        ),
        pytest.param(
            "BINARIES_PATHS = [LOADER_DIR + '/bin', os.path.join(LOADER_DIR, '/x'), 'rel/bin']\n",
            "BINARIES_PATHS = [LOADER_DIR + '/bin', os.path.join(LOADER_DIR, '/x'), 'rel/bin']\n",
            id="below the loader",
        ),
        pytest.param(
            "\ufeffx = 'ä'; BINARIES_PATHS = ['ü', 'D:/ä']\n",
            "\ufeffx = 'ä'; BINARIES_PATHS = ['ü', ]\n",
            id="byte order mark, beyond ASCII",
        ),
        pytest.param(
            "PATHS = ['D:/x']\nx = os.getenv('CUDA_PATH')\n",
            "PATHS = ['D:/x']\nx = os.getenv('CUDA_PATH')\n",
            id="other names are left alone",
        ),
    ],
)
def test_only_cuda_directories_and_those_of_the_build_machine_are_dropped(
    before: str, after: str
) -> None:
    assert cleaned(before)[0] == after


def test_a_directory_of_the_build_machine_is_named_once_in_a_note() -> None:
    content, (note,) = clean_config(
        CONFIGS["opencv-cu126-4.12.0"][CONFIG], CONFIG, ("cv2/cv2.pyd",)
    )
    assert content.decode() == binaries()
    assert (note.code, note.member) == ("build-machine-path", CONFIG)
    assert "os.path.join('F:/make_software/install', 'x64/vc17/bin'): it is dropped" in note.message


@pytest.mark.parametrize(
    ("names", "instead"),
    [
        pytest.param(NAMES, "LOADER_DIR", id="beside the loader"),
        pytest.param((), "LOADER_DIR", id="not known"),
        pytest.param(
            ("cv2/python-3.9/cv2.cp39-win_amd64.pyd", "other/cv2.pyd"),
            "os.path.join(LOADER_DIR, 'python-3.9')",
            id="in a folder of its own",
        ),
    ],
)
def test_the_extension_is_looked_for_where_the_wheel_has_it(
    names: tuple[str, ...], instead: str
) -> None:
    (content,) = (
        content for name, content in CONFIGS["opencv-cu126-4.12.0"].items() if name != CONFIG
    )
    after, (note,) = cleaned(content.decode(), "cv2/config-3.9.py", names)
    assert after == (
        f"PYTHON_EXTENSIONS_PATHS = [\r\n    {instead}\r\n] + PYTHON_EXTENSIONS_PATHS\r\n"
    )
    assert note.code == "build-machine-path"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param(
            "import os\nBINARIES_PATHS = [\n    'a'\n    os.path.join('b')\n]\n",
            "line 3 is not Python",
            id="a comma forgotten by hand",
        ),
        pytest.param(
            "BINARIES_PATHS = ['C:\\Users']\n", "line 1 is not Python", id="half an escape"
        ),
        pytest.param(
            "BINARIES_PATHS = (os.getenv('CUDA_PATH'),)\n",
            "line 1 gives a list what should not be in it",
            id="a tuple",
        ),
        pytest.param(
            "x = 1\nBINARIES_PATHS.append(os.getenv('CUDA_PATH'))\n",
            "line 2 gives a list what should not be in it",
            id="appended",
        ),
        pytest.param(
            "BINARIES_PATHS = ['D:/a' # x\n , 'b']\n", "not Python", id="a comma far away"
        ),
    ],
)
def test_what_cannot_be_cleaned_is_refused_with_its_line(text: str, reason: str) -> None:
    with pytest.raises(PatchError, match=re.escape(reason)):
        cleaned(text)


ELEMENT = st.sampled_from(
    [CUDA, BUILD, OWN, "LOADER_DIR", "'rel'", "os.environ['CUDA_PATH_V13_0']"]
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
    once, _ = cleaned(text)
    kept = [element for element in elements if element in {OWN, "LOADER_DIR", "'rel'"}]
    scope: dict[str, object] = {"os": os, "LOADER_DIR": "here"}
    expected: dict[str, object] = dict(scope)
    exec(once, scope)  # noqa: S102 - our own text
    exec(f"BINARIES_PATHS = [{', '.join(kept)}]", expected)  # noqa: S102 - our own text
    assert scope["BINARIES_PATHS"] == expected["BINARIES_PATHS"]
