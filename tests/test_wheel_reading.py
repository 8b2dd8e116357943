"""What the archive reader refuses, with which word, and what it accepts."""

from __future__ import annotations

import hashlib
import os
import sys
import zipfile
import zlib
from pathlib import Path

import hostile
import pytest
from fetching import Told
from hostile import FILES, INFO, MODULE, TEXT
from wheelmaking import DEFLATED, MAX32, End, Entry, descriptor, make_wheel, make_zip, zip64

from repack.errors import InputError
from repack.wheel import LIMITS, Limits, Member, Sink, open_archive, read_member, verify


def refusal(path: Path) -> InputError:
    """Return the error that opening and verifying the archive raises."""
    with pytest.raises(InputError) as caught:
        verify(open_archive(path))
    return caught.value


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=case.id) for case in hostile.HOSTILE if case.level == "archive"],
)
def test_a_hostile_archive_is_refused_in_one_line_that_names_its_fault(
    case: hostile.Case, tmp_path: Path
) -> None:
    path = case.write(tmp_path)
    error = refusal(path)
    assert error.code == case.code
    assert error.file == str(path)
    if case.member:
        assert error.member == case.member
    assert str(error).isprintable()
    assert str(path) in str(error)


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in hostile.WELCOME])
def test_an_odd_but_sound_archive_is_read_as_an_independent_reader_does(
    case: hostile.Case, tmp_path: Path
) -> None:
    path = case.write(tmp_path)
    archive = open_archive(path)
    digests = verify(archive)
    with zipfile.ZipFile(path) as judge:
        assert list(archive.names) == judge.namelist()
        for info in judge.infolist():
            member = archive.member(info.filename)
            assert member is not None
            assert (member.size, member.directory) == (info.file_size, info.is_dir())
            if not info.is_dir():
                content = judge.read(info)
                assert read_member(archive, info.filename) == content
                assert digests[info.filename] == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(b"<html>" + b"x" * 57, "looks like HTML, 63 bytes", id="html"),
        pytest.param(b"\xef\xbb\xbf\n <!doctype html>", "looks like HTML, 20 bytes", id="html-bom"),
        pytest.param(b'<?xml version="1.0"?>', "looks like XML, 21 bytes", id="xml"),
        pytest.param(b'{"message": ""}', "looks like JSON, 15 bytes", id="json"),
        pytest.param(b"", "empty, 0 bytes", id="empty"),
        pytest.param(
            b"PK\3\4" + bytes(996), "cut short: it has no end record, 1,000 bytes", id="cut"
        ),
    ],
)
def test_a_file_that_is_no_archive_is_called_what_it_is(
    content: bytes, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "example.whl"
    path.write_bytes(content)
    error = refusal(path)
    assert error.code == "not-a-zip"
    assert said in str(error)


def test_the_sentence_is_one_line_with_file_member_reason_and_code(tmp_path: Path) -> None:
    path = tmp_path / "example.whl"
    path.write_bytes(hostile.with_member("cv2/evil\n.py"))
    assert str(refusal(path)) == (
        f"{path}: 'cv2/evil\\n.py': the name has the invisible character U+000A [bad-path]; "
        "take the file from where it was published, or have it built again"
    )


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "absent.whl").code == "missing-file"
    assert refusal(tmp_path).code == "not-a-file"


@pytest.mark.skipif(os.name == "nt", reason="there are no named pipes in the file system")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.whl")
    assert refusal(tmp_path / "pipe.whl").code == "not-a-file"


def test_a_name_too_long_for_a_line_is_shortened(tmp_path: Path) -> None:
    path = tmp_path / "example.whl"
    path.write_bytes(hostile.with_member("a/" * 30_000 + "a"))
    error = refusal(path)
    assert error.code == "path-too-long"
    assert len(str(error)) < 1000


def test_an_archive_within_a_member_is_not_taken_for_the_archive(tmp_path: Path) -> None:
    inner = make_zip([Entry(name="evil.py", content=b"import evil")])
    path = make_wheel(tmp_path, {"cv2/inner.zip": inner}, method=0)
    assert read_member(open_archive(path), "cv2/inner.zip") == inner
    path.write_bytes(path.read_bytes()[:-30])
    assert refusal(path).code == "not-a-zip"


