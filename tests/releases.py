"""A copy of GitHub's release API on loopback."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import pytest
from faultserver import FaultServer, answers
from fetching import fetch, sha256

from repack.config import ReleaseSource
from repack.errors import RepackError
from repack.fetch import Fetched
from repack.fetch.cache import Cache
from repack.lock import Lock

REPOSITORY = "cudawarped/opencv-python-cuda-wheels"


class GitHub:
    """A copy of the release API, and the host where the assets' bytes lie."""

    def __init__(self, api: FaultServer, storage: FaultServer, cache: Cache) -> None:
        self.api = api
        self.storage = storage
        self.cache = cache
        self.count = 0

    def release(
        self,
        tag: str,
        assets: Mapping[str, bytes],
        *,
        repository: str = REPOSITORY,
        **changes: object,
    ) -> None:
        """Publish a release; it is the latest then. `changes` go over each asset's entry."""
        entries = [self._asset(repository, tag, name, assets[name]) | changes for name in assets]
        document = {"tag_name": tag, "assets": entries}
        for which in (f"tags/{quote(tag, safe='')}", "latest"):
            self.api.add_json(f"/repos/{repository}/releases/{which}", document)

    def _asset(self, repository: str, tag: str, name: str, content: bytes) -> dict[str, object]:
        self.count += 1
        signed = f"/storage/{self.count}?X-Amz-Signature=secret"
        self.storage.add(signed, content)
        place = answers("302 Found", {"Location": self.storage.url(signed, "localhost")})
        self.api.add(f"/repos/{repository}/releases/assets/{self.count}", b"", *[place] * 9)
        return {
            "id": self.count,
            "name": name,
            "url": "http://elsewhere.invalid/",
            "browser_download_url": f"https://github.com/{repository}/releases/download/{quote(tag)}/{name}",
            "size": len(content),
            "digest": f"sha256:{sha256(content)}",
        }

    def source(self, **settings: Any) -> ReleaseSource:  # noqa: ANN401 - fields of all kinds
        defaults = {"repository": REPOSITORY, "tag": "4.13.0.90", "api": self.api.url("")}
        return ReleaseSource(**{**defaults, **settings})

    def get(self, *, lock: Lock | None = None, **settings: Any) -> Fetched:  # noqa: ANN401
        """Fetch the asset that the settings of a source name."""
        return fetch(self.source(**settings), self.cache, lock)

    def refused(self, **options: Any) -> RepackError:  # noqa: ANN401 - those of `get`
        """Return the error of a fetch that fails; nothing lies under a final name then."""
        with pytest.raises(RepackError) as caught:
            self.get(**options)
        assert "\n" not in str(caught.value)
        assert not list((self.cache.root / "files").rglob("*.whl"))
        return caught.value
