"""What the tests of `fetch` have in common: a small wheel, a session that does not wait."""

import hashlib
import io
import random
import ssl
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import pytest
import requests
from faultserver import FaultServer

from repack.config import UrlSource
from repack.console import SILENT, Progress, Task
from repack.errors import RepackError
from repack.fetch import Cache, Fetched, fetch
from repack.fetch.http import PATIENCE, make_session
from repack.lock import Lock, Pin

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


def fast_session() -> requests.Session:
    """A session that tries TRIES times, and does not wait between."""
    return make_session(PATIENCE.new(total=TRIES - 1, backoff_factor=0, backoff_jitter=0))


@dataclass
class Told(Progress, Task):
    """A progress that remembers what it was told."""

    texts: list[str] = field(default_factory=list)
    done: int = 0
    total: int | None = None

    def advance(self, amount: int) -> None:
        self.done += amount

    def resize(self, total: int | None) -> None:
        self.total = total

    def describe(self, text: str) -> None:
        self.texts.append(text)

    @contextmanager
    def task(self, text: str, *, total: int | None = None, unit: str = "bytes") -> Iterator[Self]:
        del unit
        self.texts.append(text)
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
        lock: Lock | None = None,
        offline: bool = False,
        sha256: str | None = None,
        progress: Progress = SILENT,
    ) -> Fetched:
        """Fetch what lies at `path`; `sha256` is what the configuration says of it."""
        source, session = UrlSource(url=self.url(path), sha256=sha256), fast_session()
        return fetch(
            source, lock=lock, cache=self.cache, offline=offline, session=session, progress=progress
        )

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
