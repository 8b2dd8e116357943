"""The cache, the lock's part in fetching, files of this machine, and `--offline`."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from faultserver import FaultServer
from fetching import NAME, Told, fast_session, locked, make_content, sha256

from repack.config import FileSource, UrlSource
from repack.console import SILENT
from repack.errors import FetchError, InputError, OutputError, UsageError
from repack.fetch import Cache, Fetched, fetch
from repack.files import Memory
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
    return fetch(source, lock=lock, cache=cache, offline=offline, session=fast_session())


class TestTheFolder:
    def test_is_that_of_the_environment(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("REPACK_CACHE", str(tmp_path))
        assert Cache.default().root == tmp_path
        monkeypatch.setenv("REPACK_CACHE", "s3://bucket/prefix")
        with pytest.raises(UsageError, match="the cache is a folder of this machine"):
            Cache.default()

    @pytest.mark.skipif(sys.platform != "linux", reason="each system has its own place")
    def test_is_else_that_of_the_platform(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.delenv("REPACK_CACHE", raising=False)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert Cache.default().root == tmp_path / "repack"


class TestAPinnedFile:
    def test_is_taken_from_the_cache_without_a_question(
        self, server: FaultServer, cache: Cache
    ) -> None:
        first = get(server, cache)
        assert get(server, cache, lock=Lock().with_pin(first.pin)) == first
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
        self, server: FaultServer, cache: Cache, damage: Callable[[bytes], bytes]
    ) -> None:
        first = get(server, cache)
        lock, stat = Lock().with_pin(first.pin), first.path.stat()
        first.path.write_bytes(damage(CONTENT))
        os.utime(first.path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        with pytest.raises(FetchError, match="not in the cache, and --offline asks nobody"):
            get(server, cache, lock=lock, offline=True)
        assert get(server, cache, lock=lock).path.read_bytes() == CONTENT
        assert len(server.seen) == 2

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
        with pytest.raises(FetchError, match=f"is {'0' * 64}, repack.lock says {sha256(CONTENT)}"):
            get(server, cache, lock=lock, known="0" * 64)
        assert not server.seen

    def test_of_a_url_is_the_same_whatever_its_query(
        self, server: FaultServer, cache: Cache
    ) -> None:
        first = get(server, cache)
        signed = UrlSource(url=server.url(f"{PATH}?X-Amz-Signature=secret"))
        assert fetch(signed, lock=Lock().with_pin(first.pin), cache=cache) == first
        assert len(server.seen) == 1


def test_a_known_hash_saves_the_download_of_what_is_there(
    server: FaultServer, cache: Cache
) -> None:
    get(server, cache)
    get(server, cache, known=sha256(CONTENT))
    assert len(server.seen) == 1
    with pytest.raises(FetchError, match="--offline"):
        get(server, cache, known="0" * 64, offline=True)


def test_offline_takes_what_was_last_fetched_and_asks_nobody(
    server: FaultServer, cache: Cache
) -> None:
    with pytest.raises(FetchError) as caught:
        get(server, cache, lock=Lock(), offline=True)
    assert caught.value.code == "offline"
    assert "run `repack fetch` or `repack build` once" in caught.value.hint
    with pytest.raises(FetchError, match=rf"{NAME} \({len(CONTENT)} bytes\) is not in the"):
        get(server, cache, lock=locked(server.url(PATH), CONTENT), offline=True)
    assert not server.seen
    first = get(server, cache)
    # What is not pinned is asked for each time.
    assert get(server, cache).sha256 == first.sha256
    assert len(server.seen) == 2
    assert get(server, cache, offline=True) == first
    assert len(server.seen) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="users and modes of POSIX")
def test_a_cache_that_may_only_be_read_is_used(server: FaultServer) -> None:
    with tempfile.TemporaryDirectory() as folder:
        cache = Cache(Path(folder))
        first = get(server, cache)
        folders = [cache.root, *(path for path in cache.root.rglob("*") if path.is_dir())]
        for path in folders:
            path.chmod(0o555)
        user = os.geteuid()
        # Whoever may do everything becomes somebody else.
        os.seteuid(user or 65534)
        try:
            assert get(server, cache, lock=Lock().with_pin(first.pin)) == first
            assert get(server, cache, offline=True) == first
            Memory(cache.folder("new")).keep("key", "what would be nice to know")
            with pytest.raises(OutputError, match="REPACK_CACHE name a folder you may write to"):
                get(server, cache)
        finally:
            os.seteuid(user)
            for path in folders:
                path.chmod(0o755)


class TestAFile:
    def test_is_used_where_it_lies(self, tmp_path: Path, cache: Cache) -> None:
        path = tmp_path / NAME
        path.write_bytes(CONTENT)
        fetched = fetch(FileSource(path=path), lock=None, cache=cache)
        assert fetched.path == path
        assert (fetched.sha256, fetched.url) == (sha256(CONTENT), f"file:{NAME}")
        assert not cache.root.exists()
        path.write_bytes(OTHER)
        with pytest.raises(FetchError, match=f"repack.lock says {sha256(CONTENT)}"):
            fetch(FileSource(path=path), lock=Lock().with_pin(fetched.pin), cache=cache)


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


def test_who_waits_for_another_says_so(cache: Cache) -> None:
    told, is_held, may_end = Told(), threading.Event(), threading.Event()

    def hold() -> None:
        with cache.lock("key", SILENT):
            is_held.set()
            may_end.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    is_held.wait(20)
    threading.Timer(0.3, may_end.set).start()
    with cache.lock("key", told):
        assert told.texts == ["Waiting for another repack that does the same"]
    holder.join()
