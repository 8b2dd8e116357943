"""An index and a cache in a bucket, on a genuine S3 server and in processes of their own."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING

import pytest
from faultserver import FaultServer, listening
from fetching import NAME, Waits, locked, make_content, no_proxies, sha256
from s3server import SITE, Relay, S3Server, running, secrets_in
from wheelmaking import make_wheel

from repack.config import UrlSource
from repack.errors import RepackError, UsageError
from repack.progress import SILENT
from repack.sources import Cache, Fetched, fetch
from repack.stores import LocalStore, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="versitygw runs on POSIX systems")
CONTENT = make_content()
PATH = f"/files/{NAME}"


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with running(tmp_path_factory.mktemp("s3")) as server:
        server.new_bucket("team")
        server.new_bucket(SITE, public=True)
        yield server


@pytest.fixture(autouse=True)
def environment(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    no_proxies(monkeypatch)
    for name, value in {**s3.environment(), "AWS_MAX_ATTEMPTS": "1"}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def url() -> str:
    return f"s3://team/{uuid.uuid4().hex}"


def small_wheel(folder: Path, version: str) -> Path:
    folder.mkdir(exist_ok=True)
    return make_wheel(
        folder, {"tiny.py": b""}, name="tiny_thing", version=version, tag="py3-none-any"
    )


def publish(dist: Path, place: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "repack", "publish", str(dist), "--index-dir", place]
    return subprocess.Popen(
        command, text=True, cwd=dist, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_pip_installs_from_a_bucket_what_three_processes_published_there_at_once(
    tmp_path: Path, s3: S3Server
) -> None:
    dists = [tmp_path / version for version in ("1.0", "2.0", "3.0")]
    for dist in dists:
        small_wheel(dist, dist.name)
    runs = [publish(dist, f"s3://{SITE}/simple") for dist in dists]
    for run in runs:
        _, errors = run.communicate(timeout=120)
        assert run.returncode == 0, errors
    for dist in dists:
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--no-cache-dir",
            "--no-deps",
            "--target",
        ]
        command += [str(dist / "installed"), f"--index-url={s3.site}/simple/"]
        subprocess.run([*command, f"tiny-thing=={dist.name}"], check=True, timeout=120)
        assert list((dist / "installed").glob(f"tiny_thing-{dist.name}.dist-info"))


def test_a_claim_keeps_others_out_until_its_process_is_dead(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("repack.stores.claims._LONGEST_WAIT", 0.5)
    holds = (
        "import os, sys; from repack.stores import open_store; from repack.progress import SILENT\n"
        "with open_store(sys.argv[1]).lock(SILENT): print('held', flush=True); input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holds, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        store = open_store(url)
        with pytest.raises(RepackError, match="has held this lock"), store.lock(SILENT):
            raise AssertionError
        process.kill()
    monkeypatch.setattr("repack.stores.claims._LONGEST_WAIT", 20.0)
    monkeypatch.setattr("repack.stores.claims._LIFE", 2.0)
    with store.lock(SILENT):
        store.write("a/index.html", b"page")
    assert store.sizes() == {"a/index.html": 4}


@pytest.mark.parametrize(
    ("changed", "bucket", "code"),
    [
        pytest.param({}, "nobody", "no-bucket", id="no such bucket"),
        pytest.param({"AWS_SECRET_ACCESS_KEY": "wrong"}, "team", "no-permission", id="wrong key"),
        pytest.param({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "team", "unreachable", id="down"),
    ],
)
def test_a_fault_is_one_line_without_a_key(  # noqa: PLR0913, PLR0917 - fixtures and a row
    changed: dict[str, str],
    bucket: str,
    code: str,
    tmp_path: Path,
    s3: S3Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in changed.items():
        monkeypatch.setenv(name, value)
    small_wheel(tmp_path / "dist", "1.0")
    run = publish(tmp_path / "dist", f"s3://{bucket}/x")
    out, errors = run.communicate(timeout=120)
    assert run.returncode == 1
    assert f"[{code}]" in errors
    said = [line for line in errors.splitlines() if not line.startswith("Checking wheels")]
    assert len(said) == 1
    assert not secrets_in(out + errors, s3.environment())


def test_an_upload_that_is_cut_leaves_no_page(tmp_path: Path, s3: S3Server, url: str) -> None:
    source = tmp_path / "large.whl"
    source.write_bytes(os.urandom(3 << 20))
    store = open_store(url)
    with Relay(s3, cut_after=1 << 20) as relay, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{relay.port}")
        cut = open_store(url)
        with pytest.raises(RepackError, match="cannot be written"):
            cut.put("a/large.whl", source, hashlib.sha256(source.read_bytes()).hexdigest())
        assert relay.has_cut()
    assert store.sizes() == {}


def test_a_file_of_a_bucket_is_had_as_a_local_one(url: str) -> None:
    store = open_store(url)
    store.write("a/b.whl", CONTENT)
    with store.local("a/b.whl") as path:
        assert (path.name, path.read_bytes()) == ("b.whl", CONTENT)
    assert not path.exists()
    with (
        pytest.raises(RepackError, match=r"/a/c\.whl: there is no such file"),
        store.local("a/c.whl"),
    ):
        raise AssertionError


def test_a_missing_driver_is_named_with_what_installs_it() -> None:
    code = (
        "import sys; sys.modules['s3fs'] = None; from repack.cli import main\n"
        "sys.exit(main(['publish', '--index-dir', 's3://team/x']))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 2
    assert "python -m pip install 'repack[s3]'" in run.stderr


def test_a_url_with_a_password_is_refused_without_showing_it() -> None:
    with pytest.raises(UsageError) as caught:
        open_store("s3://user:secret@team/x")
    assert "secret" not in str(caught.value).lower().replace("aws_secret_access_key", "")


def test_a_file_url_is_a_folder(tmp_path: Path) -> None:
    store = open_store(tmp_path.as_uri())
    assert isinstance(store, LocalStore)
    assert store.place == str(tmp_path)


class TestTheSharedCache:
    @pytest.fixture
    def server(self) -> Iterator[FaultServer]:
        with listening() as server:
            server.add(PATH, CONTENT)
            yield server

    @pytest.fixture(params=["s3", "file", "memory"])
    def shared(self, request: pytest.FixtureRequest, url: str, tmp_path: Path) -> str:
        places = {"file": (tmp_path / "share").as_uri(), "memory": f"memory://{url[5:]}"}
        return places.get(request.param, url)

    def machine(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, shared: str
    ) -> Cache:
        monkeypatch.setenv("REPACK_CACHE", shared)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
        return Cache.default()

    def get(self, server: FaultServer, cache: Cache, *, offline: bool = False) -> Fetched:
        lock = locked(server.url(PATH), CONTENT)
        source = UrlSource(url=server.url(PATH))
        return fetch(source, lock=lock, cache=cache, offline=offline, client=Waits().client())

    def test_saves_the_second_machine_the_download(
        self, server: FaultServer, shared: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("one", "two"):
            got = self.get(server, self.machine(monkeypatch, tmp_path, name, shared))
            assert got.path.is_relative_to(tmp_path / name)
            assert got.path.read_bytes() == CONTENT
        assert len(server.seen) == 1

    def test_that_holds_a_damaged_file_is_seen_through_and_mended(  # noqa: PLR0913, PLR0917 - fixtures
        self,
        server: FaultServer,
        url: str,
        s3: S3Server,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        key = f"{url[5:]}/files/{sha256(CONTENT)}/{NAME}"
        s3.file_system().pipe_file(key, CONTENT[:-1] + b"?")
        got = self.get(server, self.machine(monkeypatch, tmp_path, "one", url))
        assert got.path.read_bytes() == CONTENT
        assert "was damaged in the shared cache" in caplog.text
        assert s3.file_system().cat_file(key) == CONTENT

    @pytest.mark.parametrize("bucket", ["nobody", "team"])
    def test_that_fails_is_a_warning(
        self,
        server: FaultServer,
        bucket: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        if bucket == "team":
            monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        cache = self.machine(monkeypatch, tmp_path, "one", f"s3://{bucket}/x")
        assert self.get(server, cache).path.read_bytes() == CONTENT
        assert caplog.text.count("going on without the shared cache") == 1

    def test_is_not_asked_offline(
        self, server: FaultServer, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.get(server, self.machine(monkeypatch, tmp_path, "one", url))
        with pytest.raises(RepackError, match="--offline asks nobody"):
            self.get(server, self.machine(monkeypatch, tmp_path, "two", url), offline=True)


def test_a_build_that_names_no_url_does_not_import_fsspec() -> None:
    code = "import sys, repack.cli, repack.sources.remote; sys.exit('fsspec' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
