"""A wheel that was looked through once is known by its hash, and by nothing less."""

from pathlib import Path

import pytest
from wheelmaking import cuda_wheel, make_pyd, make_wheel

from repack.errors import InputError
from repack.files import Memory
from repack.inspect import analyse


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path / "seen")


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return cuda_wheel(tmp_path, numpy=b"numpy._core._multiarray_umath\0")


def test_the_second_look_gives_the_same(wheel: Path, memory: Memory) -> None:
    first = analyse(wheel, memory=memory)
    assert len(list(memory.folder.iterdir())) == 1
    assert analyse(wheel, memory=memory) == first == analyse(wheel)


def test_a_file_of_the_same_size_is_looked_through(wheel: Path, memory: Memory) -> None:
    analyse(wheel, memory=memory)
    content = bytearray(wheel.read_bytes())
    content[content.index(b"cv2/cv2.pyd") + 80] ^= 1
    wheel.write_bytes(content)
    with pytest.raises(InputError):
        analyse(wheel, memory=memory)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("{", "", id="no JSON"),
        pytest.param('"images"', '"image"', id="a part is missing"),
        pytest.param('"machine": "x86-64"', '"machine": 64', id="another type"),
    ],
)
def test_a_damaged_entry_counts_for_none(old: str, new: str, wheel: Path, memory: Memory) -> None:
    first = analyse(wheel, memory=memory)
    (entry,) = memory.folder.iterdir()
    text = entry.read_text("utf-8")
    entry.write_text(text.replace(old, new, 1), encoding="utf-8")
    assert analyse(wheel, memory=memory) == first
    assert entry.read_text("utf-8") == text


def test_a_wheel_that_is_refused_is_not_remembered(tmp_path: Path, memory: Memory) -> None:
    files = {"cv2/cv2.pyd": make_pyd(), "cv2/no.dll": b"no DLL"}
    wheel = make_wheel(tmp_path / "opencv_python-1.0-cp37-abi3-win_amd64.whl", files)
    for _ in range(2):
        with pytest.raises(InputError, match="not-pe"):
            analyse(wheel, memory=memory)
    assert not memory.folder.exists()


def test_what_stands_outside_the_content_is_checked_each_time(
    tmp_path: Path, memory: Memory
) -> None:
    files = {"cv2/cv2.pyd": make_pyd(), "evil.pth": b"import os\n"}
    wheel = make_wheel(tmp_path / "opencv_python-1.0-cp37-abi3-win_amd64.whl", files)
    analyse(wheel, allow_startup_hook=True, memory=memory)
    with pytest.raises(InputError, match="at each start"):
        analyse(wheel, memory=memory)
