"""Fetching over HTTP when servers, proxies and networks are at their worst."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import pytest
import trustme
from faultserver import (
    Exchange,
    Fault,
    FaultServer,
    ProxyServer,
    Resource,
    answers,
    drips,
    ends_after,
    ignores_range,
    listening,
    raw_answer,
    resets_after,
    serve,
    serves_range,
    stalls_after,
)
from fetching import NAME, TRIES, Told, fast_session, locked, make_content, no_proxies, sha256

from repack.config import UrlSource
from repack.errors import FetchError, RepackError
from repack.fetch import Cache, Fetched, fetch
from repack.fetch.http import PATIENCE

CONTENT = make_content()
OTHER = make_content(seed=1)
SIZE = len(CONTENT)
PATH = f"/files/{NAME}"


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    no_proxies(monkeypatch)


def get(
    server: FaultServer,
    cache: Cache,
    *,
    known: bool = False,
    progress: Told | None = None,
) -> Fetched:
    """Fetch PATH; `known` says that the lock pins CONTENT for it."""
    url = server.url(PATH)
    lock = locked(url, CONTENT) if known else None
    session, told = fast_session(), progress or Told()
    return fetch(UrlSource(url=url), lock=lock, cache=cache, session=session, progress=told)


def refused(server: FaultServer, cache: Cache, *, known: bool = False) -> RepackError:
    """The error of a fetch that fails, after which nothing lies under a final name."""
    with pytest.raises(RepackError) as caught:
        get(server, cache, known=known)
    assert not list((cache.root / "files").rglob("*.whl"))
    assert "\n" not in str(caught.value)
    return caught.value


def incoming(cache: Cache) -> list[Path]:
    return sorted((cache.root / "incoming").iterdir())


def ranges(server: FaultServer) -> list[tuple[str | None, str | None]]:
    return [(seen.headers.get("range"), seen.headers.get("if-range")) for seen in server.seen]


def test_a_file_lies_under_its_hash_and_name(server: FaultServer, cache: Cache) -> None:
    server.add(PATH, CONTENT, resets_after(9_000), ignores_range)
    told = Told()
    fetched = get(server, cache, progress=told)
    assert fetched.path == cache.root / "files" / sha256(CONTENT) / NAME
    assert fetched.path.read_bytes() == CONTENT
    assert (fetched.size, fetched.sha256) == (SIZE, sha256(CONTENT))
    assert fetched.url == server.url(PATH)
    assert (told.done, told.total) == (SIZE, SIZE)
    assert server.seen[0].headers["accept-encoding"] == "identity"
    assert server.seen[0].headers["user-agent"].startswith("repack/")
    assert not incoming(cache)


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
    **{
        f"status {status}": ([answers(f"{status} Sorry")], {}, False, [ANEW])
        for status in (408, 429, 500, 502, 503, 504)
    },
}


@pytest.mark.parametrize("case", PASSING)
def test_a_fault_that_passes_is_no_loss(case: str, server: FaultServer, cache: Cache) -> None:
    faults, marks, known, asked = PASSING[case]
    server.add(PATH, CONTENT, *faults, **marks)
    assert get(server, cache, known=known).path.read_bytes() == CONTENT
    if asked is not None:
        assert ranges(server) == [ANEW, *asked]


HTML = {"Content-Type": "text/html; charset=utf-8"}
PAGE = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>"
SIGN_IN = "is not a wheel but what looks like HTML with the title 'Sign in'"
SHORT = plain(f"HTTP/1.1 200 OK\nContent-Length: {SIZE - 100}")
SOON = datetime(2033, 5, 18, 3, 33, 20, tzinfo=UTC).timestamp()
LIMIT = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": f"{SOON:.0f}"}
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
    "a rate limit": (
        answers("403 Forbidden", LIMIT),
        False,
        "rate-limit",
        "until 2033-05-18 03:33 UTC",
        1,
    ),
    "a pause": (BUSY, False, "rate-limit", "in 10 minutes", 1),
    "503": (answers("503 Sorry"), False, "http-503", "the server says 503 Sorry", TRIES),
    "400": (answers("400 No"), False, "http-400", "the server says 400 No", 1),
    **{
        str(status): (answers(f"{status} No"), False, f"http-{status}", "go into .netrc", 1)
        for status in (401, 403, 404, 410)
    },
}


@pytest.mark.parametrize("case", STAYING)
def test_a_fault_that_stays_is_told(case: str, server: FaultServer, cache: Cache) -> None:
    fault, known, code, reason, requests = STAYING[case]
    server.add(PATH, CONTENT, *[fault] * 40)
    error = refused(server, cache, known=known)
    assert error.code == code
    assert reason in str(error)
    assert len(server.seen) == requests


def test_a_body_that_stalls_is_given_up_in_time_and_resumed(
    server: FaultServer, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("repack.fetch.http.TIMEOUT", (5.0, 0.3))
    until = threading.Event()
    server.add(PATH, CONTENT, stalls_after(9_000, until))
    try:
        assert get(server, cache).path.read_bytes() == CONTENT
    finally:
        until.set()
    assert ranges(server)[1:] == [REST]


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        pytest.param("7", 7.0, id="seconds"),
        pytest.param("86400", 60.0, id="a day, capped"),
        pytest.param("Wed, 21 Oct 2015 07:28:00 GMT", 0.0, id="a date gone by"),
        pytest.param("soon", 0.0, id="nonsense"),
    ],
)
def test_a_server_that_asks_to_wait_is_obeyed_for_a_minute_at_most(
    answer: str, seconds: float
) -> None:
    assert PATIENCE.parse_retry_after(answer) == seconds
    then = format_datetime(datetime.fromtimestamp(time.time() + 12, UTC), usegmt=True)
    assert 10 < PATIENCE.parse_retry_after(then) <= 12


class TestARedirect:
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_is_followed(self, server: FaultServer, cache: Cache, status: int) -> None:
        server.add(PATH, CONTENT, answers(f"{status} Elsewhere", {"Location": "/store/1?key=x"}))
        server.add("/store/1?key=x", CONTENT)
        fetched = get(server, cache)
        assert (fetched.filename, fetched.url) == (NAME, server.url(PATH))

    def test_is_asked_for_anew_when_the_body_broke_off(
        self, server: FaultServer, cache: Cache
    ) -> None:
        server.add(PATH, b"", to("/a"), to("/b"))
        server.add("/a", CONTENT, resets_after(9_000))
        server.add("/b", CONTENT)
        assert get(server, cache).path.read_bytes() == CONTENT
        assert server.paths() == [PATH, "/a", PATH, "/b"]
        assert ranges(server)[3] == REST


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/..%2F..%2Fevil-1-py3-none-any.whl", id="encoded slashes"),
        pytest.param("/..%5Cevil-1-py3-none-any.whl", id="encoded backslash"),
        pytest.param("/%252e%252e%252fevil-1-py3-none-any.whl", id="encoded twice"),
        pytest.param("/evil%00-1-py3-none-any.whl", id="NUL"),
        pytest.param("/download?id=3", id="no wheel's name"),
        pytest.param("/", id="no name"),
        pytest.param("/cv2.zip", id="not a wheel"),
        pytest.param("/opencv-4.13.whl", id="no tags"),
    ],
)
def test_a_name_that_is_no_wheels_is_refused_and_may_be_given(
    server: FaultServer, cache: Cache, path: str
) -> None:
    server.add(path, CONTENT, answers("200 OK", {"Content-Disposition": "../../x.whl"}, CONTENT))
    url = server.url(path)
    with pytest.raises(FetchError, match=r"source\.filename gives") as caught:
        fetch(UrlSource(url=url), lock=None, cache=cache, session=fast_session())
    assert caught.value.code == "filename"
    assert not server.seen
    source = UrlSource(url=url, filename=NAME)
    fetched = fetch(source, lock=None, cache=cache, session=fast_session())
    assert fetched.path == cache.place(sha256(CONTENT), NAME)


class TestTls:
    @pytest.fixture
    def bundle(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Certificates of an authority that nothing names as one to trust."""
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "PIP_CERT"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        return tmp_path / "ca.pem"

    @pytest.fixture
    def secure(self, bundle: Path) -> Iterator[FaultServer]:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(bundle))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        with listening(context) as server:
            server.add(PATH, CONTENT)
            yield server

    def test_of_an_unknown_authority_fails_at_once(self, secure: FaultServer, cache: Cache) -> None:
        error = refused(secure, cache)
        assert error.code == "tls"
        assert "certificate verify failed" in str(error)
        assert "SSL_CERT_FILE or PIP_CERT" in error.hint

    @pytest.mark.parametrize(
        "variable",
        ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "PIP_CERT", "pip.conf"],
    )
    def test_of_an_authority_of_the_users_is_trusted(
        self,
        variable: str,
        secure: FaultServer,
        cache: Cache,
        bundle: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv(variable, str(bundle))
        if variable == "pip.conf":
            config = bundle.with_name("pip.conf")
            config.write_text(f"[global]\ncert = {bundle}\nquiet = 3\n", encoding="utf-8")
            monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
        assert get(secure, cache).path.read_bytes() == CONTENT

    def test_is_not_left_by_a_redirect(
        self,
        secure: FaultServer,
        server: FaultServer,
        cache: Cache,
        bundle: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
        server.add("/plain", CONTENT)
        secure.add(PATH, b"", to(server.url("/plain")))
        assert refused(secure, cache).code == "insecure-redirect"
        assert not server.seen

    def test_bundle_that_is_missing_is_named(
        self, secure: FaultServer, cache: Cache, bundle: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        missing = bundle.with_name("missing.pem")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(missing))
        assert str(missing) in str(refused(secure, cache))


class TestAProxy:
    def test_of_the_environment_is_used(
        self, server: FaultServer, cache: Cache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server.add(PATH, CONTENT)
        with ProxyServer() as proxy:
            monkeypatch.setenv("http_proxy", proxy.url(""))
            assert get(server, cache).path.read_bytes() == CONTENT
            assert proxy.paths() == [server.url(PATH)]

    def test_that_is_not_there_is_named_unless_no_proxy_passes_it_by(
        self, server: FaultServer, cache: Cache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server.add(PATH, CONTENT)
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        assert "the proxy cannot be reached" in str(refused(server, cache))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert get(server, cache).path.read_bytes() == CONTENT


def test_a_server_that_is_not_there_is_named(cache: Cache) -> None:
    with FaultServer() as gone:
        pass
    assert "Connection refused" in str(refused(gone, cache))
    source = UrlSource(url=f"http://no-such-host.invalid/{NAME}?signature=secret")
    with pytest.raises(FetchError, match=r"http://no-such-host\.invalid/.*no connection") as caught:
        fetch(source, lock=None, cache=cache, session=fast_session())
    assert "secret" not in str(caught.value)


def test_a_full_disk_is_named_and_nothing_stands_under_a_final_name(
    server: FaultServer, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add(PATH, CONTENT)
    resource = pytest.importorskip("resource", reason="limits of POSIX")
    monkeypatch.setattr(signal, "SIGXFSZ", signal.signal(signal.SIGXFSZ, signal.SIG_IGN))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        error = refused(server, cache)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert error.code == "no-space"
    assert "REPACK_CACHE" in error.hint
    assert get(server, cache).path.read_bytes() == CONTENT
    assert ranges(server)[-1][0] == "bytes=20000-"


CHILD = """
import sys
from pathlib import Path
from repack.config import UrlSource
from repack.fetch import Cache, fetch
print(fetch(UrlSource(url=sys.argv[1]), lock=None, cache=Cache(Path(sys.argv[2]))).path)
"""


def child(server: FaultServer, cache: Cache) -> subprocess.Popen[str]:
    """A process of its own that fetches PATH."""
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, server.url(PATH), str(cache.root)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30.0
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


class TestProcesses:
    def test_killed_in_the_middle_leave_what_the_next_run_goes_on_from(
        self, server: FaultServer, cache: Cache
    ) -> None:
        until = threading.Event()
        server.add(PATH, CONTENT, stalls_after(9_000, until))
        parts = cache.root / "incoming"
        with child(server, cache) as process:
            wait_for(lambda: [path.stat().st_size for path in parts.glob("*.part")] == [9_000])
            process.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
        until.set()
        assert get(server, cache).path.read_bytes() == CONTENT
        assert ranges(server)[1:] == [REST]

    def test_two_at_once_make_one_download(self, server: FaultServer, cache: Cache) -> None:
        def slowly(exchange: object, resource: object) -> None:
            time.sleep(2)
            serve(exchange, resource)  # type: ignore[arg-type]

        server.add(PATH, CONTENT, slowly)
        with child(server, cache) as one, child(server, cache) as two:
            places = {one.communicate(timeout=60)[0], two.communicate(timeout=60)[0]}
        assert places == {f"{cache.place(sha256(CONTENT), NAME)}\n"}
        assert len(server.seen) == 1


class TestAPartialFile:
    @pytest.fixture
    def part(self, server: FaultServer, cache: Cache) -> Path:
        """The beginning of CONTENT, left by a fetch that failed."""
        server.add(PATH, CONTENT, CUT, *[answers("500 Sorry")] * TRIES)
        with pytest.raises(FetchError):
            get(server, cache)
        server.seen.clear()
        return next((cache.root / "incoming").glob("*.part"))

    def test_whose_mark_is_broken_is_not_used(
        self, server: FaultServer, cache: Cache, part: Path
    ) -> None:
        part.with_suffix(".json").write_text("{", encoding="utf-8")
        assert get(server, cache).path.read_bytes() == CONTENT
        assert ranges(server) == [ANEW]

    def test_damaged_meanwhile_is_found_out(
        self, server: FaultServer, cache: Cache, part: Path
    ) -> None:
        part.write_bytes(b"?" * 9_000)
        assert get(server, cache, known=True).path.read_bytes() == CONTENT
        assert ranges(server) == [REST, ANEW]

    def test_that_is_whole_is_taken_as_it_is(
        self, server: FaultServer, cache: Cache, part: Path
    ) -> None:
        part.write_bytes(CONTENT)
        assert get(server, cache).path.read_bytes() == CONTENT
        assert not server.seen

    @pytest.mark.usefixtures("part")
    def test_of_content_that_has_changed_begins_anew(
        self, server: FaultServer, cache: Cache
    ) -> None:
        server.add(PATH, OTHER, etag='"two"')
        assert get(server, cache).path.read_bytes() == OTHER

    def test_that_nobody_goes_on_with_is_removed_after_two_weeks(
        self, server: FaultServer, cache: Cache, part: Path
    ) -> None:
        long_ago = time.time() - 15 * 86400
        for path in (part, part.with_suffix(".json")):
            os.utime(path, (long_ago, long_ago))
        other = f"/{NAME.replace('13', '14')}"
        server.add(other, CONTENT)
        source = UrlSource(url=server.url(other))
        fetch(source, lock=None, cache=cache, session=fast_session())
        assert not incoming(cache)
