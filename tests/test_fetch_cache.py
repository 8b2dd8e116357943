"""The cache, the lock's part in fetching, files of this machine, and `--offline`."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
from faultserver import FaultServer
from fetching import NAME, Waits, locked, make_content, sha256

from repack.config import FileSource, UrlSource
from repack.console import SILENT
from repack.errors import FetchError, InputError, OutputError, UsageError
from repack.fetch import Cache, Fetched, fetch
from repack.lock import Lock

CONTENT = make_content()
OTHER = make_content(seed=1)
PATH = f"/files/{NAME}"


@pytest.fixture
def server(server: FaultServer) -> FaultServer:
    server.add(PATH, CONTENT)
    return server


def get(
    server: FaultServer,
    cache: Cache,
    *,
    lock: Lock | None = None,
    offline: bool = False,
    known: str | None = None,
) -> Fetched:
    source = UrlSource(url=server.url(PATH), sha256=known)
    return fetch(source, lock=lock, cache=cache, offline=offline, client=Waits().client())


class TestTheFolder:
    def test_is_that_of_the_environment(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("REPACK_CACHE", str(tmp_path))
        assert Cache.default().root == tmp_path

    @pytest.mark.skipif(sys.platform != "linux", reason="each system has its own place")
    def test_is_else_that_of_the_platform(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.delenv("REPACK_CACHE", raising=False)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert Cache.default().root == tmp_path / "repack"

    def test_is_no_url(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REPACK_CACHE", "s3://bucket/prefix")
        with pytest.raises(UsageError, match="the cache is a folder of this machine"):
            Cache.default()

    def test_has_room_for_other_things(self, cache: Cache) -> None:
        assert cache.folder("interpreters").is_dir()

    def test_keeps_of_what_has_not_arrived_what_somebody_may_go_on_with(
        self, server: FaultServer, cache: Cache
    ) -> None:
        day = 86400.0
        ages = {"old.part": 15, "old.json": 20, "kept.part": 13, "kept.json": 20, "work": 15}
        for name, age in ages.items():
            path = cache.folder("incoming") / name
            if path.suffix:
                path.write_bytes(b"x")
            else:
                (path / "wheels").mkdir(parents=True)
            os.utime(path, (time.time() - age * day,) * 2)
        get(server, cache)
        assert {path.name for path in cache.incoming.iterdir()} == {"kept.part", "kept.json"}


class TestAPinnedFile:
    def test_is_taken_from_the_cache_without_a_question(
        self, server: FaultServer, cache: Cache
    ) -> None:
        first = get(server, cache)
        again = get(server, cache, lock=Lock().with_pin(first.pin))
        assert again == first
        assert len(server.seen) == 1

    @pytest.mark.parametrize(
        "damage",
        [
            pytest.param(lambda content: content[:-1], id="cut"),
            pytest.param(lambda content: content[:99] + b"?" + content[100:], id="one byte"),
            pytest.param(lambda content: content + b"?", id="longer"),
            pytest.param(lambda _: b"", id="empty"),
        ],
    )
    def test_damaged_in_the_cache_is_noticed_and_fetched_anew(
        self, server: FaultServer, cache: Cache, damage: object
    ) -> None:
        first = get(server, cache)
        stat = first.path.stat()
        first.path.write_bytes(damage(CONTENT))  # type: ignore[operator]
        os.utime(first.path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        again = get(server, cache, lock=Lock().with_pin(first.pin))
        assert again.path.read_bytes() == CONTENT
        assert len(server.seen) == 2

    def test_damaged_in_the_cache_is_not_used_offline(
        self, server: FaultServer, cache: Cache
    ) -> None:
        first = get(server, cache)
        first.path.write_bytes(b"?")
        with pytest.raises(FetchError, match="is not in the cache, and --offline asks nobody"):
            get(server, cache, lock=Lock().with_pin(first.pin), offline=True)

    def test_is_taken_as_it_is_now_where_the_lock_is_renewed(
        self, server: FaultServer, cache: Cache
    ) -> None:
        get(server, cache)
        server.add(PATH, OTHER)
        assert get(server, cache, lock=Lock()).pin.sha256 == sha256(OTHER)

    def test_contradicted_by_the_configuration_is_refused(
        self, server: FaultServer, cache: Cache
    ) -> None:
        lock = locked(server.url(PATH), CONTENT)
        with pytest.raises(FetchError) as caught:
            get(server, cache, lock=lock, known="0" * 64)
        assert caught.value.code == "pin"
        assert f"is {'0' * 64}, repack.lock says {sha256(CONTENT)}" in str(caught.value)
        assert not server.seen


class TestAKnownHash:
    def test_saves_the_download_of_what_is_there(self, server: FaultServer, cache: Cache) -> None:
        get(server, cache)
        get(server, cache, known=sha256(CONTENT))
        assert len(server.seen) == 1

    def test_takes_nothing_else_from_the_cache_offline(
        self, server: FaultServer, cache: Cache
    ) -> None:
        get(server, cache)
        with pytest.raises(FetchError, match="--offline"):
            get(server, cache, known="0" * 64, offline=True)


class TestOffline:
    def test_with_nothing_pinned_says_what_to_do(self, server: FaultServer, cache: Cache) -> None:
        with pytest.raises(FetchError) as caught:
            get(server, cache, lock=Lock(), offline=True)
        assert caught.value.code == "offline"
        assert "run `repack fetch` or `repack build` once" in caught.value.hint
        assert not server.seen

    def test_with_a_pin_and_no_file_names_the_file(self, server: FaultServer, cache: Cache) -> None:
        with pytest.raises(FetchError) as caught:
            get(server, cache, lock=locked(server.url(PATH), CONTENT), offline=True)
        assert f"{NAME} ({len(CONTENT)} bytes) is not in the cache" in str(caught.value)
        assert not server.seen

    def test_takes_what_was_last_fetched_where_nothing_is_pinned(
        self, server: FaultServer, cache: Cache
    ) -> None:
        first = get(server, cache)
        assert get(server, cache, offline=True) == first
        assert len(server.seen) == 1


class TestAnUnpinnedUrl:
    def test_is_asked_for_each_time(self, server: FaultServer, cache: Cache) -> None:
        get(server, cache)
        get(server, cache)
        assert len(server.seen) == 2

    def test_of_another_kind_of_archive_is_had_where_that_is_wanted(
        self, server: FaultServer, cache: Cache
    ) -> None:
        server.add("/python-3.12.10-embed-amd64.zip", CONTENT)
        source = UrlSource(url=server.url("/python-3.12.10-embed-amd64.zip"))
        fetched = fetch(source, lock=None, cache=cache, client=Waits().client(), wheel=False)
        assert fetched.path.name == "python-3.12.10-embed-amd64.zip"


class TestAFile:
    def local(self, path: Path, cache: Cache, *, lock: Lock | None = None) -> Fetched:
        return fetch(FileSource(path=path), lock=lock, cache=cache)

    def test_is_used_where_it_lies(self, tmp_path: Path, cache: Cache) -> None:
        path = tmp_path / NAME
        path.write_bytes(CONTENT)
        fetched = self.local(path, cache)
        assert fetched.path == path
        assert fetched.pin == Lock().with_pin(fetched.pin).pin(f"file:{NAME}")
        assert (fetched.sha256, fetched.url) == (sha256(CONTENT), f"file:{NAME}")
        assert not cache.root.exists()

    def test_that_differs_from_its_pin_is_refused(self, tmp_path: Path, cache: Cache) -> None:
        path = tmp_path / NAME
        path.write_bytes(OTHER)
        with pytest.raises(FetchError, match=f"repack.lock says {sha256(CONTENT)}"):
            self.local(path, cache, lock=locked(f"file:{NAME}", CONTENT))


#: What lies there, and what it is called.
NO_WHEELS = {
    "empty": (b"", "is not a wheel but an empty file, 0 bytes"),
    "a page": (b"<html><title>404</title>", "what looks like HTML with the title '404', 24 bytes"),
    "JSON": (b"{}", "what looks like JSON, 2 bytes"),
    "gzip": (b"\x1f\x8b\x08", "a gzip file, 3 bytes"),
    "a DLL": (b"MZ\x90\x00", "a Windows program or DLL, 4 bytes"),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1", "a Git LFS pointer, 42 bytes"),
    "text": (b"hello, world", "begins with 68 65 6c 6c 6f 2c 20 77, 12 bytes"),
    "cut": (CONTENT[:-40], f"is a ZIP archive without its end, {len(CONTENT) - 40} bytes"),
}


@pytest.mark.parametrize(("content", "reason"), NO_WHEELS.values(), ids=NO_WHEELS)
def test_a_file_that_is_no_archive_is_called_what_it_is(
    content: bytes, reason: str, tmp_path: Path, cache: Cache
) -> None:
    path = tmp_path / NAME
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        fetch(FileSource(path=path), lock=None, cache=cache)
    assert (caught.value.code, caught.value.file) == ("not-a-zip", str(path))
    assert reason in str(caught.value)


class TestTheLocks:
    def test_of_a_hung_process_end_the_wait(
        self, cache: Cache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("repack.fetch.cache._LONGEST_WAIT", 0.2)
        with (
            cache.lock("key", SILENT),
            pytest.raises(OutputError, match="another process has held this lock"),
            cache.lock("key", SILENT),
        ):
            raise AssertionError

    def test_are_let_go_after_an_error(self, cache: Cache) -> None:
        with pytest.raises(ValueError, match="once"), cache.lock("key", SILENT):
            raise ValueError("once")
        with cache.lock("key", SILENT):
            pass


class TestAWorkspace:
    def test_is_empty_though_a_killed_process_left_one(self, cache: Cache) -> None:
        with cache.workspace("key") as folder:
            (folder / "left").write_text("", encoding="utf-8")
            with cache.workspace("key") as again:
                assert list(again.iterdir()) == []
        assert not folder.exists()
