"""Files are there whole or not at all."""

import errno
import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from fetching import Told

from repack import files
from repack.errors import InputError, OutputError

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such thing")
#: A temporary file of this process, which holds no lock: a number that another process was given.
LEFT = f".out.txt.{os.getpid()}-0123456789ab.tmp"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write(path: Path, error: BaseException | None = None) -> None:
    with files.replacing(path) as file:
        file.write(b"new")
        if error:
            raise error


class TestReplacing:
    def test_the_file_appears_with_its_whole_content(self, tmp_path: Path) -> None:
        with files.replacing(tmp_path / "out.txt") as file:
            file.write(b"new")
            assert not (tmp_path / "out.txt").exists()
        assert (tmp_path / "out.txt").read_bytes() == b"new"
        assert names(tmp_path) == ["out.txt"]

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
    def test_whatever_is_raised_the_older_one_stays_alone(
        self, error: type[BaseException], tmp_path: Path
    ) -> None:
        (tmp_path / "out.txt").write_bytes(b"old")
        with pytest.raises(error):
            write(tmp_path / "out.txt", error())
        assert names(tmp_path) == ["out.txt"]
        assert (tmp_path / "out.txt").read_bytes() == b"old"

    @posix
    def test_everybody_may_read_it_whatever_the_umask(self, tmp_path: Path) -> None:
        before = os.umask(0o077)
        try:
            write(tmp_path / "out.txt")
        finally:
            os.umask(before)
        assert (tmp_path / "out.txt").stat().st_mode & 0o777 == 0o644

    @posix
    def test_a_link_is_replaced_and_what_it_points_at_stays(self, tmp_path: Path) -> None:
        (tmp_path / "target").write_bytes(b"old")
        (tmp_path / "link").symlink_to(tmp_path / "target")
        write(tmp_path / "link")
        assert (tmp_path / "target").read_bytes() == b"old"
        assert (tmp_path / "link").read_bytes() == b"new"

    @pytest.mark.parametrize("name", ["x" * 255, "ä" * 127], ids=["ASCII", "two bytes a letter"])
    def test_the_longest_name_there_may_be_is_written(self, name: str, tmp_path: Path) -> None:
        write(tmp_path / name)
        assert names(tmp_path) == [name]

    @pytest.mark.parametrize(
        ("number", "code"),
        [
            (errno.ENOSPC, "no-space"),
            (errno.EACCES, "no-permission"),
            (errno.EIO, "not-written"),
        ],
    )
    def test_a_failure_is_one_line_with_reason_and_hint(
        self, number: int, code: str, tmp_path: Path
    ) -> None:
        path = tmp_path / "out.txt"
        with pytest.raises(OutputError) as caught:
            write(path, OSError(number, os.strerror(number)))
        assert str(caught.value).startswith(f"{path}: cannot be written: ")
        assert (caught.value.code, caught.value.file) == (code, str(path))
        assert caught.value.hint
        assert names(tmp_path) == []

    def test_an_absent_folder_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError) as caught:
            write(tmp_path / "absent" / "b")
        assert caught.value.code == "no-folder"
        with pytest.raises(OutputError), files.workspace(tmp_path / "absent"):
            pytest.fail("there is no folder")

    @pytest.mark.parametrize(("times", "is_written"), [(3, True), (100, False)])
    def test_a_file_held_by_windows_is_waited_for_but_not_forever(
        self, times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_written: bool
    ) -> None:
        monkeypatch.setattr(files, "_FIRST_PAUSE", 0.0001)
        held = iter([HeldError()] * times)
        rename = Path.replace

        def busy(self: Path, target: Path) -> Path:
            for error in held:
                raise error
            return rename(self, target)

        monkeypatch.setattr(Path, "replace", busy)
        if is_written:
            write(tmp_path / "b")
        else:
            with pytest.raises(OutputError, match="no-permission"):
                write(tmp_path / "b")
        assert names(tmp_path) == ["b"] * is_written


class HeldError(PermissionError):
    """What Windows raises while an antivirus program looks at a new file."""

    def __init__(self) -> None:
        super().__init__(errno.EACCES, "Access is denied")
        self.winerror = 32


