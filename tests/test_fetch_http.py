"""Fetching over HTTP when servers, proxies and networks are at their worst."""

import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
from faultserver import (
    Exchange,
    Fault,
    ProxyServer,
    Resource,
    answers,
    drips,
    ends_after,
    ignores_range,
    raw_answer,
    resets_after,
    serves_range,
    stalls_after,
)
from fetching import NAME, PATH, TRIES, Site, Told, fast_session, locked, make_content, sha256

from repack.config import UrlSource
from repack.errors import FetchError
from repack.fetch import Cache, fetch
from repack.fetch.http import PATIENCE
from repack.lock import Lock

CONTENT = make_content()
OTHER = make_content(seed=1)
SIZE = len(CONTENT)


def pinned(site: Site, *, known: bool) -> Lock | None:
    """The lock that pins CONTENT, if it is known."""
    return locked(site.url(PATH), CONTENT) if known else None


def test_a_file_lies_under_its_hash_and_name(site: Site) -> None:
    site.add(PATH, CONTENT, resets_after(9_000), ignores_range)
    told = Told()
    fetched = site.get(progress=told)
    assert fetched.path == site.cache.root / "files" / sha256(CONTENT) / NAME
    assert fetched.path.read_bytes() == CONTENT
    assert (fetched.size, fetched.sha256) == (SIZE, sha256(CONTENT))
    assert fetched.url == site.url(PATH)
    assert (told.done, told.total) == (SIZE, SIZE)
    assert site.seen[0].headers["accept-encoding"] == "identity"
    assert site.seen[0].headers["user-agent"].startswith("repack/")
    assert not list((site.cache.root / "incoming").iterdir())


CUT = ends_after(9_000)
DATE = "Wed, 21 Oct 2026 07:28:00 GMT"
DAMAGED = CONTENT[:20_000] + b"?" + CONTENT[20_001:]
#: What a request asks for: range, and the mark that the content must have had.
ANEW, REST, UNMARKED = (None, None), ("bytes=9000-", '"one"'), ("bytes=9000-", None)


def partial(start: int, content: bytes, *, etag: str = '"one"', end: int = SIZE) -> Fault:
    """Answer with a part, said to reach from `start` to before `end`."""
    headers = {"ETag": etag, "Content-Range": f"bytes {start}-{end - 1}/{SIZE}"}
    return answers("206 Partial Content", headers, content)


def chunked(*chunks: bytes) -> Fault:
    """Answer with these chunks; an empty one is the end."""
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return raw_answer("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n", body)


def plain(head: str) -> Fault:
    """Answer with the content behind this head."""
    return raw_answer(f"{head}\n\n", CONTENT)


WRONG = serves_range("bytes {wrong}-{last}/{size}")
LONGER = serves_range("bytes {start}-{last}/{more}")
DATED: dict[str, str | None] = {"etag": None, "last_modified": DATE}
WEAK: dict[str, str | None] = {"etag": 'W/"one"'}
GONE = answers("416 Range Not Satisfiable", {"Content-Range": "bytes */5000"})
CHANGED = partial(9_000, OTHER[9_000:], etag='"two"')
LESS = partial(9_000, CONTENT[9_000:10_000], end=10_000)
NEGATIVE = plain("HTTP/1.1 200 OK\nContent-Length: -5")
#: Faults, how the content is marked, whether the lock knows it, and what is asked for after them.
PASSING: dict[str, tuple[list[Fault], dict[str, str | None], bool, list[object] | None]] = {
    "reset mid-body": ([resets_after(9_000)], {}, False, [REST]),
    "short body with a clean close": ([CUT], {}, False, [REST]),
    "many of them": ([ends_after(1_000)] * 9, {"etag": None}, True, None),
    "resumed by the date": ([CUT], DATED, False, [("bytes=9000-", DATE)]),
    "ETag before date": ([CUT], {"last_modified": DATE}, False, [REST]),
    "weak ETag": ([CUT], WEAK, False, [ANEW]),
    "weak ETag and a hash": ([CUT], WEAK, True, [UNMARKED]),
    "no mark, and a hash": ([CUT], {"etag": None}, True, [UNMARKED]),
    "range answered with everything": ([CUT, ignores_range], {}, False, [REST]),
    "range of changed content": ([CUT, CHANGED], {}, False, [REST, ANEW]),
    "range with a wrong start": ([CUT, WRONG], {}, False, [REST, ANEW]),
    "range with a wrong total": ([CUT, LONGER], {}, False, [REST, ANEW]),
    "range of nonsense": ([CUT, serves_range("bytes nonsense")], {}, False, [REST, ANEW]),
    "range of less than the rest": ([CUT, LESS], {}, False, [REST, ("bytes=10000-", '"one"')]),
    "range beyond the end": ([CUT, GONE], {}, False, [REST, ANEW]),
    "no length, and a hash": ([plain("HTTP/1.0 200 OK")], {}, True, []),
    "negative length": ([NEGATIVE], {}, True, []),
    "length of chunks": ([chunked(CONTENT, b"")], {}, False, []),
    "chunks that break off": ([chunked(CONTENT)], {}, False, [ANEW]),
    "wrong hash once": ([answers("200 OK", {"ETag": '"one"'}, DAMAGED)], {}, True, [ANEW]),
    "a page once": ([answers("200 OK", {}, b"<html>")], {}, False, [ANEW]),
    "a slow drip": ([drips(4_000, 0.05)], {}, False, []),
    **{str(code): ([answers(f"{code} Sorry")], {}, False, [ANEW]) for code in (408, 429, 500, 504)},
}


