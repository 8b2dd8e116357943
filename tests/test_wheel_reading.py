"""What the reader refuses, with which word, and what it accepts."""

import hashlib
import os
import sys
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path

import hostile
import pytest
from fetching import Told
from hostile import FILES, TEXT
from hypothesis import given, settings
from hypothesis import strategies as st
from wheelmaking import DEFLATED, MAX32, End, Entry, descriptor, make_wheel, make_zip, zip64

from repack.errors import InputError
from repack.wheel.archive import Member, open_archive
from repack.wheel.metadata import RecordEntry
from repack.wheel.reader import Sink, hash_members, read_member, read_wheel


def refusal(path: Path) -> InputError:
    """Return the error that opening and verifying the archive raises."""
    with pytest.raises(InputError) as caught:
        dict(hash_members(open_archive(path)))
    return caught.value


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


@pytest.mark.parametrize("case", hostile.WELCOME, ids=lambda case: case.id)
def test_an_odd_but_sound_wheel_is_read_as_an_independent_reader_does(
    case: hostile.Case, tmp_path: Path
) -> None:
    path = case.write(tmp_path)
    archive = read_wheel(path).archive
    digests = dict(hash_members(archive))
    with zipfile.ZipFile(path) as judge:
        assert list(archive.names) == judge.namelist()
        for member, info in zip(archive.members, judge.infolist(), strict=True):
            assert (member.size, member.directory) == (info.file_size, info.is_dir())
            if not info.is_dir():
                content = judge.read(info)
                assert read_member(archive, info.filename) == content
                assert digests[info.filename].hex == hashlib.sha256(content).hexdigest()


def test_a_name_too_long_for_a_line_is_shortened(tmp_path: Path) -> None:
    path = tmp_path / "example.whl"
    path.write_bytes(hostile.with_member("a/" * 30_000 + "a"))
    error = refusal(path)
    assert error.code == "path-too-long"
    assert len(str(error)) < 1000


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.whl")
    assert refusal(tmp_path / "pipe.whl").code == "not-a-file"


@pytest.mark.skipif(sys.platform != "linux", reason="needs sparse files, made at once")
def test_a_descriptor_too_narrow_for_its_sizes_is_refused(tmp_path: Path) -> None:
    size = 5 << 30
    streamed = Entry(name="huge.bin", method=DEFLATED, data=b"", flags=0x8, local=hostile.UNKNOWN)
    entry = replace(streamed, central=hostile.WIDE, central_extra=zip64(size, size))
    header, listing = entry.local_record(), entry.central_record(0)
    path = tmp_path / "example.whl"
    with path.open("wb") as file:
        file.write(header)
        file.seek(len(header) + size)
        end = End(wide=True, end={"offset": MAX32}).records(1, len(listing), file.tell())
        file.write(listing + end)
    assert refusal(path).code == "data-descriptor"


# Damage

STREAMED = Entry(name="c.py", content=b"streamed " * 9, method=DEFLATED, flags=0x8)
SMALL = [
    Entry(name="b/", mode=0o040755),
    Entry(name="b/ü.txt", content=b"stored"),
    replace(STREAMED, after=descriptor(STREAMED.content, len(STREAMED.packed))),
]
NARROW, WIDE = make_zip(SMALL, End(comment=b"small")), make_zip(SMALL, End(wide=True))
BOTH = [pytest.param(NARROW, id="narrow"), pytest.param(WIDE, id="zip64")]


def digests_of(path: Path, content: bytes | bytearray) -> dict[str, RecordEntry] | None:
    """Return each file's digest in an archive of these bytes; None if it is refused."""
    path.write_bytes(content)
    try:
        return dict(hash_members(open_archive(path)))
    except InputError:
        return None


