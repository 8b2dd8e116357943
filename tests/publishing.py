"""Static indexes for tests: wheels, what a build leaves of them, the command, and servers."""

import http.server
import importlib
import io
import itertools
import json
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import pytest
from wheelmaking import make_wheel, metadata

from repack.cli import main
from repack.files import sha256_of
from repack.record import Beside, BuildRecord, Origin, Outcome, Seen, WheelRecord, write_record
from repack.wheel.names import parse_filename

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


def leave_record(
    folder: Path,
    *wheels: Path,
    seen: Mapping[str, Sequence[Path]] = MappingProxyType({"3.12": ()}),
    status: str = "passed",
    requires: Sequence[str] = (),
) -> None:
    """Leave the record of a build that made `wheels` and added `requires`.

    `seen` has the Pythons that each was tried on, with the wheels that lay beside it there.
    """
    trials = []
    for python, paths in seen.items():
        beside = [
            Beside(filename=path.name, size=path.stat().st_size, sha256=sha256_of(path))
            for path in paths
        ]
        trials.append(Seen(python=python, after=Outcome(status=status, beside=tuple(beside))))
    rows = [
        WheelRecord(
            path=wheel.relative_to(folder).as_posix(),
            version=str(parse_filename(wheel).version),
            tag=parse_filename(wheel).tag,
            size=wheel.stat().st_size,
            sha256=sha256_of(wheel),
            seen=tuple(trials),
        )
        for wheel in wheels
    ]
    source = Origin(
        filename="opencv_contrib_python-4.13.0.90-cp37-abi3-win_amd64.whl",
        name="opencv-contrib-python",
        version="4.13.0.90",
        url="pkg:pypi/opencv-contrib-python@4.13.0.90",
        size=1,
        sha256="0" * 64,
        cuda="12",
    )
    mode = "depend" if requires else "patch"
    record = BuildRecord(
        source=source, mode=mode, driver_stub=False, wheels=tuple(rows), requires=tuple(requires)
    )
    write_record(record, folder)


def simple_index(folder: Path, wheels: Iterable[Path]) -> None:
    """Lay out an index with these wheels, as somebody else's program does."""
    for wheel in wheels:
        page = folder / parse_filename(wheel).name / "index.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        (page.parent / wheel.name).symlink_to(wheel)
        link = f"{wheel.name.replace('+', '%2B')}#sha256={sha256_of(wheel)}"
        with page.open("a", encoding="utf-8") as stream:
            stream.write(f'<a href="{link}">{wheel.name}</a>\n')


def published(
    capsys: pytest.CaptureFixture[str], *words: str | Path, code: int = 0
) -> dict[str, Any]:
    """Return what `repack publish` says as JSON; its exit code has to be `code`."""
    capsys.readouterr()
    assert main(["publish", *map(str, words), "--json"]) == code
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


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
        words = (*(words or [self.dist]), "--index-dir", self.index)
        return published(self._capsys, *words, code=code)


def what(answer: dict[str, Any]) -> dict[str, str]:
    """Return what was done to each file."""
    return {row["filename"]: row["what"] for row in answer["files"]}


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
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


#: What changes a folder, and a bucket.
WRITES = {"folder": ("os", "replace unlink"), "bucket": ("obstore", "put copy delete")}


def act_at(
    number: int, kind: str, act: Callable[[], object], patch: Callable[..., object] = setattr
) -> None:
    """Do something just before the n-th change of a folder or bucket."""
    calls = itertools.count()

    def wrap(call: Callable[..., object]) -> Callable[..., object]:
        def wrapper(*args: object, **named: object) -> object:
            if next(calls) == number:
                act()
            return call(*args, **named)

        return wrapper

    module, names = WRITES[kind]
    functions = importlib.import_module(module)
    for name in names.split():
        patch(functions, name, wrap(getattr(functions, name)))


def killed_at(number: int, kind: str, *words: str) -> bool:
    """Whether `repack publish` was killed at that change, or ended before."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["repack.cli.publishing"])
    process = context.Process(target=_publish_until, args=(number, kind, words))
    process.start()
    process.join(timeout=60)
    assert process.exitcode in {0, -signal.SIGKILL}
    return process.exitcode != 0


def _publish_until(number: int, kind: str, words: Iterable[str]) -> None:
    act_at(number, kind, lambda: os.kill(os.getpid(), signal.SIGKILL))
    sys.exit(main(["publish", *words, "-q"]))
