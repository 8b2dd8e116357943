"""Assets of GitHub releases, by the release API."""

import logging
import os
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, TypeVar
from urllib.parse import quote, unquote, urlsplit

import msgspec
import requests

from repack.config import ReleaseSource
from repack.errors import FetchError
from repack.fetch.download import download_wheel
from repack.fetch.http import Request, get, make_bearer_auth
from repack.fetch.values import Fetched, Job
from repack.lock import Pin

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
#: Variables whose token is one of github.com, as for `gh`; in a workflow of another GitHub, of
#: the server that GITHUB_API_URL names.
_GITHUB_VARIABLES = ("GH_TOKEN", "GITHUB_TOKEN")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_SHOWN_NAMES = 8


class _Asset(msgspec.Struct, frozen=True):
    """One file of a release; `browser_download_url` is the same for everybody, so it is pinned."""

    name: str
    id: int
    browser_download_url: str
    state: str = "uploaded"
    digest: Any = None

    @property
    def sha256(self) -> str | None:
        """What GitHub publishes as its digest; older assets and older servers have none."""
        match = re.fullmatch(r"sha256:([0-9a-f]{64})", str(self.digest).lower())
        return match[1] if match else None


class _Release(msgspec.Struct, frozen=True):
    tag_name: str
    assets: tuple[_Asset, ...] = ()


def fetch_release(source: ReleaseSource, job: Job) -> Fetched:
    """Return the asset that is wanted; a pin names it exactly, else the pattern has to fit one."""
    api = _Api(source, job.session)
    with job.progress.task(f"Asking for the release of {source.repository}", unit="steps"):
        asset = _choose(_find_release(api, job.expected.pin), source, job.expected.pin)
    hint = "the release may be changing at this moment: run again"
    job = job.with_hash(asset.sha256, by="the release", hint=hint)
    filename, url = source.filename or asset.name, asset.browser_download_url
    # By the API: it serves the assets of private repositories too.
    request = api.make_request(f"/assets/{asset.id}", "application/octet-stream")
    return download_wheel(job, request, filename, recorded_url=url)


class _Api:
    """The releases of one repository, asked with the token as long as that is taken."""

    def __init__(self, source: ReleaseSource, session: requests.Session) -> None:
        self.source = source
        self.variable, self.token = _find_token(source)
        self._session = session

    def ask(self, path: str, kind: type[_T]) -> _T:
        """Return the document at `path`; a public one is read without a stale token."""
        try:
            return self._ask(path, kind)
        except FetchError as error:
            if not self.token or error.code not in {"http-401", "http-403"}:
                raise
            self.token, refusal = "", error
        try:
            document = self._ask(path, kind)
        except FetchError:
            reason = f"{refusal.what}: the token in {self.variable} is refused"
            hint = f"put a new token into {self.variable}; for a public repository, unset it"
            raise FetchError(reason, code=refusal.code, file=refusal.file, hint=hint) from None
        _log.warning("the token in %s is refused, and not used; renew it", self.variable)
        return document

    def _ask(self, path: str, kind: type[_T]) -> _T:
        request = self.make_request(path, "application/vnd.github+json")
        with get(self._session, request) as response:
            try:
                return msgspec.json.decode(response.content, type=kind)
            except msgspec.DecodeError as error:
                reason = f"does not answer with releases: {error}"
                hint = "source.api is the base of a GitHub API, such as https://HOST/api/v3"
                raise FetchError(reason, code="not-json", file=request.url, hint=hint) from None

    def make_request(self, path: str, kind: str) -> Request:
        """Return the request for `path` below the releases."""
        hint = f"look at owner, name and tag, and at what the token in {self.variable} may read"
        if not self.token:
            usable = [name for name in self.source.token_env if _may_use(name, self.source.api)]
            where = " or ".join(usable) or "a variable, and name that in source.token-env"
            hint = f"look at owner, name and tag; if it is private, put a token into {where}"
        return Request(
            url=f"{self.source.api}/repos/{self.source.repository}/releases{path}",
            headers={"Accept": kind, "X-GitHub-Api-Version": "2022-11-28"},
            auth=make_bearer_auth(self.token) if self.token else None,
            hint=hint,
        )


def _find_token(source: ReleaseSource) -> tuple[str, str]:
    """Return the first variable with a token for that API, and the token; else nothing."""
    for name in source.token_env:
        token = os.environ.get(name, "").strip()
        if token and _may_use(name, source.api):
            return name, token
    return "", ""


def _may_use(variable: str, api: str) -> bool:
    """Return whether the token in `variable` is for the server of `api`, and goes there unread."""
    parts, own = urlsplit(api), urlsplit(os.environ.get("GITHUB_API_URL", ""))
    host = parts.hostname or ""
    if parts.scheme != "https" and host not in _LOOPBACK:
        return False
    is_github = host == "api.github.com" or host.endswith(".ghe.com")
    is_own = (own.scheme, own.netloc) == (parts.scheme, parts.netloc)
    return variable not in _GITHUB_VARIABLES or is_github or is_own


def _find_release(api: _Api, pin: Pin | None) -> _Release:
    """Return the release of the tag; "latest" was another one when it was pinned, perhaps."""
    tag = api.source.tag
    if tag is None and pin is not None:
        match = re.search(r"/releases/download/(.+)/[^/]+$", urlsplit(pin.url).path)
        tag = unquote(match[1]) if match else None
    try:
        # A tag may hold a slash, which is no separator then.
        return api.ask("/latest" if tag is None else f"/tags/{quote(tag, safe='')}", _Release)
    except FetchError as error:
        if error.code != "http-404":
            raise
    tags = [release.tag_name for release in api.ask("", list[_Release])]
    reason, hint = f"there is no release of the tag {tag!r}", f"there are {_list_names(tags)}"
    if tag is None and tags:
        reason = f"the repository has pre-releases only: {_list_names(tags)}"
        hint = f'choose one: source.tag = "{tags[0]}"'
    elif tag is None:
        reason, hint = "the repository has no release", "look at owner and name"
    raise FetchError(reason, code="http-404", file=_place(api.source), hint=hint)


def _choose(release: _Release, source: ReleaseSource, pin: Pin | None) -> _Asset:
    """Return the pinned asset, else the only one that matches the pattern."""
    assets = [asset for asset in release.assets if asset.state == "uploaded"]
    matching = [asset for asset in assets if fnmatchcase(asset.name, source.asset)]
    reason, hint = f"no asset matches {source.asset!r}", "give source.asset another pattern"
    if pin is not None:
        matching = [
            asset
            for asset in assets
            if asset.name == pin.filename or asset.browser_download_url == pin.url
        ]
        reason = f"the release has {pin.filename} no more"
        hint = "run again with --update-lock if another asset is to be taken"
    if len(matching) == 1:
        return matching[0]
    names = _list_names(sorted(asset.name for asset in matching or assets))
    if matching:
        reason = f"{len(matching)} assets match {source.asset!r}"
    raise FetchError(f"{reason}; there are {names}", code="asset", file=_place(source), hint=hint)


def _list_names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
    return ", ".join(names[:_SHOWN_NAMES]) + more or "none"


def _place(source: ReleaseSource) -> str:
    return f"{source.repository} {source.tag or '(latest release)'}"
