"""What the reader refuses, with which word, and what it accepts."""

import os
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path

import hostile
import pytest
from hostile import FILES, TEXT
from wheelmaking import DEFLATED, Entry, descriptor, make_wheel, make_zip

from repack.errors import InputError
from repack.wheel.archive import open_archive
from repack.wheel.reader import read_member, read_wheel


@pytest.mark.parametrize("case", hostile.HOSTILE, ids=lambda case: case.id)
def test_a_hostile_wheel_is_refused_in_one_line_that_names_its_fault(
    case: hostile.Case, tmp_path: Path
) -> None:
    path = case.write(tmp_path)
    with pytest.raises(InputError) as caught:
        read_wheel(path)
    assert (caught.value.code, caught.value.file) == (case.code, str(path))
    assert caught.value.member.endswith(case.member)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("case", hostile.WELCOME, ids=lambda case: case.id)
def test_an_odd_but_sound_wheel_is_read_as_an_independent_reader_does(
    case: hostile.Case, tmp_path: Path
) -> None:
    path = case.write(tmp_path)
    archive = read_wheel(path).archive
    with zipfile.ZipFile(path) as judge:
        infos = judge.infolist()
        assert [*archive.members] == judge.namelist()
        assert list(archive.files) == [info.filename for info in infos if not info.is_dir()]
        for name in archive.files:
            assert read_member(archive, name) == judge.read(name)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.whl")
    with pytest.raises(InputError, match="is not a file"):
        open_archive(tmp_path / "pipe.whl")


# Damage

STREAMED = Entry(name="c.py", content=b"streamed " * 9, method=DEFLATED, both={"flags": 8})
SMALL = [
    Entry(name="b/", mode=0o040755),
    Entry(name="b/ü.txt", content=b"stored"),
    replace(STREAMED, after=descriptor(STREAMED.content, len(STREAMED.packed))),
]
NARROW, WIDE = make_zip(SMALL, comment=b"small"), make_zip(SMALL, end64={})
BOTH = [pytest.param(NARROW, id="narrow"), pytest.param(WIDE, id="zip64")]


def read_all(path: Path, content: bytes | bytearray) -> dict[str, bytes] | None:
    """Return the files of an archive of these bytes; None if it is refused.

    Of one that is not, Python's own reader lists the same members.
    """
    path.write_bytes(content)
    try:
        archive = open_archive(path)
        files = {name: read_member(archive, name) for name in archive.files}
    except InputError:
        return None
    with zipfile.ZipFile(path) as judge:
        assert [*archive.members] == judge.namelist()
    return files


@pytest.mark.parametrize("whole", BOTH)
def test_no_flipped_bit_is_accepted_with_other_content(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "small.whl"
    truth = read_all(path, whole)
    assert truth
    for position in range(len(whole) * 8):
        damaged = bytearray(whole)
        damaged[position // 8] ^= 1 << position % 8
        assert read_all(path, damaged) in (None, truth), position


@pytest.mark.parametrize("whole", BOTH)
def test_no_archive_that_lacks_its_end_beginning_or_any_byte_is_accepted(
    whole: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "small.whl"
    for at in range(len(whole)):
        here, behind = whole[at : at + 1], whole[at + 1 :]
        for damaged in (whole[:at], behind, whole[:at] + behind, whole[:at] + here * 2 + behind):
            assert read_all(path, damaged) is None, at


# Content


def test_no_more_is_inflated_than_was_announced(tmp_path: Path) -> None:
    path = tmp_path / hostile.FILENAME
    announced = {"usize": 1 << 20}
    path.write_bytes(hostile.with_member("a", bytes(50 << 20), method=DEFLATED, both=announced))
    tracemalloc.start()
    with pytest.raises(InputError, match="does not end with"):
        read_wheel(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 << 20


def test_a_file_exchanged_meanwhile_is_noticed(tmp_path: Path) -> None:
    archive = open_archive(make_wheel(tmp_path, FILES))
    os.utime(archive.path, ns=(1, 1))
    with pytest.raises(InputError, match="was changed"):
        read_member(archive, TEXT)


def test_a_member_larger_than_asked_for_is_not_read(tmp_path: Path) -> None:
    archive = open_archive(make_wheel(tmp_path, FILES))
    with pytest.raises(InputError, match=TEXT):
        read_member(archive, TEXT, limit=len(FILES[TEXT]) - 1)
