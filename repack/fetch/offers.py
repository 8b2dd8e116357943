"""What a source has: the file at a URL, the wheel that pip chooses, the asset of a release."""

import io
import os
import re
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from functools import partial
from textwrap import shorten
from typing import NamedTuple, TypeAlias, TypeVar
from urllib.parse import quote, unquote, urlsplit

import msgspec
import requests
from packaging.utils import parse_wheel_filename

from repack.config import IndexSource, ReleaseSource, UrlSource
from repack.errors import FetchError, redact_url
from repack.fetch.cache import open_wheel
from repack.fetch.http import explain, find_login, get, origin, read_total
from repack.fetch.pip import LOGIN_HINT, choose_wheel
from repack.lock import Pin

_T = TypeVar("_T")
RemoteSource: TypeAlias = UrlSource | IndexSource | ReleaseSource
_Ask: TypeAlias = Callable[[dict[str, str]], requests.Response]
#: The same for a path below the releases.
_AskApi: TypeAlias = Callable[[str, dict[str, str]], requests.Response]
_Login: TypeAlias = Callable[[requests.PreparedRequest], requests.PreparedRequest]
#: In bytes, from the end of a wheel; the largest directory of NVIDIA's has 40 kB.
_TAIL = 1 << 18
_URL_HINT = (
    "look at the URL, whose signature may have run out; a name and a password go into .netrc"
)


class Offer(NamedTuple):
    """A wheel that a source has: its name, where anybody may get it, its hash if `by` tells it.

    `ask` returns the answer to a request with these headers, its body not yet read.
    """

    filename: str
    url: str
    ask: _Ask
    sha256: str | None = None
    by: str = "the server"


def find_offer(source: RemoteSource, pin: Pin | None, session: requests.Session) -> Offer:
    """Return what the source has, which for a pin is the pinned file."""
    if isinstance(source, ReleaseSource):
        return _find_asset(source, pin, session)
    if isinstance(source, UrlSource):
        # A name in a header is ignored.
        filename = source.filename or unquote(urlsplit(source.url).path.rpartition("/")[2])
        ask = partial(get, session, source.url, hint=_URL_HINT)
        return Offer(filename, redact_url(source.url), ask)
    filename, url, sha256 = choose_wheel(source, pin)
    if pin is not None and pin.filename != filename:
        # Of several wheels of that version pip finds the pinned one by its hash.
        filename, url = pin.filename, ""
    name, version, _, _ = parse_wheel_filename(filename)
    # What it is called, on whatever mirror it lies.
    package_url = f"pkg:pypi/{name}@{quote(str(version))}?file_name={quote(filename)}"
    ask = partial(get, session, url, hint=LOGIN_HINT, auth=find_login(url))
    return Offer(filename, package_url, ask, sha256)


def read_members(ask: _Ask) -> tuple[int, frozenset[str]]:
    """Return the size of a wheel and the names of its members, of which only the end is read."""
    # Not "bytes=-1000": PyPI answers 501, Nexus 404 (pypi/warehouse issue 12823).
    with ask({"Range": "bytes=0-0"}) as response:
        size = read_total(response) or 0
    # A server without Range sends it all.
    with ask({"Range": f"bytes={max(0, size - _TAIL)}-"}) as response:
        try:
            content = response.content
            # Of the offsets in a directory none is looked at: what lies before may be missing.
            with open_wheel(io.BytesIO(content), response.url) as archive:
                return size or len(content), frozenset(archive.namelist())
        except OSError as error:
            raise explain(error, response.url) from None


# Releases


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


def _find_asset(source: ReleaseSource, pin: Pin | None, session: requests.Session) -> Offer:
    """Return the asset that is wanted; a pin names it exactly, else the pattern has to fit one."""
    session.auth, hint = _find_token(source)
    base = f"{source.api.rstrip('/')}/repos/{source.repository}/releases"

    def ask(path: str, headers: dict[str, str]) -> requests.Response:
        return get(session, f"{base}{path}", headers, hint=f"look at owner, name and tag; {hint}")

    def open_asset(headers: dict[str, str]) -> requests.Response:
        # By the API: it serves the assets of private repositories too. And anew for each part:
        # the address that it redirects to does not live long.
        return ask(f"/assets/{asset.id}", {"Accept": "application/octet-stream", **headers})

    asset = _choose_asset(_find_release(ask, source, pin), source, pin)
    digest = re.fullmatch(r"sha256:([0-9a-f]{64})", asset.digest or "")
    filename = source.filename or asset.name
    return Offer(filename, asset.browser_download_url, open_asset, digest and digest[1])


def _find_token(source: ReleaseSource) -> tuple[_Login | None, str]:
    """Return what adds a token to a request, and what to do where that is refused.

    It is that of the first variable that has one for the API. The token of `gh` is for github.com;
    in a workflow of another GitHub, GITHUB_API_URL names that. None goes anywhere unencrypted.
    """
    api = urlsplit(source.api)
    homes = ("https://api.github.com", os.environ.get("GITHUB_API_URL", ""))
    is_own = origin(source.api) in map(origin, homes)
    is_unread = api.scheme == "https" or api.hostname in {"127.0.0.1", "::1", "localhost"}
    ours = {"GH_TOKEN", "GITHUB_TOKEN"}
    names = [name for name in source.token_env if is_unread and (is_own or name not in ours)]
    for name in names:
        # A line break in it would have http.client tell it.
        if token := "".join(os.environ.get(name, "").split()):
            return partial(_add_token, token), f"renew the token in {name}, or unset it"
    variables = " or ".join(names) or "a variable, and name that in source.token-env"
    return None, f"a private one needs a token that may read it in {variables}"


def _add_token(token: str, request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Add the token to a request; `requests` takes it away from other hosts."""
    request.headers["Authorization"] = f"Bearer {token}"
    return request


def _find_release(ask: _AskApi, source: ReleaseSource, pin: Pin | None) -> _Release:
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


def _read(ask: _AskApi, path: str, kind: type[_T]) -> _T:
    """Return the document at `path` below the releases."""
    with ask(path, {"Accept": "application/vnd.github+json"}) as response:
        try:
            return msgspec.json.decode(response.content, type=kind)
        except (OSError, msgspec.DecodeError) as error:
            reason = f"does not answer with releases: {error}"
            hint = "source.api is the base of a GitHub API, such as https://HOST/api/v3"
            raise FetchError(reason, code="not-json", file=response.url, hint=hint) from None


def _choose_asset(release: _Release, source: ReleaseSource, pin: Pin | None) -> _Asset:
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
