"""Which files the index's wheel for a requirement holds: its directory is read, by Range."""

import io
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from urllib.parse import urlsplit
from urllib.request import url2pathname

import requests
from packaging.utils import parse_wheel_filename

from repack import files
from repack.config import IndexSource
from repack.console import Progress
from repack.errors import FetchError, redact_url
from repack.fetch.cache import Cache
from repack.fetch.http import Request, explain, get, make_session
from repack.fetch.pip import LOGIN_HINT, Choice, configure, find_logins, package_url, resolve
from repack.fetch.values import read_expected
from repack.lock import Lock, Pin

#: In bytes, from the end of a wheel; the largest directory of NVIDIA's has 40 kB.
_TAIL = 1 << 18
_CHUNK = 1 << 16
_HINT = "run `repack build` once without --offline"


class Listing(NamedTuple):
    """The wheel that was chosen, its members, and its pin where the index says its hash."""

    filename: str
    members: frozenset[str]
    pin: Pin | None


def list_wheel(
    source: IndexSource, *, lock: Lock, cache: Cache, offline: bool, progress: Progress
) -> Listing | None:
    """Return what the wheel for `source` holds: the pinned one, or the newest on the index.

    What a wheel holds is remembered by its hash. None with `offline` where nothing is pinned.
    Raises FetchError where the index has no such wheel, or has another than the pinned one.
    """
    expected = read_expected(source, lock)
    memory = files.Memory(cache.folder("listings"))
    pin = expected.pin
    members = memory.recall(pin.sha256, frozenset[str]) if pin else None
    if pin and members is not None:
        return Listing(pin.filename, members, pin)
    requirement = source.requirement
    if offline and pin is None:
        return None
    if pin:
        if offline:
            reason = f"what {pin.filename} holds is not in the cache, and --offline asks nobody"
            raise FetchError(reason, code="offline", file=expected.key, hint=_HINT)
        name, version, _, _ = parse_wheel_filename(pin.filename)
        requirement = f"{name}=={version}"
    with (
        progress.task(f"Looking what {requirement} holds", unit="steps"),
        TemporaryDirectory(prefix="repack-") as folder,
        make_session() as session,
    ):
        configure(session)
        choice = resolve(requirement, source, Path(folder), session)
        expected.check(choice.sha256, file=choice.filename)
        size, members = _read_members(choice, session)
    if choice.sha256 is None:
        return Listing(choice.filename, members, None)
    memory.keep(choice.sha256, sorted(members))
    url = package_url(choice.filename)
    pin = expected.make_pin(choice.filename, url, size, choice.sha256)
    return Listing(choice.filename, members, pin)


def _read_members(choice: Choice, session: requests.Session) -> tuple[int, frozenset[str]]:
    """Return the wheel's size and the names of its members."""
    place = urlsplit(choice.url)
    if place.scheme == "file":
        content = Path(url2pathname(place.path)).read_bytes()
        size = len(content)
    else:
        size, content = _read_tail(choice.url, session)
    try:
        # Of the offsets in a directory none is looked at: what lies before it may be missing.
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return size, frozenset(archive.namelist())
    except zipfile.BadZipFile as error:
        raise FetchError(
            f"is no wheel: {error}", code="not-a-wheel", file=redact_url(choice.url)
        ) from None


def _read_tail(url: str, session: requests.Session) -> tuple[int, bytes]:
    """Return the size of a file and its last bytes; a server without Range sends it all."""
    refusal = None
    for login in find_logins(url):
        request = Request(url=url, auth=login, hint=LOGIN_HINT)
        try:
            response = get(session, request, {"Range": f"bytes=-{_TAIL}"})
        except FetchError as error:
            refusal = error
            continue
        size, tail = 0, b""
        try:
            with response:
                for chunk in response.iter_content(_CHUNK):
                    size += len(chunk)
                    tail = (tail + chunk)[-_TAIL:]
        except OSError as error:
            raise explain(error, url) from None
        total = response.headers.get("Content-Range", "").rpartition("/")[2]
        return int(total) if total.isdecimal() else size, tail
    raise refusal or FetchError("no way to log in", file=redact_url(url))
