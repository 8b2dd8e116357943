"""The pages of an index: those that we write, and those that a server shows.

Ours are JSON (PEP 691, 700, 714, 592), and HTML for pip and people. A project's JSON page is its
state: upload times and yanking stand nowhere else. All other pages follow from those. Keys with a
leading underscore are the index's own (PEP 691).
"""

import contextlib
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html.parser import HTMLParser
from typing import Annotated, Any, NamedTuple, TypeVar
from urllib.parse import parse_qsl, quote, unquote, urldefrag, urljoin, urlsplit

import msgspec
import requests
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

from repack.console import Progress
from repack.errors import FetchError, InputError
from repack.fetch.http import explain, find_login, get, origin, refuse_encoded
from repack.index.place import Place
from repack.pages import render_template
from repack.plan import format_megabytes

HTML, JSON, METADATA = "index.html", "index.json", ".metadata"
_META = {"api-version": "1.1"}
_JSON_TYPE = "application/vnd.pypi.simple.v1+json"
#: What pip takes for a page of an index.
PAGE_TYPES = frozenset({_JSON_TYPE, "application/vnd.pypi.simple.v1+html", "text/html"})
_HEADERS = {
    "Accept": f"{_JSON_TYPE}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1",
    # A cache on the way may hold the page of before the upload.
    "Cache-Control": "max-age=0",
}
_CHUNK = 1 << 20
_LOGIN_HINT = (
    "a name and a password for it go into .netrc or pip's index-url, those of an index that takes "
    "uploads into TWINE_USERNAME and TWINE_PASSWORD"
)
SERVER_HINT = "does the server serve .html, .whl, .metadata and names with +? (docs: web.config)"
INDEX_HINT = (
    "give the URL that pip installs from: --check URL, or for uploads --index-url URL or "
    "publish.index-url"
)
_Page = TypeVar("_Page", bound=msgspec.Struct)


# Pages that we write


class Hashes(msgspec.Struct, frozen=True):
    """The hashes of a file, by algorithm."""

    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]


class File(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="kebab"):
    """One wheel, as PEP 691 has it; `note` tells people what its build was and saw.

    Without `dist-info-metadata`: pip 22.3 to 23.1 fails on a JSON page that has it (PEP 714).
    """

    filename: Annotated[str, msgspec.Meta(pattern=r"^[^/\\]+\.whl\Z")]
    url: str
    hashes: Hashes
    size: int
    upload_time: str
    core_metadata: Hashes
    requires_python: str = ""
    yanked: bool | str = False
    note: str = msgspec.field(default="", name="_note")

    @property
    def version(self) -> Version:
        """The version that the file name says."""
        return parse_wheel_filename(self.filename)[1]

    @property
    def sha256(self) -> str:
        """The SHA-256 of the file."""
        return self.hashes.sha256


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """A project by its normalised name, and its files, sorted by version and name."""

    name: str
    versions: tuple[str, ...]
    files: tuple[File, ...]
    meta: dict[str, str]


class _Root(msgspec.Struct, frozen=True, kw_only=True):
    """The page of all projects."""

    projects: tuple[dict[str, str], ...]
    meta: dict[str, str]


def read_projects(place: Place) -> dict[str, Project]:
    """Return the projects by name; InputError where pages are somebody else's."""
    keys = place.sizes()
    projects = {}
    for key in keys:
        name, _, filename = key.rpartition("/")
        where = f"{place.name}/{key}"
        if "/" in name or name != canonicalize_name(name):
            continue
        if filename == HTML and f"{key.removesuffix(HTML)}{JSON}" not in keys:
            raise _foreign_page(where, "there is no index.json beside it")
        if filename == JSON and (content := place.read(key)[0]) is not None:
            if name:
                projects[name] = read_project(content, name, where)
            else:
                _decode(content, _Root, where)
    return projects


def read_project(content: bytes, name: str, where: str) -> Project:
    """Return the project whose JSON page this is; InputError where publish did not write it."""
    project = _decode(content, Project, where)
    try:
        names = {parse_wheel_filename(file.filename)[0] for file in project.files}
    except ValueError as error:
        raise _foreign_page(where, str(error)) from None
    if names | {project.name} != {name} or any(
        file.url != quote(file.filename) for file in project.files
    ):
        raise _foreign_page(where, f"it lists what does not lie beside it, or is not of {name}")
    return project


def _decode(content: bytes, kind: type[_Page], where: str) -> _Page:
    try:
        return msgspec.json.decode(content, type=kind)
    except (ValueError, RecursionError) as error:
        raise _foreign_page(where, str(error)) from None


def _foreign_page(where: str, reason: str) -> InputError:
    hint = "name another folder, or move that page away"
    message = f"is not what publish leaves: {reason}"
    return InputError(message, code="foreign-index", file=where, hint=hint)


def list_files(projects: Mapping[str, Project]) -> dict[str, File]:
    """Return the files that the pages list, by their keys."""
    return {
        f"{name}/{file.filename}": file
        for name, project in projects.items()
        for file in project.files
    }


def format_project(name: str, files: Iterable[File]) -> bytes:
    """Return the JSON page of the project of these files."""
    ordered = tuple(sorted(files, key=lambda file: (file.version, file.filename)))
    versions = tuple(map(str, sorted({file.version for file in ordered})))
    return _format_json(Project(name=name, versions=versions, files=ordered, meta=_META))


def derive_pages(projects: Mapping[str, Project]) -> dict[str, bytes]:
    """Return the pages that follow from the projects' own, in the order to write them in."""
    names = [name for name in sorted(projects) if projects[name].files]
    root = _Root(projects=tuple({"name": name} for name in names), meta=_META)
    pages = {
        f"{name}/{HTML}": _format_html(name, projects[name].files) for name in sorted(projects)
    }
    return {**pages, JSON: _format_json(root), HTML: _format_html("Packages", names=names)}


