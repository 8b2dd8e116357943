"""Fetching over HTTP when servers, proxies and networks are at their worst."""

from __future__ import annotations

import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import pytest
import trustme
from faultserver import (
    Fault,
    FaultServer,
    ProxyServer,
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
from fetching import NAME, Told, Waits, locked, make_content, no_proxies, sha256

from repack.config import UrlSource
from repack.errors import FetchError, OutputError, RepackError
from repack.fetch import Cache, Fetched, fetch
from repack.lock import Lock

CONTENT = make_content()
OTHER = make_content(seed=1)
PATH = f"/files/{NAME}"


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    no_proxies(monkeypatch)


def get(  # noqa: PLR0913 - each test turns one of them
    server: FaultServer,
    cache: Cache,
    *,
    waits: Waits | None = None,
    read: float = 5.0,
    known: bool = False,
    lock: Lock | None = None,
    progress: Told | None = None,
) -> Fetched:
    """Fetch PATH; `known` says that the lock pins CONTENT for it."""
    url = server.url(PATH)
    return fetch(
        UrlSource(url=url),
        lock=locked(url, CONTENT) if known else lock,
        cache=cache,
        client=(waits or Waits()).client(read=read),
        progress=progress or Told(),
    )


def refused(server: FaultServer, cache: Cache, *, known: bool = False) -> RepackError:
    """The error of a fetch that fails, after which nothing lies under a final name."""
    with pytest.raises(RepackError) as caught:
        get(server, cache, known=known)
    assert not list((cache.root / "files").rglob("*.whl"))
    assert "\n" not in str(caught.value)
    return caught.value


def ranges(server: FaultServer) -> list[tuple[str | None, str | None]]:
    return [(seen.headers.get("range"), seen.headers.get("if-range")) for seen in server.seen]


class TestAGoodServer:
    def test_gives_the_file_under_its_hash_and_name(
        self, server: FaultServer, cache: Cache
    ) -> None:
        server.add(PATH, CONTENT)
        fetched = get(server, cache)
        assert fetched.path == cache.root / "files" / sha256(CONTENT) / NAME
        assert fetched.path.read_bytes() == CONTENT
        assert (fetched.size, fetched.sha256) == (len(CONTENT), sha256(CONTENT))
        assert fetched.url == server.url(PATH)

    def test_is_asked_for_the_content_as_it_is(self, server: FaultServer, cache: Cache) -> None:
        server.add(PATH, CONTENT)
        get(server, cache)
        assert server.seen[0].headers["accept-encoding"] == "identity"
        assert server.seen[0].headers["user-agent"].startswith("repack/")

    def test_leaves_no_partial_file(self, server: FaultServer, cache: Cache) -> None:
        server.add(PATH, CONTENT)
        get(server, cache)
        assert not list(cache.incoming.iterdir())

    def test_is_shown_as_progress_to_the_last_byte(self, server: FaultServer, cache: Cache) -> None:
        server.add(PATH, CONTENT, resets_after(9_000), ignores_range)
        told = Told()
        get(server, cache, progress=told)
        assert (told.done, told.total) == (len(CONTENT), len(CONTENT))
        assert f"Downloading {NAME}" in told.texts


CUT = ends_after(9_000)
DATE = "Wed, 21 Oct 2026 07:28:00 GMT"
SIZE = len(CONTENT)
DAMAGED = CONTENT[:20_000] + b"?" + CONTENT[20_001:]
#: What a request asks for: range, and the mark that the content must have had.
ANEW, REST = (None, None), ("bytes=9000-", '"one"')


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
PASSING: dict[str, tuple[list[Fault], dict[str, str | None], bool, list[object]]] = {
    "reset mid-body": ([resets_after(9_000)], {}, False, [REST]),
    "short body with a clean close": ([CUT], {}, False, [REST]),
    "resumed by the date": ([CUT], DATED, False, [("bytes=9000-", DATE)]),
    "ETag before date": ([CUT], {"last_modified": DATE}, False, [REST]),
    "weak ETag": ([CUT], WEAK, False, [ANEW]),
    "weak ETag and a hash": ([CUT], WEAK, True, [ANEW]),
    "no mark, and a hash": ([CUT], {"etag": None}, True, [("bytes=9000-", None)]),
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
}


@pytest.mark.parametrize("case", PASSING)
def test_a_fault_that_passes_is_no_loss(case: str, server: FaultServer, cache: Cache) -> None:
    faults, marks, known, asked = PASSING[case]
    server.add(PATH, CONTENT, *faults, **marks)
    assert get(server, cache, known=known).path.read_bytes() == CONTENT
    assert ranges(server) == [ANEW, *asked]


HTML = {"Content-Type": "text/html; charset=utf-8"}
PAGE = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>"
SIGN_IN = "is not a wheel but what looks like HTML with the title 'Sign in'"
SHORT = plain(f"HTTP/1.1 200 OK\nContent-Length: {SIZE - 100}")
LIMIT = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1800001020"}
UNTIL = "is used up until 2027-01-15 08:17 UTC, in 17 minutes"


def to(place: str) -> Fault:
    return answers("302 Found", {"Location": place})


#: Faults, whether the lock knows the content, code and a part of the reason.
STAYING: dict[str, tuple[list[Fault], bool, str, str]] = {
    "wrong range twice": ([CUT, WRONG, CUT, WRONG], False, "bad-range", "'bytes 9007-"),
    "more than announced": ([CUT, partial(9_000, CONTENT[9_000:] + b"x")], False, "size", "more"),
    "more in chunks": ([chunked(CONTENT, b"more", b"")], True, "size", "more"),
    "not the lock's length": ([answers("200 OK", {}, b"PK")], True, "size", "has 2 bytes"),
    "no length, no hash": ([plain("HTTP/1.0 200 OK")], False, "no-length", ""),
    "less announced than there is": ([SHORT], False, "not-a-zip", "without its end"),
    "encoded": ([answers("200 OK", {"Content-Encoding": "gzip"})], False, "content-encoding", ""),
    "sent to FTP": ([to("ftp://127.0.0.1/x")], False, "redirect", ""),
    "sent to a file": ([to("file:///etc/passwd")], False, "redirect", ""),
    "sent to no URL": ([to("http://[::1")], False, "redirect", ""),
    "a page": ([answers("200 OK", HTML, PAGE)], False, "not-a-wheel", SIGN_IN),
    "a page, pinned": ([answers("200 OK", HTML, PAGE)], True, "not-a-wheel", SIGN_IN),
    "a page as bytes": ([answers("200 OK", {}, PAGE)], False, "not-a-zip", SIGN_IN),
    "a page as bytes, pinned": ([answers("200 OK", {}, PAGE)], True, "not-a-wheel", SIGN_IN),
    "nothing": ([answers("200 OK")], False, "not-a-zip", "an empty file, 0 bytes"),
    "a rate limit": ([answers("403 Forbidden", LIMIT)], False, "rate-limit", UNTIL),
}


@pytest.mark.parametrize("case", STAYING)
def test_a_fault_that_stays_is_told(case: str, server: FaultServer, cache: Cache) -> None:
    faults, known, code, reason = STAYING[case]
    server.add(PATH, CONTENT, *faults)
    error = refused(server, cache, known=known)
    assert error.code == code
    assert reason in str(error)
    assert len(server.seen) == len(faults)


class TestABrokenBody:
    def test_that_stalls_is_given_up_in_time_and_resumed(
        self, server: FaultServer, cache: Cache
    ) -> None:
        until = threading.Event()
        server.add(PATH, CONTENT, stalls_after(9_000, until))
        try:
            assert get(server, cache, read=0.3).path.read_bytes() == CONTENT
        finally:
            until.set()
        assert ranges(server)[1:] == [("bytes=9000-", '"one"')]

    def test_that_drips_is_waited_for(self, server: FaultServer, cache: Cache) -> None:
        server.add(PATH, CONTENT, drips(4_000, 0.1))
        assert get(server, cache, read=0.5).path.read_bytes() == CONTENT
        assert len(server.seen) == 1

    def test_renews_the_tries_with_every_new_byte(self, server: FaultServer, cache: Cache) -> None:
        server.add(PATH, CONTENT, *[ends_after(1_000)] * 20)
        assert get(server, cache).path.read_bytes() == CONTENT
        assert len(server.seen) == 21

    def test_does_not_renew_them_where_the_same_bytes_come_again(
        self, server: FaultServer, cache: Cache
    ) -> None:
        server.add(PATH, CONTENT, *[ends_after(1_000)] * 20, etag=None)
        error = refused(server, cache)
        assert error.code == "network"
        assert "4 times in a row" in str(error)


class TestARange:
    def test_of_changed_content_begins_anew(self, server: FaultServer, cache: Cache) -> None:
        def changes(exchange: object, resource: object) -> None:
            cut(exchange, resource)  # type: ignore[arg-type]
            server.add(PATH, OTHER, etag='"two"')

        cut = ends_after(9_000)
        server.add(PATH, CONTENT, changes)
        assert get(server, cache).path.read_bytes() == OTHER

    def test_of_a_part_that_is_whole_already_lets_the_hash_decide(
        self, server: FaultServer, cache: Cache
    ) -> None:
        everything = {"Content-Length": str(len(CONTENT) + 1), "ETag": '"one"'}
        server.add(PATH, CONTENT, *[answers("200 OK", everything, CONTENT)] * 4)
        with pytest.raises(FetchError):
            get(server, cache)
        # Now the announced size is right: what is here is all there is.
        control = next(cache.incoming.glob("*.json"))
        said = control.read_text(encoding="utf-8").replace(str(len(CONTENT) + 1), str(len(CONTENT)))
        control.write_text(said, encoding="utf-8")
        assert get(server, cache).path.read_bytes() == CONTENT
        assert ranges(server)[-1] == (f"bytes={len(CONTENT)}-", '"one"')


class TestAStatus:
    @pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
    def test_that_passes_is_tried_again(
        self, server: FaultServer, cache: Cache, status: int
    ) -> None:
        server.add(PATH, CONTENT, answers(f"{status} Sorry"))
        waits = Waits()
        assert get(server, cache, waits=waits).path.read_bytes() == CONTENT
        assert waits.taken == [0.5]

    def test_that_stays_fails_after_growing_waits(self, server: FaultServer, cache: Cache) -> None:
        server.add(PATH, CONTENT, *[answers("503 Sorry")] * 4)
        waits = Waits()
        with pytest.raises(FetchError, match=r"the server says 503 Sorry, 4 times in a row \[netw"):
            get(server, cache, waits=waits)
        assert waits.taken == [0.5, 1.0, 2.0]

    @pytest.mark.parametrize(
        ("said", "wait"),
        [
            pytest.param("7", 7.0, id="seconds"),
            pytest.param("86400", 60.0, id="a day, capped"),
            pytest.param(
                format_datetime(datetime.fromtimestamp(1_800_000_012, UTC), usegmt=True),
                12.0,
                id="a date",
            ),
            pytest.param("Wed, 21 Oct 2015 07:28:00 GMT", 0.0, id="a date gone by"),
            pytest.param("soon", 0.5, id="nonsense"),
        ],
    )
    def test_says_when_to_come_again(
        self, server: FaultServer, cache: Cache, said: str, wait: float
    ) -> None:
        server.add(PATH, CONTENT, answers("429 Too Many Requests", {"Retry-After": said}))
        waits = Waits()
        get(server, cache, waits=waits)
        assert waits.taken == [pytest.approx(wait)]

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451, 501])
    def test_that_stays_is_not_tried_again(
        self, server: FaultServer, cache: Cache, status: int
    ) -> None:
        server.add(PATH, CONTENT, answers(f"{status} No"))
        error = refused(server, cache)
        assert str(error).startswith(
            f"{server.url(PATH)}: the server says {status} No [http-{status}]"
        )
        assert (".netrc" in error.hint) is (status in {401, 403, 404, 410})
        assert len(server.seen) == 1


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
        first, second = (answers("302 Found", {"Location": place}) for place in ("/a", "/b"))
        server.add(PATH, b"", first, second)
        server.add("/a", CONTENT, resets_after(9_000))
        server.add("/b", CONTENT)
        assert get(server, cache).path.read_bytes() == CONTENT
        assert server.paths() == [PATH, "/a", PATH, "/b"]
        assert ranges(server)[3] == ("bytes=9000-", '"one"')

    @pytest.mark.parametrize(
        "places",
        [
            pytest.param(["/a", PATH], id="in a loop"),
            pytest.param([f"/{number}" for number in range(20)], id="without end"),
        ],
    )
    def test_fails(self, server: FaultServer, cache: Cache, places: list[str]) -> None:
        for here, there in zip([PATH, *places], places, strict=False):
            server.add(here, b"", *[answers("302 Found", {"Location": there})] * 9)
        assert refused(server, cache).code == "redirect-loop"
        assert len(server.seen) < 15