def test_a_descriptor_that_may_be_read_in_two_ways_is_refused(tmp_path: Path) -> None:
    # Content whose checksum is the descriptor's signature, found by solving for four bytes.
    content = b"checksum" + _four_bytes_for(b"checksum", 0x08074B50)
    entry = Entry(
        name=TEXT,
        content=content,
        method=DEFLATED,
        flags=0x8,
        local={"crc": 0, "csize": 0, "usize": 0},
    )
    path = tmp_path / "example.whl"
    unsigned = descriptor(content, len(entry.packed), signed=False)
    path.write_bytes(make_zip([Entry(**{**vars(entry), "after": unsigned})]))
    assert refusal(path).code == "data-descriptor"
    signed = descriptor(content, len(entry.packed))
    path.write_bytes(make_zip([Entry(**{**vars(entry), "after": signed})]))
    verify(open_archive(path))


@pytest.mark.skipif(sys.platform != "linux", reason="needs sparse files, made at once")
def test_a_descriptor_too_narrow_for_its_sizes_is_refused(tmp_path: Path) -> None:
    size = 5 << 30
    entry = Entry(
        name="huge.bin",
        method=DEFLATED,
        data=b"",
        flags=0x8,
        local={"csize": 0, "usize": 0, "crc": 0},
        central={"csize": MAX32, "usize": MAX32},
        central_extra=zip64(size, size),
    )
    header, listing = entry.local_record(), entry.central_record(0)
    offset = len(header) + size
    path = tmp_path / "example.whl"
    with path.open("wb") as file:
        file.write(header)
        file.seek(offset)
        end = End(wide=True, end={"offset": MAX32}).records(1, len(listing), offset)
        file.write(listing + end)
    assert refusal(path).code == "data-descriptor"


def _four_bytes_for(prefix: bytes, wanted: int) -> bytes:
    """Return the bytes that give `prefix` the CRC-32 `wanted`."""
    steps = []
    for number in range(256):
        value = number
        for _ in range(8):
            value = value >> 1 ^ (0xEDB88320 if value & 1 else 0)
        steps.append(value)
    state = wanted ^ 0xFFFFFFFF
    indices = []
    for _ in range(4):
        index = next(number for number in range(256) if steps[number] >> 24 == state >> 24)
        indices.append(index)
        state = ((state ^ steps[index]) << 8) & 0xFFFFFFFF
    current = zlib.crc32(prefix) ^ 0xFFFFFFFF
    found = bytearray()
    for index in reversed(indices):
        found.append(index ^ (current & 0xFF))
        current = current >> 8 ^ steps[index]
    return bytes(found)


class TestVerifying:
    def test_digests_are_in_the_hash_that_is_asked_for(self, tmp_path: Path) -> None:
        archive = open_archive(make_wheel(tmp_path, FILES))
        digests = verify(archive, algorithms={TEXT: "sha512"})
        assert digests[TEXT] == hashlib.sha512(FILES[TEXT]).hexdigest()
        assert digests[MODULE] == hashlib.sha256(FILES[MODULE]).hexdigest()
        assert len(digests) == 5

    def test_the_sink_is_given_the_content_of_the_members_it_wants(self, tmp_path: Path) -> None:
        big = os.urandom(700_000) * 2
        archive = open_archive(make_wheel(tmp_path, {**FILES, "cv2/big.bin": big}))
        taken: dict[str, list[bytes]] = {}

        def sink(member: Member) -> Sink | None:
            if not member.name.startswith("cv2/"):
                return None
            return taken.setdefault(member.name, []).append

        verify(archive, sink=sink)
        assert {name: b"".join(parts) for name, parts in taken.items()} == {
            **FILES,
            "cv2/big.bin": big,
        }
        assert max(map(len, taken["cv2/big.bin"])) <= 1 << 20

    def test_progress_advances_by_the_bytes_of_the_archive(self, tmp_path: Path) -> None:
        archive = open_archive(make_wheel(tmp_path, FILES))
        task = Told()
        verify(archive, task=task)
        assert task.done == sum(member.compressed_size for member in archive.members)

    def test_the_sink_never_sees_more_than_was_announced(self, tmp_path: Path) -> None:
        path = tmp_path / "example.whl"
        content = bytes(10 << 20)
        path.write_bytes(
            hostile.with_member("cv2/a", content, method=DEFLATED, both={"usize": 1 << 20})
        )
        seen: list[int] = []
        archive = open_archive(path)
        with pytest.raises(InputError, match="inflates to more"):
            verify(archive, sink=lambda _: lambda chunk: seen.append(len(chunk)))
        assert sum(seen) <= (1 << 20) + sum(map(len, FILES.values()))

    def test_limits_may_be_set_lower(self, tmp_path: Path) -> None:
        archive = open_archive(make_wheel(tmp_path, FILES))
        verify(archive, limits=Limits(total=10_000))
        with pytest.raises(InputError) as caught:
            verify(archive, limits=Limits(total=100))
        assert caught.value.code == "bomb"

    def test_a_cuda_module_of_gigabytes_is_no_bomb(self) -> None:
        assert LIMITS.total > 20 << 30

    def test_a_file_exchanged_meanwhile_is_noticed(self, tmp_path: Path) -> None:
        path = make_wheel(tmp_path, FILES)
        archive = open_archive(path)
        content = path.read_bytes()
        path.write_bytes(content[:-1] + b"\1")
        os.utime(path, ns=(1, 1))
        with pytest.raises(InputError) as caught:
            verify(archive)
        assert caught.value.code == "changed"

    def test_large_members_are_held_to_the_same_rules(self, tmp_path: Path) -> None:
        # Above the size where another inflater is used.
        content = os.urandom(3 << 20)
        path = tmp_path / "example.whl"
        sound = Entry(name="cv2/a", content=content, method=DEFLATED)
        for change, code in (
            ({"data": sound.packed + b"x"}, "size-lie"),
            ({"data": sound.packed[:-1]}, "bad-data"),
            ({"both": {"usize": len(content) - 1}}, "size-lie"),
            ({"both": {"usize": len(content) + 1}}, "size-lie"),
            ({"both": {"crc": 1}}, "crc"),
            ({"data": b"\xff" + sound.packed}, "bad-data"),
            ({}, ""),
        ):
            entry = Entry(**{**vars(sound), **change})
            path.write_bytes(make_zip([entry]))
            if code:
                assert refusal(path).code == code, change
            else:
                verify(open_archive(path))


