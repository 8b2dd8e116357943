"""Files are there whole or not at all."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from repack import files
from repack.errors import OutputError

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such thing")


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


@posix
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


@posix
def test_a_sweep_takes_what_a_killed_process_left_and_nothing_of_one_that_works(
    tmp_path: Path,
) -> None:
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom repack import files\n"
        "with files.workspace(Path(sys.argv[1])): print(flush=True); time.sleep(60)"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(files.__file__).parents[1])}
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        files.sweep(tmp_path)
        assert len(names(tmp_path)) == 1
        child.kill()
    files.sweep(tmp_path)
    assert names(tmp_path) == []


def test_a_sweep_takes_of_other_machines_what_is_older_than_any_run(tmp_path: Path) -> None:
    young, old = (f".repack-{os.getpid()}-{'0' * 15}{number}.tmp" for number in (0, 1))
    for name in (young, old, ".out.txt.tmp"):
        (tmp_path / name).write_bytes(b"")
    os.utime(tmp_path / old, (0, 0))
    files.sweep(tmp_path)
    assert names(tmp_path) == [".out.txt.tmp", young]


def test_a_memory_recalls_what_was_kept_unless_it_is_damaged(tmp_path: Path) -> None:
    memory = files.Memory(tmp_path / "new" / "folder")
    assert memory.recall("key", int) is None
    memory.keep("key", 3)
    assert memory.recall("key", int) == 3
    (memory.folder / "key.json").write_bytes(b"{}")
    assert memory.recall("key", int) is None