class TestContent:
    def test_of_a_wrong_hash_twice_fails_with_both(self, server: FaultServer, cache: Cache) -> None:
        damaged = CONTENT[:20_000] + b"?" + CONTENT[20_001:]
        server.add(PATH, damaged)
        assert str(refused(server, cache, known=True)) == (
            f"{server.url(PATH)}: has SHA-256 {sha256(damaged)}, repack.lock says "
            f"{sha256(CONTENT)} [sha256]; if the change is wanted, run again with --update-lock"
        )
        assert len(server.seen) == 2
        assert not list(cache.incoming.iterdir())

    def test_has_the_name_of_the_url_whatever_the_server_calls_it(
        self, server: FaultServer, cache: Cache
    ) -> None:
        named = {"Content-Disposition": 'attachment; filename="../../x.whl"'}
        server.add(PATH, CONTENT, answers("200 OK", named, CONTENT))
        assert get(server, cache).path.name == NAME

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
    def test_of_an_unsafe_or_foreign_name_is_not_asked_for(
        self, server: FaultServer, cache: Cache, path: str
    ) -> None:
        source = UrlSource(url=server.url(path))
        with pytest.raises(FetchError) as caught:
            fetch(source, lock=None, cache=cache, client=Waits().client())
        assert caught.value.code == "filename"
        assert not server.seen


