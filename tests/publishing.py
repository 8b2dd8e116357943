"""Static indexes for tests: wheels that publish takes, the command, and servers of a folder."""

from __future__ import annotations

import http.server
import json
import os
import threading
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

from wheelmaking import make_wheel, metadata

from repack.cli import main

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

NAME = "tiny_thing"
PROJECT = "tiny-thing"
JSON_TYPE = "application/vnd.pypi.simple.v1+json"
#: No proxy of this machine is asked for what lies on loopback.
ENVIRONMENT = {**os.environ, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


def tiny(folder: Path, version: str = "1.0", *lines: str, name: str = NAME, value: int = 1) -> Path:
    """Write a wheel for any Python; `lines` are further ones of METADATA."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        f"{name}.py": f"value = {value}\n".encode(),
        f"{name}-{version}.dist-info/METADATA": metadata(name.replace("_", "-"), version, *lines),
    }
    return make_wheel(folder, files, name=name, version=version, tag="py3-none-any")


def published(
    capsys: pytest.CaptureFixture[str], *words: str | Path, code: int = 0
) -> dict[str, Any]:
    """Return what `repack publish` says as JSON; its exit code has to be `code`."""
    capsys.readouterr()
    assert main(["publish", *map(str, words), "--json"]) == code
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def checked(capsys: pytest.CaptureFixture[str], index: str | Path, code: int = 0) -> dict[str, Any]:
    """Return what `repack publish --check` says of the index."""
    return published(capsys, "--index-dir", index, "--check", code=code)


def what(answer: dict[str, Any]) -> dict[str, str]:
    """Return what was done to each file."""
    return {each["filename"]: each["what"] for each in answer["files"]}


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Return inode and time of change of every file that a reader sees."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


class Plain(http.server.SimpleHTTPRequestHandler):
    """Any plain web server."""

    def log_message(self, *args: object) -> None:
        """Say nothing."""


class Negotiating(Plain):
    """A web server that gives the JSON page to whoever asks for it."""

    def send_head(self) -> io.BytesIO | BinaryIO | None:
        if self.path.endswith("/") and JSON_TYPE in self.headers.get("Accept", ""):
            self.path += "index.json"
        return super().send_head()

    def guess_type(self, path: str | os.PathLike[str]) -> str:
        return JSON_TYPE if str(path).endswith("index.json") else super().guess_type(path)


@contextmanager
def served(folder: Path, handler: type[Plain] = Plain) -> Iterator[str]:
    """Give the URL of a server on loopback."""
    made = partial(handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), made) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
