"""Uploads wheels by `uv publish`, and proves that the index serves what was sent.

First all wheels are looked at and compared with what the index has; where one of them is refused,
nothing is sent. A file is done once its bytes have been read back: whoever runs it again after a
failure sends what lacks.
"""

import configparser
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from uv import find_uv_bin

from repack.console import Progress
from repack.errors import ConfigError, FetchError, ToolError, UsageError, redact, redact_url
from repack.fetch.http import add_login, make_session, origin
from repack.fetch.pip import make_uv_environment
from repack.files import decode_text
from repack.index.place import other_bytes
from repack.index.publish import Offer
from repack.index.simple import (
    INDEX_HINT,
    Account,
    Web,
    is_simple,
    no_page,
    read_links,
    require_index,
)
from repack.process import run

#: Seconds for one upload: gigabytes on a slow line.
_LONGEST = 4 * 3600.0
#: Bytes: so much of a page tells whether it is one of an index, which may list everything.
_HEAD = 4096
#: Seconds between the looks at a page that the server writes later, and between tries.
_PAUSES = (1.0, 2.0, 4.0)
_PASSING = re.compile("http-(408|429|5..)")
#: Where indexes have their simple pages, seen from the URL that takes uploads: pypiserver, GitLab,
#: Artifactory and Nexus; devpi; and those that have both at one place.
_PLACES = ("simple/", "+simple/", "")
_AGAIN = (
    "look at --repository-url, TWINE_USERNAME and TWINE_PASSWORD; where it is too large, set "
    "publish.max-size to the server's limit; run again: only what lacks is sent"
)


def read_account(url: str | None, repository: str | None, config_file: Path | None) -> Account:
    """Return the account for a URL or for a name of `.pypirc`, or for what twine's variables say.

    Variables go before the file, as for twine. Raises ConfigError, or UsageError for a URL with a
    password in it.
    """
    if url is None and repository is None:
        url = os.environ.get("TWINE_REPOSITORY_URL")
        repository = os.environ.get("TWINE_REPOSITORY")
    path = config_file or Path("~/.pypirc").expanduser()
    parser = configparser.RawConfigParser()
    if not url:
        try:
            parser.read_string(decode_text(path.read_bytes()))
        except (OSError, ValueError, configparser.Error) as error:
            # A parser's own words hold the line, and the line may hold a password.
            reason = getattr(error, "strerror", None) or type(error).__name__
            message = f"cannot be read: {reason}"
            hint = "correct the file, or give --repository-url"
            raise ConfigError(message, code="pypirc", file=path, hint=hint) from None
    section = dict(parser[repository]) if repository and parser.has_section(repository) else {}
    place = url or section.get("repository", "")
    if not place:
        hint = "write [NAME] and `repository = URL` there, or give --repository-url"
        message = f"it names no repository {repository}"
        raise ConfigError(message, code="pypirc", file=path, hint=hint)
    if "@" in urlsplit(place).netloc:
        hint = "put them into TWINE_USERNAME and TWINE_PASSWORD, or .pypirc"
        message = "the URL holds a name or a password"
        raise UsageError(message, code="secret-in-url", file=place, hint=hint)
    username = os.environ.get("TWINE_USERNAME") or section.get("username", "")
    password = os.environ.get("TWINE_PASSWORD") or section.get("password", "")
    return Account(
        url=place,
        username=username,
        password=password or _ask_keyring(place, username),
        cacert=os.environ.get("TWINE_CERT") or section.get("ca_cert", ""),
        client_cert=os.environ.get("TWINE_CLIENT_CERT") or section.get("client_cert", ""),
    )


def _ask_keyring(url: str, username: str) -> str:
    """Return the password that the keyring command has for a URL or its host, "" for none."""
    for service in (url, urlsplit(url).netloc) if username else ():
        try:
            done = run(["keyring", "get", service, username], timeout=60.0)
        except ToolError:  # there is no such command
            return ""
        if not (done.returncode or done.timed_out):
            return "".join(done.output.splitlines()[-1:])
    return ""


def upload(
    offers: Sequence[Offer], account: Account, index_url: str, progress: Progress
) -> tuple[str, dict[str, str]]:
    """Upload the wheels that the index has not; each is read back and compared.

    Returns where the index is, with the login for uv, and what was done to each wheel.
    """
    with make_session() as session:
        web = Web(session, progress, account)
        url = index_url or _find_index(web)
        actions = {
            offer.path.name: "there already" if _has(web, url, offer) else "added"
            for offer in offers
        }
        for offer in offers:
            if actions[offer.path.name] == "added":
                actions[offer.path.name] = _send(web, url, offer)
    return add_login(url, web.choose_login(url)), actions


