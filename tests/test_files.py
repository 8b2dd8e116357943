"""Files are there whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from fetching import Told

from repack import files
from repack.errors import InputError, OutputError

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such thing")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_and_fail(path: Path, error: BaseException) -> None:
    with files.replacing(path) as file:
        file.write(b"new")
        raise error


class TestReplacing:
    def test_the_file_appears_with_its_whole_content(self, tmp_path: Path) -> None:
        with files.replacing(tmp_path / "out.txt") as file:
            file.write(b"content")
            assert not (tmp_path / "out.txt").exists()
        assert (tmp_path / "out.txt").read_bytes() == b"content"
        assert names(tmp_path) == ["out.txt"]

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
    def test_whatever_is_raised_the_older_one_stays_alone(
        self, error: type[BaseException], tmp_path: Path
    ) -> None:
        (tmp_path / "out.txt").write_bytes(b"old")
        with pytest.raises(error):
            write_and_fail(tmp_path / "out.txt", error())
        assert names(tmp_path) == ["out.txt"]
        assert (tmp_path / "out.txt").read_bytes() == b"old"

    @posix
    def test_everybody_may_read_it_whatever_the_umask(self, tmp_path: Path) -> None:
        before = os.umask(0o077)
        try:
            with files.replacing(tmp_path / "out.txt") as file:
                file.write(b"x")
        finally:
            os.umask(before)
        assert (tmp_path / "out.txt").stat().st_mode & 0o777 == 0o644

    @posix
    def test_a_link_is_replaced_and_what_it_points_at_stays(self, tmp_path: Path) -> None:
        (tmp_path / "target").write_bytes(b"old")
        (tmp_path / "link").symlink_to(tmp_path / "target")
        with files.replacing(tmp_path / "link") as file:
            file.write(b"new")
        assert (tmp_path / "target").read_bytes() == b"old"
        assert (tmp_path / "link").read_bytes() == b"new"
        assert not (tmp_path / "link").is_symlink()

    def test_the_longest_name_there_may_be_is_written(self, tmp_path: Path) -> None:
        for name in ("x" * 255, "ä" * 127):
            with files.replacing(tmp_path / name) as file:
                file.write(b"x")
            assert (tmp_path / name).exists()

    @pytest.mark.parametrize(
        ("number", "code", "reason"),
        [
            (errno.ENOSPC, "no-space", "no space left on the disk"),
            (errno.EACCES, "no-permission", "permission denied"),
            (errno.EIO, "not-written", os.strerror(errno.EIO)),
        ],
        ids=["full", "permission", "bad-disk"],
    )
    def test_a_failure_is_one_line_with_reason_and_hint(
        self, number: int, code: str, reason: str, tmp_path: Path
    ) -> None:
        path = tmp_path / "out.txt"
        with pytest.raises(OutputError) as caught:
            write_and_fail(path, OSError(number, os.strerror(number)))
        assert str(caught.value).startswith(f"{path}: cannot be written: {reason}")
        assert (caught.value.code, caught.value.file) == (code, str(path))
        assert caught.value.hint
        assert names(tmp_path) == []


class TestReplace:
    def test_an_absent_folder_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"a")
        with pytest.raises(OutputError) as caught:
            files.replace(tmp_path / "a", tmp_path / "absent" / "b")
        assert caught.value.code == "no-folder"

    @pytest.mark.parametrize("times", [1, 3])
    def test_a_file_held_for_moments_by_windows_is_waited_for(
        self, times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "a").write_bytes(b"a")
        held = iter([HeldError()] * times)
        rename = Path.replace

        def busy(self: Path, target: Path) -> Path:
            for error in held:
                raise error
            return rename(self, target)

        monkeypatch.setattr(Path, "replace", busy)
        files.replace(tmp_path / "a", tmp_path / "b")
        assert names(tmp_path) == ["b"]

    def test_but_not_forever(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "a").write_bytes(b"a")
        monkeypatch.setattr(files, "_FIRST_PAUSE", 0.0001)

        def busy(*_: object) -> Path:
            raise HeldError

        monkeypatch.setattr(Path, "replace", busy)
        with pytest.raises(OutputError) as caught:
            files.replace(tmp_path / "a", tmp_path / "b")
        assert caught.value.code == "no-permission"


class HeldError(PermissionError):
    """What Windows raises while an antivirus program looks at a new file."""

    def __init__(self) -> None:
        super().__init__(errno.EACCES, "Access is denied")
        self.winerror = 32


class TestSweep:
    def test_what_others_or_nobody_called_so_stays(self, tmp_path: Path) -> None:
        kept = [".out.txt.tmp", "out.txt", ".out.12-xyz.tmp", "x.12-0123456789ab.tmp"]
        for name in kept:
            (tmp_path / name).write_bytes(b"")
        files.sweep(tmp_path)
        assert names(tmp_path) == sorted(kept)

    def test_a_file_being_written_by_another_process_stays(self, tmp_path: Path) -> None:
        child = writing_child(tmp_path / "out.txt", seconds=60)
        try:
            wait_for_temporary(tmp_path)
            # It is made first and locked then; between the two it would be made anew.
            time.sleep(0.5)
            files.sweep(tmp_path)
            assert len(names(tmp_path)) == 1
        finally:
            child.kill()
            child.wait()
        files.sweep(tmp_path)
        assert names(tmp_path) == []

    @posix
    def test_a_number_given_to_another_process_meanwhile_misleads_no_one(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / f".out.txt.{os.getpid()}-0123456789ab.tmp").write_bytes(b"")
        files.sweep(tmp_path)
        assert names(tmp_path) == []

    @posix
    def test_where_there_are_no_locks_nothing_is_taken_for_left(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import fcntl  # noqa: PLC0415 - not on Windows

        def refuse(*_: object) -> None:
            raise OSError(errno.ENOLCK, "no locks")

        monkeypatch.setattr(fcntl, "flock", refuse)
        mine = f".a.{os.getpid()}-0123456789ab.tmp"
        gone = f".a.{dead_process()}-0123456789ab.tmp"
        for name in (mine, gone):
            (tmp_path / name).write_bytes(b"")
        files.sweep(tmp_path)
        assert names(tmp_path) == sorted([mine, gone])
        with files.replacing(tmp_path / "out.txt") as file:
            file.write(b"x")
        assert (tmp_path / "out.txt").read_bytes() == b"x"

    @posix
    def test_a_link_that_is_called_so_is_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / "file").write_bytes(b"")
        (tmp_path / f".a.{dead_process()}-0123456789ab.tmp").symlink_to(tmp_path / "folder")
        files.sweep(tmp_path)
        assert (tmp_path / "folder" / "file").exists()


class TestWorkspace:
    def test_it_is_there_and_then_gone(self, tmp_path: Path) -> None:
        with files.workspace(tmp_path) as folder:
            (folder / "file").write_bytes(b"")
            files.sweep(tmp_path)
            assert (folder / "file").exists()
        assert names(tmp_path) == []

    def test_one_that_was_left_is_swept(self, tmp_path: Path) -> None:
        left = tmp_path / f".work.{dead_process()}-0123456789ab.tmp"
        left.mkdir()
        (left / "file").write_bytes(b"")
        files.sweep(tmp_path)
        assert names(tmp_path) == []

    def test_a_folder_that_cannot_be_written_to_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError), files.workspace(tmp_path / "absent"):
            pytest.fail("there is no folder")


def writing_child(path: Path, *, seconds: float) -> subprocess.Popen[bytes]:
    """Start a process that is still writing the file."""
    return child(f"with files.replacing(Path({str(path)!r})): time.sleep({seconds})")


def child(script: str) -> subprocess.Popen[bytes]:
    head = "import time\nfrom pathlib import Path\nfrom repack import files\n"
    return subprocess.Popen(
        [sys.executable, "-c", head + script],
        env={**os.environ, "PYTHONPATH": str(Path(files.__file__).parents[1])},
    )


def dead_process() -> int:
    """Return the number of a process that is gone."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def wait_for_temporary(folder: Path) -> None:
    deadline = time.monotonic() + 30
    while not any(name.endswith(".tmp") for name in names(folder)):
        assert time.monotonic() < deadline
        time.sleep(0.001)


