"""What can go wrong with an upload: one line that says what to do, and nothing half told."""

from __future__ import annotations

import shutil
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import repeat
from pathlib import Path

import msgspec
import pytest
import trustme
from faultserver import Fault, answers
from fetching import Waits
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
    reads,
    says,
    takes_and_cuts,
    upload,
    waits,
)
from wheelmaking import make_wheel, metadata

from repack.index import uploading
from repack.record import Cargo, read_records, write_record

__all__ = ["account", "upload", "waits"]
BAD, AWAY = "500 Internal Server Error", "503 Service Unavailable"


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


def test_an_index_that_is_down_is_told_after_a_few_tries(
    dist: Path, upload: Uploading, waits: Waits
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
    told = upload(dist, "--repository-url", url, code=1)
    assert f"error: {url}simple/: no connection (" in told.err
    assert "HTTPConnection" not in told.err
    assert len(waits.taken) == 3


@pytest.mark.parametrize(
    ("status", "said"),
    [
        pytest.param("400 Bad Request", "ask the index's keeper", id="bad request"),
        pytest.param("401 Unauthorized", "set TWINE_USERNAME and TWINE_PASSWORD", id="unknown"),
        pytest.param("403 Forbidden", "whether that user may upload there", id="no leave"),
        pytest.param("404 Not Found", "--repository-url is where twine uploads to", id="not here"),
        pytest.param("405 Method Not Allowed", "where twine uploads to", id="not so"),
        pytest.param("413 Content Too Large", "set publish.max-size to its limit", id="too large"),
        pytest.param("302 Found", "sends us to http://elsewhere.example/", id="redirect"),
        pytest.param(BAD, "4 times in a row", id="broken for ever"),
        pytest.param(AWAY, "only what lacks is sent", id="away for ever"),
    ],
)
@pytest.mark.usefixtures("waits")
def test_what_the_server_refuses_is_told_in_one_line_without_the_password(
    status: str, said: str, dist: Path, upload: Uploading
) -> None:
    with always(says(status, {"Location": f"http://{USER}:{SECRET}@elsewhere.example/"})) as server:
        told = upload(dist, "--repository-url", server.url("/"), code=1)
    assert said in told.err
    assert f"{FILE} -> {server.url('/')}" in told.err
    assert not server.files


@pytest.mark.usefixtures("waits")
def test_a_password_that_is_a_part_of_a_word_leaves_the_word_whole(
    dist: Path, upload: Uploading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWINE_PASSWORD", "b")
    with always(says("403 Forbidden")) as server:
        told = upload(dist, "--repository-url", server.url("/"), code=1)
    assert "the server says 403 Forbidden [http-403]" in told.err


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(says(BAD), id="an error of the server"),
        pytest.param(says(AWAY), id="a server that is away"),
        pytest.param(cuts_after(0), id="no answer at all"),
        pytest.param(cuts_after(300), id="a cut in the middle"),
    ],
)
def test_what_passes_is_waited_for(
    fault: Fault, dist: Path, upload: Uploading, waits: Waits
) -> None:
    with index(fault, fault) as server:
        assert upload(dist, "--repository-url", server.url("/")).what == {FILE: "added"}
    assert (server.posts, len(waits.taken)) == (3, 2)
    assert server.files[FILE] == (dist / FILE).read_bytes()


def test_a_server_that_asks_to_wait_is_obeyed(dist: Path, upload: Uploading, waits: Waits) -> None:
    with index(says("429 Too Many Requests", {"Retry-After": "7"})) as server:
        upload(dist, "--repository-url", server.url("/"))
    assert waits.taken == [7.0]


@pytest.mark.usefixtures("waits")
def test_an_upload_that_is_cut_each_time_is_given_up(dist: Path, upload: Uploading) -> None:
    with always(cuts_after(300)) as server:
        told = upload(dist, "--repository-url", server.url("/"), code=1)
    assert "4 times in a row" in told.err
    assert server.posts == 4


