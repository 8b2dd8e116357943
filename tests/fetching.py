"""What the tests of `fetch` have in common: a small wheel, servers, and who fetches from them."""

import hashlib
import io
import json
import random
import ssl
import zipfile
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import pytest
from faultserver import FaultServer, answers

from repack.config import ReleaseSource, UrlSource
from repack.errors import RepackError
from repack.fetch import Fetchable, Fetched, Supply
from repack.fetch.cache import Cache
from repack.fetch.http import PATIENCE
from repack.lock import Pin, write_lock

NAME = "opencv_contrib_python-4.13.0.90-cp37-abi3-win_amd64.whl"
PATH = f"/files/{NAME}"
TRIES = 4
REPOSITORY = "cudawarped/opencv-python-cuda-wheels"


def make_content(seed: int = 0) -> bytes:
    """A ZIP archive with one stored member of 40,000 random bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("cv2/cv2.pyd"), random.Random(seed).randbytes(40_000))  # noqa: S311 - no secret
    return buffer.getvalue()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def pin_of(key: str, content: bytes, name: str = NAME) -> Pin:
    """Return the pin of `content` for the source `key`."""
    return Pin(key=key, filename=name, url=key, size=len(content), sha256=sha256(content))


def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{kind}_proxy", raising=False)
        monkeypatch.delenv(f"{kind}_proxy".upper(), raising=False)


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try TRIES times, and do not wait between."""
    fast = PATIENCE.new(total=TRIES - 1, backoff_factor=0, backoff_jitter=0)
    monkeypatch.setattr("repack.fetch.http.PATIENCE", fast)


def fetch(
    source: Fetchable, cache: Cache, pin: Pin | None = None, *, offline: bool = False
) -> Fetched:
    """Fetch what `source` names, as it is pinned."""
    path = cache.root.with_name("repack.lock")
    path.unlink(missing_ok=True)
    if pin is not None:
        write_lock(path, {pin.key: pin})
    return Supply(cache, path, offline=offline).fetch(source)


def refuse(source: Fetchable, cache: Cache, pin: Pin | None = None) -> RepackError:
    """Return the error of a fetch that fails; nothing lies under a final name then."""
    with pytest.raises(RepackError) as caught:
        fetch(source, cache, pin)
    assert not list((cache.root / "files").rglob("*.whl"))
    assert "\n" not in str(caught.value)
    return caught.value


class Site(FaultServer):
    """A server, and the cache of those who fetch from it."""

    def __init__(self, cache: Cache, context: ssl.SSLContext | None = None) -> None:
        super().__init__(context)
        self.cache = cache

    def get(
        self, pin: Pin | None = None, *, sha256: str | None = None, offline: bool = False
    ) -> Fetched:
        """Fetch what lies at PATH; `sha256` is what the configuration says of it."""
        source = UrlSource(url=self.url(PATH), sha256=sha256)
        return fetch(source, self.cache, pin, offline=offline)

    def refused(self, pin: Pin | None = None) -> RepackError:
        return refuse(UrlSource(url=self.url(PATH)), self.cache, pin)

    def ranges(self) -> list[tuple[str | None, str | None]]:
        """Return what each request asked for: a range, and the mark that it has to have."""
        return [(seen.headers.get("range"), seen.headers.get("if-range")) for seen in self.seen]


class GitHub:
    """A copy of the release API, and the host where the assets' bytes lie."""

    def __init__(self, api: FaultServer, storage: FaultServer, cache: Cache) -> None:
        self.api = api
        self.storage = storage
        self.cache = cache
        self.count = 0

    def release(self, tag: str, assets: Mapping[str, bytes], **changes: object) -> None:
        """Publish a release; it is the latest then. `changes` go over each asset's entry."""
        entries = [self._asset(tag, name, assets[name]) | changes for name in assets]
        document = json.dumps({"tag_name": tag, "assets": entries}).encode()
        for which in (f"tags/{quote(tag, safe='')}", "latest"):
            self.api.add(f"/repos/{REPOSITORY}/releases/{which}", document)

    def _asset(self, tag: str, name: str, content: bytes) -> dict[str, object]:
        self.count += 1
        signed = f"/storage/{self.count}?X-Amz-Signature=secret"
        self.storage.add(signed, content)
        place = answers("302 Found", {"Location": self.storage.url(signed, "localhost")})
        self.api.add(f"/repos/{REPOSITORY}/releases/assets/{self.count}", b"", *[place] * 9)
        return {
            "id": self.count,
            "name": name,
            "browser_download_url": f"https://github.com/{REPOSITORY}/releases/download/{quote(tag)}/{name}",
            "size": len(content),
            "digest": f"sha256:{sha256(content)}",
        }

    def source(self, **settings: Any) -> ReleaseSource:  # noqa: ANN401 - fields of all kinds
        defaults = {"repository": REPOSITORY, "tag": "4.13.0.90", "api": self.api.url("")}
        return ReleaseSource(**defaults | settings)

    def get(self, pin: Pin | None = None, **settings: Any) -> Fetched:  # noqa: ANN401 - fields of a source
        """Fetch the asset that the settings of a source name."""
        return fetch(self.source(**settings), self.cache, pin)

    def refused(self, pin: Pin | None = None, **settings: Any) -> RepackError:  # noqa: ANN401 - fields of a source
        return refuse(self.source(**settings), self.cache, pin)
