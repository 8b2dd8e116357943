"""The indexes that teams upload to: pypiserver and devpi, genuine; and one that fails as told.

The genuine ones let nobody overwrite a file, and ask for a password where something is uploaded.
All are on loopback.
"""

import base64
import contextlib
import email
import hashlib
import socket
import ssl
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import requests
from faultserver import Exchange, Fault, FaultServer, Resource, answers
from uv import find_uv_bin

USER, SECRET = "team", "s3cret-of-the-team"
PAGE = "/simple/tiny-thing/"
_DEVPI = "6.20.3"
#: A server's password is worth many seconds of a processor at each start, a test's is not.
_CHEAP_HASHES = ["--argon2-memory-cost=8192", "--argon2-time-cost=1", "--argon2-parallelism=1"]
_LONGEST_START = 60.0
LOGIN = f"Basic {base64.b64encode(f'{USER}:{SECRET}'.encode()).decode()}"


class TakingIndex(FaultServer):
    """Takes uploads at /, once each, and lists them below /simple/, after `late` looks in vain."""

    def __init__(
        self, *faults: Fault, late: int = 0, context: ssl.SSLContext | None = None
    ) -> None:
        super().__init__(context)
        #: What the next uploads meet.
        self.uploads = deque(faults)
        self.files: dict[str, bytes] = {}
        self.late = late
        self.show("/simple/")

    def show(self, path: str, *faults: Fault) -> None:
        """Show the list of files there, to whoever has met the faults."""
        lines = ["<!DOCTYPE html><title>Simple index</title>"]
        for name, content in self.files.items():
            self.add(f"/files/{name}", content)
            lines.append(f'<a href="/files/{name}#sha256={sha256(content).hexdigest()}">{name}</a>')
        self.add(path, "\n".join(lines).encode(), *faults, kind="text/html")

    def keep(self, name: str, content: bytes) -> None:
        self.files[name] = content
        self.show(PAGE, *[answers("404 Not Found")] * self.late)

    def respond(self, exchange: Exchange) -> None:
        if exchange.command == "POST":
            fault = self.uploads.popleft() if self.uploads else self.take
            fault(exchange, Resource(content=b""))
        else:
            super().respond(exchange)

    def take(self, exchange: Exchange, _: Resource) -> None:
        """Do what a good index does."""
        head = f"Content-Type: {exchange.headers['content-type']}\r\n\r\n".encode()
        message = email.message_from_bytes(head + exchange.body())
        parts = {part.get_filename(): part.get_payload(decode=True) for part in message.walk()}
        [(name, content)] = [(name, content) for name, content in parts.items() if name]
        assert isinstance(content, bytes)
        status = "409 Conflict" if name in self.files else "200 OK"
        self.keep(name, self.files.get(name, content))
        exchange.send(status, {"Content-Length": "0"})

    @property
    def posts(self) -> int:
        return sum(seen.command == "POST" for seen in self.seen)


def says(status: str) -> Fault:
    """Read what came, and answer so; it repeats the password, not to be shown."""

    def fault(exchange: Exchange, _: Resource) -> None:
        exchange.body()
        exchange.send(f"{status} {SECRET}", {}, f"{SECRET} is wrong".encode())

    return fault


#: A running index: where twine uploads to, where pip installs from.
Urls = tuple[str, str]


@contextlib.contextmanager
def pypiserver(folder: Path) -> Iterator[Urls]:
    """A pypiserver; its pages tell the MD5 of each file, and no other hash."""
    digest = base64.b64encode(hashlib.sha1(SECRET.encode()).digest()).decode()  # noqa: S324 - htpasswd's form
    users, packages = folder / "htpasswd", folder / "packages"
    users.write_text(f"{USER}:{{SHA}}{digest}\n", encoding="utf-8")
    packages.mkdir()
    port = free_port()
    program = [sys.executable, "-W", "ignore", "-m", "pypiserver", "run", "--hash-algo", "md5"]
    where = ["-p", str(port), "-i", "127.0.0.1", "-P", str(users), "-a", "update", str(packages)]
    with started([*program, *where], port, folder / "log"):
        root = f"http://127.0.0.1:{port}/"
        yield root, f"{root}simple/"


@contextlib.contextmanager
def devpi(folder: Path) -> Iterator[Urls]:
    """A devpi with one index that is not volatile and has no other beneath it.

    In an environment of its own, which uv keeps: what it stands on is older than what tests need.
    """
    tool = [find_uv_bin(), "tool", "run", "--from", f"devpi-server=={_DEVPI}"]
    data = ["--serverdir", str(folder / "data")]
    subprocess.run([*tool, "devpi-init", *data, "--no-root-pypi"], check=True, capture_output=True)
    port = free_port()
    command = [*tool, "devpi-server", *data, "--host", "127.0.0.1", "--port", str(port)]
    with started([*command, *_CHEAP_HASHES], port, folder / "log"):
        root = f"http://127.0.0.1:{port}/{USER}"
        _put(root, {"password": SECRET})
        stage = {"type": "stage", "bases": [], "volatile": False}
        _put(f"{root}/stable", stage, (USER, SECRET))
        yield f"{root}/stable/", f"{root}/stable/+simple/"


def _put(url: str, document: object, login: tuple[str, str] | None = None) -> None:
    with requests.Session() as session:
        session.trust_env = False  # no proxy of this machine is asked
        session.put(url, json=document, auth=login, timeout=30).raise_for_status()


@contextlib.contextmanager
def started(command: list[str], port: int, log: Path) -> Iterator[None]:
    """Run a server until the block ends; it listens at its port when the block begins."""
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream)
    try:
        end = time.monotonic() + _LONGEST_START
        while not _listens(port):
            printed = log.read_text(encoding="utf-8", errors="replace")
            assert process.poll() is None, printed
            assert time.monotonic() < end, printed
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(timeout=20)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """Return a port that nobody listens at now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port
