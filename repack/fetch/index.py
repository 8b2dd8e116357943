"""Requirements: pip chooses as the user has configured it, and the file is downloaded here."""

import contextlib
import io
import json
import re
import shutil
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from posixpath import commonpath
from tempfile import TemporaryDirectory
from urllib.parse import quote, unquote, urlsplit
from urllib.request import url2pathname

import requests
from packaging.utils import parse_wheel_filename
from requests.utils import get_netrc_auth

from repack.config import IndexSource
from repack.console import Task
from repack.errors import FetchError
from repack.fetch.http import Offer, download, explain, get, make_session, read_total
from repack.fetch.pip import LOGIN_HINT, Choice, choose_wheel, download_by_pip, read_settings
from repack.lock import Pin
from repack.process import run

#: What pip may yet be able to fetch: by another way to log in, from a host it is told to trust.
_LEFT_TO_PIP = frozenset({"http-401", "http-403", "http-407", "tls"})
#: In bytes, from the end of a wheel; the largest directory of NVIDIA's has 40 kB.
_TAIL = 1 << 18


def find_wheel(source: IndexSource, pin: Pin | None, session: requests.Session) -> Offer:
    """Return the wheel that pip chooses for `source`; a pin binds it to that version and file."""
    choice = choose_wheel(source, pin)
    if pin is not None and pin.filename != choice.filename:
        # Of several wheels of that version pip finds the pinned one by its hash.
        choice = choice._replace(url="", filename=pin.filename, sha256=pin.sha256)
    fill = partial(_fill, choice, session)
    return Offer(choice.filename, package_url(choice.filename), choice.sha256, fill)


def _fill(
    choice: Choice, session: requests.Session, part: Path, task: Task, sha256: str | None
) -> None:
    """Write the chosen file into `part`; pip is asked to download what is not for us."""
    refusal = None
    if choice.url.startswith("http"):
        try:
            return download(partial(_open, session, choice.url), part, task, sha256)
        except FetchError as error:
            if error.code not in _LEFT_TO_PIP:
                raise
            refusal = error
    task.describe(f"Letting pip download {choice.filename}")
    with TemporaryDirectory(prefix="repack-") as folder:
        try:
            shutil.copyfile(download_by_pip(choice, sha256, Path(folder)), part)
        except FetchError as error:
            raise refusal or error from None


def package_url(filename: str) -> str:
    """Return the package URL of an index's file: what it is called, on whatever mirror it lies."""
    name, version, _, _ = parse_wheel_filename(filename)
    return f"pkg:pypi/{name}@{quote(str(version))}?file_name={quote(filename)}"


def read_members(url: str) -> tuple[int, frozenset[str]]:
    """Return the size of the wheel at `url` and the names of its members."""
    place, size = urlsplit(url), None
    if place.scheme == "file":
        content = Path(url2pathname(place.path)).read_bytes()
    else:
        with make_session() as session:
            # Not "bytes=-1000": PyPI answers 501, Nexus 404 (pypi/warehouse issue 12823).
            with _open(session, url, {"Range": "bytes=0-0"}) as response:
                size = read_total(response)
            start = max(0, (size or 0) - _TAIL)
            # A server without Range sends it all.
            with _open(session, url, {"Range": f"bytes={start}-"}) as response:
                try:
                    content = response.content
                except OSError as error:
                    raise explain(error, url) from None
    try:
        # Of the offsets in a directory none is looked at: what lies before it may be missing.
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return size or len(content), frozenset(archive.namelist())
    except zipfile.BadZipFile as error:
        raise FetchError(f"is no wheel: {error}", code="not-a-wheel", file=url) from None


def _open(session: requests.Session, url: str, headers: Mapping[str, str]) -> requests.Response:
    """Return the answer of the host of an index's files, logged in as pip would be.

    By the index's URL, else .netrc (which is left to `requests`), and where the server refuses
    that, by keyring. The session remembers what was right.
    """
    settings, place = read_settings(), urlsplit(url)
    host = place.netloc.rpartition("@")[2]
    names = ("index-url", "extra-index-url", "find-links")
    urls = map(urlsplit, " ".join(settings.get(name, "") for name in names).split())
    # A password for https is not for http.
    indexes = [
        index
        for index in urls
        if (index.scheme, index.netloc.rpartition("@")[2]) == (place.scheme, host)
    ]
    # Of several feeds on a host, the one around the file.
    indexes.sort(key=lambda index: -len(commonpath((f"/{index.path}", f"/{place.path}"))))
    named = next((index for index in indexes if index.username), urlsplit(""))
    user, password = unquote(named.username or ""), unquote(named.password or "")
    if session.auth is None and user and (password or not get_netrc_auth(url)):
        session.auth = (user, password)
    try:
        return get(session, url, headers, hint=LOGIN_HINT)
    except FetchError as error:
        if error.code != "http-401" or settings.get("keyring-provider") == "disabled":
            raise
        services = [*(index._replace(netloc=host).geturl() for index in indexes), host]
        for login in _ask_keyring(services, user):
            session.auth = login
            with contextlib.suppress(FetchError):
                return get(session, url, headers, hint=LOGIN_HINT)
        raise


def _ask_keyring(services: Iterable[str], user: str) -> Iterator[tuple[str, str]]:
    """Yield the names and passwords that `keyring` knows of the services.

    It is the command, or else the module that may be installed with us, as for pip.
    """
    program = shutil.which("keyring")
    command = [program] if program else [sys.executable, "-P", "-m", "keyring"]
    for service in services:
        words = ["--mode=creds", "--output=json", "get", service, *([user] if user else [])]
        done = run([*command, *words], timeout=60.0)
        # It may warn before and after. What it does not know, it says in other words.
        for line in re.findall(r"^\{.*\}$", done.output, re.MULTILINE):
            with contextlib.suppress(ValueError, LookupError):
                credentials = json.loads(line)
                yield credentials["username"], credentials["password"]
