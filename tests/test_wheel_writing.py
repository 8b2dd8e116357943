"""What a splice writes: the same bytes everywhere, unchanged members as they lie."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hostile import FILES, TEXT, altered
from wheelmaking import (
    DEFLATED,
    DESCRIPTOR,
    MAX32,
    End,
    Entry,
    descriptor,
    make_wheel,
    make_zip,
    zip64,
)

from repack.errors import InputError, OutputError
from repack.wheel import (
    Added,
    Archive,
    Copied,
    Written,
    canonical_order,
    open_archive,
    output,
    read_member,
    size_of,
    splice,
    verify,
)

TIME = 1_600_000_000
BIG = bytes(range(256)) * 4096


@pytest.fixture
def source(tmp_path: Path) -> Archive:
    (tmp_path / "in").mkdir()
    return open_archive(make_wheel(tmp_path / "in", {**FILES, "cv2/big.bin": os.urandom(3 << 20)}))


def all_of(archive: Archive) -> list[Copied | Added]:
    return [Copied(member=member) for member in archive.members]


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file())


class TestOrder:
    def test_dist_info_is_last_and_record_last_of_all(self) -> None:
        names = ["x-1.dist-info/RECORD", "z.py", "x-1.dist-info/WHEEL", "a/b.py", "x-1.dist-info/A"]
        assert canonical_order(names) == [
            "a/b.py",
            "z.py",
            "x-1.dist-info/A",
            "x-1.dist-info/WHEEL",
            "x-1.dist-info/RECORD",
        ]

    def test_a_record_elsewhere_is_a_file_like_any_other(self) -> None:
        assert canonical_order(["b/RECORD", "RECORD", "c"]) == ["RECORD", "b/RECORD", "c"]

    def test_members_are_written_in_the_order_given(self, source: Archive, tmp_path: Path) -> None:
        backwards = list(reversed(all_of(source)))
        splice(source, backwards, tmp_path / "out.whl", timestamp=TIME)
        assert open_archive(tmp_path / "out.whl").names == source.names[::-1]


class TestCopying:
    def test_packed_bytes_stay_as_they_lie(self, source: Archive, tmp_path: Path) -> None:
        splice(source, all_of(source), tmp_path / "out.whl", timestamp=TIME)
        written = open_archive(tmp_path / "out.whl")
        assert verify(written) == verify(source)
        for name in source.names:
            assert lying(written, name) == lying(source, name)

    def test_a_member_may_get_another_name(self, source: Archive, tmp_path: Path) -> None:
        member = source.member(TEXT)
        assert member is not None
        entry = Copied(member=member, name="other/näme.txt")
        splice(source, [entry], tmp_path / "out.whl", timestamp=TIME)
        assert read_member(open_archive(tmp_path / "out.whl"), "other/näme.txt") == FILES[TEXT]

    def test_members_of_several_archives_come_together(
        self, source: Archive, tmp_path: Path
    ) -> None:
        other = open_archive(make_wheel(tmp_path, {"nvidia/x.dll": BIG}, name="nvidia"))
        member = other.member("nvidia/x.dll")
        assert member is not None
        entries = [*all_of(source), Copied(member=member, name="cv2/x.dll", archive=other)]
        splice(source, entries, tmp_path / "out.whl", timestamp=TIME)
        assert read_member(open_archive(tmp_path / "out.whl"), "cv2/x.dll") == BIG

    def test_without_a_source_a_copy_names_its_archive(
        self, source: Archive, tmp_path: Path
    ) -> None:
        with pytest.raises(ValueError, match="no archive"):
            splice(None, all_of(source), tmp_path / "out.whl", timestamp=TIME)
        assert left_in(tmp_path) == []

    def test_folders_descriptors_extras_and_comments_are_left_behind(self, tmp_path: Path) -> None:
        packed = Entry(name=TEXT, content=FILES[TEXT], method=DEFLATED).packed
        entries = altered(
            TEXT,
            flags=DESCRIPTOR | 2,
            local={"crc": 0, "csize": 0, "usize": 0},
            local_extra=b"UT\1\0x",
            after=descriptor(FILES[TEXT], len(packed)),
        )
        path = tmp_path / "in.whl"
        path.write_bytes(make_zip([Entry(name="cv2/", mode=0o040755), *entries]))
        odd = open_archive(path)
        splice(odd, all_of(odd), tmp_path / "out.whl", timestamp=TIME)
        with zipfile.ZipFile(tmp_path / "out.whl") as judge:
            assert "cv2/" not in judge.namelist()
            assert {(info.flag_bits, info.extra) for info in judge.infolist()} == {(0, b"")}

    @pytest.mark.parametrize("copying", ["refused", "in parts", "absent"])
    def test_where_the_kernel_does_not_copy_all_we_do(
        self, copying: str, source: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        expected = splice(source, all_of(source), tmp_path / "one.whl", timestamp=TIME)
        parts = iter([100_000, 7, 0])

        def copy(source: int, destination: int, count: int, offset: int) -> int:
            if copying == "refused":
                raise OSError(errno.EXDEV, "will not")
            count = min(count, next(parts, 0))
            return os.write(destination, os.pread(source, count, offset))

        monkeypatch.setattr(output, "_copy_file_range", None if copying == "absent" else copy)
        found = splice(source, all_of(source), tmp_path / "two.whl", timestamp=TIME)
        assert found.sha256 == expected.sha256

    def test_a_source_exchanged_meanwhile_is_noticed(self, source: Archive, tmp_path: Path) -> None:
        source.path.write_bytes(b"something else")
        with pytest.raises(InputError) as caught:
            splice(source, all_of(source), tmp_path / "out.whl", timestamp=TIME)
        assert caught.value.code == "changed"
        assert left_in(tmp_path) == []

    def test_a_source_cut_while_it_is_copied_is_noticed(
        self, source: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def cut(*_: object) -> int:
            os.truncate(source.path, 1000)
            return 0

        monkeypatch.setattr(output, "_copy_file_range", cut)
        with pytest.raises(InputError) as caught:
            splice(source, all_of(source), tmp_path / "out.whl", timestamp=TIME)
        assert caught.value.code == "changed"
        assert left_in(tmp_path) == []


class TestAdding:
    @pytest.mark.parametrize("deflate", [False, True], ids=["stored", "deflated"])
    @pytest.mark.parametrize("from_file", [False, True], ids=["bytes", "file"])
    @pytest.mark.parametrize("content", [b"", b"x", BIG], ids=["empty", "short", "long"])
    def test_content_from_bytes_or_a_file_stored_or_deflated(
        self,
        content: bytes,
        from_file: bool,  # noqa: FBT001
        deflate: bool,  # noqa: FBT001
        tmp_path: Path,
    ) -> None:
        (tmp_path / "content").write_bytes(content)
        given: bytes | Path = tmp_path / "content" if from_file else content
        entries = [
            Added(name="a.bin", content=given, deflate=deflate),
            Added(name="b.bin", content=b"behind it"),
        ]
        written = splice(None, entries, tmp_path / "out.whl", timestamp=TIME)
        with zipfile.ZipFile(tmp_path / "out.whl") as judge:
            assert judge.testzip() is None
            assert judge.read("a.bin") == content
            assert judge.getinfo("a.bin").compress_type == (DEFLATED if deflate else 0)
        verify(open_archive(tmp_path / "out.whl"))
        assert digest_of(tmp_path / "out.whl") == written.sha256

    def test_a_file_gives_the_same_bytes_as_its_content(self, tmp_path: Path) -> None:
        (tmp_path / "content").write_bytes(BIG)
        digests = {
            splice(
                None,
                [Added(name="a.bin", content=content)],
                tmp_path / "out.whl",
                timestamp=TIME,
            ).sha256
            for content in (BIG, tmp_path / "content")
        }
        assert len(digests) == 1

    def test_an_absent_file_is_told_and_nothing_is_left(self, tmp_path: Path) -> None:
        with pytest.raises(InputError) as caught:
            splice(
                None,
                [Added(name="a.bin", content=tmp_path / "absent")],
                tmp_path / "out.whl",
                timestamp=TIME,
            )
        assert caught.value.file == str(tmp_path / "absent")
        assert left_in(tmp_path) == []

    def test_a_file_that_grows_meanwhile_is_noticed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "content"
        path.write_bytes(BIG)
        hold = output.Output.hold

        def grow(self: output.Output) -> None:
            with path.open("ab") as file:
                file.write(b"more")
            hold(self)

        monkeypatch.setattr(output.Output, "hold", grow)
        with pytest.raises(InputError) as caught:
            splice(None, [Added(name="a", content=path)], tmp_path / "out.whl", timestamp=TIME)
        assert caught.value.code == "changed"
        assert left_in(tmp_path) == ["content"]

    @pytest.mark.parametrize(
        ("names", "code"),
        [
            pytest.param(["../x"], "bad-path", id="parent"),
            pytest.param(["a/"], "bad-path", id="folder"),
            pytest.param(["aa:b"], "windows-name", id="stream"),
            pytest.param(["a", "A"], "duplicate-name", id="case"),
            pytest.param(["a", "a/b"], "duplicate-name", id="file-and-folder"),
        ],
    )
    def test_names_that_the_reader_would_refuse_are_not_written(
        self, names: Sequence[str], code: str, tmp_path: Path
    ) -> None:
        with pytest.raises(InputError) as caught:
            splice(
                None,
                [Added(name=name, content=b"") for name in names],
                tmp_path / "out.whl",
                timestamp=TIME,
            )
        assert caught.value.code == code
        assert left_in(tmp_path) == []


class TestForm:
    def test_headers_tell_nothing_of_the_machine(self, source: Archive, tmp_path: Path) -> None:
        splice(source, all_of(source), tmp_path / "out.whl", timestamp=TIME)
        with zipfile.ZipFile(tmp_path / "out.whl") as judge:
            assert judge.comment == b""
            for info in judge.infolist():
                assert info.create_system == 3
                assert info.create_version == info.extract_version == 20
                assert info.external_attr == 0o100644 << 16
                assert (info.flag_bits, info.extra, info.comment) == (0, b"", b"")
                assert info.date_time == (2020, 9, 13, 12, 26, 40)

    def test_names_beyond_ascii_alone_are_marked_as_utf_8(self, tmp_path: Path) -> None:
        entries = [Added(name=name, content=b"") for name in ("a.py", "ä.py")]
        splice(None, entries, tmp_path / "out.whl", timestamp=TIME)
        with zipfile.ZipFile(tmp_path / "out.whl") as judge:
            flags = {info.filename: info.flag_bits for info in judge.infolist()}
        assert flags == {"a.py": 0, "ä.py": 0x800}

    @pytest.mark.parametrize(
        ("mode", "kept"),
        [
            (0, 0o644),
            (0o600, 0o644),
            (0o644, 0o644),
            (0o666, 0o644),
            (0o755, 0o755),
            (0o100, 0o755),
            (0o100775, 0o755),
        ],
        ids=oct,
    )
    def test_of_the_mode_only_executability_is_kept(
        self, mode: int, kept: int, tmp_path: Path
    ) -> None:
        splice(
            None,
            [Added(name="a", content=b"", mode=mode)],
            tmp_path / "out.whl",
            timestamp=TIME,
        )
        (member,) = open_archive(tmp_path / "out.whl").members
        assert member.mode == 0o100000 | kept

    @pytest.mark.parametrize(
        ("timestamp", "moment"),
        [
            pytest.param(0, (1980, 1, 1, 0, 0, 0), id="1970"),
            pytest.param(-(1 << 60), (1980, 1, 1, 0, 0, 0), id="long-ago"),
            pytest.param(315_532_799, (1980, 1, 1, 0, 0, 0), id="before-1980"),
            pytest.param(315_532_800, (1980, 1, 1, 0, 0, 0), id="1980"),
            pytest.param(315_532_801, (1980, 1, 1, 0, 0, 0), id="odd-seconds-round-down"),
            pytest.param(1_582_934_400, (2020, 2, 29, 0, 0, 0), id="leap-day"),
            pytest.param(4_354_819_198, (2107, 12, 31, 23, 59, 58), id="the-last"),
            pytest.param(1 << 60, (2107, 12, 31, 23, 59, 58), id="far-future"),
        ],
    )
    def test_times_are_utc_and_clipped_to_what_ms_dos_can_say(
        self, timestamp: int, moment: tuple[int, ...], tmp_path: Path
    ) -> None:
        splice(None, [Added(name="a", content=b"")], tmp_path / "out.whl", timestamp=timestamp)
        with zipfile.ZipFile(tmp_path / "out.whl") as judge:
            assert judge.getinfo("a").date_time == moment

    @pytest.mark.parametrize("count", [1, 0x10001], ids=["few members", "very many"])
    def test_its_size_is_known_before_it_is_written(
        self, count: int, source: Archive, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_bytes(b"from a file")
        entries = [
            *all_of(source),
            Added(name="\u00e9t\u00e9.py", content=b"x"),
            Added(name="file", content=tmp_path / "file"),
            *(Added(name=f"many/{number}.py", content=b"") for number in range(count)),
        ]
        written = splice(source, entries, tmp_path / "out.whl", timestamp=TIME)
        assert size_of(entries) == written.size == (tmp_path / "out.whl").stat().st_size

    def test_an_archive_of_nothing_is_an_archive(self, tmp_path: Path) -> None:
        written = splice(None, [], tmp_path / "out.whl", timestamp=TIME)
        assert written.size == 22
        assert open_archive(tmp_path / "out.whl").members == ()

    def test_the_file_mode_is_that_of_a_file_for_everyone(self, tmp_path: Path) -> None:
        splice(None, [], tmp_path / "out.whl", timestamp=TIME)
        assert os.name == "nt" or (tmp_path / "out.whl").stat().st_mode & 0o777 == 0o644


class TestSameBytes:
    #: Of an archive whose every byte is decided here. Where this changes, wheels that were
    #: published under one name would get other bytes.
    GOLDEN = "bad41db8c07ccf2b3bee84d47c6d2136f9fa487b23bb38ad79ce7c90d19584d5"

    def test_splice_of_a_splice_is_identical(self, source: Archive, tmp_path: Path) -> None:
        first = splice(source, all_of(source), tmp_path / "one.whl", timestamp=TIME)
        again = open_archive(first.path)
        second = splice(again, all_of(again), tmp_path / "two.whl", timestamp=TIME)
        assert first.sha256 == second.sha256

    def test_the_bytes_are_those_of_every_other_machine(self, tmp_path: Path) -> None:
        assert golden(tmp_path).sha256 == self.GOLDEN


def golden(folder: Path) -> Written:
    """Return a splice of stored members, copied and added, executable or not, ASCII or not."""
    entries = [
        Entry(name="copied.py", content=b"copied"),
        Entry(name="größe.txt", content=BIG, mode=0o100755),
    ]
    (folder / "source.whl").write_bytes(make_zip(entries))
    (folder / "file").write_bytes(BIG[:-1])
    archive = open_archive(folder / "source.whl")
    added = [
        Added(name="added.py", content=b"added"),
        Added(name="file.bin", content=folder / "file", mode=0o755),
    ]
    return splice(archive, [*all_of(archive), *added], folder / "golden.whl", timestamp=TIME)


class TestZip64:
    @pytest.mark.parametrize(("count", "wide"), [(0xFFFE, False), (0x10001, True)])
    def test_more_members_than_sixteen_bits_count(
        self,
        count: int,
        wide: bool,  # noqa: FBT001
        tmp_path: Path,
    ) -> None:
        entries = [Added(name=f"{number}.py", content=b"") for number in range(count)]
        path = splice(None, entries, tmp_path / "out.whl", timestamp=TIME).path
        assert len(open_archive(path).members) == count
        assert (b"PK\6\6" in path.read_bytes()[-200:]) == wide
        with zipfile.ZipFile(path) as judge:
            assert len(judge.namelist()) == count

    @pytest.mark.skipif(sys.platform != "linux", reason="needs sparse files, made at once")
    def test_members_and_offsets_beyond_4_gib(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def copy_zeros(_: int, destination: int, count: int, __: int) -> int:
            os.ftruncate(destination, os.lseek(destination, count, os.SEEK_CUR))
            return count

        monkeypatch.setattr(output, "_copy_file_range", copy_zeros)
        huge = (1 << 32) + 5
        source = sparse_archive(tmp_path / "huge.whl", huge)
        member = source.member("huge.bin")
        assert member is not None
        entries: list[Copied | Added] = [
            Added(name="first.py", content=b"first"),
            Copied(member=member),
            Added(name="last.py", content=b"last"),
        ]
        written = splice(source, entries, tmp_path / "out.whl", timestamp=TIME)
        archive = open_archive(tmp_path / "out.whl")
        found = archive.member("huge.bin")
        assert found is not None
        assert (found.size, archive.size) == (huge, written.size)
        assert size_of(entries) == written.size
        assert read_member(archive, "last.py") == b"last"
        with zipfile.ZipFile(tmp_path / "out.whl") as judge:
            info = judge.getinfo("huge.bin")
            assert (info.file_size, info.compress_size, info.CRC) == (huge, huge, found.crc)
            assert info.extract_version == 45
            assert judge.getinfo("first.py").extract_version == 20
            assert judge.getinfo("last.py").header_offset > huge
            assert judge.read("last.py") == b"last"

    @pytest.mark.parametrize(
        ("size", "wide"), [(0xFFFFFFFE, False), (0xFFFFFFFF, True)], ids=["below", "at-the-limit"]
    )
    def test_zip64_is_used_exactly_where_it_is_needed(
        self,
        size: int,
        wide: bool,  # noqa: FBT001
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        # The headers alone: the content is left out.
        monkeypatch.setattr(output.Output, "copy", lambda *_: None)
        source = sparse_archive(tmp_path / "huge.whl", size)
        splice(source, all_of(source), tmp_path / "out.whl", timestamp=TIME)
        content = (tmp_path / "out.whl").read_bytes()
        assert (content[4] == 45) == wide
        assert (b"\1\0\x10\0" in content) == wide


def sparse_archive(path: Path, size: int) -> Archive:
    """Return an archive whose one member has so many zeros, which take no place."""
    wide = size >= MAX32
    narrow = MAX32 if wide else size
    extra = zip64(size, size) if wide else b""
    values = {"csize": narrow, "usize": narrow, "needed": 45 if wide else 20}
    entry = Entry(name="huge.bin", data=b"", both=values, local_extra=extra, central_extra=extra)
    header, listing = entry.local_record(), entry.central_record(0)
    offset = len(header) + size
    end = End(wide=True, end={"offset": MAX32}) if offset >= MAX32 else End()
    with path.open("wb") as file:
        file.write(header)
        file.seek(offset)
        file.write(listing + end.records(1, len(listing), offset))
    return open_archive(path)


class TestFailing:
    @pytest.fixture
    def old(self, tmp_path: Path) -> Path:
        (tmp_path / "out").mkdir()
        path = tmp_path / "out" / "out.whl"
        path.write_bytes(b"what was there")
        return path

    @pytest.mark.parametrize("when", ["write", "fsync"])
    def test_space_that_runs_out_at_any_call_is_told(
        self, when: str, source: Archive, old: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, when, fail)
        with pytest.raises(OutputError, match=r"no space left on the disk \[no-space\]; free some"):
            splice(source, all_of(source), old, timestamp=TIME)
        monkeypatch.undo()
        assert left_in(old.parent) == ["out.whl"]
        assert old.read_bytes() == b"what was there"

    def test_a_folder_that_is_not_there_is_told(self, source: Archive, tmp_path: Path) -> None:
        with pytest.raises(OutputError) as caught:
            splice(source, all_of(source), tmp_path / "absent" / "out.whl", timestamp=TIME)
        assert caught.value.code == "no-folder"


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux' account of memory")
def test_memory_stays_the_same_whatever_the_size(tmp_path: Path) -> None:
    source = tmp_path / "huge.whl"
    sparse_archive(source, 600 << 20)
    script = """
import resource, sys
from pathlib import Path
from repack.wheel import Added, Copied, open_archive, splice, verify
path = Path(sys.argv[1])
archive = open_archive(path)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
entries = [Copied(member=archive.members[0]), Added(name="file", content=path)]
splice(archive, entries, path.with_name("out.whl"), timestamp=0)
try:
    verify(archive)
except Exception as error:
    print(error.code, file=sys.stderr)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    result = subprocess.run(
        [sys.executable, "-c", script, source],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert result.stderr.strip() == "crc"
    assert int(result.stdout) < 16 << 10, "kilobytes more than before"


def lying(archive: Archive, name: str) -> bytes:
    """Return a member's bytes as they lie."""
    member = archive.member(name)
    assert member is not None
    content = archive.path.read_bytes()
    return content[member.offset : member.offset + member.compressed_size]


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
