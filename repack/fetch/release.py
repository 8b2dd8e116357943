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
from repack.fetch.http import Offer, download, get
from repack.lock import Pin

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
#: Asks for a path below the releases, with these headers.
_Ask: TypeAlias = Callable[[str, dict[str, str]], requests.Response]


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
    variable, token = _find_token(source)
    session.auth = partial(_add_token, token) if token else None
    ask = partial(_ask, source, session, variable)
    asset = _choose(_find_release(ask, source, pin), source, pin)

    def open_asset(headers: dict[str, str]) -> requests.Response:
        # By the API: it serves the assets of private repositories too. And anew for each part:
        # the address that it redirects to does not live long.
        return ask(f"/assets/{asset.id}", {"Accept": "application/octet-stream", **headers})

    digest = re.fullmatch(r"sha256:([0-9a-f]{64})", asset.digest or "")
    return Offer(
        source.filename or asset.name,
        asset.browser_download_url,
        digest[1] if digest else None,
        partial(download, open_asset),
    )


def _find_token(source: ReleaseSource) -> tuple[str, str]:
    """Return the first variable that has a token for the API, and the token.

    Where none has, those that could have, and "".
    """
    names = [name for name in source.token_env if _may_use(name, source.api)]
    for name in names:
        # A line break in it would have http.client tell it.
        if token := "".join(os.environ.get(name, "").split()):
            return name, token
    return " or ".join(names) or "a variable, and name that in source.token-env", ""


def _may_use(variable: str, api: str) -> bool:
    """Return whether the token in `variable` is for the server of `api`, and goes there unread.

    That of `gh` is for github.com; in a workflow of another GitHub, GITHUB_API_URL names that.
    """
    parts, own = urlsplit(api), urlsplit(os.environ.get("GITHUB_API_URL", ""))
    if parts.scheme != "https" and parts.hostname not in {"127.0.0.1", "::1", "localhost"}:
        return False
    is_own = parts.netloc == "api.github.com" or parts[:2] == own[:2]
    return is_own or variable not in {"GH_TOKEN", "GITHUB_TOKEN"}


def _ask(
    source: ReleaseSource,
    session: requests.Session,
    variable: str,
    path: str,
    headers: dict[str, str],
) -> requests.Response:
    """Return the answer for `path` below the releases; a token that is refused is left out."""
    url = f"{source.api.rstrip('/')}/repos/{source.repository}/releases{path}"
    hint = (
        f"look at owner, name and tag; a private one needs a token that may read it in {variable}"
    )
    try:
        return get(session, url, headers, hint=hint)
    except FetchError as error:
        if session.auth is None or error.code not in {"http-401", "http-403"}:
            raise
        refusal = f"the token in {variable} is refused ({error.what}): renew it, or unset it"
    session.auth = None
    _log.warning("%s: %s", source.repository, refusal)
    return get(session, url, headers, hint=refusal)


def _add_token(token: str, request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Add the token to a request; `requests` takes it away from other hosts."""
    request.headers["Authorization"] = f"Bearer {token}"
    return request


def _read(ask: _Ask, path: str, kind: type[_T]) -> _T:
    """Return the document at `path` below the releases."""
    with ask(path, {"Accept": "application/vnd.github+json"}) as response:
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
