"""What every store promises, tried on each: a folder, `file:`, another of fsspec's, a bucket."""

from __future__ import annotations

import hashlib
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from fetching import make_content
from platforms import POSIX
from s3server import S3Server

from repack.console import SILENT
from repack.errors import RepackError, UsageError
from repack.stores import LocalStore, Store, open_store

CONTENT = make_content()
WHEEL = "tiny-thing/tiny_thing-1.0+cu126.patched-py3-none-any.whl"
KEYS = ("index.json", WHEEL, "tiny-thing/a b%20c\u00e9#.txt", "a/b/c.html")


@pytest.fixture(
    params=["folder", "file", "memory", pytest.param("s3", marks=POSIX)],
)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A place where nothing is yet, not even itself."""
    folder, name = tmp_path / "store", uuid.uuid4().hex
    if request.param != "s3":
        places = {"folder": str(folder), "file": folder.as_uri(), "memory": f"memory://{name}"}
        yield places[request.param]
        return
    server: S3Server = request.getfixturevalue("s3")
    with pytest.MonkeyPatch.context() as patch:
        for key, value in server.environment().items():
            patch.setenv(key, value)
        yield f"s3://team/{name}"


@pytest.fixture
def store(place: str) -> Store:
    return open_store(place)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.whl"
    path.write_bytes(CONTENT)
    return path


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_what_is_not_there_yet_is_empty(store: Store) -> None:
    assert store.sizes() == {}
    assert store.read("index.html") is None
    store.delete("tiny-thing/index.html")
    with store.lock(SILENT):
        assert store.sizes() == {}


def test_what_is_written_is_read_and_listed_under_its_key(store: Store) -> None:
    for key in KEYS:
        store.write(key, key.encode())
    assert store.sizes() == {key: len(key.encode()) for key in KEYS}
    assert list(store.sizes()) == sorted(KEYS)
    for key in KEYS:
        assert store.read(key) == key.encode()
        assert store.sha256(key) == sha256(key.encode())
        assert store.locate(key).startswith(store.place)
        with store.local(key) as path:
            assert (path.name, path.read_bytes()) == (key.rpartition("/")[2], key.encode())


def test_what_is_written_again_is_that_alone(store: Store) -> None:
    store.write("a/index.html", b"long and old")
    store.write("a/index.html", b"new")
    store.write("a/empty", b"")
    assert store.read("a/index.html") == b"new"
    assert store.sizes() == {"a/empty": 0, "a/index.html": 3}


def test_a_file_is_put_whole_and_its_source_left(store: Store, source: Path) -> None:
    store.write(WHEEL, b"other")
    store.put(WHEEL, source, sha256(CONTENT))
    assert store.read(WHEEL) == source.read_bytes() == CONTENT
    assert store.sizes() == {WHEEL: len(CONTENT)}


def test_a_source_that_is_not_what_it_was_changes_nothing(store: Store, source: Path) -> None:
    store.write(WHEEL, b"old")
    with pytest.raises(RepackError, match="it changed while it was copied"):
        store.put(WHEEL, source, sha256(b"what it was"))
    with pytest.raises(RepackError, match="there is no such file"):
        store.put(WHEEL, source.with_name("gone.whl"), sha256(CONTENT))
    assert store.read(WHEEL) == b"old"
    assert store.sizes() == {WHEEL: 3}


def test_a_deleted_file_is_gone_alone(store: Store) -> None:
    for key in ("a/one", "a/two", "b/one"):
        store.write(key, b"x")
    store.delete("a/one")
    store.delete("a/one")
    store.delete("b/one")
    assert store.read("a/one") is None
    assert list(store.sizes()) == ["a/two"]


def test_what_is_hidden_is_not_listed(store: Store) -> None:
    for key in (".hidden", "a/.hidden", ".folder/file", "a/shown"):
        store.write(key, b"x")
    assert list(store.sizes()) == ["a/shown"]


def test_a_missing_file_is_told_in_one_line(store: Store) -> None:
    store.write("a/b.whl", b"x")
    said = r"/a/c\.whl: there is no such file"
    with pytest.raises(RepackError, match=said):
        store.sha256("a/c.whl")
    with pytest.raises(RepackError, match=said), store.local("a/c.whl"):
        raise AssertionError


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", ".", "../a", "a/../../b", "a/./b"])
def test_a_key_that_leads_elsewhere_is_refused(store: Store, key: str) -> None:
    with pytest.raises(ValueError, match="is no key"):
        store.write(key, b"x")
    with pytest.raises(ValueError, match="is no key"):
        store.read(key)


def test_one_alone_holds_the_lock(place: str, store: Store) -> None:
    order: list[str] = []
    other = open_store(place)
    other.read("warm up")

    def wait() -> None:
        with other.lock(SILENT):
            order.append("second in")

    with store.lock(SILENT):
        thread = threading.Thread(target=wait)
        thread.start()
        thread.join(0.3)
        store.write("a/index.html", b"page")
        order.append("first out")
    thread.join(30)
    assert order == ["first out", "second in"]
    with store.lock(SILENT):
        assert store.sizes() == {"a/index.html": 4}


def test_a_reader_finds_the_old_or_the_new_never_a_part(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The tests' S3 server keeps a sum beside the file, and may tell the old one of the new.
    monkeypatch.setenv("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required")
    size, versions = 4 << 20, (b"a", b"b")
    sources = [tmp_path / "a.whl", tmp_path / "b.whl"]
    for path, letter in zip(sources, versions, strict=True):
        path.write_bytes(letter * size)
    store.write("x/page", versions[0] * size)
    store.put("x/file", sources[0], sha256(versions[0] * size))
    end = threading.Event()

    def change() -> None:
        for turn in range(1, 9):
            letter = versions[turn % 2]
            store.write("x/page", letter * size)
            store.put("x/file", sources[turn % 2], sha256(letter * size))
        end.set()

    writer = threading.Thread(target=change)
    writer.start()
    seen: set[tuple[int, bytes]] = set()
    while not end.is_set() and writer.is_alive():
        for key in ("x/page", "x/file"):
            content = store.read(key) or b""
            seen.add((len(content), content[:1] if content.count(content[:1]) == size else b""))
    writer.join()
    assert end.is_set()
    assert seen <= {(size, letter) for letter in versions}


def test_the_lock_of_a_folder_sweeps_away_what_a_killed_process_left(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.write("a/index.html", b"page")
    left = tmp_path / "a" / ".index.html.999999999-0123456789abcdef.tmp"
    left.write_bytes(b"half")
    with store.lock(SILENT):
        assert not left.exists()
    store.delete("a/index.html")
    assert [path.name for path in tmp_path.iterdir()] == [".repack.lock"]


def test_a_url_with_a_password_is_refused_without_showing_it() -> None:
    with pytest.raises(UsageError) as caught:
        open_store("s3://user:secret@team/x")
    assert "secret" not in str(caught.value).lower().replace("aws_secret_access_key", "")


def test_a_file_url_is_a_folder(tmp_path: Path) -> None:
    store = open_store(tmp_path.as_uri())
    assert isinstance(store, LocalStore)
    assert store.place == str(tmp_path)
