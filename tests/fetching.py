"""What the tests of `fetch` have in common: a small wheel, a server, and who fetches from it."""

import hashlib
import io
import random
import ssl
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import pytest
from faultserver import FaultServer

from repack.config import FileSource, IndexSource, ReleaseSource, UrlSource
from repack.console import Progress, Task
from repack.errors import RepackError
from repack.fetch import Fetched, Supply
from repack.fetch.cache import Cache
from repack.fetch.http import PATIENCE
from repack.lock import Lock, Pin, write_lock

NAME = "opencv_contrib_python-4.13.0.90-cp37-abi3-win_amd64.whl"
PATH = f"/files/{NAME}"
TRIES = 4


def make_content(
    size: int = 40_000, *, seed: int = 0, files: Mapping[str, str] | None = None
) -> bytes:
    """A ZIP archive with one stored member of random bytes, as a wheel of that size would be."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("cv2/cv2.pyd"), random.Random(seed).randbytes(size))  # noqa: S311
        for name, text in (files or {}).items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return buffer.getvalue()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def locked(key: str, content: bytes, *, url: str = "", name: str = NAME) -> Lock:
    """A lock that pins `content` for the source `key`."""
    pin = Pin(key=key, filename=name, url=url or key, size=len(content), sha256=sha256(content))
    return Lock().with_pin(pin)


def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{kind}_proxy", raising=False)
        monkeypatch.delenv(f"{kind}_proxy".upper(), raising=False)


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try TRIES times, and do not wait between."""
    fast = PATIENCE.new(total=TRIES - 1, backoff_factor=0, backoff_jitter=0)
    monkeypatch.setattr("repack.fetch.http.PATIENCE", fast)


def fetch(
    source: FileSource | UrlSource | IndexSource | ReleaseSource,
    cache: Cache,
    lock: Lock | None = None,
    *,
    offline: bool = False,
) -> Fetched:
    """Fetch what `source` names, as the lock pins it."""
    path = cache.root.with_name("repack.lock")
    path.unlink(missing_ok=True)
    if lock is not None:
        write_lock(path, lock)
    return Supply(cache, path, offline=offline).fetch(source)


@dataclass
class Told(Progress, Task):
    """A progress that remembers what it was told."""

    done: int = 0
    total: int | None = None

    def advance(self, amount: int) -> None:
        self.done += amount

    def resize(self, total: int | None) -> None:
        self.total = total

    @contextmanager
    def task(self, text: str, *, total: int | None = None, unit: str = "bytes") -> Iterator[Self]:
        del text, unit
        self.done, self.total = 0, total
        yield self


class Site(FaultServer):
    """A server, and the cache of those who fetch from it."""

    def __init__(self, cache: Cache, context: ssl.SSLContext | None = None) -> None:
        super().__init__(context)
        self.cache = cache

    def get(
        self,
        path: str = PATH,
        *,
        sha256: str | None = None,
        lock: Lock | None = None,
        offline: bool = False,
    ) -> Fetched:
        """Fetch what lies at `path`; `sha256` is what the configuration says of it."""
        source = UrlSource(url=self.url(path), sha256=sha256)
        return fetch(source, self.cache, lock, offline=offline)

    def refused(self, **options: Any) -> RepackError:  # noqa: ANN401 - those of `get`
        """Return the error of a fetch that fails; nothing lies under a final name then."""
        with pytest.raises(RepackError) as caught:
            self.get(**options)
        assert not list((self.cache.root / "files").rglob("*.whl"))
        assert "\n" not in str(caught.value)
        return caught.value

    def ranges(self) -> list[tuple[str | None, str | None]]:
        """Return what each request asked for: a range, and the mark that it has to have."""
        return [(seen.headers.get("range"), seen.headers.get("if-range")) for seen in self.seen]
