"""An index stays whole: killed in the middle, changed by two at once, on a full disk."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import threading
import time
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from platforms import POSIX
from publishing import one_after_another, published, tiny
from running import REPACK

from repack.errors import OutputError
from repack.stores import LocalStore


class Links(HTMLParser):
    """The links of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: dict[str, str] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        href = dict(attrs).get("href")
        if tag == "a" and href:
            place, _, digest = href.partition("#sha256=")
            self.found[unquote(place)] = digest


def whole(index: Path, *, removing: bool = False) -> set[str]:
    """Check that all that the pages tell of is there, and return the versions' files.

    While something is removed a page may have been read just before; then that is not asked for.
    """
    told: set[str] = set()
    root = index / "index.html"
    if root.exists():
        for folder in Links(root.read_text("utf-8")).found:
            assert (index / folder / "index.html").exists() or removing
    for page in index.glob("*/index.html"):
        links = Links(page.read_text("utf-8")).found
        assert page.read_bytes().endswith(b"</html>\n")
        for name, digest in links.items():
            assert hashlib.sha256((page.parent / name).read_bytes()).hexdigest() == digest
            assert (page.parent / f"{name}.metadata").exists()
        told |= links.keys()
    for page in index.glob("*/index.json"):
        for file in json.loads(page.read_bytes())["files"]:
            assert (page.parent / file["filename"]).stat().st_size == file["size"]
            assert (page.parent / f"{file['filename']}.metadata").exists()
    return told


def start(*words: str | Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [str(REPACK), "publish", *map(str, words), "-q"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def ended(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said


def test_a_publish_that_is_killed_leaves_what_can_be_read_and_goes_on_where_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index, dist = tmp_path / "index", tmp_path / "dist"
    chance = random.Random(691)  # noqa: S311 - moments, not secrets
    for turn in range(10):
        for each in range(6):
            tiny(dist, f"{turn}.{each}")
        process = start(dist, "--index-dir", index)
        began = time.monotonic()
        if turn % 2:  # in the midst of writing, not of importing
            seen = set(index.rglob("*"))
            while set(index.rglob("*")) <= seen and time.monotonic() - began < 30:
                pass
        process.kill() if chance.random() < 0.5 else process.terminate()
        process.communicate(timeout=60)
        if index.exists():
            whole(index)
    published(capsys, dist, "--index-dir", index)
    assert whole(index) == {path.name for path in dist.glob("*.whl")}
    assert not list(index.rglob("*.tmp"))


def test_three_who_publish_at_once_lose_nothing_and_a_reader_finds_all_he_is_told_of(
    tmp_path: Path,
) -> None:
    index = tmp_path / "index"
    folders = [tmp_path / "a", tmp_path / "b", tmp_path / "c"]
    for number, folder in enumerate(folders):
        for each in range(8):
            tiny(folder / str(each), f"{number}.{each}")
    processes = [one_after_another(folder, index) for folder in folders]
    faults: list[BaseException] = []

    def read() -> None:
        try:
            while any(process.poll() is None for process in processes):
                whole(index)
        except BaseException as error:  # noqa: BLE001 - told by the test's thread
            faults.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    ended(processes)
    reader.join()
    assert not faults
    assert whole(index) == {path.name for folder in folders for path in folder.rglob("*.whl")}


def test_a_removal_that_is_stopped_at_any_file_leaves_no_page_that_tells_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    index, dist = tmp_path / "index", tmp_path / "dist"
    for version in ("1.0", "2.0"):
        tiny(dist, version)
    published(capsys, dist, "--index-dir", index)
    kept = whole(index) - {"tiny_thing-1.0-py3-none-any.whl"}
    genuine = LocalStore.delete

    def stopped(store: LocalStore, key: str) -> None:
        if key.endswith(".whl"):
            raise OutputError("cannot be written: permission denied", file=store.locate(key))
        genuine(store, key)

    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "delete", stopped)
        published(capsys, "--index-dir", index, "--remove", "1.0", code=1)
    assert whole(index) == kept
    published(capsys, "--index-dir", index, "--remove", "1.0")
    assert {path.name for path in index.rglob("*.whl")} == kept


@POSIX
def test_a_wheel_that_is_larger_than_files_may_be_leaves_the_index_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import resource  # noqa: PLC0415 - POSIX alone has it

    index, dist = tmp_path / "index", tmp_path / "dist"
    tiny(dist, "1.0")
    published(capsys, dist, "--index-dir", index)
    before = whole(index)
    tiny(dist, "2.0", f"Keywords: {random.Random(1).randbytes(20_000).hex()}")  # noqa: S311 - no secret
    done = subprocess.run(
        [str(REPACK), "publish", str(dist), "--index-dir", str(index), "-q"],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000)),
    )
    assert done.returncode == 1
    assert "[no-space]; " in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert whole(index) == before
    assert not list(index.rglob("*.tmp"))
