"""What all tests share; those that run Windows programs take longest, and come first."""

import logging
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import browser
from driving import Repack
from faultserver import FaultServer
from fetching import GitHub, Site, hurry, no_proxies
from playwright.sync_api import Browser
from publishing import Team
from s3server import S3Server, running
from wheelmaking import cuda_wheel
from windowslab import Windows, cleared, open_windows

from repack.fetch import Supply
from repack.fetch.cache import Cache
from repack.pythons import Pythons


def pytest_configure() -> None:
    """Let Ctrl-C be what it is: whatever a shell starts in the background ignores it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _log_as_it_was() -> Iterator[None]:
    """Take back what a command does to the log: it sends it to a stderr that ends with the test."""
    logger = logging.getLogger("repack")
    handlers, level, propagate = list(logger.handlers), logger.level, logger.propagate
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)
    logger.propagate = propagate


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put first the files whose tests take longest; leave to the proof what is the proof's."""
    if "proof" not in config.option.markexpr:
        items[:] = [item for item in items if not item.get_closest_marker("proof")]
    items.sort(key=lambda item: item.get_closest_marker("wine") is None)


@pytest.fixture
def repack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Repack:
    """`repack` in an empty folder."""
    return Repack(tmp_path, monkeypatch, capsys)


@pytest.fixture
def team(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Team:
    """A team without any wheel, and without an index."""
    return Team(tmp_path / "dist", tmp_path / "index", capsys)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A small wheel that needs CUDA 12."""
    (tmp_path / "in").mkdir()
    return cuda_wheel(tmp_path / "in")


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """A cache that is empty."""
    return Cache(tmp_path / "cache")


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    """A genuine Chromium without a window."""
    with browser() as running:
        yield running


@pytest.fixture(scope="module")
def pythons() -> Iterator[Pythons]:
    """The Windows Pythons of this machine."""
    with Pythons(Supply(Cache.default())) as pythons:
        yield pythons


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Windows]:
    """A warm Wine with a genuine Python, and a small cv2."""
    with open_windows(tmp_path_factory.mktemp("machines")) as windows:
        yield windows


@pytest.fixture
def windows(bench: Windows) -> Iterator[Windows]:
    """The same with nothing on it but its Python and that cv2."""
    with cleared(bench) as fresh:
        fresh.install()
        yield fresh


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    """A server on loopback that has nothing yet."""
    no_proxies(monkeypatch)
    with FaultServer() as server:
        yield server


@pytest.fixture
def site(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Such a server, with the cache of those who fetch from it."""
    no_proxies(monkeypatch)
    hurry(monkeypatch)
    with Site(cache) as site:
        yield site


@pytest.fixture
def github(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHub]:
    """A copy of GitHub's releases, and no token for the genuine one."""
    no_proxies(monkeypatch)
    hurry(monkeypatch)
    for name in ("GH_TOKEN", "GITHUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with FaultServer() as api, FaultServer() as storage:
        yield GitHub(api, storage, cache)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server with a bucket `team`."""
    with running(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The S3 server, as obstore finds it by its variables."""
    s3_server.use(monkeypatch)
    return s3_server
