"""The cache, the lock's part in fetching, files of this machine, and `--offline`."""

import os
import sys
import tempfile
from pathlib import Path

import pytest
from fetching import NAME, PATH, Site, fetch, make_content, pin_of, sha256

from repack.config import FileSource, UrlSource
from repack.errors import FetchError, OutputError
from repack.fetch.cache import Cache

CONTENT = make_content()
OTHER = make_content(seed=1)


@pytest.fixture
def site(site: Site) -> Site:
    site.add(PATH, CONTENT)
    return site


def test_what_is_damaged_in_the_cache_is_fetched(site: Site) -> None:
    first = site.get()
    stat = first.path.stat()
    first.path.write_bytes(b"?" + CONTENT[1:])
    os.utime(first.path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(FetchError, match="not in the cache, and --offline asks nobody"):
        site.get(pin=first.pin, offline=True)
    assert site.get(pin=first.pin).path.read_bytes() == CONTENT
    assert len(site.seen) == 2


def test_what_is_pinned_is_not_asked_for_whatever_the_query(site: Site) -> None:
    first = site.get()
    assert site.get(pin=first.pin) == first
    signed = UrlSource(url=site.url(f"{PATH}?X-Amz-Signature=secret"))
    assert fetch(signed, site.cache, first.pin) == first
    with pytest.raises(FetchError, match=f"{sha256(CONTENT)}, source.sha256 says 000"):
        site.get(pin=first.pin, sha256="0" * 64)
    assert site.get(sha256=sha256(CONTENT)) == first
    assert len(site.seen) == 1
    # What is not pinned is asked for each time.
    site.add(PATH, OTHER)
    assert site.get().sha256 == sha256(OTHER)


def test_offline_takes_what_was_fetched_and_asks_nobody(site: Site) -> None:
    with pytest.raises(FetchError, match=rf"{NAME} \({len(CONTENT)} bytes\) is not in the"):
        site.get(pin=pin_of(site.url(PATH), CONTENT), offline=True)
    assert not site.seen
    first = site.get()
    assert site.get(offline=True) == first
    with pytest.raises(FetchError, match=r"source\.sha256 says 000"):
        site.get(sha256="0" * 64, offline=True)
    assert len(site.seen) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="users and modes of POSIX")
def test_a_cache_that_may_only_be_read_is_used(site: Site) -> None:
    with tempfile.TemporaryDirectory() as folder:
        site.cache = cache = Cache(Path(folder) / "cache")
        first = site.get()
        folders = [cache.root, *(path for path in cache.root.rglob("*") if path.is_dir())]
        cache.root.parent.chmod(0o777)
        for path in folders:
            path.chmod(0o555)
        user = os.geteuid()
        # Whoever may do everything becomes somebody else.
        os.seteuid(user or 65534)
        try:
            assert site.get(pin=first.pin) == first
            assert site.get(offline=True) == first
            with pytest.raises(OutputError, match="REPACK_CACHE name a folder that you may write"):
                site.get()
        finally:
            os.seteuid(user)
            for path in folders:
                path.chmod(0o755)


def test_a_file_of_this_machine_is_used_where_it_lies(tmp_path: Path, cache: Cache) -> None:
    path = tmp_path / NAME
    path.write_bytes(CONTENT)
    fetched = fetch(FileSource(path=path), cache)
    assert (fetched.path, fetched.sha256) == (path, sha256(CONTENT))
    assert fetched.pin.url == f"file:{NAME}"
    assert not cache.root.exists()
    path.write_bytes(OTHER)
    with pytest.raises(FetchError, match=f"repack.lock says {sha256(CONTENT)}"):
        fetch(FileSource(path=path), cache, fetched.pin)
