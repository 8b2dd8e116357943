"""Uploads to a real pypiserver on loopback: sent once, compared, read back, refused in one line."""

from __future__ import annotations

import base64
import http.server
import logging
import re
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from fetching import no_proxies
from wheelmaking import make_wheel, metadata

from repack.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "s3cret-of-the-team"  # noqa: S105 - what must not be seen
FILE = "tiny_thing-1.0-py3-none-any.whl"


def tiny(folder: Path, value: int = 1) -> Path:
    files = {
        "tiny_thing.py": f"value = {value}\n".encode(),
        "tiny_thing-1.0.dist-info/METADATA": metadata("tiny-thing", "1.0"),
    }
    folder.mkdir(exist_ok=True)
    return make_wheel(folder, files, name="tiny_thing", version="1.0", tag="py3-none-any")


@pytest.fixture(autouse=True)
def _account(monkeypatch: pytest.MonkeyPatch) -> None:
    no_proxies(monkeypatch)
    logger = logging.getLogger("repack")
    # The command sends the log to a stderr that is closed after the test.
    for name in ("handlers", "level", "propagate"):
        value = getattr(logger, name)
        monkeypatch.setattr(logger, name, list(value) if name == "handlers" else value)
    monkeypatch.setenv("TWINE_USERNAME", "team")
    monkeypatch.setenv("TWINE_PASSWORD", SECRET)


@pytest.fixture
def pypiserver(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The URL of a pypiserver that lets nobody overwrite, and where it keeps files."""
    kept = tmp_path / "kept"
    kept.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["run", "-p", str(port), "-i", "127.0.0.1", "-P", ".", "-a", ".", str(kept)]
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-m", "pypiserver", *words])
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not is_open(port):
        threading.Event().wait(0.1)
    yield f"http://127.0.0.1:{port}/", kept
    process.terminate()
    process.wait()


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_pypiserver_is_sent_a_wheel_once_and_never_other_bytes(
    pypiserver: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url, kept = pypiserver
    tiny(tmp_path / "dist")
    words = ["publish", str(tmp_path / "dist"), "--repository-url", url]
    assert main(words) == 0
    assert "added" in capsys.readouterr().out
    assert main(words) == 0
    assert "there already" in capsys.readouterr().out
    sent = (kept / FILE).read_bytes()
    tiny(tmp_path / "dist", value=2)
    assert main(words) == 1
    assert "other bytes under the name" in capsys.readouterr().err
    assert (kept / FILE).read_bytes() == sent


class Answering(http.server.BaseHTTPRequestHandler):
    """An index without files whose upload answers as it is told to."""

    status = 500
    seen: list[str]

    def do_GET(self) -> None:
        self.seen.append(f"GET {self.path}")
        found = self.path == "/simple/"
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<title>Simple index</title>" if found else b"")

    def do_POST(self) -> None:
        self.seen.append(f"POST {self.path}")
        body = self.rfile.read(int(self.headers["Content-Length"]))
        sent = base64.b64decode(self.headers["Authorization"].partition(" ")[2]).decode()
        assert sent == f"team:{SECRET}"
        assert FILE.encode() in body
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(f"{SECRET} is wrong".encode())

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextmanager
def answering(code: int) -> Iterator[tuple[str, list[str]]]:
    requests: list[str] = []
    handler = type("Handler", (Answering,), {"status": code, "seen": requests})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/", requests
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "said"),
    [
        pytest.param(401, "set TWINE_USERNAME and TWINE_PASSWORD", id="unknown user"),
        pytest.param(403, "the user needs leave to upload there", id="no leave"),
        pytest.param(413, "set publish.max-size to its limit", id="too large"),
        pytest.param(302, "nothing is sent there", id="redirect"),
        pytest.param(200, "the index does not list it", id="taken and lost"),
    ],
)
def test_what_the_server_refuses_is_told_in_one_line_without_the_password(
    status: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny(tmp_path / "dist")
    with answering(status) as (url, _):
        words = ["publish", str(tmp_path / "dist"), "--repository-url", url, "-v"]
        assert main(words) == 1
    told = capsys.readouterr()
    assert said in told.err
    assert len(re.findall("error: ", told.err)) == 1
    assert FILE in told.err
    assert "Traceback" not in told.err
    assert SECRET not in told.out + told.err


def test_a_password_in_the_url_is_refused_and_not_repeated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"http://team:{SECRET}@127.0.0.1:9/"
    assert main(["publish", str(tmp_path), "--repository-url", url]) == 2
    told = capsys.readouterr()
    assert "TWINE_PASSWORD" in told.err
    assert SECRET not in told.out + told.err
