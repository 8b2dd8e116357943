"""Index requirements, through the real pip, from a small index on loopback."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from faultserver import FaultServer, answers, listening
from fetching import Told, locked, make_content, no_proxies, sha256

from repack.config import IndexSource
from repack.console import SILENT
from repack.errors import FetchError, RepackError
from repack.fetch import Cache, Fetched, fetch, fetch_index, pin_key
from repack.fetch.pip import check_index
from repack.lock import Lock

CP39 = "sample_cu126-4.12.0-cp39-none-win_amd64.whl"
ABI3 = "sample_cu126-4.13.0-cp37-abi3-win_amd64.whl"
THREADED = "sample_cu126-4.13.0-cp314-cp314t-win_amd64.whl"
LINUX = "sample_cu126-4.14.0-cp37-abi3-manylinux_2_28_x86_64.whl"
LOCAL = "sample_cu126-4.11.0+cu126-py3-none-any.whl"
NAMES = (CP39, ABI3, THREADED, LINUX, LOCAL)
SOURCE = IndexSource(requirement="sample-cu126==4.13.0", python="3.12")


def wheel(name: str) -> bytes:
    """The wheel of that name, with metadata for pip, and large enough for its progress bar."""
    dist_info = "-".join(name.split("-")[:2])
    version = name.split("-")[1]
    files = {
        f"{dist_info}.dist-info/METADATA": (
            f"Metadata-Version: 2.1\nName: sample-cu126\nVersion: {version}\n"
            "Requires-Dist: never-asked-for\n"
        ),
        f"{dist_info}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: false\n",
    }
    return make_content(700_000, seed=NAMES.index(name), files=files)


def page(names: tuple[str, ...] = NAMES) -> bytes:
    links = "".join(f'<a href="/files/{name.replace("+", "%2B")}">{name}</a>\n' for name in names)
    return f"<!DOCTYPE html><html><body>{links}</body></html>".encode()


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    """The index that the user's environment names."""
    no_proxies(monkeypatch)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    with listening() as server:
        monkeypatch.setenv("PIP_INDEX_URL", server.url("/simple/"))
        server.add("/simple/sample-cu126/", page(), kind="text/html", etag=None)
        for name in NAMES:
            server.add(f"/files/{name.replace('+', '%2B')}", wheel(name))
        yield server


def get(
    cache: Cache, source: IndexSource = SOURCE, *, lock: Lock | None = None, offline: bool = False
) -> Fetched:
    return fetch(source, lock=lock or Lock(), cache=cache, offline=offline)


def refused(cache: Cache, source: IndexSource = SOURCE, lock: Lock | None = None) -> RepackError:
    with pytest.raises(RepackError) as caught:
        get(cache, source, lock=lock)
    assert "\n" not in str(caught.value)
    assert not list((cache.root / "files").rglob("*.whl"))
    assert not [path for path in cache.incoming.iterdir() if path.is_dir()]
    return caught.value


def downloads(index: FaultServer) -> list[str]:
    return [path.rpartition("/")[2] for path in index.paths() if path.startswith("/files/")]


@pytest.mark.parametrize(
    ("requirement", "python", "name"),
    [
        pytest.param("sample-cu126==4.12.0", "3.9", CP39, id="for one Python"),
        pytest.param("sample-cu126==4.13.0", "3.12", ABI3, id="abi3"),
        pytest.param("Sample_CU126 == 4.13.0", "3.14", ABI3, id="a name written otherwise"),
        pytest.param("sample-cu126==4.13.0", "3.14t", THREADED, id="free-threaded"),
        pytest.param("sample-cu126<4.14", "3.10", ABI3, id="a range"),
        pytest.param("sample-cu126==4.11.0+cu126", "3.12", LOCAL, id="a local version"),
    ],
)
def test_pip_finds_the_wheel_for_that_windows_python(
    index: FaultServer, cache: Cache, requirement: str, python: str, name: str
) -> None:
    fetched = get(cache, IndexSource(requirement=requirement, python=python))
    assert fetched.path == cache.place(sha256(wheel(name)), name)
    assert fetched.path.read_bytes() == wheel(name)
    assert downloads(index) == [name.replace("+", "%2B")]


def test_it_is_pinned_by_a_package_url_that_no_mirror_changes(
    index: FaultServer, cache: Cache
) -> None:
    pin = get(cache, IndexSource(requirement="sample-cu126==4.11.0+cu126")).pin
    assert pin.url == f"pkg:pypi/sample-cu126@4.11.0%2Bcu126?file_name={LOCAL.replace('+', '%2B')}"
    assert pin.key == "sample-cu126==4.11.0+cu126 for Python 3.12 on win_amd64"
    assert str(index.port) not in str(pin)


def test_a_pin_binds_pip_to_its_version_and_hash(index: FaultServer, cache: Cache) -> None:
    source = IndexSource(requirement="sample-cu126", python="3.9")
    lock = locked(pin_key(source), wheel(CP39), name=CP39)
    assert get(cache, source, lock=lock).filename == CP39
    assert downloads(index) == [CP39]


def test_what_differs_from_the_pin_is_refused_with_both_hashes(
    index: FaultServer, cache: Cache
) -> None:
    index.add(f"/files/{ABI3}", wheel(LOCAL))
    error = refused(cache, lock=locked(pin_key(SOURCE), wheel(ABI3), name=ABI3))
    assert str(error) == (
        "sample-cu126==4.13.0 for Python 3.12 on win_amd64: "
        f"has SHA-256 {sha256(wheel(LOCAL))}, repack.lock says {sha256(wheel(ABI3))} [sha256]; "
        "if the change is wanted, run again with --update-lock"
    )


