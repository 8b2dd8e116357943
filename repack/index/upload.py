"""Uploads wheels by `uv publish`, and proves that the index serves what was sent.

First all wheels are looked at and compared with what the index has; where one of them is refused,
nothing is sent. A file is done once its bytes have been read back: whoever runs it again after a
failure sends what lacks.
"""

import contextlib
import os
import re
import shutil
import time
from collections.abc import Sequence
from http import HTTPStatus
from urllib.parse import urljoin

from repack.console import Progress
from repack.errors import FetchError, InputError, redact, redact_url
from repack.fetch.http import make_session
from repack.index.publishing import Done, make_done
from repack.index.resolving import find_uv, trust_settings
from repack.index.web import PAGE_TYPES, Link, Login, Page, Web, origin, read_links
from repack.index.wheels import Offer
from repack.plan import describe_size
from repack.process import run

#: Seconds for one upload: gigabytes on a slow line.
_LONGEST = 4 * 3600.0
#: Bytes: so much of a page tells whether it is one of an index, which may list everything.
_HEAD = 4096
#: Seconds between the looks at a page that the server writes later, and between tries.
_PAUSES = (1.0, 2.0, 4.0)
#: Where indexes have their simple pages, seen from the URL that takes uploads: pypiserver, GitLab,
#: Artifactory and Nexus; devpi; and those that have both at one place.
_PLACES = ("simple/", "+simple/", "")
_STATUS = re.compile(r"status code (\d{3})[^.]*\. ?(?:Server says: )?(.*)", re.DOTALL)
_HINTS = {
    401: "set TWINE_USERNAME and TWINE_PASSWORD, or let .pypirc hold them",
    # What some say where name or password are wrong.
    403: "look at TWINE_USERNAME and TWINE_PASSWORD, and at whether that user may upload there",
    404: "look at the URL: --repository-url is where twine and uv upload to",
    405: "look at the URL: --repository-url is where twine and uv upload to",
}
_AGAIN = "ask the index's keeper, and run again: only what lacks is sent"


class ServedIndex:
    """An index that takes uploads, as those who install from it see it.

    `url` is where it is by its own word: an old host name may lead to it. `is_known` is False
    where that page was not shown: who may not list all projects may still look at one of them.
    """

    def __init__(self, web: Web, url: str, *, is_known: bool) -> None:
        self._web = web
        self.url = url
        self._is_known = is_known

    def find(self, offer: Offer) -> Link | None:
        """Return the file of that name; raises FetchError where that cannot be looked at.

        pypiserver and GitLab send whoever asks for what they have not to a public index. What that
        has is not this index's, even under the same name.
        """
        url = f"{self.url.rstrip('/')}/{offer.project}/"
        page = self._web.read_page(url)
        if page is None:
            return None
        if origin(page.url) != origin(self.url):
            if self._is_known:
                return None
            raise FetchError(
                f"leads to {redact_url(page.url)}, so what the index has cannot be compared",
                code="redirect",
                file=redact_url(url),
                hint="say where pip installs from: --index-url URL, or publish.index-url",
            )
        return next(
            (link for link in read_links(page) if link.filename == offer.file.filename), None
        )

    def sha256(self, link: Link) -> str:
        """Return the SHA-256 of the bytes that are served."""
        return self._web.hash_file(link.url)[0]


def upload(
    offers: Sequence[Offer], account: Login, index_url: str, progress: Progress
) -> tuple[str, list[Done], str]:
    """Upload the wheels that the index has not; each is read back and compared.

    Returns where the index is, what was done, and the same place with the account, for uv.
    """
    with make_session() as session:
        web = Web(session, progress, account)
        index = _open_index(index_url, web) if index_url else _find_index(account.url, web)
        missing = _find_missing(offers, index)
        done = [
            make_done(
                offer.project,
                offer.file,
                _send(offer, account, index, progress) if offer in missing else "there already",
            )
            for offer in offers
        ]
    return redact_url(index.url), done, account.at(index.url)


def _open_index(url: str, web: Web) -> ServedIndex:
    """Return the index whose simple pages are at the URL."""
    root = None
    with contextlib.suppress(FetchError):
        root = web.read_page(url, most=_HEAD)
    return ServedIndex(web, root.url if root else url, is_known=root is not None)


def _find_index(upload_url: str, web: Web) -> ServedIndex:
    """Return the index that takes uploads there, by looking for its simple pages."""
    base, forbidden_url = upload_url.rstrip("/") + "/", ""
    for place in _PLACES:
        url = urljoin(base, place)
        try:
            page = web.read_page(url, most=_HEAD)
        except FetchError as error:
            if not error.code.startswith("http-4"):
                raise
            if error.code in {"http-401", "http-403"}:
                forbidden_url = forbidden_url or url
            continue
        if page is not None and _is_simple(page):
            return ServedIndex(web, page.url, is_known=True)
    if forbidden_url:
        return ServedIndex(web, forbidden_url, is_known=False)
    raise FetchError(
        "no simple page of the index is found from there, so what it has cannot be compared",
        code="no-index-url",
        file=redact_url(upload_url),
        hint="say where pip installs from: --index-url URL, or publish.index-url",
    )