class TestSweep:
    @posix
    def test_takes_what_was_left_and_not_what_others_called_so(self, tmp_path: Path) -> None:
        kept = [".out.12-xyz.tmp", ".out.txt.tmp", "out.txt", "x.12-0123456789ab.tmp"]
        for name in [*kept, LEFT]:
            (tmp_path / name).write_bytes(b"")
        (tmp_path / ".work.1-0123456789ab.tmp").mkdir()
        (tmp_path / ".work.1-0123456789ab.tmp" / "file").touch()
        files.sweep(tmp_path)
        assert names(tmp_path) == kept

    def test_leaves_a_file_being_written_by_another_process(self, tmp_path: Path) -> None:
        script = (
            "import sys, time\nfrom pathlib import Path\nfrom repack import files\n"
            "with files.replacing(Path(sys.argv[1])): print(flush=True); time.sleep(60)"
        )
        command: list[str | Path] = [sys.executable, "-c", script, tmp_path / "out.txt"]
        env = {**os.environ, "PYTHONPATH": str(Path(files.__file__).parents[1])}
        with subprocess.Popen(command, env=env, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            child.stdout.readline()
            files.sweep(tmp_path)
            left = names(tmp_path)
            child.kill()
        assert len(left) == 1
        files.sweep(tmp_path)
        assert names(tmp_path) == []

    @posix
    def test_takes_nothing_for_left_where_there_are_no_locks(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import fcntl  # noqa: PLC0415 - not on Windows

        def refuse(*_: object) -> None:
            raise OSError(errno.ENOLCK, "no locks")

        monkeypatch.setattr(fcntl, "flock", refuse)
        (tmp_path / LEFT).touch()
        files.sweep(tmp_path)
        write(tmp_path / "out.txt")
        assert names(tmp_path) == [LEFT, "out.txt"]

    @posix
    def test_follows_no_link(self, tmp_path: Path) -> None:
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / "file").write_bytes(b"")
        (tmp_path / LEFT).symlink_to(tmp_path / "folder")
        files.sweep(tmp_path)
        assert (tmp_path / "folder" / "file").exists()

    def test_takes_no_workspace_even_one_that_is_just_being_made(self, tmp_path: Path) -> None:
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
        assert names(tmp_path) == []


def test_the_sha256_is_that_of_the_content(tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    (tmp_path / "file").write_bytes(content)
    task = Told()
    digest = files.sha256_of(tmp_path / "file", task=task)
    assert digest == hashlib.sha256(content).hexdigest()
    assert task.done == len(content)


@pytest.mark.parametrize("can_link", [True, False])
def test_a_file_is_linked_or_where_that_cannot_be_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, can_link: bool
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "another file system")

    if not can_link:
        monkeypatch.setattr(os, "link", refuse)
    source, other = tmp_path / "source", tmp_path / "other"
    source.write_bytes(b"content")
    other.write_bytes(b"old")
    for _ in range(2):
        files.link_or_copy(source, other)
        assert names(tmp_path) == ["other", "source"]
        assert other.read_bytes() == b"content"
        assert other.samefile(source) == can_link


def test_a_source_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent: there is no such file \[missing-file\]"):
        files.sha256_of(tmp_path / "absent")
    with pytest.raises(InputError):
        files.link_or_copy(tmp_path / "absent", tmp_path / "other")
    assert names(tmp_path) == []


@pytest.mark.parametrize("content", [None, b"\xff", b"[" * 100_000, b"{}", b'{"size": "x"}'])
def test_a_memory_recalls_what_was_kept_unless_it_is_damaged(
    content: bytes | None, tmp_path: Path
) -> None:
    memory = files.Memory(tmp_path / "new" / "folder")
    memory.keep("key", {"size": 3})
    assert memory.recall("key", lambda value: int(value["size"])) == 3
    path = tmp_path / "new" / "folder" / "key.json"
    path.unlink() if content is None else path.write_bytes(content)
    assert memory.recall("key", lambda value: int(value["size"])) is None
