"""Static indexes for tests: wheels that publish takes, the command, and servers of a folder."""

import hashlib
import http.server
import importlib
import io
import json
import multiprocessing
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote

import pytest
from wheelmaking import make_wheel, metadata

from repack.cli import main

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
    return make_wheel(folder / f"{name}-{version}-py3-none-any.whl", files)


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


class Team:
    """The wheels of a team in `dist`, and its static index."""

    def __init__(self, dist: Path, index: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.dist = dist
        self.index = index
        self._capsys = capsys

    @property
    def project(self) -> Path:
        """The folder of the project in the index."""
        return self.index / PROJECT

    def publish(self, *words: str | Path, code: int = 0) -> dict[str, Any]:
        """Return what `repack publish` says: of all wheels in `dist`, or with other words."""
        return published(
            self._capsys, *(words or [self.dist]), "--index-dir", self.index, code=code
        )

    def check(self, *, code: int = 0) -> dict[str, Any]:
        """Return what `repack publish --check` says of the index."""
        return checked(self._capsys, self.index, code=code)


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


def killed_at(number: int, module: str, names: Iterable[str], *words: object) -> bool:
    """Whether `repack publish` was killed at that call of a module's functions, or ended before."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["repack.cli.publishing"])
    process = context.Process(target=_run_counting, args=(number, module, names, words))
    process.start()
    process.join(timeout=60)
    assert process.exitcode in {0, -signal.SIGKILL}
    return process.exitcode != 0


def _run_counting(left: int, module: str, names: Iterable[str], words: Iterable[object]) -> None:
    def counted(call: Callable[..., object]) -> Callable[..., object]:
        def wrapper(*args: object, **named: object) -> object:
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **named)

        return wrapper

    functions = importlib.import_module(module)
    for name in names:
        setattr(functions, name, counted(getattr(functions, name)))
    sys.exit(main(["publish", *map(str, words), "-q"]))


def whole(index: Path) -> set[str]:
    """Check that all that the pages tell of is there, and return the files of the HTML pages."""
    told: set[str] = set()
    roots = [path.read_text("utf-8") for path in index.glob("index.*")]
    for name in {
        name for text in roots for name in re.findall(r'(?:"name": |<a href=)"([\w-]+)', text)
    }:
        assert (index / name / "index.html").exists()
    for page in index.glob("*/index.html"):
        text = page.read_text("utf-8")
        assert text.endswith("</html>\n")
        for name, digest in re.findall('href="([^"#]+)#sha256=([0-9a-f]{64})"', text):
            file = page.parent / unquote(name)
            assert hashlib.sha256(file.read_bytes()).hexdigest() == digest
            assert file.with_name(f"{file.name}.metadata").exists()
            told.add(file.name)
    for page in index.glob("*/index.json"):
        for file in json.loads(page.read_bytes())["files"]:
            assert (page.parent / file["filename"]).stat().st_size == file["size"]
    return told
