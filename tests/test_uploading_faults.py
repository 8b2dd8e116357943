"""What can go wrong with an upload: one line that says what to do, and nothing half told."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path

import msgspec
import pytest
import trustme
from faultserver import Exchange, Fault, Resource, answers
from indexing import leave_record, wheel_record
from indexservers import SECRET, USER
from publishing import tiny
from uploads import (
    FILE,
    Manners,
    TakingIndex,
    Uploading,
    account,
    cuts_after,
    pauses,
    says,
    takes_and_cuts,
    upload,
)

from repack.record import Cargo, read_records, write_record

__all__ = ["account", "pauses", "upload"]
pytestmark = pytest.mark.usefixtures("pauses")
AWAY = "503 Service Unavailable"


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    """A folder with one wheel."""
    return tiny(tmp_path / "dist").parent


@contextmanager
def index(
    *faults: Fault, context: ssl.SSLContext | None = None, **manners: object
) -> Iterator[TakingIndex]:
    """An index whose next uploads meet `faults`."""
    made = Manners(faults=faults, **manners)  # type: ignore[arg-type]
    with TakingIndex(made, context) as running:
        yield running


@contextmanager
def always(fault: Fault) -> Iterator[TakingIndex]:
    """An index whose every upload meets that fault."""
    with TakingIndex(Manners(faults=repeat(fault))) as running:
        yield running


def test_an_index_that_is_down_is_told(dist: Path, upload: Uploading) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
    told = upload(dist, "--repository-url", url, code=1)
    assert f"error: {url}simple/: no connection (" in told.err


@pytest.mark.parametrize(
    ("status", "words"),
    [
        pytest.param("400 Bad Request", "ask the index's keeper", id="bad request"),
        pytest.param("401 Unauthorized", "set TWINE_USERNAME and TWINE_PASSWORD", id="unknown"),
        pytest.param("403 Forbidden", "whether that user may upload there", id="no leave"),
        pytest.param("404 Not Found", "--repository-url is where twine", id="not here"),
        pytest.param("413 Content Too Large", "set publish.max-size to its limit", id="too large"),
        pytest.param("302 Found", "not in the same realm", id="redirect"),
        pytest.param(AWAY, "only what lacks is sent", id="away for ever"),
    ],
)
def test_what_the_server_refuses_is_told_in_one_line_without_the_password(
    status: str, words: str, dist: Path, upload: Uploading
) -> None:
    with always(says(status, {"Location": f"http://{USER}:{SECRET}@elsewhere.example/"})) as server:
        told = upload(dist, "--repository-url", server.url("/"), code=1)
    assert words in told.err
    assert f"{FILE} -> {server.url('/')}" in told.err
    assert not server.files


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(says("500 Internal Server Error"), id="an error of the server"),
        pytest.param(says(AWAY), id="a server that is away"),
        pytest.param(cuts_after(0), id="no answer at all"),
        pytest.param(cuts_after(300), id="a cut in the middle"),
    ],
)
def test_what_passes_is_waited_for(fault: Fault, dist: Path, upload: Uploading) -> None:
    with index(fault, fault) as server:
        assert upload(dist, "--repository-url", server.url("/")).what == {FILE: "added"}
    assert server.files[FILE] == (dist / FILE).read_bytes()


def test_an_answer_that_is_lost_is_no_loss(dist: Path, upload: Uploading) -> None:
    with index() as server:
        server._faults = iter([takes_and_cuts(server)])
        assert FILE in upload(dist, "--repository-url", server.url("/")).what
    assert server.files[FILE] == (dist / FILE).read_bytes()


#: What servers say of a file that they have: 409 is nobody's but pypiserver's and devpi's.
DIALECTS = {
    "Nexus": ("400 Bad Request", b"Repository does not allow updating assets: pypi-hosted"),
    "Artifactory": ("403 Forbidden", b"Not enough permissions to delete/overwrite artifact"),
    "GitLab": (
        "400 Bad Request",
        b'{"message":"Validation failed: File name is already taken"}',
    ),
    "409": ("409 Conflict", b""),
}


def refuses(server: TakingIndex, status: str, words: bytes, there: bytes) -> Fault:
    """Have the file already, though the page did not say so yet, and say it in such words."""

    def fault(exchange: Exchange, resource: Resource) -> None:
        del resource
        exchange.body()
        server.files[FILE] = there
        exchange.send(status, {"Content-Length": str(len(words))}, words)

    return fault


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("same", [True, False], ids=["the same bytes", "other bytes"])
def test_after_a_refusal_the_bytes_are_compared_whatever_the_words(
    dialect: str, *, same: bool, dist: Path, upload: Uploading
) -> None:
    content = (dist / FILE).read_bytes()
    with index() as server:
        there = content if same else content + b"!"
        server._faults = iter([refuses(server, *DIALECTS[dialect], there)])
        told = upload(dist, "--repository-url", server.url("/"), code=0 if same else 1)
    if same:
        assert told.what == {FILE: "there already"}
    else:
        assert "the index has other bytes under the name of" in told.err


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(answers("401 Unauthorized"), id="unauthorized"),
        pytest.param(answers("403 Forbidden"), id="forbidden"),
        pytest.param(answers("500 Internal Server Error"), id="broken"),
        pytest.param(answers("200 OK", {"Content-Type": "application/json"}, b"{"), id="garbage"),
        pytest.param(answers("302 Found", {"Location": "ftp://x/"}), id="to no web server"),
    ],
)
def test_what_could_not_be_looked_at_is_an_error_before_anything_is_sent(
    fault: Fault, dist: Path, upload: Uploading
) -> None:
    with index() as server:
        server.pages["/simple/tiny-thing/"] = fault
        upload(dist, "--repository-url", server.url("/"), code=1)
    assert not server.posts


def test_an_old_host_name_that_redirects_is_followed_and_bytes_are_compared(
    dist: Path, upload: Uploading
) -> None:
    with index() as new, index() as old:
        new.files[FILE] = b"other bytes"
        for page in ("/simple/", "/simple/tiny-thing/"):
            location = {"Location": new.url(page, host="localhost"), "Content-Length": "0"}
            old.pages[page] = answers("301 Moved Permanently", location)
        told = upload(dist, "--repository-url", old.url("/"), code=1)
        assert "the index has other bytes under the name of" in told.err
        new.files[FILE] = (dist / FILE).read_bytes()
        assert upload(dist, "--repository-url", old.url("/")).what == {FILE: "there already"}
    assert not old.posts


def test_what_another_index_has_under_that_name_is_not_this_ones(
    dist: Path, upload: Uploading
) -> None:
    with index() as other, index() as server:
        other.files[FILE] = b"somebody's"
        page = "/simple/tiny-thing/"
        location = {"Location": other.url(page, host="localhost"), "Content-Length": "0"}
        server.pages[page] = answers("303 See Other", location)
        assert upload(dist, "--repository-url", server.url("/")).what == {FILE: "added"}


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
def test_who_may_not_list_all_projects_may_upload_to_one(
    status: str, dist: Path, upload: Uploading
) -> None:
    with index() as server:
        server.pages["/simple/"] = server.pages["/+simple/"] = server.pages["/"] = answers(status)
        assert upload(dist, "--repository-url", server.url("/")).what == {FILE: "added"}


def test_the_roots_page_is_not_read_whole(dist: Path, upload: Uploading) -> None:
    with index() as server:
        server.pages["/simple/"] = answers(
            "200 OK",
            {"Content-Type": "text/html", "Content-Length": str(10**12)},
            b"<title>Simple index</title>" + b"<a href='x/'>x</a>" * 1000,
        )
        assert upload(dist, "--repository-url", server.url("/")).what == {FILE: "added"}


def test_too_large_a_wheel_is_told_with_what_weighs_most(dist: Path, upload: Uploading) -> None:
    leave_record(dist, [wheel_record(dist, dist / FILE, ["3.12"])])
    [record] = read_records(dist).values()
    carried = tuple(
        Cargo(
            member=f"cuda/{name}",
            family="x",
            origin="x",
            size=2 * size,
            packed=size,
            sha256="0" * 64,
        )
        for name, size in (("a.dll", 1), ("cudnn.dll", 700_000_000), ("npp.dll", 90_000_000))
    )
    write_record(msgspec.structs.replace(record, carried=carried), dist)
    with always(says("413 Content Too Large")) as server:
        told = upload(dist, "--repository-url", server.url("/"), code=1)
    assert "most of it is cudnn.dll 700.0 MB, npp.dll 90.0 MB" in told.err
    with always(says("413 Content Too Large")) as server:
        words = ("--repository-url", server.url("/"), "--set", "publish.max-size=100")
        told = upload(dist, *words, code=1)
    assert "publish.max-size" in told.err
    assert "cudnn.dll" in told.err
    assert not server.seen


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def twine_cert(
    authority: trustme.CA, tmp_path: Path, account: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    del account  # it forgets what this machine says
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("TWINE_CERT", str(tmp_path / "ca.pem"))


def test_a_certificate_that_nobody_vouches_for_ends_it(
    dist: Path, upload: Uploading, tls: ssl.SSLContext
) -> None:
    with index(context=tls) as server:
        told = upload(dist, "--repository-url", server.url("/"), code=1)
    assert "no secure connection: " in told.err
    assert not server.seen


@pytest.mark.usefixtures("twine_cert")
def test_twines_certificates_count_for_sending_and_for_reading(
    dist: Path,
    upload: Uploading,
    tls: ssl.SSLContext,
    authority: trustme.CA,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with index(context=tls) as server:
        assert upload(dist, "--repository-url", server.url("/")).what == {FILE: "added"}
    authority.configure_trust(tls)
    tls.verify_mode = ssl.CERT_REQUIRED
    ours = dist.with_name("team.pem")
    authority.issue_cert("team@example.com").private_key_and_cert_chain_pem.write_to_path(ours)
    with index(context=tls) as server:
        upload(dist, "--repository-url", server.url("/"), code=1)
        monkeypatch.setenv("TWINE_CLIENT_CERT", str(ours))
        assert upload(dist, "--repository-url", server.url("/")).what == {FILE: "added"}


@pytest.mark.parametrize("hash_name", ["sha256", ""])
def test_a_server_that_serves_other_bytes_than_it_was_sent_is_found_out(
    hash_name: str, dist: Path, upload: Uploading
) -> None:
    with index(spoils=True, hash_name=hash_name) as server:
        told = upload(dist, "--repository-url", server.url("/"), code=1)
    assert "let nobody install it" in told.err


def test_a_page_that_comes_late_is_waited_for(dist: Path, upload: Uploading) -> None:
    with index(unlisted=2) as server:
        assert upload(dist, "--repository-url", server.url("/")).what == {FILE: "added"}


def test_a_file_that_is_taken_and_never_listed_is_an_error(dist: Path, upload: Uploading) -> None:
    with always(answers("200 OK")) as server:
        told = upload(dist, "--repository-url", server.url("/"), code=1)
    assert "the server took it, and the index does not list it" in told.err


def test_a_run_that_failed_half_way_is_gone_on_with(tmp_path: Path, upload: Uploading) -> None:
    names = [tiny(tmp_path / "dist", version).name for version in ("1.0", "2.0", "3.0")]
    with index() as server:
        words = (tmp_path / "dist", "--repository-url", server.url("/"))
        server._faults = iter([server.take, says("400 Bad Request")])
        assert "tiny_thing-2.0" in upload(*words, code=1).err
        assert list(server.files) == names[:1]
        done = upload(*words).what
    assert done == {names[0]: "there already", names[1]: "added", names[2]: "added"}
    assert list(server.files) == names


@pytest.mark.parametrize("form", ["HTML", "JSON"])
@pytest.mark.parametrize("hash_name", ["sha256", "md5", ""], ids=["SHA-256", "MD5", "no hash"])
def test_bytes_are_compared_whatever_hash_the_index_tells(
    hash_name: str, form: str, dist: Path, upload: Uploading
) -> None:
    with index(hash_name=hash_name, as_json=form == "JSON") as server:
        words = (dist, "--repository-url", server.url("/"))
        assert upload(*words).what == {FILE: "added"}
        assert upload(*words).what == {FILE: "there already"}
        sent = server.files[FILE]
        tiny(dist, value=2)
        tiny(dist, "2.0")
        assert "yours were not sent" in upload(*words, code=1).err
    assert server.posts == 1
    assert server.files == {FILE: sent}


@pytest.mark.parametrize("how", ["environment", ".pypirc", "--config-file", "over .pypirc"])
def test_names_and_passwords_are_found_where_twine_finds_them(
    how: str, dist: Path, upload: Uploading, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with index() as server:
        words: tuple[str | Path, ...] = ("--repository", "team")
        place = tmp_path / ("other" if how == "--config-file" else "home/.pypirc")
        password = SECRET if "environment" not in how and "over" not in how else "another"
        place.write_text(
            "[distutils]\nindex-servers = team\n"
            f"[team]\nrepository = {server.url('/')}\nusername = {USER}\npassword = {password}\n",
            encoding="utf-8",
        )
        if how in {".pypirc", "--config-file"}:
            monkeypatch.delenv("TWINE_USERNAME")
            monkeypatch.delenv("TWINE_PASSWORD")
        if how == "--config-file":
            words += ("--config-file", place)
        if how == "environment":
            words = ("--repository-url", server.url("/"))
        assert upload(dist, *words).what == {FILE: "added"}
    given = {seen.headers.get("authorization") for seen in server.seen}
    assert given == {server.login}, "for sending and for reading"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(None, "other", id="that is not there"),
        pytest.param(f"password = {SECRET}\n", "other", id="without a section"),
        pytest.param(f"[team]\n{SECRET}\n", "other", id="that cannot be read"),
        pytest.param("[team]\nusername = team\n", "team", id="that does not know the index"),
        pytest.param(
            f"[distutils]\nindex-servers = team\n[team]\nrepository = http://team:{SECRET}@host/\n",
            "TWINE_PASSWORD",
            id="with a password in a URL",
        ),
    ],
)
def test_a_configuration_is_refused(
    content: str | None, words: str, dist: Path, upload: Uploading, tmp_path: Path
) -> None:
    place = tmp_path / "other"
    if content is not None:
        place.write_text(content, encoding="utf-8")
    code = 2 if words == "TWINE_PASSWORD" else 1
    told = upload(dist, "--repository", "team", "--config-file", place, code=code)
    assert words in told.err


def test_a_password_in_the_url_is_refused_and_not_repeated(dist: Path, upload: Uploading) -> None:
    url = f"http://{USER}:{SECRET}@127.0.0.1:9/"
    assert "TWINE_PASSWORD" in upload(dist, "--repository-url", url, code=2).err


def test_names_and_passwords_stay_with_the_host_that_takes_uploads(
    dist: Path, upload: Uploading
) -> None:
    with index() as server, index() as mirror:
        mirror.files = server.files
        url = mirror.url("/simple/", host="localhost")
        words = ("--repository-url", server.url("/"), "--index-url", url)
        assert upload(dist, *words).what == {FILE: "added"}
    assert {seen.headers.get("authorization") for seen in mirror.seen} == {None}
    assert {seen.headers.get("authorization") for seen in server.seen} == {server.login}