@pytest.mark.parametrize("whole", BOTH)
def test_no_flipped_bit_is_accepted_with_other_content(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "small.whl"
    truth = digests_of(path, whole)
    assert truth
    for position in range(len(whole) * 8):
        damaged = bytearray(whole)
        damaged[position // 8] ^= 1 << position % 8
        assert digests_of(path, damaged) in (None, truth), position


@pytest.mark.parametrize("whole", BOTH)
def test_no_archive_that_lacks_its_end_beginning_or_any_byte_is_accepted(
    whole: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "small.whl"
    for at in range(len(whole)):
        here, behind = whole[at : at + 1], whole[at + 1 :]
        for damaged in (whole[:at], behind, whole[:at] + behind, whole[:at] + here * 2 + behind):
            assert digests_of(path, damaged) is None, at


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_random_damage_never_raises_anything_but_the_one_error(data: st.DataObject) -> None:
    damaged = bytearray(data.draw(st.sampled_from([NARROW, WIDE])))
    for _ in range(data.draw(st.integers(1, 6))):
        start = data.draw(st.integers(0, len(damaged) - 1))
        length = data.draw(st.integers(0, 12))
        damaged[start : start + length] = data.draw(st.binary(max_size=12))
    with tempfile.TemporaryDirectory() as folder:
        digests_of(Path(folder, "small.whl"), damaged)


# Content


def test_the_sink_is_given_the_content_of_the_members_it_wants(tmp_path: Path) -> None:
    big = os.urandom(700_000) * 2
    path = make_wheel(tmp_path, {**FILES, "cv2/big.bin": big})
    taken: dict[str, list[bytes]] = {}

    def sink(member: Member) -> Sink | None:
        return taken.setdefault(member.name, []).append if "cv2/" in member.name else None

    task = Told()
    archive = read_wheel(path, sink=sink, task=task).archive
    truth = {**FILES, "cv2/big.bin": big}
    assert {name: b"".join(parts) for name, parts in taken.items()} == truth
    assert max(map(len, taken["cv2/big.bin"])) <= 1 << 20
    assert task.done == sum(member.compressed_size for member in archive.members)


def test_the_sink_never_sees_more_than_was_announced(tmp_path: Path) -> None:
    path = tmp_path / "example.whl"
    announced = {"usize": 1 << 20}
    lie = hostile.with_member("cv2/a", bytes(10 << 20), method=DEFLATED, both=announced)
    path.write_bytes(lie)
    seen: list[int] = []
    archive = open_archive(path)
    with pytest.raises(InputError, match="inflates to other"):
        dict(hash_members(archive, sink=lambda _: lambda piece: seen.append(len(piece))))
    assert sum(seen) <= (1 << 20) + sum(map(len, FILES.values()))


def test_a_file_exchanged_meanwhile_is_noticed(tmp_path: Path) -> None:
    path = make_wheel(tmp_path, FILES)
    archive = open_archive(path)
    os.utime(path, ns=(1, 1))
    with pytest.raises(InputError) as caught:
        dict(hash_members(archive))
    assert caught.value.code == "changed"


@pytest.mark.parametrize(
    ("size", "code"), [((3 << 20) - 1, "size-lie"), ((3 << 20) + 1, "size-lie"), (3 << 20, "")]
)
def test_members_of_several_pieces_are_held_to_the_same_rules(
    size: int, code: str, tmp_path: Path
) -> None:
    path = tmp_path / "example.whl"
    content = os.urandom(3 << 20)
    entry = Entry(name="cv2/a", content=content, method=DEFLATED, both={"usize": size})
    path.write_bytes(make_zip([entry]))
    if code:
        assert refusal(path).code == code
    else:
        dict(hash_members(open_archive(path)))


def test_a_member_larger_than_asked_for_is_not_read(tmp_path: Path) -> None:
    archive = open_archive(make_wheel(tmp_path, FILES))
    with pytest.raises(InputError) as caught:
        read_member(archive, TEXT, limit=len(FILES[TEXT]) - 1)
    assert (caught.value.code, caught.value.member) == ("too-large", TEXT)


def test_a_wheel_known_by_its_hash_is_not_inflated_once_more(tmp_path: Path) -> None:
    path = make_wheel(tmp_path, FILES)
    seen: list[str] = []
    wheel = read_wheel(
        path, sha256="ab", checked=True, sink=lambda member: seen.append(member.name)
    )
    assert (wheel.sha256, seen) == ("ab", [])
