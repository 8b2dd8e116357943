"""The clean-up of config.py and its neighbours: what is dropped, what takes its place."""

import re

import pytest
from loading import CONFIGS
from machines import table

from repack.errors import PatchError
from repack.patching.loader import clean_config

CONFIG = "cv2/config.py"
NAMES = ("cv2/__init__.py", "cv2/cv2.pyd")
GENUINE = "opencv-cu126-4.12.0"
CUDA = "os.path.join(os.getenv('CUDA_PATH', 'C:/Program Files/CUDA/v12.6'), 'bin')"
OWN = "os.path.join(os.path.join(LOADER_DIR, '../../'), 'x64/vc17/bin')"
BELOW = "BINARIES_PATHS = [LOADER_DIR + '/bin', os.path.join(LOADER_DIR, '/x'), 'rel/bin']\n"
OTHER_NAMES = "PATHS = ['D:/x']\nx = os.getenv('CUDA_PATH')\n"


def binaries(*lines: str) -> str:
    """Return the list as CMake writes it."""
    body = "".join(f"    {line}\r\n" for line in lines)
    return f"import os\r\n\r\nBINARIES_PATHS = [\r\n{body}] + BINARIES_PATHS\r\n"


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
        "on one line, CUDA 13": (
            "BINARIES_PATHS = [os.path.join(os.environ['CUDA_PATH'], 'bin'), LOADER_DIR]\n",
            "BINARIES_PATHS = [LOADER_DIR]\n",
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


def test_a_genuine_file_loses_the_directory_of_its_build_machine() -> None:
    after = clean_config(CONFIGS[GENUINE][CONFIG], NAMES).decode()
    assert after == "import os\r\n\r\nBINARIES_PATHS = [] + BINARIES_PATHS\r\n"


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
        "half an escape": ("BINARIES_PATHS = ['C:\\Users']\n", "line 1 is not Python"),
        "a tuple": ("BINARIES_PATHS = (os.getenv('CUDA_PATH'),)\n", NOT_KNOWN),
        "inserted": ("BINARIES_PATHS.insert(0, r'C:\\CUDA\\bin')\n", NOT_KNOWN),
        "appended": ("BINARIES_PATHS.append(os.getenv('CUDA_PATH'))\n", NOT_KNOWN),
    },
)
def test_what_cannot_be_cleaned_is_refused(text: str, reason: str) -> None:
    with pytest.raises(PatchError, match=re.escape(reason)):
        clean_config(text.encode(), NAMES)
