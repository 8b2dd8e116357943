"""What the tests of `fetch` have in common: a small wheel, a session that does not wait."""

from __future__ import annotations

import hashlib
import io
import random
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
import requests

from repack.console import Progress, Task
from repack.fetch.http import PATIENCE, make_session
from repack.lock import Lock, Pin

NAME = "opencv_contrib_python-4.13.0.90-cp37-abi3-win_amd64.whl"
PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
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
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


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
    def task(self, text: str, *, total: int | None = None, unit: str = "bytes") -> Iterator[Told]:
        del unit
        self.texts.append(text)
        self.done, self.total = 0, total
        yield self
