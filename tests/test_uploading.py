"""Uploads to the indexes that teams run: sent once, compared, read back, installed by hash."""

import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from indexing import leave_record, wheel_record
from indexservers import IndexServer, devpi, pypiserver
from publishing import ENVIRONMENT, tiny
from uploads import Uploading, account, upload

from repack.files import sha256_of

__all__ = ["account", "upload"]
UV = Path(sysconfig.get_path("scripts")) / "uv"


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(pypiserver, id="pypiserver"),
        pytest.param(devpi, id="devpi", marks=pytest.mark.network),
    ],
)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[IndexServer]:
    with request.param(tmp_path_factory.mktemp("server")) as running:
        yield running


def test_a_wheel_is_sent_once_and_never_other_bytes_of_its_name(
    server: IndexServer, upload: Uploading, tmp_path: Path
) -> None:
    wheel = tiny(tmp_path / "dist", name="sent_once")
    words = (tmp_path / "dist", "--repository-url", server.upload)
    before = server.posts
    assert upload(*words).what == {wheel.name: "added"}
    assert server.posts == before + 1
    assert upload(*words).what == {wheel.name: "there already"}
    tiny(tmp_path / "dist", name="sent_once", value=2)
    tiny(tmp_path / "dist", "2.0", name="sent_once")
    assert "other bytes under the name of sent_once-1.0-" in upload(*words, code=1).err
    assert server.posts == before + 1, "what is there already, or is refused, is not sent"


def test_a_wrong_password_is_told_in_one_line(
    server: IndexServer, upload: Uploading, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny(tmp_path / "dist", name="not_sent")
    monkeypatch.setenv("TWINE_PASSWORD", "a-wrong-one")
    told = upload(tmp_path / "dist", "--repository-url", server.upload, code=1)
    assert f"not_sent-1.0-py3-none-any.whl -> {server.upload}: the server says 40" in told.err
    assert "TWINE_PASSWORD" in told.err
    assert "a-wrong-one" not in told.out + told.err


def test_pip_and_uv_install_by_hash_what_was_uploaded(
    server: IndexServer, upload: Uploading, tmp_path: Path
) -> None:
    name = "installed_by_hash"
    wheel = tiny(tmp_path / "dist", name=name)
    upload(tmp_path / "dist", "--repository-url", server.upload)
    pins = tmp_path / "requirements.txt"
    pins.write_text(f"installed-by-hash==1.0 --hash=sha256:{sha256_of(wheel)}\n", encoding="utf-8")
    pip = (sys.executable, "-m", "pip", "--isolated", "install", "--no-cache-dir")
    uv = (UV, "--no-config", "--no-cache", "pip", "install", f"--python={sys.executable}")
    for number, installer in enumerate((pip, uv)):
        target = tmp_path / f"target-{number}"
        where = ("--index-url", server.simple, "--target", target)
        words = (*installer, "--require-hashes", "-r", pins, *where)
        done = subprocess.run(
            [str(word) for word in words],
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert (target / f"{name}.py").read_text("utf-8") == "value = 1\n"


def test_what_was_uploaded_is_pinned(
    server: IndexServer, upload: Uploading, tmp_path: Path
) -> None:
    wheel = tiny(tmp_path / "dist", name="pinned_thing")
    leave_record(tmp_path / "dist", [wheel_record(tmp_path / "dist", wheel, ["3.12"])])
    words = (tmp_path / "dist", "--repository-url", server.upload)
    upload(*words)
    pins = tmp_path / "dist" / "requirements-3.12.txt"
    assert sha256_of(wheel) in pins.read_text("utf-8")
    pins.unlink()
    upload(*words)
    assert pins.is_file(), "they are written where all was there already, too"
