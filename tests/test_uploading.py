"""Uploads: sent once, compared, read back; what can go wrong is one line that says what to do."""

import os
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import requests
import trustme
from driving import Ran, Repack
from faultserver import Exchange, Fault, FaultServer, Resource, answers
from fetching import no_proxies
from platforms import POSIX
from publishing import ENVIRONMENT, leave_record, tiny, what
from uploads import (
    LOGIN,
    PAGE,
    SECRET,
    USER,
    TakingIndex,
    Urls,
    devpi,
    pypiserver,
    says,
)

Upload = Callable[..., Ran]
FILE = "tiny_thing-1.0-py3-none-any.whl"
AWAY = "503 Service Unavailable"


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    """A folder with one wheel."""
    return tiny(tmp_path / "dist").parent


@pytest.fixture
def upload(repack: Repack, dist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Upload:
    """Publish to an index as the team; one line says why it fails, and no word is secret."""
    no_proxies(monkeypatch)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "TWINE_CERT", "TWINE_CLIENT_CERT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setenv("TWINE_USERNAME", USER)
    monkeypatch.setenv("TWINE_PASSWORD", SECRET)

    def run(index: FaultServer | str, *words: str | Path, code: int = 0) -> Ran:
        url = index if isinstance(index, str) else index.url("/")
        to = ("--repository-url", url) if url else ()
        ran = repack("publish", dist, *to, *words, "--json", "-v")
        assert (ran.code, bool(code and ran.error)) == (code, bool(code)), ran.err
        assert SECRET not in ran.out + ran.err
        return ran

    return run


# The indexes that teams run


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(pypiserver, id="pypiserver"),
        pytest.param(devpi, id="devpi", marks=pytest.mark.network),
    ],
)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Urls]:
    with request.param(tmp_path_factory.mktemp("server")) as running:
        yield running


def test_a_wheel_is_sent_once_pinned_and_installed_by_its_hash_and_never_other_bytes(
    server: Urls, dist: Path, upload: Upload, tmp_path: Path
) -> None:
    url, simple = server
    (dist / FILE).unlink()
    wheel = tiny(dist, name="sent_once")
    leave_record(dist, wheel)
    assert what(upload(url).json) == {wheel.name: "added"}
    assert what(upload(url).json) == {wheel.name: "there already"}
    pins = dist / "requirements-3.12.txt"
    pip = (sys.executable, "-m", "pip", "--isolated", "install", "--no-cache-dir")
    where = ("--index-url", simple, "--target", tmp_path / "target")
    subprocess.run([*pip, "--require-hashes", "-r", pins, *where], env=ENVIRONMENT, check=True)
    assert (tmp_path / "target" / "sent_once.py").read_text("utf-8") == "value = 1\n"
    (dist / "build.json").unlink()
    tiny(dist, name="sent_once", value=2)
    tiny(dist, "2.0", name="sent_once")
    assert f"{wheel.name}: " in upload(url, code=1).error
    listed = requests.get(simple + "sent-once/", timeout=30).text
    assert "sent_once-2.0" not in listed, "where one is refused, none is sent"


# Refusals


def test_a_refusal_is_told_in_one_line(upload: Upload, monkeypatch: pytest.MonkeyPatch) -> None:
    with TakingIndex(*[says(AWAY)] * 9) as server:
        error = upload(server, code=1).error
    assert error.startswith(f"{FILE} -> {server.url('/')}: the upload failed: ")
    assert "503" in error
    monkeypatch.setenv("TWINE_PASSWORD", "Service")
    with TakingIndex(*[says(AWAY)] * 9) as server:
        assert "failed: status code 503, and" in upload(server, code=1).error


@pytest.mark.parametrize("other", [b"", b"!"], ids=["the same bytes", "other bytes"])
def test_after_a_refusal_the_bytes_are_compared_whatever_the_words(
    other: bytes, dist: Path, upload: Upload
) -> None:
    """Nexus, Artifactory and GitLab say 400 or 403 of a file that they have, pypiserver 409."""
    with TakingIndex() as index:

        def refuse(exchange: Exchange, _: Resource) -> None:
            """Have the file already, though the page did not say so yet."""
            exchange.body()
            index.keep(FILE, (dist / FILE).read_bytes() + other)
            exchange.send("400 Bad Request", {"Content-Length": "0"})

        index.uploads.append(refuse)
        ran = upload(index, code=1 if other else 0)
    if other:
        assert "[other-bytes]" in ran.error
    else:
        assert what(ran.json) == {FILE: "there already"}


# What the index has


ROOTS = ("/simple/", "/+simple/", "/")
LOGIN_PAGE = answers("200 OK", {"Content-Type": "text/html"}, b"<form><input type=password>")
LONG_ROOT = answers(
    "200 OK",
    {"Content-Type": "text/html", "Content-Length": str(10**12)},
    b"<title>Simple index</title>" + b"<a href='x/'>x</a>" * 1000,
)


