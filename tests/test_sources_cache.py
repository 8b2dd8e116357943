"""The cache, the lock's part in fetching, files of this machine, and `--offline`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from faultserver import FaultServer, listening
from fetching import NAME, Waits, locked, make_content, no_proxies, sha256

from repack.config import FileSource, Lock, UrlSource
from repack.errors import FetchError, InputError, OutputError, RepackError
from repack.progress import SILENT
from repack.sources import Cache, Fetched, fetch

CONTENT = make_content()
OTHER = make_content(seed=1)
PATH = f"/files/{NAME}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    no_proxies(monkeypatch)
    with listening() as server:
        server.add(PATH, CONTENT)
        yield server


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

    def test_that_is_a_file_is_said(self, tmp_path: Path) -> None:
        (tmp_path / "cache").write_text("", encoding="utf-8")
        with pytest.raises(OutputError, match="let REPACK_CACHE name a folder"):
            Cache(tmp_path / "cache").folder("interpreters")


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

    def test_that_has_become_another_is_refused(self, server: FaultServer, cache: Cache) -> None:
        server.add(PATH, OTHER)
        with pytest.raises(FetchError) as caught:
            get(server, cache, lock=locked(server.url(PATH), CONTENT))
        assert str(caught.value) == (
            f"{server.url(PATH)}: has SHA-256 {sha256(OTHER)}, repack.lock says "
            f"{sha256(CONTENT)} [sha256]; if the change is wanted, run again with --update-lock"
        )

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
        assert str(caught.value) == (
            f"{server.url(PATH)}: source.sha256 is {'0' * 64}, repack.lock says "
            f"{sha256(CONTENT)} [pin]; if the change is wanted, run again with --update-lock"
        )
        assert not server.seen


class TestAKnownHash:
    def test_saves_the_download_of_what_is_there(self, server: FaultServer, cache: Cache) -> None:
        get(server, cache)
        get(server, cache, known=sha256(CONTENT))
        assert len(server.seen) == 1

    def test_that_is_wrong_says_both(self, server: FaultServer, cache: Cache) -> None:
        with pytest.raises(FetchError) as caught:
            get(server, cache, known="0" * 64)
        assert f"has SHA-256 {sha256(CONTENT)}, source.sha256 says {'0' * 64}" in str(caught.value)

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
        assert str(caught.value) == (
            f"{server.url(PATH)}: is neither pinned in repack.lock nor in the cache, and "
            "--offline asks nobody [offline]; run `repack fetch` or `repack build` once without "
            "--offline"
        )
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

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            pytest.param(b"", "is not a wheel but an empty file, 0 bytes", id="empty"),
            pytest.param(
                b"<html><title>404</title>",
                "is not a wheel but what looks like HTML with the title '404', 24 bytes",
                id="a page",
            ),
            pytest.param(b"{}", "is not a wheel but what looks like JSON, 2 bytes", id="JSON"),
            pytest.param(b"\x1f\x8b\x08", "is not a wheel but a gzip file, 3 bytes", id="gzip"),
            pytest.param(
                b"MZ\x90\x00", "is not a wheel but a Windows program or DLL, 4 bytes", id="a DLL"
            ),
            pytest.param(
                b"version https://git-lfs.github.com/spec/v1",
                "is not a wheel but a Git LFS pointer, 42 bytes",
                id="Git LFS",
            ),
            pytest.param(
                b"hello, world",
                "is not a wheel but a file that begins with 68 65 6c 6c 6f 2c 20 77, 12 bytes",
                id="text",
            ),
            pytest.param(
                CONTENT[:-40],
                f"is a ZIP archive without its end, {len(CONTENT) - 40} bytes",
                id="cut",
            ),
        ],
    )
    def test_that_is_no_archive_says_what_it_is(
        self, tmp_path: Path, cache: Cache, content: bytes, reason: str
    ) -> None:
        path = tmp_path / NAME
        path.write_bytes(content)
        with pytest.raises(InputError) as caught:
            self.local(path, cache)
        assert str(caught.value).startswith(f"{path}: {reason} [not-a-zip]; ")

    def test_that_is_not_there_is_said(self, tmp_path: Path, cache: Cache) -> None:
        with pytest.raises(InputError, match="there is no such file"):
            self.local(tmp_path / NAME, cache)

    def test_that_is_a_folder_is_said(self, tmp_path: Path, cache: Cache) -> None:
        with pytest.raises(InputError, match="is a folder, not a wheel"):
            self.local(tmp_path, cache)

    def test_whose_name_is_no_wheels_is_said(self, tmp_path: Path, cache: Cache) -> None:
        path = tmp_path / "cv2.whl"
        path.write_bytes(CONTENT)
        with pytest.raises(RepackError, match="a wheel is called name-version-python-abi-platform"):
            self.local(path, cache)


class TestTheLocks:
    def test_of_a_hung_process_end_the_wait(
        self, cache: Cache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("repack.sources.cache._LONGEST_WAIT", 0.2)
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