@pytest.mark.parametrize("case", PASSING)
def test_a_fault_that_passes_is_no_loss(case: str, site: Site) -> None:
    faults, marks, known, asked = PASSING[case]
    site.add(PATH, CONTENT, *faults, **marks)
    assert site.get(lock=pinned(site, known=known)).path.read_bytes() == CONTENT
    if asked is not None:
        assert site.ranges() == [ANEW, *asked]


HTML = {"Content-Type": "text/html; charset=utf-8"}
PAGE = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>"
SIGN_IN = "is not a wheel but what looks like HTML with the title 'Sign in'"
SHORT = plain(f"HTTP/1.1 200 OK\nContent-Length: {SIZE - 100}")
SOON = datetime(2033, 5, 18, 3, 33, 20, tzinfo=UTC).timestamp()
LIMIT = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": f"{SOON:.0f}"}
LIMITED = answers("403 Forbidden", LIMIT)
BUSY = answers("403 Forbidden", {"Retry-After": "600"})


def to(place: str) -> Fault:
    return answers("302 Found", {"Location": place})


def too_long(exchange: Exchange, resource: Resource) -> None:
    """Cut the body, and send a byte too many of the rest."""
    more = partial(9_000, CONTENT[9_000:] + b"x") if "range" in exchange.seen.headers else CUT
    more(exchange, resource)


#: What always comes, whether the lock knows the content, code, a part of the message, requests.
STAYING: dict[str, tuple[Fault, bool, str, str, int]] = {
    "cut each time": (ends_after(0), False, "network", "broke off (IncompleteRead(0", TRIES),
    "more than announced": (too_long, False, "size", f"more bytes come than the {SIZE}", 2),
    "more in chunks": (chunked(CONTENT, b"more", b""), True, "sha256", "repack.lock says", 2),
    "another content": (answers("200 OK", {}, OTHER), True, "sha256", sha256(OTHER), 2),
    "no length, no hash": (plain("HTTP/1.0 200 OK"), False, "no-length", "source.sha256", 1),
    "less than there is": (SHORT, False, "not-a-zip", "without its end", 2),
    "encoded": (answers("200 OK", {"Content-Encoding": "gzip"}), False, "content-encoding", "", 1),
    "sent to FTP": (to("ftp://127.0.0.1/x"), False, "insecure-redirect", "ftp://127.0.0.1/x", 1),
    "sent to a file": (to("file:///etc/passwd"), False, "insecure-redirect", "is no https URL", 1),
    "sent to no URL": (to("http://[::1"), False, "insecure-redirect", "http://[::1", 1),
    "sent to itself": (to(PATH), False, "redirect-loop", "without end", 31),
    "a page": (answers("200 OK", HTML, PAGE), False, "not-a-zip", SIGN_IN, 2),
    "a page, pinned": (answers("200 OK", HTML, PAGE), True, "not-a-zip", SIGN_IN, 2),
    "nothing": (answers("200 OK"), False, "not-a-zip", "an empty file, 0 bytes", 2),
    "a rate limit": (LIMITED, False, "rate-limit", "until 2033-05-18 03:33 UTC", 1),
    "a pause": (BUSY, False, "rate-limit", "in 10 minutes", 1),
    "503": (answers("503 Sorry"), False, "http-503", "the server says 503 Sorry", TRIES),
    "400": (answers("400 No"), False, "http-400", "the server says 400 No", 1),
    **{
        str(status): (answers(f"{status} No"), False, f"http-{status}", "go into .netrc", 1)
        for status in (401, 403, 404, 410)
    },
}


