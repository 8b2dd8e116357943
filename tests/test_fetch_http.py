"""Fetching over HTTP when servers, proxies and networks are at their worst; the cache."""

import os
import signal
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from driving import REPACK
from faultserver import (
    Exchange,
    Fault,
    FaultServer,
    Resource,
    answers,
    drips,
    ends_after,
    resets_after,
    serve,
    stalls_after,
)
from fetching import NAME, PATH, TRIES, Site, fetch, make_content, pin_of, refuse, sha256

from repack.config import UrlSource
from repack.errors import FetchError, OutputError
from repack.fetch.cache import Cache
from repack.fetch.http import PATIENCE
from repack.lock import Pin

CONTENT = make_content()
OTHER = make_content(seed=1)
SIZE = len(CONTENT)
CUT = ends_after(9_000)
#: What a request asks for: range, and the mark that the content must have had.
ANEW, REST, UNMARKED = (None, None), ("bytes=9000-", '"one"'), ("bytes=9000-", None)


def pinned(site: Site, *, known: bool) -> Pin | None:
    """The pin of CONTENT, if the lock has it."""
    return pin_of(site.url(PATH), CONTENT) if known else None


def whole(content: bytes, **headers: str) -> Fault:
    """Answer with everything; a length that is not given is not told."""
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda exchange, _: exchange.send("200 OK", {"ETag": '"one"', **told}, content)


def rest(content: bytes, where: str, etag: str = '"one"') -> Fault:
    """Answer with the rest of what was cut, said to lie at `where`."""
    headers = {"ETag": etag, "Content-Range": where.format(last=SIZE - 1, size=SIZE)}
    return answers("206 Partial Content", headers, content[9_000:])


def to(place: str) -> Fault:
    return answers("302 Found", {"Location": place})


def too_long(exchange: Exchange, resource: Resource) -> None:
    """Cut the body, and send a byte too many of the rest."""
    more = rest(CONTENT + b"x", "bytes 9000-{last}/{size}")
    (more if "range" in exchange.headers else CUT)(exchange, resource)


CHUNKED = whole(b"%x\r\n%b\r\n0\r\n\r\n" % (SIZE, CONTENT), Transfer_Encoding="chunked")
DAMAGED = CONTENT[:20_000] + b"?" + CONTENT[20_001:]
CHANGED = rest(OTHER, "bytes 9000-{last}/{size}", '"two"')
ALL = whole(CONTENT, Content_Length=f"{SIZE}")
ELSEWHERE = rest(CONTENT[7:], "bytes 9007-{last}/{size}")
LONGER = rest(CONTENT, "bytes 9000-{last}/99999")
BEYOND = answers("416 Range Not Satisfiable", {"Content-Range": "bytes */5000"})
MARK, WEAK = '"one"', 'W/"one"'
#: Faults, the ETag, whether the lock knows the content, and what is asked for after them.
PASSING: dict[str, tuple[list[Fault], str | None, bool, list[object] | None]] = {
    "each in turn": ([answers(f"{code} No") for code in (408, 429, 500)], MARK, False, None),
    "and the others": ([answers(f"{code} No") for code in (502, 503, 504)], MARK, False, None),
    "reset mid-body": ([resets_after(9_000)], MARK, False, [REST]),
    "a slow drip": ([drips(4_000, 0.05)], MARK, False, []),
    "short body with a clean close": ([CUT], MARK, False, [REST]),
    "many of them": ([ends_after(1_000)] * 9, None, True, None),
    "weak ETag": ([CUT], WEAK, False, [ANEW]),
    "weak ETag and a hash": ([CUT], WEAK, True, [UNMARKED]),
    "range answered with everything": ([CUT, ALL], MARK, False, [REST]),
    "range of changed content": ([CUT, CHANGED], MARK, False, [REST, ANEW]),
    "range with a wrong start": ([CUT, ELSEWHERE], MARK, False, [REST, ANEW]),
    "range with a wrong total": ([CUT, LONGER], MARK, False, None),
    "range beyond the end": ([CUT, BEYOND], MARK, False, [REST, ANEW]),
    "no length": ([whole(CONTENT)], MARK, True, []),
    "no length, cut, and a hash": ([whole(CONTENT[:9_000])], MARK, True, [ANEW]),
    "length of chunks": ([CHUNKED], MARK, False, []),
    "wrong hash once": ([whole(DAMAGED, Content_Length=f"{SIZE}")], MARK, True, [ANEW]),
}


