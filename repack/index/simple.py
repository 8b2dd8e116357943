"""An index as those who install from it see it: pages as HTML (PEP 503) or JSON (PEP 691).

And whether all that its pages tell of is there.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from html.parser import HTMLParser
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urldefrag, urljoin, urlsplit

import msgspec
import requests

from repack.console import Progress
from repack.errors import FetchError, InputError, RepackError, redact_url
from repack.fetch.http import explain, get, make_session
from repack.index.place import Place
from repack.index.project import HTML, JSON, METADATA, derive_pages, list_files, read_projects

_JSON_TYPE = "application/vnd.pypi.simple.v1+json"
#: What pip takes for a page of an index.
PAGE_TYPES = frozenset({_JSON_TYPE, "application/vnd.pypi.simple.v1+html", "text/html"})
NO_PAGE = "is no page of the Simple API"
_HEADERS = {
    "Accept": f"{_JSON_TYPE}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1",
    # A cache on the way may hold the page of before the upload.
    "Cache-Control": "max-age=0",
}
_CHUNK = 1 << 20
_ACCOUNT_HINT = "look at publish.index-url, TWINE_USERNAME and TWINE_PASSWORD"
_PUBLISH_HINT = "publish it again: it is restored; in a bucket, delete it first"
_SERVER_HINT = "does the server serve .html, .whl, .metadata and names with +? (docs: web.config)"


class Account(NamedTuple):
    """Who uploads: all but the authorities in `cacert` is for the host of `url` alone."""

    url: str = ""
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
    metadata: str | None = None


class Web(NamedTuple):
    """What reads an index that is served."""

    session: requests.Session
    progress: Progress
    account: Account = Account()

    def read_page(self, url: str, most: int = 0) -> Page | None:
        """Return the page, or `most` bytes of it; None where there is none."""
        task = self.progress.task(f"Asking {urlsplit(url).hostname}", unit="steps")
        try:
            with task, self._open(url, _HEADERS) as response:
                chunks = response.iter_content(most or _CHUNK)
                content = next(chunks, b"") if most else b"".join(chunks)
        except FetchError as error:
            if error.code in {"http-404", "http-410"}:
                return None
            raise
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        return Page(response.url, kind, content)

    def hash_file(self, url: str) -> str:
        """Return the SHA-256 of what is served."""
        digest = hashlib.sha256()
        with self._open(url, {}) as response:
            for chunk in response.iter_content(_CHUNK):
                digest.update(chunk)
        return digest.hexdigest()

    @contextlib.contextmanager
    def _open(self, url: str, headers: Mapping[str, str]) -> Iterator[requests.Response]:
        """Give the answer of a server, and turn the block's faults into one line."""
        account = self.account if origin(url) == origin(self.account.url) else Account()
        if self.account.url:
            self.session.verify = self.account.cacert or self.session.verify
            self.session.cert = account.client_cert or None
        auth = (account.username, account.password) if account.username else None
        try:
            with get(self.session, url, headers, hint=_ACCOUNT_HINT, auth=auth) as response:
                yield response
        except (OSError, ValueError) as error:
            raise explain(error, url) from None