@pytest.mark.parametrize("case", STAYING)
def test_a_fault_that_stays_is_told(case: str, site: Site) -> None:
    fault, known, code, reason, requests = STAYING[case]
    site.add(PATH, CONTENT, *[fault] * 40)
    error = site.refused(lock=pinned(site, known=known))
    assert error.code == code
    assert reason in str(error)
    assert len(site.seen) == requests


def test_a_body_that_stalls_is_resumed_in_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("repack.fetch.http.TIMEOUT", (5.0, 0.3))
    until = threading.Event()
    site.add(PATH, CONTENT, stalls_after(9_000, until))
    try:
        assert site.get().path.read_bytes() == CONTENT
    finally:
        until.set()
    assert site.ranges()[1:] == [REST]


#: What a server says, and how many seconds are waited for it.
PAUSES = {"7": 7, "86400": 60, "Wed, 21 Oct 2015 07:28:00 GMT": 0, "soon": 0}


@pytest.mark.parametrize("answer", PAUSES)
def test_a_server_that_asks_to_wait_is_obeyed_for_a_minute_at_most(answer: str) -> None:
    assert PATIENCE.parse_retry_after(answer) == PAUSES[answer]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed_for_each_part(status: int, site: Site) -> None:
    places = [answers(f"{status} Elsewhere", {"Location": place}) for place in ("/a?key=x", "/b")]
    site.add(PATH, b"", *places)
    site.add("/a?key=x", CONTENT, resets_after(9_000))
    site.add("/b", CONTENT)
    fetched = site.get()
    assert (fetched.filename, fetched.url) == (NAME, site.url(PATH))
    assert site.paths() == [PATH, "/a?key=x", PATH, "/b"]
    assert site.ranges()[3] == REST


#: A path that leads out of the folder by its encoding, and names that are no wheel's.
NO_NAMES = (
    *("/..%2F..%2Fevil-1-py3-none-any.whl", "/..%5Cevil-1-py3-none-any.whl"),
    *("/%252e%252e%252fevil-1-py3-none-any.whl", "/evil%00-1-py3-none-any.whl"),
    *("/download?id=3", "/", "/cv2.zip", "/opencv-4.13.whl"),
)


@pytest.mark.parametrize("path", NO_NAMES)
def test_what_is_no_wheels_name_may_be_given(site: Site, path: str) -> None:
    site.add(path, CONTENT, answers("200 OK", {"Content-Disposition": "../../x.whl"}, CONTENT))
    with pytest.raises(FetchError, match=r"source\.filename gives") as caught:
        site.get(path)
    assert caught.value.code == "filename"
    assert not site.seen
    source = UrlSource(url=site.url(path), filename=NAME)
    fetched = fetch(source, lock=None, cache=site.cache, session=fast_session())
    assert fetched.path == site.cache.place(sha256(CONTENT), NAME)


VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "PIP_CERT")