def test_what_the_cache_has_is_not_asked_for(index: FaultServer, cache: Cache) -> None:
    lock = Lock().with_pin(get(cache).pin)
    index.seen.clear()
    assert get(cache, lock=lock).path.is_file()
    assert not index.seen


def test_one_exact_version_is_not_asked_for_twice_without_a_lock(
    index: FaultServer, cache: Cache
) -> None:
    for _ in range(2):
        fetch_index("sample-cu126==4.13.0", python="3.12", lock=None, cache=cache)
    assert downloads(index) == [ABI3]


def test_a_range_of_versions_is_asked_for_each_time_without_a_lock(
    index: FaultServer, cache: Cache
) -> None:
    for _ in range(2):
        fetch_index("sample-cu126<4.14", python="3.12", lock=None, cache=cache)
    assert downloads(index) == [ABI3, ABI3]


def test_offline_takes_what_the_cache_has(index: FaultServer, cache: Cache) -> None:
    fetched = get(cache)
    index.seen.clear()
    assert get(cache, offline=True) == fetched
    assert not index.seen


def test_the_users_links_hold_even_relative_ones(
    index: FaultServer, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / ABI3).write_bytes(wheel(ABI3))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "links")
    assert get(cache).filename == ABI3
    assert not index.seen


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 has no PYTHONSAFEPATH")
def test_a_pip_of_the_working_directory_is_not_run(
    index: FaultServer, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pip.py").write_text("raise SystemExit('planted')\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert get(cache).filename == ABI3
    assert downloads(index) == [ABI3]


def test_progress_reaches_the_last_byte(index: FaultServer, cache: Cache) -> None:
    told = Told()
    fetch(SOURCE, lock=None, cache=cache, progress=told)
    size = index.resources[f"/files/{ABI3}"].content
    assert (told.done, told.total) == (len(size), len(size))
    assert "Asking the index for sample-cu126==4.13.0" in told.texts


ALL = page()
#: What the index lists, what is asked of it for which Python, and a part of the reason.
LACKING = {
    "no such version": (ALL, "sample-cu126==9.9", "3.12", "there are only 4.11.0+cu126, 4.13.0"),
    "not for this Python": (ALL, "sample-cu126==4.12.0", "3.14", "there are only 4.11.0+cu126"),
    "no such name": (ALL, "no-such-sample", "3.12", "the index has no wheel of it"),
    "for others only": (page((CP39,)), "sample-cu126", "3.14", "for cp39-none-win_amd64: look at"),
}


@pytest.mark.parametrize("case", LACKING)
def test_what_the_index_has_not_is_said_in_one_line(
    case: str, index: FaultServer, cache: Cache
) -> None:
    listed, requirement, python, reason = LACKING[case]
    index.add("/simple/sample-cu126/", listed, kind="text/html", etag=None)
    error = refused(cache, IndexSource(requirement=requirement, python=python))
    assert error.code == "no-such-version"
    assert error.file == f"{requirement} for Python {python} on win_amd64"
    assert reason in str(error)


class TestRequirementsOfAWheel:
    """What a wheel requires is asked for, and nothing is kept."""

    def test_pass_where_the_index_has_a_wheel_of_each(self, index: FaultServer) -> None:
        check_index(["sample-cu126>=4.12,<5"], python="3.12", progress=SILENT)
        assert index.seen

    def test_are_refused_where_it_has_none_for_windows(self, index: FaultServer) -> None:
        index.add("/simple/sample-cu126/", page((LINUX,)), kind="text/html", etag=None)
        with pytest.raises(FetchError) as caught:
            check_index(["sample-cu126"], python="3.12", progress=SILENT)
        assert caught.value.code == "no-such-version"
        assert "its wheels are for cp37-abi3-manylinux_2_28_x86_64" in str(caught.value)

    @pytest.mark.usefixtures("index")
    def test_the_one_that_is_missing_is_named(self) -> None:
        with pytest.raises(FetchError) as caught:
            check_index(["sample-cu126>=4.12", "never-asked-for<2"], python="3.12", progress=SILENT)
        assert str(caught.value).startswith("never-asked-for<2 for Python 3.12 on win_amd64: ")
        assert caught.value.code == "no-such-version"


@pytest.mark.parametrize(
    ("status", "said"),
    [
        pytest.param("401 Unauthorized", "401 Client Error: Unauthorized", id="no password"),
        pytest.param("403 Forbidden", "403 Client Error: Forbidden", id="forbidden"),
        pytest.param("500 Sorry", "too many 500 error responses", id="broken"),
    ],
)
def test_an_index_that_refuses_is_named_as_such(
    index: FaultServer, cache: Cache, monkeypatch: pytest.MonkeyPatch, status: str, said: str
) -> None:
    monkeypatch.setenv("PIP_RETRIES", "0")
    index.add("/simple/sample-cu126/", b"", *[answers(status)] * 9)
    error = refused(cache)
    assert f"the index cannot be asked: {said} [index]" in str(error)


def test_an_index_that_is_not_there_is_named_as_such(
    index: FaultServer, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    error = refused(cache)
    assert re.search(r"the index cannot be asked: [^<>]*Connection refused", str(error))
    assert not index.seen


def test_what_is_no_archive_is_refused(
    index: FaultServer, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_RETRIES", "0")
    index.add(f"/files/{ABI3}", b"<!DOCTYPE html><title>Sign in</title>", kind="text/html")
    assert isinstance(refused(cache), RepackError)


def test_a_hash_of_the_configuration_is_held(index: FaultServer, cache: Cache) -> None:
    source = IndexSource(requirement="sample-cu126==4.13.0", sha256="0" * 64)
    with pytest.raises(FetchError, match=f"source.sha256 says {'0' * 64}"):
        get(cache, source)
    assert downloads(index) == [ABI3]