class TestSha256:
    def test_it_is_that_of_the_content(self, tmp_path: Path) -> None:
        content = os.urandom(3_000_000)
        (tmp_path / "file").write_bytes(content)
        task = Told()
        digest = files.sha256_of(tmp_path / "file", task=task)
        assert digest == hashlib.sha256(content).hexdigest()
        assert task.done == len(content)

    def test_a_file_that_is_not_there_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(InputError) as caught:
            files.sha256_of(tmp_path / "absent")
        assert str(caught.value) == f"{tmp_path / 'absent'}: there is no such file [missing-file]"


class TestLinkOrCopy:
    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        (tmp_path / "source").write_bytes(b"content")
        return tmp_path / "source"

    def test_a_copy_is_made_where_it_cannot(
        self, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> None:
            raise OSError(errno.EXDEV, "another file system")

        monkeypatch.setattr(os, "link", refuse)
        files.link_or_copy(source, tmp_path / "other")
        assert not (tmp_path / "other").samefile(source)
        assert (tmp_path / "other").read_bytes() == b"content"

    def test_what_was_there_is_replaced_and_nothing_left(
        self, source: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "other").write_bytes(b"old")
        for _ in range(2):
            files.link_or_copy(source, tmp_path / "other")
            assert names(tmp_path) == ["other", "source"]
            assert (tmp_path / "other").samefile(source)

    def test_a_source_that_is_not_there_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(InputError):
            files.link_or_copy(tmp_path / "absent", tmp_path / "other")
        assert names(tmp_path) == []


class TestMemory:
    def test_what_was_kept_is_recalled(self, tmp_path: Path) -> None:
        memory = files.Memory(tmp_path / "new" / "folder")
        memory.keep("key", {"size": 3})
        assert memory.recall("key", lambda value: value["size"]) == 3

    @pytest.mark.parametrize(
        "content",
        [
            pytest.param(None, id="absent"),
            pytest.param(b"\xff", id="no text"),
            pytest.param(b"[" * 100_000, id="deep"),
            pytest.param(b"{}", id="without the key"),
            pytest.param(b'{"size": "x"}', id="no number"),
        ],
    )
    def test_what_is_damaged_counts_for_none(self, content: bytes | None, tmp_path: Path) -> None:
        if content is not None:
            (tmp_path / "key.json").write_bytes(content)
        assert files.Memory(tmp_path).recall("key", lambda value: int(value["size"])) is None


def test_no_sweep_takes_a_workspace_that_is_just_being_made(tmp_path: Path) -> None:
    ended = threading.Event()

    def sweep_on_and_on() -> None:
        while not ended.is_set():
            files.sweep(tmp_path)

    sweeper = threading.Thread(target=sweep_on_and_on)
    sweeper.start()
    try:
        for _ in range(2000):
            with files.workspace(tmp_path) as folder:
                (folder / "file").touch()
                assert (folder / "file").exists()
    finally:
        ended.set()
        sweeper.join()