class TestTls:
    @pytest.fixture
    def bundle(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """The certificate of an authority that nothing names as one to trust."""
        for name in VARIABLES:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        return tmp_path / "ca.pem"

    @pytest.fixture
    def secure(self, bundle: Path, cache: Cache) -> Iterator[Site]:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(bundle))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        with Site(cache, context) as server:
            server.add(PATH, CONTENT)
            yield server

    @pytest.mark.parametrize("variable", [*VARIABLES, "pip.conf"])
    def test_of_an_authority_of_the_users_is_trusted(
        self, variable: str, secure: Site, bundle: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(variable, str(bundle))
        if variable == "pip.conf":
            config = bundle.with_name("pip.conf")
            config.write_text(f"[global]\ncert = {bundle}\nquiet = 3\n", encoding="utf-8")
            monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
        assert secure.get().path.read_bytes() == CONTENT

    def test_is_refused_without_authority_and_not_left_by_a_redirect(
        self, secure: Site, site: Site, bundle: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        error = secure.refused()
        assert error.code == "tls"
        assert "certificate verify failed" in str(error)
        assert "SSL_CERT_FILE or PIP_CERT" in error.hint
        monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
        secure.add(PATH, b"", to(site.url("/plain")))
        assert secure.refused().code == "insecure-redirect"
        assert not site.seen
        missing = bundle.with_name("missing.pem")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(missing))
        assert str(missing) in str(secure.refused())


def test_a_proxy_is_used_and_named_where_it_is_not_there_unless_no_proxy_passes_it_by(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.add(PATH, CONTENT)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert "the proxy cannot be reached" in str(site.refused())
    with ProxyServer() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url(""))
        assert site.get().path.read_bytes() == CONTENT
        assert proxy.paths() == [site.url(PATH)]
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert site.get().path.read_bytes() == CONTENT


def test_a_server_that_is_not_there_is_named(cache: Cache) -> None:
    with Site(cache) as gone:
        pass
    assert "Connection refused" in str(gone.refused())
    source = UrlSource(url=f"http://no-such-host.invalid/{NAME}?signature=secret")
    with pytest.raises(FetchError, match=r"http://no-such-host\.invalid/.*no connection") as caught:
        fetch(source, lock=None, cache=cache, session=fast_session())
    assert "secret" not in str(caught.value)


def test_a_full_disk_is_named_and_made_good(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.add(PATH, CONTENT)
    resource = pytest.importorskip("resource", reason="limits of POSIX")
    monkeypatch.setattr(signal, "SIGXFSZ", signal.signal(signal.SIGXFSZ, signal.SIG_IGN))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        error = site.refused()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert error.code == "no-space"
    assert "REPACK_CACHE" in error.hint
    assert site.get().path.read_bytes() == CONTENT
    assert site.ranges()[-1][0] == "bytes=20000-"


CHILD = """
import sys
from pathlib import Path
from repack.config import UrlSource
from repack.fetch import Cache, fetch
print(fetch(UrlSource(url=sys.argv[1]), lock=None, cache=Cache(Path(sys.argv[2]))).path)
"""


def child(site: Site) -> subprocess.Popen[str]:
    """A process of its own that fetches PATH."""
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, site.url(PATH), str(site.cache.root)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def test_a_killed_process_leaves_what_the_next_goes_on_from(site: Site) -> None:
    until = threading.Event()
    site.add(PATH, CONTENT, stalls_after(9_000, until))
    end = time.monotonic() + 30
    with child(site) as process:
        while [path.stat().st_size for path in site.cache.root.glob("incoming/*.part")] != [9_000]:
            assert time.monotonic() < end
            time.sleep(0.02)
        process.kill()
    until.set()
    assert site.get().path.read_bytes() == CONTENT
    assert site.ranges()[1:] == [REST]


def test_two_processes_at_once_make_one_download(site: Site) -> None:
    site.add(PATH, CONTENT, drips(10_000, 0.5))
    with child(site) as one, child(site) as two:
        places = {one.communicate(timeout=60)[0], two.communicate(timeout=60)[0]}
    assert places == {f"{site.cache.place(sha256(CONTENT), NAME)}\n"}
    assert len(site.seen) == 1


@pytest.fixture
def part(site: Site) -> Path:
    """The beginning of CONTENT, left by a fetch that failed."""
    site.add(PATH, CONTENT, CUT, *[answers("500 Sorry")] * TRIES)
    with pytest.raises(FetchError):
        site.get()
    site.seen.clear()
    return next((site.cache.root / "incoming").glob("*.part"))


#: The suffix of a file, what is written into it, and what is asked for then.
LEFT_BEHIND = {
    "a mark that is broken": (".json", b"{", [ANEW]),
    "other bytes": (".part", b"?" * 9_000, [REST, ANEW]),
    "all of it": (".part", CONTENT, []),
}


@pytest.mark.parametrize("case", LEFT_BEHIND)
def test_what_a_failure_has_left_is_used(case: str, site: Site, part: Path) -> None:
    suffix, content, asked = LEFT_BEHIND[case]
    part.with_suffix(suffix).write_bytes(content)
    assert site.get(lock=pinned(site, known=case == "other bytes")).path.read_bytes() == CONTENT
    assert site.ranges() == asked


def test_what_nobody_uses_is_removed_in_two_weeks(site: Site, part: Path) -> None:
    long_ago = time.time() - 15 * 86400
    for path in (part, part.with_suffix(".json")):
        os.utime(path, (long_ago, long_ago))
    other = f"/{NAME.replace('13', '14')}"
    site.add(other, CONTENT)
    site.get(other)
    assert not list((site.cache.root / "incoming").iterdir())