def origin(url: str) -> tuple[str, str | None, int | None]:
    """Return what has to be equal for two URLs to be of one host: scheme, name and port."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)


def read_links(page: Page) -> Iterator[Link]:
    """Yield the files, or the projects, that a page lists."""
    if page.kind.endswith("json"):
        yield from _read_json(page)
        return
    for attributes in _read_anchors(page.content):
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
        if "projects" in document:
            for project in document["projects"]:
                yield Link(url=urljoin(page.url, project["name"] + "/"))
            return
        for file in document["files"]:
            announced = file.get("core-metadata", file.get("dist-info-metadata", False))
            metadata = announced.get("sha256", "") if isinstance(announced, dict) else ""
            yield Link(
                url=urldefrag(urljoin(page.url, file["url"]))[0],
                filename=file["filename"],
                sha256=(file.get("hashes") or {}).get("sha256", "").lower(),
                metadata=metadata if announced else None,
            )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        hint = "is publish.index-url what pip installs from?"
        raise FetchError(NO_PAGE, code="index-page", file=page.url, hint=hint) from None


def _read_anchors(content: bytes) -> list[dict[str, str]]:
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


# Checks


class Fault(msgspec.Struct, frozen=True, order=True):
    """What is wrong with a file, under a code that stays, and what cures it."""

    file: str
    code: str
    message: str
    hint: str


class CheckResult(msgspec.Struct, frozen=True):
    """How many files were compared, what is wrong, and the keys of files that no page lists."""

    index: str
    files: int
    faults: list[Fault]
    unlisted: list[str]


def check_place(place: Place, progress: Progress, tries: int = 3) -> CheckResult:
    """Return what is wrong with the index; nothing is written, and nobody kept from publishing.

    Where somebody publishes meanwhile it is looked again, up to `tries` times.
    """
    pages = _read_pages(place)
    if not pages:
        raise InputError("there is no index", code="no-index", file=place.name)
    projects = read_projects(place)
    files = list_files(projects)
    faults = []
    for key, file in files.items():
        with progress.task(f"Checking {file.filename}", total=file.size):
            faults += _check_file(key, file.sha256, place.sha256)
            faults += _check_file(key + METADATA, file.core_metadata.sha256, place.sha256)
    for key, content in derive_pages(projects).items():
        # Another version of repack may have written all but the links otherwise.
        read: Callable[[bytes], object] = _read_anchors if key.endswith(HTML) else bytes
        if read(pages.get(key, b"")) != read(content):
            message = "it is not what the JSON pages say"
            faults.append(Fault(key, "page-differs", message, _PUBLISH_HINT))
    if faults and tries > 1 and pages != _read_pages(place):
        return check_place(place, progress, tries - 1)
    wheels = {key for key in place.sizes() if key.endswith(".whl")}
    return CheckResult(place.name, len(files), sorted(faults), sorted(wheels - files.keys()))


def _read_pages(place: Place) -> dict[str, bytes]:
    keys = [key for key in place.sizes() if key.endswith((HTML, JSON))]
    return {key: place.read(key)[0] or b"" for key in keys}


def check_url(url: str, progress: Progress) -> CheckResult:
    """Return what is wrong with the index that is served at a URL, as pip and uv would see it."""
    root = url.rstrip("/") + "/"
    with make_session() as session:
        web = Web(session, progress)
        page = web.read_page(root)
        if page is None:
            raise InputError("there is no index", code="no-index", file=root)
        faults = _check_page(root, page)
        files: list[Link] = []
        for link in read_links(page):
            page = web.read_page(link.url)
            faults += _check_page(link.url, page)
            files += read_links(page) if page else ()
        for file in files:
            with progress.task(f"Checking {file.filename}"):
                faults += _check_file(file.url, file.sha256, web.hash_file)
                if file.metadata is not None:
                    faults += _check_file(file.url + METADATA, file.metadata, web.hash_file)
    return CheckResult(redact_url(root), len(files), sorted(faults), [])


def _check_page(url: str, page: Page | None) -> list[Fault]:
    """Return what is wrong with a listed page: there is none, or pip takes it for none."""
    if page is None:
        return [Fault(redact_url(url), "missing-page", "is listed, and not there", _SERVER_HINT)]
    if page.kind not in PAGE_TYPES:
        message = f"is served as {page.kind or 'nothing'}, which pip takes for no page of an index"
        return [Fault(redact_url(page.url), "media-type", message, _SERVER_HINT)]
    return []


def _check_file(url: str, sha256: str, hash_file: Callable[[str], str]) -> list[Fault]:
    """Return what is wrong with a file; "" stands for a hash that the page does not say."""
    hint = _SERVER_HINT if "://" in url else _PUBLISH_HINT
    file = unquote(redact_url(url))
    try:
        actual = hash_file(url)
    except RepackError as error:
        return [Fault(file, error.code, error.what, hint)]
    if sha256 in {"", actual}:
        return []
    message = f"its SHA-256 is {actual}, the page says {sha256}"
    return [Fault(file, "damaged", message, hint)]