def _is_simple(page: Page) -> bool:
    """Return whether a page is the list of an index's projects rather than one for people."""
    text = page.content.lower()
    words = (b"pypi:repository-version", b"simple index", b"links for")
    if page.kind != "text/html":
        return page.kind in PAGE_TYPES
    return any(word in text for word in words)


def _find_missing(offers: Sequence[Offer], index: ServedIndex) -> list[Offer]:
    """Return the offers that the index has not; raises where it has one with other bytes."""
    links = [(offer, index.find(offer)) for offer in offers]
    conflicts = [
        offer.file.filename
        for offer, link in links
        if link is not None and offer.file.sha256 != (link.sha256 or index.sha256(link))
    ]
    if conflicts:
        raise InputError(
            f"the index has other bytes under the name of {', '.join(conflicts)}; "
            "yours were not sent",
            code="other-bytes",
            file=redact_url(index.url),
            hint="build with another build.local: a file name stands for the same bytes for ever",
        )
    return [offer for offer, link in links if link is None]


def _send(offer: Offer, account: Login, index: ServedIndex, progress: Progress) -> str:
    """Upload a wheel and read it back, and return what was done.

    After a refusal the index is asked whether it has it: each says so in words of its own.
    """
    pauses = iter(_PAUSES)
    while (output := _run_uv(offer, account, progress)) is not None:
        if not _find_missing([offer], index):
            break
        refusal, passes = _explain(output, offer, account)
        pause = next(pauses, None)
        if pause is None or not passes:
            raise refusal
        time.sleep(pause)
    _check_uploaded(offer, index)
    return "added" if output is None else "there already"


def _run_uv(offer: Offer, account: Login, progress: Progress) -> str | None:
    """Return what uv says where the upload has failed, None where it has not.

    Name and password stand in its environment, and in no command line.
    """
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("UV_PUBLISH")
    }
    environment |= trust_settings()
    environment |= {
        "UV_PUBLISH_USERNAME": account.username,
        "UV_PUBLISH_PASSWORD": account.password,
        **({"SSL_CERT_FILE": account.cacert} if account.cacert else {}),
        **({"SSL_CLIENT_CERT": account.client_cert} if account.client_cert else {}),
    }
    if account.username and not account.password and shutil.which("keyring"):
        del environment["UV_PUBLISH_PASSWORD"]
        environment["UV_KEYRING_PROVIDER"] = "subprocess"
    command = [find_uv(), "publish", "--no-config", "--no-attestations"]
    command += ["--trusted-publishing", "never", "--publish-url", account.url, str(offer.path)]
    with progress.task(f"Uploading {offer.file.filename}", total=None):
        done = run(command, timeout=_LONGEST, env=environment)
    if done.timed_out:
        return "it did not end in time"
    return done.output if done.returncode else None


def _explain(output: str, offer: Offer, account: Login) -> tuple[FetchError, bool]:
    """Return why uv has failed, and whether another try may help."""
    place = f"{offer.file.filename} -> {redact_url(account.url)}"
    match = _STATUS.search(output)
    if match is None:
        causes = re.findall(r"cause: (.*)", output) or output.strip().splitlines()[-1:]
        reason = redact(": ".join(_without_secrets(causes, account)))
        passes = "error sending request" in output
        return FetchError(reason, code="upload", file=place, hint=_AGAIN), passes
    status = int(match[1])
    known = {int(known): known.phrase for known in HTTPStatus}
    words = " ".join(" ".join(_without_secrets([match[2]], account)).split())[:300]
    reason = " ".join(filter(None, ["the server says", match[1], known.get(status)]))
    reason += f": {redact(words)}" if words else ""
    hint = _size_hint(offer) if status == 413 else _HINTS.get(status, _AGAIN)  # noqa: PLR2004
    error = FetchError(reason, code=f"http-{status}", file=place, hint=hint)
    return error, status in {408, 429} or status >= 500  # noqa: PLR2004 - the server's own fault


def _without_secrets(texts: Sequence[str], account: Login) -> list[str]:
    """Return the texts that repeat no password: a server's words are not ours to trust."""
    return [text for text in texts if not account.password or account.password not in text]


def _check_uploaded(offer: Offer, index: ServedIndex) -> None:
    """Raise where the index does not serve what was sent; some write their pages afterwards."""
    link = index.find(offer)
    for pause in _PAUSES:
        if link is not None:
            break
        time.sleep(pause)
        link = index.find(offer)
    if link is None:
        raise FetchError(
            "the server took it, and the index does not list it",
            code="not-listed",
            file=f"{offer.file.filename} at {redact_url(index.url)}",
            hint="is publish.index-url of the same index? It may also take longer: run again",
        )
    for actual, verb in ((link.sha256, "its page says"), (index.sha256(link), "it serves")):
        if actual and actual != offer.file.sha256:
            raise FetchError(
                f"has SHA-256 {offer.file.sha256}, {verb} {actual}",
                code="other-bytes",
                file=f"{offer.file.filename} at {redact_url(link.url)}",
                hint="let nobody install it: remove it there, and ask the index's keeper",
            )


def _size_hint(offer: Offer) -> str:
    """Return what to do where a server does not take a file of that size."""
    return (
        f"it has {describe_size(offer.file.size, offer.carried)}: leave families out, or let the "
        "server take more, and set publish.max-size to its limit"
    )
