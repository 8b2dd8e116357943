"""The reading side of an index that others run: which files it has, by which hashes, which bytes.

Pages are taken as HTML (PEP 503) and as JSON (PEP 691).
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urldefrag, urljoin, urlsplit

from repack.errors import FetchError, shown_url
from repack.fetch.http import ELSEWHERE, Client, origin
from repack.fetch.patience import PassingFault
from repack.fetch.request import Request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from repack.console import Progress, Task
    from repack.fetch.http import Page

_log = logging.getLogger(__name__)
_JSON = "application/vnd.pypi.simple.v1+json"
_ACCEPT = {
    "Accept": f"{_JSON}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1",
    # A cache on the way may hold the page of before the upload.
    "Cache-Control": "max-age=0",
}
_PAGES = frozenset({_JSON, "application/vnd.pypi.simple.v1+html", "text/html"})
#: Where indexes have their simple pages, seen from the URL that takes uploads: pypiserver, GitLab,
#: Artifactory and Nexus; devpi; and those that have both at one place.
_PLACES = ("simple/", "+simple/", "")
_ABSENT = frozenset({"http-404", "http-410", ELSEWHERE})


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """A file that a project's page lists; `sha256` is "" where the page does not say it."""

    filename: str
    url: str
    sha256: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Remote:
    """Asks an index; what is known of its account goes to hosts of `trusted` URLs only."""

    url: str
    client: Client
    progress: Progress
    login: tuple[str, str] | None = field(default=None, repr=False)
    cacert: str | None = None
    client_cert: str | None = None
    trusted: tuple[str, ...] = ()

    def links(self, project: str) -> dict[str, Link]:
        """Return the files of a project, by name; none where the index does not know it.

        pypiserver and GitLab send whoever asks for what they have not to a public index. What that
        has is not this index's, even under the same name.
        """
        request = replace(self._request(f"{self.url}{project}/", _ACCEPT), stays=True)
        try:
            page = self.client.page(request, self.progress)
        except FetchError as error:
            if error.code in _ABSENT:
                _log.info("%s: %s", shown_url(request.url), error.what)
                return {}
            raise
        return {link.filename: link for link in links_of(page)}

    def sha256(self, link: Link, size: int) -> str:
        """Return the SHA-256 of what is served; what is longer than `size` is not read to its end.

        What was read of a longer file has another hash than any file of that size.
        """
        with self.progress.task(f"Reading back {link.filename}", total=size) as task:
            return self.client.patience.persist(
                lambda: self._read(link, size, task), what=shown_url(link.url), task=task
            )

    def _read(self, link: Link, size: int, task: Task) -> str:
        digest, length = hashlib.sha256(), 0
        with self.client.opened(self._request(link.url, {})) as answer:
            while length <= size and (chunk := answer.read()):
                digest.update(chunk)
                length += len(chunk)
                task.advance(len(chunk))
            announced = answer.length
        if announced is not None and length < min(announced, size):
            task.advance(-length)
            raise PassingFault(f"the connection ended after {length} of {announced} bytes")
        return digest.hexdigest()

    def _request(self, url: str, headers: dict[str, str]) -> Request:
        known = origin(url) in map(origin, self.trusted)
        return Request(
            url=url,
            headers=headers,
            login=self.login if known else None,
            cacert=self.cacert if known else None,
            client_cert=self.client_cert if known else None,
            hint="look at publish.index-url, and at the name and password that twine is given",
        )


def find(upload_url: str, ask: Remote) -> Remote:
    """Return the reading side of the index that takes uploads at a URL, found by asking."""
    base = upload_url if upload_url.endswith("/") else f"{upload_url}/"
    for place in _PLACES:
        found = replace(ask, url=urljoin(base, place))
        if _is_index(found):
            return found
    raise FetchError(
        "no simple page of the index is found from there, so what it has cannot be compared",
        code="no-index-url",
        file=shown_url(upload_url),
        hint="say where pip installs from: --index-url URL, or publish.index-url",
    )


def _is_index(remote: Remote) -> bool:
    try:
        page = remote.client.page(remote._request(remote.url, _ACCEPT), remote.progress)  # noqa: SLF001 - a function of this module
    except FetchError as error:
        if error.code in {"http-400", "http-405", *_ABSENT}:
            return False
        raise
    return page.kind == _JSON or (page.kind in _PAGES and looks_simple(page))


def looks_simple(page: Page) -> bool:
    """Return whether a page is the list of an index's projects rather than one for people."""
    text = page.content[:4096].lower()
    return b"pypi:repository-version" in text or b"simple index" in text or b"links for" in text


def links_of(page: Page) -> Iterator[Link]:
    """Yield the files that a project's page lists."""
    if page.kind.endswith("json"):
        yield from _links_of_json(page)
        return
    anchors = _Anchors()
    anchors.feed(page.content.decode("utf-8", "replace"))
    anchors.close()
    base = urljoin(page.url, anchors.base)
    for href in anchors.hrefs:
        url, fragment = urldefrag(urljoin(base, href))
        said = {name.lower(): value for name, value in parse_qsl(fragment)}
        name = unquote(urlsplit(url).path.rpartition("/")[2])
        yield Link(filename=name, url=url, sha256=said.get("sha256", "").lower())


def _links_of_json(page: Page) -> Iterator[Link]:
    try:
        for each in json.loads(page.content)["files"]:
            hashes = each.get("hashes") or {}
            yield Link(
                filename=each["filename"],
                url=urldefrag(urljoin(page.url, each["url"]))[0],
                sha256=str(hashes.get("sha256", "")).lower(),
            )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise FetchError(
            "is no page of the Simple API",
            code="index-page",
            file=shown_url(page.url),
            hint="is publish.index-url what pip installs from?",
        ) from None


class _Anchors(HTMLParser):
    """Collects what a page's anchors point at, and its base."""

    def __init__(self) -> None:
        super().__init__()
        self.base = ""
        self.hrefs: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the link of an anchor."""
        href = dict(attrs).get("href")
        if tag == "a" and href:
            self.hrefs.append(href)
        elif tag == "base" and href:
            self.base = href