@pytest.mark.parametrize(
    ("pages", "answer", "is_sent"),
    [
        pytest.param([PAGE], answers("401 Unauthorized"), False, id="unauthorized"),
        pytest.param([PAGE], LOGIN_PAGE, False, id="a login"),
        pytest.param(ROOTS, answers("403 Forbidden"), True, id="a root that is not shown"),
        pytest.param(ROOTS, LONG_ROOT, True, id="a root that is not read whole"),
    ],
)
def test_only_where_the_page_of_the_project_could_be_looked_at_something_is_sent(
    pages: Sequence[str], answer: Fault, *, is_sent: bool, upload: Upload
) -> None:
    with TakingIndex() as server:
        for page in pages:
            server.show(page, answer)
        upload(server, code=0 if is_sent else 1)
    assert bool(server.posts) == is_sent


def test_an_old_host_name_that_redirects_is_followed_and_bytes_are_compared(
    dist: Path, upload: Upload
) -> None:
    with TakingIndex() as new, TakingIndex() as old:
        new.keep(FILE, b"other bytes")
        for page in ("/simple/", PAGE):
            location = {"Location": new.url(page, host="localhost"), "Content-Length": "0"}
            old.show(page, *[answers("301 Moved Permanently", location)] * 4)
        assert "[other-bytes]" in upload(old, code=1).error
        new.keep(FILE, (dist / FILE).read_bytes())
        assert what(upload(old).json) == {FILE: "there already"}
    assert not old.posts


def test_what_another_index_has_under_that_name_is_not_this_ones(upload: Upload) -> None:
    with TakingIndex() as other, TakingIndex() as server:
        other.keep(FILE, b"somebody's")
        location = {"Location": other.url(PAGE, host="localhost"), "Content-Length": "0"}
        server.show(PAGE, answers("303 See Other", location))
        upload(server)
    assert server.posts == 1


def test_a_server_that_serves_other_bytes_than_it_was_sent_is_found_out(upload: Upload) -> None:
    with TakingIndex() as server:

        def spoil(exchange: Exchange, resource: Resource) -> None:
            """Its page tells the hash of what came."""
            server.take(exchange, resource)
            server.add(f"/files/{FILE}", b"others")

        server.uploads.append(spoil)
        assert "[other-bytes]" in upload(server, code=1).error


def test_a_fault_that_passes_and_a_page_that_comes_late_are_waited_for_and_not_for_ever(
    dist: Path, upload: Upload
) -> None:
    with TakingIndex(says(AWAY), says(AWAY), late=1) as server:
        assert what(upload(server).json) == {FILE: "added"}
    assert server.files[FILE] == (dist / FILE).read_bytes()
    with TakingIndex(late=99) as server:
        ran = upload(server, code=1)
    assert "the server took it, and the index does not list it" in ran.error


# Certificates, names and passwords


def test_twines_certificates_count_for_sending_and_for_reading(
    upload: Upload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    authority.configure_trust(tls)
    tls.verify_mode = ssl.CERT_REQUIRED
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    ours = authority.issue_cert("team@example.com").private_key_and_cert_chain_pem
    ours.write_to_path(tmp_path / "team.pem")
    with TakingIndex(context=tls) as server:
        assert "no secure connection: " in upload(server, code=1).error
        monkeypatch.setenv("TWINE_CERT", str(tmp_path / "ca.pem"))
        upload(server, code=1)
        assert not server.seen
        monkeypatch.setenv("TWINE_CLIENT_CERT", str(tmp_path / "team.pem"))
        assert what(upload(server).json) == {FILE: "added"}


@POSIX  # the keyring here is a shell script
@pytest.mark.parametrize("line", [f"password = {SECRET}", ""], ids=[".pypirc", "keyring"])
def test_names_and_passwords_are_found_where_twine_finds_them_and_stay_with_their_host(
    line: str, upload: Upload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TWINE_PASSWORD")
    (tmp_path / "keyring").write_text(f"#!/bin/sh\necho {SECRET}\n", encoding="utf-8")
    (tmp_path / "keyring").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with TakingIndex() as server, TakingIndex() as mirror:
        text = f"repository = {server.url('/')}\nusername = another\n{line}\n"
        (tmp_path / ".pypirc").write_text(f"[team]\n{text}", encoding="utf-8")
        mirror.resources = server.resources
        url = mirror.url("/simple/", host="localhost")
        for words in (["--index-url", url], []):
            upload("", "--repository", "team", *words)
    given = {seen.headers.get("authorization") for seen in server.seen}
    assert given == {LOGIN}, "variables first, for sending and for reading"
    assert {seen.headers.get("authorization") for seen in mirror.seen} == {None}


@pytest.mark.parametrize(
    ("line", "code"), [(SECRET, 1), (f"repository = http://me:{SECRET}@127.0.0.1:9/", 2)]
)
def test_a_configuration_that_cannot_be_read_or_has_a_password_in_the_url_is_refused(
    line: str, code: int, upload: Upload, tmp_path: Path
) -> None:
    (tmp_path / "other").write_text(f"[team]\n{line}\n", encoding="utf-8")
    words = ("--repository", "team", "--config-file", tmp_path / "other")
    assert "pypirc" in upload("", *words, code=code).error