def _find_index(web: Web) -> str:
    """Return where the index that takes uploads has its simple pages.

    Who may not list all projects may still look at one of them.
    """
    hidden_url = ""
    for place in _PLACES:
        url = urljoin(web.account.url.rstrip("/") + "/", place)
        try:
            page = web.read_page(url, most=_HEAD)
        except FetchError as error:
            if error.code in {"http-401", "http-403"}:
                hidden_url = hidden_url or url
            elif not error.code.startswith(("http-4", "redirects")):
                raise
            continue
        if page and is_simple(page):
            return url
    if hidden_url:
        return hidden_url
    message = "no simple page of the index is found from there, so what it has cannot be compared"
    raise FetchError(message, code="no-index-url", file=web.account.url, hint=INDEX_HINT)


def _has(web: Web, index_url: str, offer: Offer, *, is_sent: bool = False) -> bool:
    """Return whether the index has the wheel; InputError where it has other bytes.

    What was sent is read back, whatever the page says of it. Raises FetchError where it cannot be
    looked at.
    """
    page = web.read_page(f"{index_url.rstrip('/')}/{offer.key.partition('/')[0]}/")
    if page is None:
        return False
    links = {link.filename: link for link in read_links(page)}
    require_index(page, links.values())
    if origin(page.url) != origin(index_url):
        # An old host name leads all who ask to the index. pypiserver and GitLab lead whoever asks
        # for what they have not to a public index, whose files are not theirs.
        root = web.read_page(index_url, most=_HEAD)
        if root is None:
            raise no_page(index_url)
        if origin(root.url) != origin(page.url):
            return False
    link = links.get(offer.path.name)
    known = link.sha256 if link and not is_sent else ""
    if link and offer.file.sha256 != (known or web.hash_file(link.url)):
        raise other_bytes(offer.path.name, redact_url(index_url))
    return link is not None


def _send(web: Web, index_url: str, offer: Offer) -> str:
    """Upload a wheel and return what was done, once the index serves its bytes.

    After a refusal it is looked for as well: each index says in words of its own that it has it.
    Some write their pages afterwards, and some faults pass.
    """
    failure: FetchError | None = None
    for pause in (0.0, *_PAUSES):
        time.sleep(pause)
        if pause == 0 or failure:
            failure = _run_uv(web, offer)
        if _has(web, index_url, offer, is_sent=True):
            return "there already" if failure else "added"
        if failure and not _PASSING.fullmatch(failure.code):
            raise failure
    raise failure or FetchError(
        "the server took it, and the index does not list it",
        code="not-listed",
        file=f"{offer.path.name} at {redact_url(index_url)}",
        hint="is publish.index-url of the same index? It may also take longer: run again",
    )


def _run_uv(web: Web, offer: Offer) -> FetchError | None:
    """Upload by uv and return why that failed, None where it has not.

    Name and password stand in its environment, and in no command line. A server's words are not
    ours to trust with a password.
    """
    account = web.account
    own = {
        "UV_PUBLISH_USERNAME": account.username,
        "UV_PUBLISH_PASSWORD": account.password,
        "SSL_CERT_FILE": account.cacert,
        "SSL_CLIENT_CERT": account.client_cert,
    }
    environment = make_uv_environment() | {name: text for name, text in own.items() if text}
    command = [find_uv_bin(), "publish", "--no-config", "--no-attestations"]
    command += ["--trusted-publishing", "never", "--publish-url", account.url, str(offer.path)]
    with web.progress.task(f"Uploading {offer.path.name}"):
        done = run(command, timeout=_LONGEST, env=environment)
    if not done.returncode and not done.timed_out:
        return None
    words = " ".join(re.findall(r"cause: (.*)", done.output)) or done.output
    status = re.search(r"status code (\d{3})", words)
    if account.password and re.search(rf"(?<!\w){re.escape(account.password)}(?!\w)", words):
        # To blot it out alone would tell what it is, where it is a word that anybody expects.
        words = f"{status[0] if status else 'uv failed'}, and the words about it hold the password"
    return FetchError(
        f"the upload failed: {redact(words)[:400]}",
        code=f"http-{status[1]}" if status else "upload",
        file=f"{offer.path.name} -> {redact_url(account.url)}",
        hint=_AGAIN,
    )