class TestReadingOneMember:
    def test_an_absent_member_is_refused(self, tmp_path: Path) -> None:
        archive = open_archive(make_wheel(tmp_path, FILES))
        with pytest.raises(InputError) as caught:
            read_member(archive, "cv2/absent.py")
        assert (caught.value.code, caught.value.member) == ("no-member", "cv2/absent.py")

    def test_a_member_larger_than_wanted_is_refused(self, tmp_path: Path) -> None:
        archive = open_archive(make_wheel(tmp_path, FILES))
        assert read_member(archive, TEXT, limit=len(FILES[TEXT])) == FILES[TEXT]
        with pytest.raises(InputError) as caught:
            read_member(archive, TEXT, limit=len(FILES[TEXT]) - 1)
        assert caught.value.code == "too-large"

    def test_its_checksum_is_checked(self, tmp_path: Path) -> None:
        path = tmp_path / "example.whl"
        path.write_bytes(make_zip(hostile.altered(TEXT, both={"crc": 1})))
        with pytest.raises(InputError) as caught:
            read_member(open_archive(path), TEXT)
        assert caught.value.code == "crc"


def test_more_members_than_sixteen_bits_count_are_read(tmp_path: Path) -> None:
    path = tmp_path / "many.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(65_540):
            archive.writestr(f"{number // 1000}/{number}.py", b"")
    assert len(open_archive(path).members) == 65_540


def test_exactly_as_many_members_as_sixteen_bits_count_need_no_zip64(tmp_path: Path) -> None:
    path = tmp_path / "many.whl"
    entries = [Entry(name=f"{number}.py") for number in range(0xFFFF)]
    path.write_bytes(make_zip(entries))
    assert len(open_archive(path).members) == 0xFFFF


def test_more_members_than_any_wheel_has_are_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "example.whl"
    count = 10_000_000
    end = End(
        wide=True,
        end64={"count": count, "disk_count": count},
        end={"count": 0xFFFF, "disk_count": 0xFFFF},
    )
    path.write_bytes(make_zip(hostile.sound(), end))
    assert refusal(path).code == "bomb"


def test_names_are_those_of_the_directory_in_its_order(tmp_path: Path) -> None:
    archive = open_archive(make_wheel(tmp_path, {"b.py": b"", "a.py": b""}))
    assert archive.names == ("b.py", "a.py", f"{INFO}/METADATA", f"{INFO}/WHEEL", f"{INFO}/RECORD")
    assert archive.member("c.py") is None