class TestTls:
    @pytest.fixture
    def authority(self) -> trustme.CA:
        return trustme.CA()

    @pytest.fixture
    def secure(self, authority: trustme.CA) -> Iterator[FaultServer]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        with listening(context) as server:
            yield server

    @pytest.fixture
    def _trusted(
        self, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bundle = tmp_path / "ca.pem"
        authority.cert_pem.write_to_path(str(bundle))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))

    def test_of_an_unknown_authority_fails_at_once(self, secure: FaultServer, cache: Cache) -> None:
        secure.add(PATH, CONTENT)
        waits = Waits()
        with pytest.raises(FetchError) as caught:
            get(secure, cache, waits=waits)
        assert caught.value.code == "tls"
        assert "certificate" in str(caught.value)
        assert "REQUESTS_CA_BUNDLE" in caught.value.hint
        assert not waits.taken

    @pytest.mark.usefixtures("_trusted")
    def test_of_an_authority_of_the_environment_is_trusted(
        self, secure: FaultServer, cache: Cache
    ) -> None:
        secure.add(PATH, CONTENT, resets_after(9_000))
        assert get(secure, cache).path.read_bytes() == CONTENT

    @pytest.mark.usefixtures("_trusted")
    def test_is_not_left_by_a_redirect(
        self, secure: FaultServer, server: FaultServer, cache: Cache
    ) -> None:
        server.add("/plain", CONTENT)
        secure.add(PATH, b"", answers("302 Found", {"Location": server.url("/plain")}))
        error = refused(secure, cache)
        assert error.code == "insecure-redirect"
        assert not server.seen

    def test_bundle_that_is_missing_is_named(
        self, secure: FaultServer, cache: Cache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/bundle.pem")
        assert "/no/such/bundle.pem" in str(refused(secure, cache))


class TestAProxy:
    def test_of_the_environment_is_used(
        self, server: FaultServer, cache: Cache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server.add(PATH, CONTENT)
        with ProxyServer() as proxy:
            monkeypatch.setenv("HTTP_PROXY", proxy.url(""))
            monkeypatch.setenv("http_proxy", proxy.url(""))
            assert get(server, cache).path.read_bytes() == CONTENT
            assert proxy.paths() == [server.url(PATH)]

    def test_that_is_not_there_is_named(
        self, server: FaultServer, cache: Cache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        assert "the proxy cannot be reached" in str(refused(server, cache))

    def test_is_passed_by_where_no_proxy_says_so(
        self, server: FaultServer, cache: Cache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server.add(PATH, CONTENT)
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert get(server, cache).path.read_bytes() == CONTENT


class TestAServerThatIsNotThere:
    def test_is_named_after_a_few_tries(self, cache: Cache) -> None:
        with FaultServer() as gone:
            pass
        error = refused(gone, cache)
        assert "Connection refused" in str(error)
        assert "4 times in a row" in str(error)

    def test_or_whose_name_is_unknown_is_named(self, cache: Cache) -> None:
        source = UrlSource(url=f"http://no-such-host.invalid/{NAME}")
        with pytest.raises(FetchError, match=r"http://no-such-host\.invalid/.*no connection"):
            fetch(source, lock=None, cache=cache, client=Waits().client())


class TestTheDisk:
    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
    def test_that_is_full_is_named_and_nothing_stands_under_a_final_name(
        self, server: FaultServer, cache: Cache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # /dev/full is a real device that is always full; unlink would only remove the link.
        server.add(PATH, CONTENT)
        touch = Path.touch
        monkeypatch.setattr(
            Path,
            "touch",
            lambda path: path.symlink_to("/dev/full") if path.suffix == ".part" else touch(path),
        )
        error = refused(server, cache)
        assert isinstance(error, OutputError)
        assert "cannot be written: no space left on the disk [no-space]" in str(error)
        assert "REPACK_CACHE" in error.hint

    def test_without_room_for_it_is_named_before_anything_comes(
        self, server: FaultServer, cache: Cache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server.add(PATH, CONTENT)
        usage = shutil.disk_usage("/")._replace(free=1000)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
        error = refused(server, cache)
        assert f"no room: {len(CONTENT)} bytes are needed and 1000 bytes are free" in str(error)


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


class TestProcesses:
    def test_killed_in_the_middle_leave_what_the_next_run_goes_on_from(
        self, server: FaultServer, cache: Cache
    ) -> None:
        until = threading.Event()
        server.add(PATH, CONTENT, stalls_after(9_000, until))
        with child(server, cache) as process:
            wait_for(lambda: sizes(cache.incoming) == [9_000])
            process.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
        until.set()
        assert get(server, cache).path.read_bytes() == CONTENT
        assert ranges(server)[1:] == [("bytes=9000-", '"one"')]

    def test_two_at_once_make_one_download(self, server: FaultServer, cache: Cache) -> None:
        def slowly(exchange: object, resource: object) -> None:
            time.sleep(2)
            serve(exchange, resource)  # type: ignore[arg-type]

        server.add(PATH, CONTENT, slowly)
        with child(server, cache) as one, child(server, cache) as two:
            places = {one.communicate(timeout=60)[0], two.communicate(timeout=60)[0]}
        assert places == {f"{cache.place(sha256(CONTENT), NAME)}\n"}
        assert len(server.seen) == 1

    def test_that_wait_for_another_say_so(self, server: FaultServer, cache: Cache) -> None:
        server.add(PATH, CONTENT)
        told = Told()
        held, release = threading.Event(), threading.Event()

        def hold() -> None:
            with cache.lock(server.url(PATH), Told()):
                held.set()
                release.wait(20)

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait(20)
        threading.Timer(0.3, release.set).start()
        get(server, cache, progress=told)
        thread.join()
        assert told.texts[0] == "Waiting for another repack that fetches the same"


def sizes(folder: Path) -> list[int]:
    return [path.stat().st_size for path in folder.glob("*.part")]


def wait_for(condition: object, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.02)


class TestAPartialFile:
    def test_of_which_the_control_file_is_broken_is_not_used(
        self, server: FaultServer, cache: Cache
    ) -> None:
        server.add(PATH, CONTENT, *[ends_after(9_000)] * 1, *[answers("500 Sorry")] * 4)
        with pytest.raises(FetchError):
            get(server, cache)
        next(cache.incoming.glob("*.json")).write_text("{", encoding="utf-8")
        assert get(server, cache).path.read_bytes() == CONTENT
        assert ranges(server)[-1] == (None, None)

    def test_damaged_meanwhile_is_found_out_by_the_hash(
        self, server: FaultServer, cache: Cache
    ) -> None:
        server.add(PATH, CONTENT, *[ends_after(9_000)] * 1, *[answers("500 Sorry")] * 4)
        with pytest.raises(FetchError):
            get(server, cache, known=True)
        next(cache.incoming.glob("*.part")).write_bytes(b"?" * 9_000)
        assert get(server, cache, known=True).path.read_bytes() == CONTENT
        assert ranges(server)[-2:] == [("bytes=9000-", '"one"'), (None, None)]


def test_secrets_of_a_url_are_not_shown(server: FaultServer, cache: Cache) -> None:
    source = UrlSource(url=server.url(f"{PATH}?signature=secret"))
    with pytest.raises(FetchError) as caught:
        fetch(source, lock=None, cache=cache, client=Waits().client())
    assert not re.search("secret", str(caught.value))
