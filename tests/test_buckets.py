"""An index and a cache in a bucket, on a genuine S3 server and in processes of their own."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from fetching import NAME, make_content, no_proxies, sha256
from platforms import POSIX
from publishing import checked, one_after_another, published
from s3server import SITE, Relay, S3Server, secrets_in
from wheelmaking import make_wheel

from repack.console import SILENT
from repack.errors import RepackError
from repack.stores import open_store
from repack.stores.driver import Driver

pytestmark = POSIX
CONTENT = make_content()
PATH = f"/files/{NAME}"


@pytest.fixture(autouse=True)
def environment(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    no_proxies(monkeypatch)
    for name, value in {**s3.environment(), "AWS_MAX_ATTEMPTS": "1"}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def url() -> str:
    return f"s3://team/{uuid.uuid4().hex}"


def small_wheel(folder: Path, version: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
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
    place = f"s3://{SITE}/simple"
    versions = {"1": ("1.0", "1.1"), "2": ("2.0", "2.1"), "3": ("3.0", "3.1")}
    for name, each in versions.items():
        for version in each:
            small_wheel(tmp_path / name / version, version)
    for run in [one_after_another(tmp_path / name, place) for name in versions]:
        _, errors = run.communicate(timeout=120)
        assert run.returncode == 0, errors
    page = json.loads(open_store(place).read("tiny-thing/index.json") or b"")
    assert page["versions"] == sorted(sum(versions.values(), ()))
    command = [sys.executable, "-m", "pip", "install", "--no-cache-dir", "--no-deps"]
    command += ["--target", str(tmp_path / "installed"), f"--index-url={s3.site}/simple/"]
    subprocess.run([*command, "tiny-thing==2.0"], check=True, timeout=120)
    assert list((tmp_path / "installed").glob("tiny_thing-2.0.dist-info"))


def test_a_claim_keeps_others_out_until_its_process_is_dead(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("repack.stores.claims._LONGEST_WAIT", 0.5)
    holds = (
        "import os, sys; from repack.stores import open_store; from repack.console import SILENT\n"
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


def heavy(folder: Path, version: str, size: int) -> Path:
    """Write a wheel with so many bytes that do not deflate."""
    ballast = random.Random(version).randbytes(size)  # noqa: S311 - no secret
    files = {"tiny.py": b"", "ballast.bin": ballast}
    folder.mkdir(exist_ok=True)
    return make_wheel(folder, files, name="tiny_thing", version=version, tag="py3-none-any")


@pytest.mark.parametrize(
    ("size", "cut_after"),
    [
        pytest.param(3 << 20, 1 << 20, id="in one piece"),
        pytest.param(11 << 20, 7 << 20, id="in the second of three parts"),
    ],
)
def test_an_upload_that_is_cut_leaves_the_old_index_and_is_made_good_by_the_next(  # noqa: PLR0913, PLR0917 - fixtures and a row
    size: int,
    cut_after: int,
    tmp_path: Path,
    s3: S3Server,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("repack.stores.driver._BLOCK", 5 << 20)
    monkeypatch.setattr("repack.stores.claims._LIFE", 1.0)
    dist = tmp_path / "dist"
    small_wheel(dist, "1.0")
    published(capsys, dist, "--index-dir", url)
    store = open_store(url)
    before = {key: store.read(key) for key in store.sizes()}
    wheel = heavy(dist, "2.0", size)
    with Relay(s3, cut_after=cut_after) as relay, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{relay.port}")
        answer = published(capsys, dist, "--index-dir", url, code=1)
        assert relay.has_cut()
    assert answer["error"]["code"] == "unreachable"
    assert {key: store.read(key) for key in store.sizes()} == before
    answer = published(capsys, dist, "--index-dir", url)
    assert sorted(each["what"] for each in answer["files"]) == ["added", "there already"]
    assert store.read(f"tiny-thing/{wheel.name}") == wheel.read_bytes()
    assert checked(capsys, url)["faults"] == []


def test_a_large_wheel_goes_up_in_parts(
    tmp_path: Path, s3: S3Server, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("repack.stores.driver._BLOCK", 5 << 20)
    wheel = heavy(tmp_path, "1.0", 11 << 20)
    content = wheel.read_bytes()
    store = open_store(url)
    store.put("a/heavy.whl", wheel, sha256(content))
    assert store.read("a/heavy.whl") == content
    # The tag of an object in parts tells how many: "...-3".
    assert s3.file_system().info(f"{url[5:]}/a/heavy.whl")["ETag"].strip('"').endswith("-3")


def test_what_arrives_otherwise_than_it_was_sent_is_removed(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = small_wheel(tmp_path, "1.0")
    store = open_store(url)
    monkeypatch.setattr(
        Driver,
        "upload",
        lambda self, key, source: self.write(key, source.read_bytes()[:-1] + b"?"),
    )
    with pytest.raises(RepackError, match="what came back has SHA-256"):
        store.put("a/b.whl", wheel, sha256(wheel.read_bytes()))
    assert store.sizes() == {}


def test_a_missing_driver_is_named_with_what_installs_it() -> None:
    code = (
        "import sys; sys.modules['s3fs'] = None; from repack.cli import main\n"
        "sys.exit(main(['publish', '--index-dir', 's3://team/x']))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 2
    assert "python -m pip install s3fs" in run.stderr
