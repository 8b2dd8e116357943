"""What the reader refuses, with which word; what it accepts is copied in test_wheel_writing.py."""

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
WHOLE = {"narrow": make_zip(SMALL, comment=b"small"), "zip64": make_zip(SMALL, end64={})}


def read_all(path: Path, content: bytes) -> dict[str, bytes] | None:
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


@pytest.mark.parametrize("whole", WHOLE.values(), ids=WHOLE)
def test_no_flipped_bit_is_accepted_with_other_content_and_no_byte_may_be_lost_or_come_twice(
    whole: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "small.whl"
    truth = read_all(path, whole)
    assert truth
    for at in range(len(whole)):
        before, here, behind = whole[:at], whole[at], whole[at + 1 :]
        for bit in range(8):
            assert read_all(path, before + bytes([here ^ 1 << bit]) + behind) in (None, truth), at
        for damaged in (before, behind, before + behind, before + bytes([here, here]) + behind):
            assert read_all(path, damaged) is None, at


# Content


def test_no_more_is_inflated_than_was_announced(tmp_path: Path) -> None:
    path = tmp_path / hostile.FILENAME
    announced = {"usize": 1 << 20}
    path.write_bytes(hostile.with_member("a", bytes(50 << 20), method=DEFLATED, both=announced))
    tracemalloc.start()
    with pytest.raises(InputError, match="that its header announces"):
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
