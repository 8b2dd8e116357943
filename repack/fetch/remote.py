"""A file that somebody else has: from the cache, or got from where its source says."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from repack.config import IndexSource, ReleaseSource, UrlSource
from repack.errors import FetchError, InputError, shown_url
from repack.fetch.cache import Answer, Cache
from repack.fetch.content import check_archive, file_name_of
from repack.fetch.github import asset_request, find_asset
from repack.fetch.partial import Partial
from repack.fetch.pip import package_url, pip_download
from repack.fetch.request import Request
from repack.fetch.transfer import transfer
from repack.fetch.values import Expected, Fetched, Wanted
from repack.files import sha256_of

if TYPE_CHECKING:
    from repack.console import Progress
    from repack.fetch.http import Client
    from repack.fetch.values import Asked
    from repack.lock import Pin

_URL_HINT = "look at the URL; a name and a password for its host go into .netrc"
_RETRY_LATER = "the release may be changing at this moment: run again"


@dataclass(frozen=True, kw_only=True, slots=True)
class Remote:
    """One fetch under way."""

    wanted: Wanted
    cache: Cache
    progress: Progress
    given_client: Client | None

    @property
    def client(self) -> Client:
        """What asks servers; `requests` is slow to import, and many a build asks nobody."""
        from repack.fetch.http import Client  # noqa: PLC0415

        return self.given_client or Client()

    def kept(self, source: Asked, *, since: float) -> Fetched | None:
        """Return the file if the cache has it.

        Without a pin, what another process was told since `since` is as new as what we would
        be told: so of several that start together, one asks.
        """
        pin = self.wanted.pin
        if pin is None and isinstance(source, UrlSource) and source.sha256 is not None:
            pin = self._known_by_hash(source)
        if pin is None:
            answer = self.cache.recall(self.wanted.key)
            if answer is None or answer.time < since:
                return None
            pin = answer.pin
        path = self.cache.find(pin, self.progress)
        if path is None or self.wanted.expected.sha256 not in {None, pin.sha256}:
            return None
        return Fetched(path=path, pin=pin)

    def fetched(self, source: Asked) -> Fetched:
        """Return the file, got from where the source says."""
        self.cache.forget_abandoned()
        if isinstance(source, IndexSource):
            got = self._from_index(source)
        elif isinstance(source, ReleaseSource):
            got = self._from_release(source)
        else:
            name = file_name_of(source.url)
            request = Request(url=source.url, hint=_URL_HINT)
            got = self._download(request, name, source.url, self.wanted.expected)
        self.cache.remember(Answer(pin=got.pin, time=time.time()))
        return got

    def _from_release(self, source: ReleaseSource) -> Fetched:
        asset = find_asset(self.client, source, self.wanted.pin, self.progress)
        expected = self.wanted.expected
        if expected.sha256 is None and asset.sha256 is not None:
            expected = Expected(
                size=asset.size, sha256=asset.sha256, by="the release", hint=_RETRY_LATER
            )
        elif expected.size is None:
            expected = Expected(
                size=asset.size, sha256=expected.sha256, by=expected.by, hint=expected.hint
            )
        known = self.wanted.pinned(asset.name, asset.url, asset.size, expected.sha256 or "")
        path = self.cache.find(known, self.progress) if expected.sha256 else None
        if path is not None:
            return Fetched(path=path, pin=known)
        return self._download(asset_request(source, asset), asset.name, asset.url, expected)

    def _from_index(self, source: IndexSource) -> Fetched:
        with self.cache.workspace(self.wanted.key) as folder:
            filename = None if self.wanted.pin is None else self.wanted.pin.filename
            wheel = pip_download(source, self.wanted.expected, filename, folder, self.progress)
            self.wanted.check_name(wheel.name, file=source.requirement)
            check_archive(wheel, file=wheel.name)
            size, sha256 = wheel.stat().st_size, sha256_of(wheel)
            self.wanted.check(size, sha256, file=wheel.name)
            path = self.cache.add(wheel, sha256, wheel.name)
        pin = self.wanted.pinned(path.name, package_url(path.name), size, sha256)
        return Fetched(path=path, pin=pin)

    def _download(self, request: Request, name: str, url: str, expected: Expected) -> Fetched:
        """Return what a URL gives, as the file `name`; `url` is the one to be pinned."""
        self.wanted.check_name(name, file=shown_url(request.url))
        partial = Partial(self.cache.incoming, self.wanted.key, request.url)
        with self.progress.task(f"Downloading {name}", total=expected.size) as task:
            transfer(self.client, request, expected=expected, partial=partial, task=task)
        size, sha256 = partial.size, partial.sha256
        try:
            check_archive(partial.path, file=shown_url(request.url))
        except InputError:
            partial.discard()
            raise
        path = self.cache.add(partial.finish(), sha256, name)
        return Fetched(path=path, pin=self.wanted.pinned(name, url, size, sha256))

    def _known_by_hash(self, source: UrlSource) -> Pin | None:
        """Return the pin of a URL whose SHA-256 the configuration gives, if the cache has it."""
        name, sha256 = file_name_of(source.url), source.sha256 or ""
        self.wanted.check_name(name, file=shown_url(source.url))
        path = self.cache.place(sha256, name)
        if not path.is_file():
            return None
        return self.wanted.pinned(name, source.url, path.stat().st_size, source.sha256 or "")


def not_offline(wanted: Wanted) -> FetchError:
    """Return the error for what --offline would have to ask for."""
    pin = wanted.pin
    if pin is None:
        said = "is neither pinned in repack.lock nor in the cache, and --offline asks nobody"
    else:
        said = f"{pin.filename} ({pin.size} bytes) is not in the cache, and --offline asks nobody"
    hint = "run `repack fetch` or `repack build` once without --offline"
    return FetchError(said, code="offline", file=wanted.key, hint=hint)
