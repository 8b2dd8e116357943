"""Whether an index is what its pages say: in its place, or at a URL as an installer sees it."""

from collections.abc import Callable
from urllib.parse import unquote

import msgspec

from repack.console import Progress
from repack.errors import InputError, RepackError, redact_url
from repack.fetch.http import make_session
from repack.index.place import Place
from repack.index.project import HTML, JSON, METADATA, derive_pages
from repack.index.publish import find_strays, read_projects
from repack.index.web import JSON_TYPE, PAGE_TYPES, Link, Page, Web, read_anchors, read_links

#: How often it is looked again where somebody publishes meanwhile.
_TRIES = 3
_HINTS = {
    "damaged": "publish it again: it is restored; in a bucket, delete it first",
    "missing-file": "publish it again: it is restored",
    "missing-page": "publish again: it is written anew",
    "media-type": "let the server say text/html",
    "page-differs": "publish again: it is written anew",
}
_SERVER_HINT = "let the server know the types .whl and .metadata (docs: web.config)"


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


def check_place(place: Place, progress: Progress) -> CheckResult:
    """Return what is wrong with the index; nothing is written, and nobody kept from publishing.

    A fault is told only where the pages did not change meanwhile.
    """
    tries = _TRIES
    while True:
        projects = read_projects(place)
        expected = derive_pages(projects)
        pages = {key: place.read(key) for key in expected}
        if not any(pages.values()):
            hint = "publish something first"
            raise InputError("there is no index", code="no-index", file=place.name, hint=hint)
        files, faults = _check(
            "", _read_page_in(place, expected[JSON]), _hash_file_in(place), progress
        )
        for key, content in pages.items():
            # Another version of repack may have written all but the links otherwise.
            read = read_anchors if key.endswith(HTML) else bytes
            if content is None or read(content) != read(expected[key]):
                faults.append(_fault(key, "page-differs", "it is not what the JSON pages say"))
        is_settled = projects == read_projects(place) and pages == {
            key: place.read(key) for key in expected
        }
        tries -= 1
        if not faults or is_settled or not tries:
            return CheckResult(place.name, files, sorted(faults), [*find_strays(place, projects)])


def check_url(url: str, progress: Progress) -> CheckResult:
    """Return what is wrong with the index that is served at a URL, as pip and uv would see it."""
    root = url.rstrip("/") + "/"
    with make_session() as session:
        web = Web(session, progress)
        files, faults = _check(root, web.read_page, web.hash_file, progress)
    return CheckResult(redact_url(root), files, sorted(faults), [])


def _check(
    root: str,
    read_page: Callable[[str], Page | None],
    hash_file: Callable[[str], tuple[str, int]],
    progress: Progress,
) -> tuple[int, list[Fault]]:
    """Return how many files the pages list, and what is wrong with them and with the pages."""
    page = read_page(root)
    if page is None:
        raise InputError("there is no index", code="no-index", file=root)
    faults = _check_type(page)
    files: list[Link] = []
    for link in read_links(page):
        page = read_page(link.url)
        if page is None:
            faults.append(_fault(link.url, "missing-page", "is listed, and not there"))
        else:
            faults += _check_type(page)
            files += read_links(page)
    for file in files:
        with progress.task(f"Checking {file.filename}", total=file.size):
            faults += _check_file(file.url, file.sha256, file.size, hash_file)
            if file.metadata is not None:
                faults += _check_file(file.url + METADATA, file.metadata, None, hash_file)
    return len(files), faults


def _check_type(page: Page) -> list[Fault]:
    if page.kind in PAGE_TYPES:
        return []
    message = f"is served as {page.kind or 'nothing'}, which pip takes for no page of an index"
    return [_fault(page.url, "media-type", message)]


def _check_file(
    url: str, sha256: str, size: int | None, hash_file: Callable[[str], tuple[str, int]]
) -> list[Fault]:
    """Return what is wrong with a file; "" and None stand for what the page does not say."""
    try:
        actual, length = hash_file(url)
    except RepackError as error:
        return [_fault(url, error.code, error.what)]
    if size not in {None, length}:
        return [_fault(url, "damaged", f"it has {length} bytes, the page says {size}")]
    if sha256 not in {"", actual}:
        return [_fault(url, "damaged", f"its SHA-256 is {actual}, the page says {sha256}")]
    return []


def _fault(url: str, code: str, message: str) -> Fault:
    return Fault(unquote(redact_url(url)), code, message, _HINTS.get(code, _SERVER_HINT))


def _read_page_in(place: Place, root: bytes) -> Callable[[str], Page | None]:
    def read_page(folder: str) -> Page | None:
        content = place.read(f"{folder}{JSON}") if folder else root
        return None if content is None else Page(folder, JSON_TYPE, content)

    return read_page


def _hash_file_in(place: Place) -> Callable[[str], tuple[str, int]]:
    sizes = place.sizes()

    def hash_file(url: str) -> tuple[str, int]:
        key = unquote(url)
        if key not in sizes:
            raise InputError("there is no such file", code="missing-file")
        return place.sha256(key), sizes[key]

    return hash_file
