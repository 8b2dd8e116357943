"""A wheel that was looked through once is known by its hash, and by nothing less."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from wheelmaking import cuda_wheel, make_pyd, make_wheel

from repack.errors import InputError
from repack.inspect import Analysis, Memory, analyse, memory
from repack.wheel import reading


@pytest.fixture
def kept(tmp_path: Path) -> Memory:
    return Memory(folder=tmp_path / "seen")


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return cuda_wheel(tmp_path, numpy=b"numpy._core._multiarray_umath")


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How often content was compared with RECORD."""
    done: list[str] = []
    compared = reading._compared

    def counted(content: reading._Content) -> object:
        done.append(content.archive.path.name)
        return compared(content)

    monkeypatch.setattr(reading, "_compared", counted)
    return done


def look(wheel: Path, kept: Memory) -> Analysis:
    return analyse(wheel, memory=kept)


def entry(kept: Memory) -> Path:
    (path,) = kept.folder.iterdir()
    return path


def test_the_second_look_gives_the_same_and_reads_no_content(
    wheel: Path, kept: Memory, looks: list[str]
) -> None:
    first = look(wheel, kept)
    assert look(wheel, kept) == first == analyse(wheel)
    assert len(looks) == 2


def test_a_file_of_the_same_size_is_looked_through(
    wheel: Path, kept: Memory, looks: list[str]
) -> None:
    look(wheel, kept)
    content = bytearray(wheel.read_bytes())
    content[content.index(b"cv2/cv2.pyd") + 80] ^= 1
    wheel.write_bytes(content)
    with pytest.raises(InputError):
        look(wheel, kept)
    assert len(looks) == 2


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param('"x86-64"', '"arm64"', id="other-content"),
        pytest.param("{", "", id="no-json"),
        pytest.param('"seen"', '"sean"', id="a-part-is-missing"),
    ],
)
def test_a_damaged_entry_counts_for_none(
    old: str, new: str, wheel: Path, kept: Memory, looks: list[str]
) -> None:
    first = look(wheel, kept)
    path = entry(kept)
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    assert look(wheel, kept) == first
    assert len(looks) == 2
    json.loads(path.read_bytes())


def test_what_a_changed_package_saw_counts_for_nothing(
    wheel: Path, kept: Memory, looks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    look(wheel, kept)
    monkeypatch.setattr(memory, "__version__", "another")
    look(wheel, kept)
    assert len(looks) == 2


def test_a_wheel_that_is_refused_is_not_remembered(tmp_path: Path, kept: Memory) -> None:
    wheel = make_wheel(
        tmp_path / "opencv_python-1.0-cp37-abi3-win_amd64.whl",
        {"cv2/cv2.pyd": make_pyd(), "cv2/no.dll": b"no DLL"},
    )
    for _ in range(2):
        with pytest.raises(InputError):
            look(wheel, kept)
    assert not kept.folder.exists()


def test_what_stands_outside_the_content_is_checked_each_time(tmp_path: Path, kept: Memory) -> None:
    files = {"cv2/cv2.pyd": make_pyd(), "evil.pth": b"import os\n"}
    wheel = make_wheel(tmp_path / "opencv_python-1.0-cp37-abi3-win_amd64.whl", files)
    analyse(wheel, allow_startup_hook=True, memory=kept)
    with pytest.raises(InputError, match="at each start"):
        look(wheel, kept)
