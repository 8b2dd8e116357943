"""Laws of the archive reader and writer, over damage and over archives made up at random."""

from __future__ import annotations

import hashlib
import tempfile
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wheelmaking import DEFLATED, End, Entry, deflated, make_zip

from repack.errors import InputError
from repack.wheel import (
    Added,
    Archive,
    Copied,
    canonical_order,
    open_archive,
    read_member,
    splice,
    verify,
)

SMALL = [
    Entry(name="a.py", content=b"print('a')\n" * 9, method=DEFLATED),
    Entry(name="b/", mode=0o040755),
    Entry(name="b/ü.txt", content=b"stored"),
    Entry(
        name="c.py",
        content=b"streamed " * 9,
        method=DEFLATED,
        flags=0x8,
        after=b"PK\7\x08"
        + zlib.crc32(b"streamed " * 9).to_bytes(4, "little")
        + len(deflated(b"streamed " * 9)).to_bytes(4, "little")
        + (81).to_bytes(4, "little"),
    ),
]
NARROW = make_zip(SMALL, End(comment=b"small"))
WIDE = make_zip(SMALL, End(wide=True))


def contents(path: Path) -> dict[str, tuple[str, int, bool]] | None:
    """Return each member's digest, executability and kind; None if the archive is refused."""
    try:
        archive = open_archive(path)
        digests = verify(archive)
    except InputError as error:
        if not error.code or not str(error).isprintable():
            raise
        return None
    return {
        member.name: (digests.get(member.name, ""), member.mode & 0o111, member.directory)
        for member in archive.members
    }


@pytest.mark.parametrize(
    "whole", [pytest.param(NARROW, id="narrow"), pytest.param(WIDE, id="zip64")]
)
def test_no_flipped_bit_is_accepted_with_other_content(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "small.whl"
    path.write_bytes(whole)
    truth = contents(path)
    assert truth is not None
    for position in range(len(whole) * 8):
        damaged = bytearray(whole)
        damaged[position // 8] ^= 1 << position % 8
        path.write_bytes(damaged)
        found = contents(path)
        if found is not None:
            assert {name: row[0] for name, row in found.items()} == {
                name: row[0] for name, row in truth.items()
            }, position


@pytest.mark.parametrize(
    "whole", [pytest.param(NARROW, id="narrow"), pytest.param(WIDE, id="zip64")]
)
def test_no_truncation_is_accepted(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "small.whl"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert contents(path) is None, length
        path.write_bytes(whole[length + 1 :])
        assert contents(path) is None, length


def test_no_removed_doubled_or_inserted_byte_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "small.whl"
    # The comment, at the end, may grow together with nothing else.
    for position in range(len(NARROW)):
        for piece in (
            b"",
            NARROW[position : position + 1] * 2,
            NARROW[position : position + 1] + b"\0",
        ):
            path.write_bytes(NARROW[:position] + piece + NARROW[position + 1 :])
            assert contents(path) is None, position


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_random_damage_never_raises_anything_but_the_one_error(data: st.DataObject) -> None:
    damaged = bytearray(data.draw(st.sampled_from([NARROW, WIDE])))
    for _ in range(data.draw(st.integers(1, 6))):
        start = data.draw(st.integers(0, len(damaged) - 1))
        length = data.draw(st.integers(0, 12))
        damaged[start : start + length] = data.draw(st.binary(max_size=12))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "small.whl")
        path.write_bytes(damaged)
        contents(path)


NAME = st.text(st.sampled_from("abcXYZ09_-+äß漢😀"), min_size=1, max_size=12)
NAMES = st.lists(
    st.lists(NAME, min_size=1, max_size=3).map("/".join),
    min_size=1,
    max_size=8,
    unique_by=str.casefold,
)


def no_file_is_a_folder(names: list[str]) -> bool:
    folded = {name.casefold() for name in names}
    return not any(
        "/".join(name.split("/")[:depth]) in folded
        for name in folded
        for depth in range(1, name.count("/") + 1)
    )


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(
    names=NAMES.filter(no_file_is_a_folder),
    contents_=st.lists(st.binary(max_size=3000), min_size=8, max_size=8),
    deflate=st.lists(st.booleans(), min_size=8, max_size=8),
    wide=st.booleans(),
    timestamp=st.integers(-(2**40), 2**40),
)
def test_what_was_built_is_read_and_spliced_and_read_again(
    names: list[str],
    contents_: list[bytes],
    deflate: list[bool],
    wide: bool,  # noqa: FBT001 - hypothesis passes it by name
    timestamp: int,
) -> None:
    truth = dict(zip(names, contents_, strict=False))
    entries = [
        Entry(name=name, content=content, method=DEFLATED if packed else 0)
        for (name, content), packed in zip(truth.items(), deflate, strict=False)
    ]
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder, "built.whl")
        built.write_bytes(make_zip(entries, End(wide=wide)))
        archive = open_archive(built)
        assert verify(archive).keys() == truth.keys()
        added = Added(name="added.dist-info/RECORD", content=b"new", deflate=deflate[0])
        first, again, other = (
            copied(archive, Path(folder, "first.whl"), timestamp, added),
            copied(archive, Path(folder, "again.whl"), timestamp, added),
            copied(open_archive(Path(folder, "first.whl")), Path(folder, "other.whl"), timestamp),
        )
        assert first == again == other
        read = open_archive(Path(folder, "first.whl"))
        verify(read)
        assert {name: read_member(read, name) for name in read.names} == {
            **truth,
            added.name: b"new",
        }


def copied(archive: Archive, path: Path, timestamp: int, *added: Added) -> str:
    """Return the digest of the canonical copy of the archive, with members added."""
    entries: dict[str, Copied | Added] = {
        **{member.name: Copied(member=member) for member in archive.members},
        **{each.name: each for each in added},
    }
    ordered = [entries[name] for name in canonical_order(entries)]
    written = splice(archive, ordered, path, timestamp=timestamp)
    assert written.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert written.size == path.stat().st_size
    return written.sha256