def _format_json(page: Project | _Root) -> bytes:
    return msgspec.json.format(msgspec.json.encode(page, order="sorted"), indent=1) + b"\n"


def _format_html(title: str, files: Sequence[File] = (), names: Sequence[str] = ()) -> bytes:
    """Return a page of links for pip, which tells people what there is."""
    values = {"title": title, "files": files[::-1], "names": names, "meta": _META}
    filters = {"megabytes": format_megabytes}
    return render_template("index.html.jinja", values, filters=filters).encode()


# Pages that a server shows


class Account(NamedTuple):
    """Who uploads: all but the authorities in `cacert` is for the host of `url` alone."""

    url: str = ""
    username: str = ""
    password: str = ""
    cacert: str = ""
    client_cert: str = ""


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

    @property
    def is_file(self) -> bool:
        """Whether it leads to a file, and not to the page of a project."""
        return self.filename.endswith((".whl", ".gz", ".zip"))


class Web(NamedTuple):
    """What reads an index that is served."""

    session: requests.Session
    progress: Progress
    account: Account = Account()

    def read_page(self, url: str, most: int = 0) -> Page | None:
        """Return the page, or `most` bytes of it; None where there is none."""
        task = self.progress.task(f"Asking {urlsplit(url).hostname}", unit="steps")
        try:
            with task, self._open(url, _HEADERS, hint=_LOGIN_HINT) as response:
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
        with self._open(url, {}, hint=SERVER_HINT) as response:
            refuse_encoded(response)
            for chunk in response.iter_content(_CHUNK):
                digest.update(chunk)
        return digest.hexdigest()

    def choose_login(self, url: str) -> tuple[str, str] | None:
        """Return name and password for a host: those of the account, else those that pip has."""
        account = self._account_of(url)
        return (account.username, account.password) if account.username else find_login(url)

    def _account_of(self, url: str) -> Account:
        return self.account if origin(url) == origin(self.account.url) else Account()

    @contextlib.contextmanager
    def _open(
        self, url: str, headers: Mapping[str, str], *, hint: str
    ) -> Iterator[requests.Response]:
        """Give the answer of a server, and turn the block's faults into one line."""
        if self.account.url:
            self.session.verify = self.account.cacert or self.session.verify
            self.session.cert = self._account_of(url).client_cert or None
        login = self.choose_login(url)
        try:
            with get(self.session, url, headers, hint=hint, auth=login) as response:
                yield response
        except (OSError, ValueError) as error:
            raise explain(error, url) from None


def no_page(url: str) -> FetchError:
    """Return the error for what is served where a page of an index should be."""
    return FetchError(
        "is not a page of the Simple API", code="index-page", file=url, hint=INDEX_HINT
    )


def is_simple(page: Page) -> bool:
    """Return whether a page is the list of an index's projects rather than one for people."""
    words = rb"(?i)pypi:repository-version|simple index|links for"
    return page.kind in PAGE_TYPES and (
        page.kind != "text/html" or re.search(words, page.content) is not None
    )


def require_index(page: Page, links: Iterable[Link]) -> None:
    """Raise FetchError for a page without files that is none of an index: a form to log in, say."""
    if not is_simple(page) and not any(link.is_file for link in links):
        raise no_page(page.url)


def read_links(page: Page) -> list[Link]:
    """Return the files, or the projects, that a page lists."""
    if not page.kind.endswith("json"):
        return _Anchors(page).links
    links = []
    try:
        document = msgspec.json.decode(page.content, type=dict[str, Any])
        if "projects" in document:
            return [Link(urljoin(page.url, row["name"] + "/")) for row in document["projects"]]
        for file in document["files"]:
            announced = file.get("core-metadata", file.get("dist-info-metadata", False))
            metadata = announced.get("sha256", "") if isinstance(announced, dict) else ""
            link = Link(
                url=urldefrag(urljoin(page.url, file["url"]))[0],
                filename=file["filename"],
                sha256=(file.get("hashes") or {}).get("sha256", "").lower(),
                metadata=metadata if announced else None,
            )
            links.append(link)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise no_page(page.url) from None
    return links


def list_names(page: Page) -> list[str]:
    """Return the projects that a page lists, by the names that pip asks for.

    They lie below it: a web server's own list of a folder has links to sort it and to go up, too.
    """
    below = [link.url.removeprefix(page.url) for link in read_links(page) if not link.is_file]
    matches = (re.match(r"[\w.-]+(?=/|\Z)", path) for path in below)
    return sorted({canonicalize_name(match[0]) for match in matches if match})


class _Anchors(HTMLParser):
    """The links of a page, a `<base>` applied to their addresses."""

    def __init__(self, page: Page) -> None:
        super().__init__()
        self._base = page.url
        self.links: list[Link] = []
        self.feed(page.content.decode("utf-8", "replace"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep a link."""
        attributes = {name: value or "" for name, value in attrs}
        if "href" not in attributes or tag not in {"a", "base"}:
            return
        url, fragment = urldefrag(urljoin(self._base, attributes["href"]))
        if tag == "base":
            self._base = url
            return
        hashes = {name.lower(): value for name, value in parse_qsl(fragment)}
        metadata = attributes.get("data-core-metadata", attributes.get("data-dist-info-metadata"))
        link = Link(
            url=url,
            filename=unquote(urlsplit(url).path.rpartition("/")[2]),
            sha256=hashes.get("sha256", "").lower(),
            metadata=None if metadata is None else metadata.partition("sha256=")[2],
        )
        self.links.append(link)
