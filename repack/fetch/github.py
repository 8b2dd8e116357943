"""Assets of GitHub releases, by the release API."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from repack.errors import FetchError
from repack.fetch.request import Request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from repack.config import ReleaseSource
    from repack.console import Progress
    from repack.fetch.http import Client
    from repack.lock import Pin

_API_HEADERS = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
_ASSET_HEADERS = {"Accept": "application/octet-stream", "X-GitHub-Api-Version": "2022-11-28"}
_SHOWN_NAMES = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Asset:
    """One file of a release."""

    name: str
    identity: int
    url: str
    """Where a browser gets it: the same for everybody, so this is what is pinned."""
    size: int
    sha256: str | None
    """Of the digest that GitHub publishes; older assets and older servers have none."""


def find_asset(client: Client, source: ReleaseSource, pin: Pin | None, progress: Progress) -> Asset:
    """Return the asset that is wanted; a pin names it exactly, else the pattern has to fit one."""
    tag = source.tag
    if tag is None and pin is not None:
        # "latest" was another release then, perhaps; the pin says which.
        tag = _tag_of(pin.url)
    assets = _assets(client.document(_release_request(source, tag), progress), source)
    if pin is not None:
        found = [asset for asset in assets if asset.name == pin.filename]
        if not found:
            raise FetchError(
                f"the release has {pin.filename} no more; it has {_named(assets)}",
                code="asset",
                file=_place(source),
                hint="run again with --update-lock if another asset is to be taken",
            )
        return found[0]
    found = [asset for asset in assets if fnmatchcase(asset.name, source.asset)]
    if len(found) != 1:
        raise _not_one(source, found, assets)
    return found[0]


def asset_request(source: ReleaseSource, asset: Asset) -> Request:
    """Return the request for the asset's content, by the API: that serves private ones too."""
    url = f"{source.api}/repos/{source.repository}/releases/assets/{asset.identity}"
    return Request(url=url, headers=_ASSET_HEADERS, token=_token(source), hint=_hint(source))


def _release_request(source: ReleaseSource, tag: str | None) -> Request:
    # A tag may hold a slash, which is no separator then.
    which = "latest" if tag is None else f"tags/{quote(tag, safe='')}"
    url = f"{source.api}/repos/{source.repository}/releases/{which}"
    return Request(url=url, headers=_API_HEADERS, token=_token(source), hint=_hint(source))


def _token(source: ReleaseSource) -> str | None:
    """Return the token of the environment."""
    values = (os.environ.get(name, "").strip() for name in source.token_env)
    return next((value for value in values if value), None)


def _hint(source: ReleaseSource) -> str:
    names = " or ".join(source.token_env) or "source.token-env"
    if _token(source):
        return f"look at owner, name and tag, and at what the token in {names} may read"
    return (
        f"look at owner, name and tag; for a private one, or more requests, put a token in {names}"
    )


def _assets(release: object, source: ReleaseSource) -> list[Asset]:
    """Return the release's assets that have been uploaded whole."""
    listed = release.get("assets") if isinstance(release, dict) else None
    try:
        return [
            _asset(entry) for entry in _list(listed) if entry.get("state", "uploaded") == "uploaded"
        ]
    except (KeyError, TypeError, ValueError, AttributeError):
        raise FetchError(
            "the answer is no release",
            code="not-json",
            file=_place(source),
            hint="source.api has to be the base of a GitHub API, such as https://HOST/api/v3",
        ) from None


def _list(value: object) -> Sequence[Mapping[str, Any]]:
    if not isinstance(value, list):
        raise TypeError(value)
    return value


def _asset(entry: Mapping[str, Any]) -> Asset:
    match = re.fullmatch(r"sha256:([0-9a-f]{64})", str(entry.get("digest") or "").lower())
    return Asset(
        name=str(entry["name"]),
        identity=int(entry["id"]),
        url=str(entry["browser_download_url"]),
        size=int(entry["size"]),
        sha256=match[1] if match else None,
    )


def _tag_of(url: str) -> str | None:
    """Return the tag in an asset's download URL, `.../releases/download/<tag>/<name>`."""
    match = re.search(r"/releases/download/(.+)/[^/]+$", urlsplit(url).path)
    return unquote(match[1]) if match else None


def _not_one(source: ReleaseSource, found: Sequence[Asset], assets: Sequence[Asset]) -> FetchError:
    if found:
        said = f"{len(found)} assets match {source.asset!r}: {_named(found)}"
        return FetchError(
            said, code="asset", file=_place(source), hint="give source.asset a narrower pattern"
        )
    said = f"no asset matches {source.asset!r}; the release has {_named(assets)}"
    hint = "give source.asset a pattern that one of them matches"
    return FetchError(said, code="asset", file=_place(source), hint=hint)


def _named(assets: Sequence[Asset]) -> str:
    names = sorted(asset.name for asset in assets)
    more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
    return ", ".join(names[:_SHOWN_NAMES]) + more or "none"


def _place(source: ReleaseSource) -> str:
    return f"{source.repository} {source.tag or '(latest release)'}"