@pytest.mark.parametrize("case", PASSING)
def test_a_fault_that_passes_is_no_loss(case: str, site: Site) -> None:
    faults, etag, known, asked = PASSING[case]
    site.add(PATH, CONTENT, *faults, etag=etag)
    fetched = site.get(pin=pinned(site, known=known))
    assert fetched.path == site.cache.place(sha256(CONTENT), NAME)
    assert fetched.path.read_bytes() == CONTENT
    assert fetched.pin == pin_of(site.url(PATH), CONTENT)
    assert not list((site.cache.root / "incoming").iterdir())
    assert asked is None or site.ranges() == [ANEW, *asked]


LIMIT = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "2000000000"}
BUSY = answers("403 Forbidden", {"Retry-After": "600"})
PAGE = answers("200 OK", {}, b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>")
#: What always comes, whether the lock knows the content, code, a part of the message.
STAYING: dict[str, tuple[Fault, bool, str, str]] = {
    "more than announced": (too_long, False, "network", "no answer: "),
    "another content": (answers("200 OK", {}, OTHER), True, "sha256", sha256(OTHER)),
    "encoded": (answers("200 OK", {"Content-Encoding": "gzip"}), False, "content-encoding", ""),
    "sent to a file": (to("file:///etc/passwd"), False, "bad-url", "file:///etc/passwd"),
    "sent to itself": (to(PATH), False, "redirects", "30 redirects"),
    "a page": (PAGE, True, "not-a-zip", "64 bytes, begins with b'<!DOCTYPE html>"),
    "a rate limit": (answers("403 No", LIMIT), False, "rate-limit", "until 2033-05-18 03:33 UTC"),
    "a pause": (BUSY, False, "rate-limit", "until 600 seconds from now"),
    "503": (answers("503 Sorry"), False, "http-503", "the server says 503 Sorry"),
    **{
        str(status): (answers(f"{status} No"), False, f"http-{status}", "go into .netrc")
        for status in (401, 403, 404)
    },
}


@pytest.mark.parametrize("case", STAYING)
def test_a_fault_that_stays_is_told(case: str, site: Site) -> None:
    fault, known, code, reason = STAYING[case]
    site.add(PATH, CONTENT, *[fault] * 40)
    error = site.refused(pin=pinned(site, known=known))
    assert error.code == code
    assert reason in str(error)
    is_final = code.startswith(("http-4", "rate", "content")) or case == "sent to a file"
    assert (len(site.seen) == 1) == is_final


def test_a_body_that_stalls_is_resumed_in_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("repack.fetch.http.TIMEOUT", (5.0, 0.3))
    until = threading.Event()
    site.add(PATH, CONTENT, stalls_after(9_000, until))
    try:
        assert site.get().path.read_bytes() == CONTENT
    finally:
        until.set()
    assert site.ranges()[1:] == [REST]


def test_a_server_that_asks_to_wait_is_obeyed_for_a_minute() -> None:
    times = ("7", "86400", "Wed, 21 Oct 2015 07:28:00 GMT")
    assert [PATIENCE.parse_retry_after(answer) for answer in times] == [7, 60, 0]


#: Paths that lead out of the folder by their encoding, and names that are no wheel's.
NO_NAMES = ("/..%2F..%2Fevil-1-py3-none-any.whl", "/download?id=3")


@pytest.mark.parametrize("path", NO_NAMES)
def test_what_is_no_wheels_name_may_be_given(site: Site, path: str) -> None:
    site.add(path, CONTENT, answers("200 OK", {"Content-Disposition": "../../x.whl"}, CONTENT))
    with pytest.raises(FetchError, match=r"source\.filename says so"):
        fetch(UrlSource(url=site.url(path)), site.cache)
    assert not site.seen
    assert fetch(UrlSource(url=site.url(path), filename=NAME), site.cache).path.name == NAME


def test_what_is_damaged_in_the_cache_is_fetched(site: Site) -> None:
    site.add(PATH, CONTENT)
    first = site.get()
    stat = first.path.stat()
    first.path.write_bytes(b"?" + CONTENT[1:])
    os.utime(first.path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(FetchError, match="not in the cache, and --offline allows"):
        site.get(first.pin, offline=True)
    assert site.get(first.pin).path.read_bytes() == CONTENT
    assert len(site.seen) == 2


def test_what_is_pinned_or_offline_is_not_asked_for(site: Site) -> None:
    site.add(PATH, CONTENT)
    with pytest.raises(FetchError, match=rf"{NAME} \({SIZE} bytes\) is not in the"):
        site.get(pin_of(site.url(PATH), CONTENT), offline=True)
    assert not site.seen
    first = site.get()
    assert site.get(first.pin) == site.get(offline=True) == first
    with pytest.raises(FetchError, match=f"{sha256(CONTENT)}, source.sha256 says 000"):
        site.get(first.pin, sha256="0" * 64)
    assert len(site.seen) == 1
    site.add(PATH, OTHER)
    assert site.get().sha256 == sha256(OTHER)


VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "PIP_CERT")


@pytest.fixture
def secure(tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A server whose certificate is by the authority of `ca.pem`, which nothing names."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with Site(cache, context) as server:
        server.add(PATH, CONTENT)
        yield server


@pytest.mark.parametrize("variable", [*VARIABLES, "pip.conf"])
def test_an_authority_of_the_users_is_trusted(
    variable: str, secure: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, config = tmp_path / "ca.pem", tmp_path / "pip.conf"
    monkeypatch.setenv(variable, str(bundle))
    if variable == "pip.conf":
        config.write_text(f"[global]\ncert = {bundle}\nquiet = 3\n", encoding="utf-8")
        monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    assert secure.get().path.read_bytes() == CONTENT


def test_no_other_authority_is_trusted_and_https_is_not_left_by_a_redirect(
    secure: Site, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = secure.refused()
    assert error.code == "tls"
    assert "no secure connection" in str(error)
    assert "SSL_CERT_FILE or PIP_CERT" in error.hint
    assert secure.connections == 1
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    secure.add(PATH, b"", to(site.url("/plain")))
    assert secure.refused().code == "insecure-redirect"
    assert not site.seen


def test_a_proxy_is_used_and_named_where_it_is_not_there_unless_no_proxy_passes_it_by(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.add(PATH, CONTENT)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    signed = UrlSource(url=site.url(f"{PATH}?X-Amz-Signature=secret"))
    error = str(refuse(signed, site.cache))
    assert "no answer: ProxyError('Unable to connect to proxy" in error
    assert "secret" not in error
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert site.get().path.read_bytes() == CONTENT
    with FaultServer() as proxy:
        proxy.add(site.url(PATH), CONTENT)
        monkeypatch.setenv("PIP_PROXY", proxy.url(""))
        assert site.get().path.read_bytes() == CONTENT
        assert proxy.paths() == [site.url(PATH)]


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
    assert isinstance(error, OutputError)
    assert (error.code, Path(error.file).parent) == ("no-space", site.cache.root / "incoming")
    assert site.get().path.read_bytes() == CONTENT
    assert site.ranges()[-1][0] == "bytes=20000-"


def child(site: Site) -> subprocess.Popen[bytes]:
    """A process of its own that fetches PATH, which is no wheel of OpenCV."""
    return subprocess.Popen(
        [REPACK, "fetch", "--source", site.url(PATH)],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "REPACK_CACHE": str(site.cache.root)},
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
    def late(exchange: Exchange, resource: Resource) -> None:
        time.sleep(2)
        serve(exchange, resource)

    site.add(PATH, CONTENT, late)
    with child(site), child(site):
        pass
    assert site.cache.place(sha256(CONTENT), NAME).read_bytes() == CONTENT
    assert len(site.seen) == 1


def test_what_came_whole_before_a_failure_is_not_sent_again(site: Site) -> None:
    site.add(PATH, CONTENT, CUT, *[answers("500 Sorry")] * TRIES)
    site.refused()
    (part,) = site.cache.root.glob("incoming/*.part")
    part.write_bytes(CONTENT)
    site.seen.clear()
    assert site.get().path.read_bytes() == CONTENT
    assert site.ranges() == [(f"bytes={SIZE}-", '"one"')]
