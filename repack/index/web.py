"""The reading side of an index that is served: pages as HTML (PEP 503) or JSON (PEP 691)."""

import hashlib
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urldefrag, urljoin, urlsplit

import msgspec
import requests

from repack.console import Progress
from repack.errors import FetchError
from repack.fetch.http import explain, get

JSON_TYPE = "application/vnd.pypi.simple.v1+json"
#: What pip takes for a page of an index.
PAGE_TYPES = frozenset({JSON_TYPE, "application/vnd.pypi.simple.v1+html", "text/html"})
_HEADERS = {
    "Accept": f"{JSON_TYPE}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1",
    # A cache on the way may hold the page of before the upload.
    "Cache-Control": "max-age=0",
}
_CHUNK = 1 << 20


class Page(NamedTuple):
    """A page: where it was found, redirects followed, its media type, its bytes."""

    url: str
    kind: str
    content: bytes


class Link(NamedTuple):
    """A file or project that a page lists; "" and None for what the page does not say.

    `metadata` is the SHA-256 of the metadata that is announced, "" without a hash.
    """

    url: str
    filename: str = ""
    sha256: str = ""
    size: int | None = None
    metadata: str | None = None


class Account(NamedTuple):
    """Who uploads: all but the authorities in `cacert` is for the host of `url` alone."""

    url: str
    username: str = ""
    password: str = ""
    cacert: str = ""
    client_cert: str = ""

    def at(self, url: str) -> str:
        """Return a URL with name and password in it, where it is of the host they are for."""
        if not self.username or origin(url) != origin(self.url):
            return url
        scheme, mark, rest = url.partition("://")
        secrets = f"{quote(self.username, safe='')}:{quote(self.password, safe='')}"
        return f"{scheme}{mark}{secrets}@{rest}"


class Web:
    """Reads an index."""

    def __init__(
        self, session: requests.Session, progress: Progress, account: Account | None = None
    ) -> None:
        self._session = session
        self._progress = progress
        self._account = account or Account("")
        session.verify = self._account.cacert or session.verify

    def read_page(self, url: str, most: int = 0) -> Page | None:
        """Return the page, or `most` bytes of it; None where there is none."""
        with self._progress.task(f"Asking {urlsplit(url).hostname}", unit="steps"):
            try:
                with self._get(url, _HEADERS) as response:
                    chunks = response.iter_content(most or _CHUNK)
                    content = next(chunks, b"") if most else b"".join(chunks)
            except FetchError as error:
                if error.code in {"http-404", "http-410"}:
                    return None
                raise
            except (OSError, ValueError) as error:
                raise explain(error, url) from None
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        return Page(response.url, kind, content)

    def hash_file(self, url: str) -> tuple[str, int]:
        """Return SHA-256 and size of what is served."""
        digest, size = hashlib.sha256(), 0
        try:
            with self._get(url, {}) as response:
                for chunk in response.iter_content(_CHUNK):
                    digest.update(chunk)
                    size += len(chunk)
        except (OSError, ValueError) as error:
            raise explain(error, url) from None
        return digest.hexdigest(), size

    def _get(self, url: str, headers: dict[str, str]) -> requests.Response:
        account = self._account
        if origin(url) != origin(account.url):
            account = Account("")
        self._session.cert = account.client_cert or None
        pair = (account.username, account.password) if account.username else None
        hint = "look at publish.index-url, TWINE_USERNAME and TWINE_PASSWORD"
        return get(self._session, url, headers=headers, auth=pair, hint=hint)


def origin(url: str) -> tuple[str, str | None, int | None]:
    """Return what has to be equal for two URLs to be of one host: scheme, name and port."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)


def read_links(page: Page) -> Iterator[Link]:
    """Yield the files, or the projects, that a page lists."""
    if page.kind.endswith("json"):
        yield from _read_json(page)
        return
    for attributes in read_anchors(page.content):
        url, fragment = urldefrag(urljoin(page.url, attributes["href"]))
        hashes = {name.lower(): value for name, value in parse_qsl(fragment)}
        metadata = attributes.get("data-core-metadata", attributes.get("data-dist-info-metadata"))
        yield Link(
            url=url,
            filename=unquote(urlsplit(url).path.rpartition("/")[2]),
            sha256=hashes.get("sha256", "").lower(),
            metadata=None if metadata is None else metadata.partition("sha256=")[2],
        )


def _read_json(page: Page) -> Iterator[Link]:
    try:
        document = msgspec.json.decode(page.content, type=dict[str, Any])
        for project in document.get("projects", []):
            yield Link(url=urljoin(page.url, project["name"] + "/"))
        for file in document.get("files", []):
            announced = file.get("core-metadata", file.get("dist-info-metadata", False))
            metadata = announced.get("sha256", "") if isinstance(announced, dict) else ""
            yield Link(
                url=urldefrag(urljoin(page.url, file["url"]))[0],
                filename=file["filename"],
                sha256=(file.get("hashes") or {}).get("sha256", "").lower(),
                size=file.get("size"),
                metadata=metadata if announced else None,
            )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        hint = "is publish.index-url what pip installs from?"
        message = "is no page of the Simple API"
        raise FetchError(message, code="index-page", file=page.url, hint=hint) from None


def read_anchors(content: bytes) -> list[dict[str, str]]:
    """Return the attributes of each link of a page, a `<base>` applied to their addresses."""
    parser = _Anchors()
    parser.feed(content.decode("utf-8", "replace"))
    parser.close()
    return parser.links


class _Anchors(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self._base = ""
        self.links: list[dict[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep a link."""
        attributes = {name: value or "" for name, value in attrs}
        if tag == "a" and "href" in attributes:
            attributes["href"] = urljoin(self._base, attributes["href"])
            self.links.append(attributes)
        elif tag == "base":
            self._base = attributes.get("href", "")