@pytest.mark.parametrize(
    ("count", "size"),
    [
        pytest.param(None, 10, id="that does not answer"),
        pytest.param(1000, 12_000_000, id="that does not read on"),
    ],
)
def test_a_server_that_stalls_is_given_up_in_time(
    count: int | None, size: int, tmp_path: Path, upload: Uploading, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, ended = Waits(), threading.Event()
    client = clock.client(tries=2, answer=0.3)
    client.patience = replace(client.patience, connect=0.5)
    monkeypatch.setattr(uploading, "Client", lambda: client)
    files = {
        "tiny_thing.py": b"#" * size,
        "tiny_thing-1.0.dist-info/METADATA": metadata("tiny-thing", "1.0"),
    }
    (tmp_path / "dist").mkdir()
    make_wheel(tmp_path / "dist", files, name="tiny_thing", version="1.0", tag="py3-none-any")
    with always(reads(count, ended)) as server:
        told = upload(tmp_path / "dist", "--repository-url", server.url("/"), code=1)
        ended.set()
    assert "2 times in a row" in told.err
    assert server.posts == 2


def test_an_answer_that_is_lost_is_no_loss(dist: Path, upload: Uploading, waits: Waits) -> None:
    with index() as server:
        server._faults = iter([takes_and_cuts(server)])
        assert upload(dist, "--repository-url", server.url("/")).what == {FILE: "added"}
    assert len(waits.taken) == 1


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


def test_a_certificate_that_nobody_vouches_for_ends_it_at_once(
    dist: Path, upload: Uploading, waits: Waits, tls: ssl.SSLContext
) -> None:
    with index(context=tls) as server:
        told = upload(dist, "--repository-url", server.url("/"), code=1)
    assert "no secure connection: [SSL: CERTIFICATE_VERIFY_FAILED]" in told.err
    assert not waits.taken
    assert not server.seen


@pytest.fixture
def twine_knows_it(
    authority: trustme.CA, tmp_path: Path, account: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    del account  # it forgets what this machine says
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("TWINE_CERT", str(tmp_path / "ca.pem"))


@pytest.mark.usefixtures("twine_knows_it")
def test_the_authority_that_twine_is_told_counts_for_sending_and_for_reading(
    dist: Path, upload: Uploading, tls: ssl.SSLContext
) -> None:
    with index(context=tls) as server:
        assert upload(dist, "--repository-url", server.url("/")).what == {FILE: "added"}


@pytest.mark.usefixtures("twine_knows_it", "waits")
def test_a_client_certificate_is_shown_for_sending_and_for_reading(
    dist: Path,
    upload: Uploading,
    tls: ssl.SSLContext,
    authority: trustme.CA,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
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


def test_a_page_that_comes_late_is_waited_for(dist: Path, upload: Uploading, waits: Waits) -> None:
    with index(unlisted=2) as server:
        assert upload(dist, "--repository-url", server.url("/")).what == {FILE: "added"}
    assert len(waits.taken) == 2


@pytest.mark.usefixtures("waits")
def test_a_file_that_is_taken_and_never_listed_is_an_error(dist: Path, upload: Uploading) -> None:
    with always(answers("200 OK")) as server:
        told = upload(dist, "--repository-url", server.url("/"), code=1)
    assert "the server took it, and the index does not list it" in told.err


@pytest.mark.usefixtures("waits")
def test_a_run_that_failed_half_way_is_gone_on_with(tmp_path: Path, upload: Uploading) -> None:
    names = [tiny(tmp_path / "dist", version).name for version in ("1.0", "2.0", "3.0")]
    with index() as server:
        words = (tmp_path / "dist", "--repository-url", server.url("/"))
        server._faults = iter([server.take, *[says(BAD)] * 4])
        assert "tiny_thing-2.0" in upload(*words, code=1).err
        assert list(server.files) == names[:1]
        before = server.posts
        done = upload(*words).what
        assert server.posts == before + 2
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
        assert "nothing was sent" in upload(*words, code=1).err
    assert server.posts == 1
    assert server.files == {FILE: sent}


def test_what_another_index_has_under_that_name_is_not_this_ones(
    dist: Path, upload: Uploading
) -> None:
    with index() as other, index() as server:
        other.files[FILE] = b"somebody's"
        page = "/simple/tiny-thing/"
        server.detours[page] = other.url(page, host="localhost")
        assert upload(dist, "--repository-url", server.url("/")).what == {FILE: "added"}
    assert not other.seen


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        pytest.param("text/x-rst", "A\n===\n\n.. nothing::\n", "would not be rendered", id="rst"),
        pytest.param("", "A\n===\n\n.. nothing::\n", "would not be rendered", id="no type"),
        pytest.param("text/markdown", "# A\n\n.. nothing::\n", "", id="Markdown"),
        pytest.param("text/plain", "A\n===\n\n.. nothing::\n", "", id="plain"),
    ],
)
def test_a_description_that_would_not_be_rendered_is_refused_before_anything_is_sent(
    kind: str, text: str, said: str, tmp_path: Path, upload: Uploading
) -> None:
    content = metadata("tiny-thing", "1.0", *([f"Description-Content-Type: {kind}"] * bool(kind)))
    files = {
        "tiny_thing.py": b"",
        "tiny_thing-1.0.dist-info/METADATA": content.rstrip() + b"\n\n" + text.encode(),
    }
    folder = tmp_path / "dist"
    tiny(folder, "0.9")
    make_wheel(folder, files, name="tiny_thing", version="1.0", tag="py3-none-any")
    with index() as server:
        told = upload(folder, "--repository-url", server.url("/"), code=1 if said else 0)
    assert said in told.err
    assert server.posts == (0 if said else 2)


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
    ("content", "said"),
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
    content: str | None, said: str, dist: Path, upload: Uploading, tmp_path: Path
) -> None:
    place = tmp_path / "other"
    if content is not None:
        place.write_text(content, encoding="utf-8")
    code = 2 if said == "TWINE_PASSWORD" else 1
    told = upload(dist, "--repository", "team", "--config-file", place, code=code)
    assert said in told.err


def test_a_password_in_the_url_is_refused_and_not_repeated(dist: Path, upload: Uploading) -> None:
    url = f"http://{USER}:{SECRET}@127.0.0.1:9/"
    assert "TWINE_PASSWORD" in upload(dist, "--repository-url", url, code=2).err


def test_names_and_passwords_stay_with_the_host_that_takes_uploads(
    dist: Path, upload: Uploading
) -> None:
    with index() as server, index() as mirror:
        mirror.files = server.files
        words = ("--repository-url", server.url("/"), "--index-url", mirror.url("/simple/"))
        assert upload(dist, *words).what == {FILE: "added"}
    assert {seen.headers.get("authorization") for seen in mirror.seen} == {None}
    assert {seen.headers.get("authorization") for seen in server.seen} == {server.login}


def test_nothing_is_uploaded_where_there_is_nothing(tmp_path: Path, upload: Uploading) -> None:
    (tmp_path / "dist").mkdir()
    with index() as server:
        told = upload(tmp_path / "dist", "--repository-url", server.url("/"), code=1)
        assert "holds no wheels" in told.err
        shutil.rmtree(tmp_path / "dist")
        upload(tmp_path / "dist", "--repository-url", server.url("/"), code=1)
    assert not server.seen
