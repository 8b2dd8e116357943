"""Files are there whole or not at all."""

import errno
import os
from pathlib import Path

import pytest
from platforms import POSIX

from repack import files
from repack.errors import OutputError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write(path: Path) -> None:
    with files.replacing(path) as file:
        file.write(b"new")
        assert not path.exists() or path.read_bytes() == b"old"


def test_a_file_appears_with_its_whole_content_though_its_name_is_the_longest(
    tmp_path: Path,
) -> None:
    write(tmp_path / ("ä" * 127))
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"new"]


def test_a_disk_that_tells_only_at_the_end_that_it_is_full_costs_no_older_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(_: int) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")  # as NFS does

    (tmp_path / "out.txt").write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OutputError, match="no-space"):
        write(tmp_path / "out.txt")
    assert (names(tmp_path), (tmp_path / "out.txt").read_bytes()) == (["out.txt"], b"old")


@POSIX
def test_everybody_may_read_a_file_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write(tmp_path / "out.txt")
    finally:
        os.umask(before)
    assert (tmp_path / "out.txt").stat().st_mode & 0o777 == 0o644


class HeldError(PermissionError):
    """What Windows raises while an antivirus program looks at a new file."""

    winerror = 32


def test_a_file_held_by_windows_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    held = iter([HeldError(errno.EACCES, "Access is denied")] * 3)
    rename = Path.replace

    def busy(self: Path, target: Path) -> Path:
        for error in held:
            raise error
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", busy)
    write(tmp_path / "b")
    assert names(tmp_path) == ["b"]


def test_a_sweep_takes_what_is_older_than_any_run_and_nothing_of_one_that_works(
    tmp_path: Path,
) -> None:
    young, old = (f".repack-{os.getpid()}-{'0' * 15}{number}.tmp" for number in (0, 1))
    for name in (young, old, ".out.txt.tmp"):
        (tmp_path / name).write_bytes(b"")
    os.utime(tmp_path / old, (0, 0))
    with files.workspace(tmp_path) as working:
        files.sweep(tmp_path)
        assert names(tmp_path) == sorted([".out.txt.tmp", young, working.name])


def test_a_damaged_memory_counts_for_none(tmp_path: Path) -> None:
    (tmp_path / "key.json").write_bytes(b"{}")
    files.Memory(tmp_path).keep("key", "no text: \udc80")
    assert files.Memory(tmp_path).recall("key", int) is None
