"""Assets of GitHub releases, by the release API."""

import logging
import os
import re
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from functools import partial
from textwrap import shorten
from typing import TypeAlias, TypeVar
from urllib.parse import quote, unquote, urlsplit

import msgspec
import requests

from repack.config import ReleaseSource
from repack.errors import FetchError
from repack.fetch.download import Offer, download
from repack.fetch.http import get
from repack.lock import Pin

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
#: Asks for a path below the releases, of a media type.
_Ask: TypeAlias = Callable[[str, str], requests.Response]


class _Asset(msgspec.Struct, frozen=True):
    """One file of a release; `browser_download_url` is the same for everybody, so it is pinned.

    `digest` is null for older assets, and absent on older servers.
    """

    name: str
    id: int
    browser_download_url: str
    digest: str | None = None


class _Release(msgspec.Struct, frozen=True):
    tag_name: str
    assets: tuple[_Asset, ...] = ()


def find_asset(source: ReleaseSource, pin: Pin | None, session: requests.Session) -> Offer:
    """Return the asset that is wanted; a pin names it exactly, else the pattern has to fit one."""
    ask = partial(_ask, source, session)
    asset = _choose(_find_release(ask, source, pin), source, pin)
    digest = re.fullmatch(r"sha256:([0-9a-f]{64})", asset.digest or "")
    # By the API: it serves the assets of private repositories too. And anew for each part: the
    # address that it redirects to does not live long.
    fill = partial(download, partial(ask, f"/assets/{asset.id}", "application/octet-stream"))
    filename = source.filename or asset.name
    return Offer(filename, asset.browser_download_url, digest[1] if digest else None, fill)


def _ask(
    source: ReleaseSource,
    session: requests.Session,
    path: str,
    kind: str,
    headers: dict[str, str] | None = None,
) -> requests.Response:
    """Return the answer for `path` below the releases; a token that is refused is left out."""
    url = f"{source.api}/repos/{source.repository}/releases{path}"
    headers = {"Accept": kind, "X-GitHub-Api-Version": "2022-11-28", **(headers or {})}
    names = [name for name in source.token_env if _may_use(name, source.api)]
    where = " or ".join(names) or "a variable, and name that in source.token-env"
    hint = f"look at owner, name and tag; if it is private, put a token that may read it in {where}"
    # A line break in it would have http.client tell it.
    tokens = {name: "".join(os.environ.get(name, "").split()) for name in names}
    name = next((name for name in names if tokens[name]), None)
    auth = partial(_add_token, tokens[name]) if name else None
    try:
        return get(session, url, headers=headers, auth=auth, hint=hint)
    except FetchError as error:
        if not name or error.code not in {"http-401", "http-403"}:
            raise
        reason = f"{error.what}: the token in {name} is refused"
        refusal = FetchError(reason, code=error.code, file=url, hint=f"renew it, or unset {name}")
    try:
        response = get(session, url, headers=headers)
    except FetchError:
        raise refusal from None
    _log.warning("%s", refusal)
    return response


def _add_token(token: str, request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Add the token to a request; `requests` takes it away from other hosts."""
    request.headers["Authorization"] = f"Bearer {token}"
    return request


def _may_use(variable: str, api: str) -> bool:
    """Return whether the token in `variable` is for the server of `api`, and goes there unread.

    That of `gh` is for github.com; in a workflow of another GitHub, GITHUB_API_URL names that.
    """
    parts, own = urlsplit(api), urlsplit(os.environ.get("GITHUB_API_URL", ""))
    if parts.scheme != "https" and parts.hostname not in {"127.0.0.1", "::1", "localhost"}:
        return False
    is_own = parts.netloc == "api.github.com" or parts[:2] == own[:2]
    return is_own or variable not in {"GH_TOKEN", "GITHUB_TOKEN"}


def _read(ask: _Ask, path: str, kind: type[_T]) -> _T:
    """Return the document at `path` below the releases."""
    with ask(path, "application/vnd.github+json") as response:
        try:
            return msgspec.json.decode(response.content, type=kind)
        except (OSError, msgspec.DecodeError) as error:
            reason = f"does not answer with releases: {error}"
            hint = "source.api is the base of a GitHub API, such as https://HOST/api/v3"
            raise FetchError(reason, code="not-json", file=response.url, hint=hint) from None


def _find_release(ask: _Ask, source: ReleaseSource, pin: Pin | None) -> _Release:
    """Return the release of the tag; "latest" was another one when it was pinned, perhaps."""
    tag = source.tag
    if tag is None and pin is not None:
        match = re.search(r"/releases/download/(.+)/[^/]+$", urlsplit(pin.url).path)
        tag = unquote(match[1]) if match else None
    try:
        # A tag may hold a slash, which is no separator then.
        return _read(ask, f"/tags/{quote(tag, safe='')}" if tag else "/latest", _Release)
    except FetchError as error:
        if error.code != "http-404" or tag:
            raise
    tags = _list_names(release.tag_name for release in _read(ask, "", list[_Release]))
    reason = f"the repository has no releases but pre-releases: {tags}"
    hint = "choose one by source.tag"
    raise FetchError(reason, code="http-404", file=source.repository, hint=hint)


def _choose(release: _Release, source: ReleaseSource, pin: Pin | None) -> _Asset:
    """Return the pinned asset, else the only one that matches the pattern."""
    matching = [asset for asset in release.assets if fnmatchcase(asset.name, source.asset)]
    reason, hint = f"{len(matching)} assets match {source.asset!r}", "change source.asset"
    if pin is not None:
        matching = [asset for asset in release.assets if asset.browser_download_url == pin.url]
        reason, hint = f"the release lacks {pin.filename}", "--update-lock takes another asset"
    if len(matching) == 1:
        return matching[0]
    names = _list_names(sorted(asset.name for asset in matching or release.assets))
    file = f"{source.repository} {release.tag_name}"
    raise FetchError(f"{reason}; there are {names}", code="asset", file=file, hint=hint)


def _list_names(names: Iterable[str]) -> str:
    return shorten(", ".join(names) or "none", 400, placeholder=" ...")
