"""Uploads as a user runs them, to an index on loopback that takes them and fails as it is told."""

import base64
import email
import hashlib
import json
import re
import ssl
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from faultserver import Exchange, Fault, FaultServer, Resource
from fetching import no_proxies
from indexservers import SECRET, USER
from publishing import JSON_TYPE

from repack.cli import main

FILE = "tiny_thing-1.0-py3-none-any.whl"


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The team's name and password, and nothing of this machine's own."""
    no_proxies(monkeypatch)
    home = tmp_path / "home"
    home.mkdir()
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(home))
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "TWINE_CERT", "TWINE_CLIENT_CERT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TWINE_USERNAME", USER)
    monkeypatch.setenv("TWINE_PASSWORD", SECRET)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """No pause is made between tries; they are noted."""
    taken: list[float] = []
    monkeypatch.setattr(time, "sleep", taken.append)
    return taken


@dataclass(frozen=True)
class Told:
    """What a command said."""

    out: str
    err: str

    @property
    def what(self) -> dict[str, str]:
        """What was done to each file."""
        return {each["filename"]: each["what"] for each in json.loads(self.out)["files"]}


@dataclass(frozen=True)
class Uploading:
    """Runs `repack publish`, and looks at all that it says."""

    capsys: pytest.CaptureFixture[str]

    def __call__(self, *words: str | Path, code: int = 0) -> Told:
        """Upload; one line says why where it fails, and no word of it is secret."""
        self.capsys.readouterr()
        assert main(["publish", *map(str, words), "--json", "-v"]) == code
        told = Told(*self.capsys.readouterr())
        assert len(re.findall("(?m)^repack: error: ", told.err)) == (code != 0), told.err
        assert "Traceback" not in told.err
        assert SECRET not in told.out + told.err
        return told


@pytest.fixture
def upload(account: None, capsys: pytest.CaptureFixture[str]) -> Uploading:
    del account
    return Uploading(capsys)


@dataclass
class Manners:
    """How an index lists files: which hash it tells, in which form, after how many requests."""

    hash_name: str = "sha256"
    as_json: bool = False
    unlisted: int = 0
    spoils: bool = False
    faults: Iterable[Fault] = field(default_factory=tuple)


class TakingIndex(FaultServer):
    """Takes uploads at /, once each, and lists them below /simple/."""

    def __init__(self, manners: Manners, context: ssl.SSLContext | None = None) -> None:
        super().__init__(context)
        self.files: dict[str, bytes] = {}
        self.manners = manners
        self.pages: dict[str, Fault] = {}
        self.login = f"Basic {base64.b64encode(f'{USER}:{SECRET}'.encode()).decode()}"
        self._faults = iter(manners.faults)

    @property
    def posts(self) -> int:
        return sum(seen.method == "POST" for seen in self.seen)

    def respond(self, exchange: Exchange) -> None:
        if exchange.seen.method == "POST":
            next(self._faults, self.take)(exchange, Resource(content=b""))
            return
        page = self.pages.get(exchange.seen.path) if not self.posts else None
        *_, folder, name = exchange.seen.path.split("/")
        if page is not None:
            page(exchange, Resource(content=b""))
        elif folder == "files" and name in self.files:
            exchange.send("200 OK", {}, self.files[name])
        elif exchange.seen.path == "/simple/" or self._listed():
            kind = JSON_TYPE if self.manners.as_json else "text/html"
            exchange.send("200 OK", {"Content-Type": kind}, self._page())
        else:
            exchange.send("404 Not Found", {"Content-Length": "0"})

    def take(self, exchange: Exchange, resource: Resource) -> None:
        """Do what a good index does."""
        del resource
        if self.keep(exchange):
            exchange.send("200 OK", {"Content-Length": "0"})
        else:
            exchange.send("409 Conflict", {"Content-Length": "0"})

    def keep(self, exchange: Exchange) -> bool:
        """Keep the file that came, unless there is one of its name."""
        head = f"Content-Type: {exchange.seen.headers['content-type']}\r\n\r\n".encode()
        message = email.message_from_bytes(head + exchange.body())
        parts = {part.get_filename(): part.get_payload(decode=True) for part in message.walk()}
        [(name, content)] = [(name, content) for name, content in parts.items() if name]
        assert isinstance(content, bytes)
        if name in self.files:
            return False
        self.files[name] = content[:-1] + b"!" if self.manners.spoils else content
        return True

    def _listed(self) -> bool:
        """Whether the pages tell of what is there by now."""
        if self.files and self.manners.unlisted:
            self.manners.unlisted -= 1
            return False
        return bool(self.files)

    def _page(self) -> bytes:
        digests = {name: self._digest(content) for name, content in self.files.items()}
        if self.manners.as_json:
            files = [
                {"filename": name, "url": f"/files/{name}", "hashes": digest}
                for name, digest in digests.items()
            ]
            return json.dumps({"meta": {"api-version": "1.0"}, "files": files}).encode()
        lines = ["<!DOCTYPE html><title>Simple index</title>"]
        for name, digest in digests.items():
            fragment = "".join(f"#{kind}={value}" for kind, value in digest.items())
            lines.append(f'<a href="/files/{name}{fragment}">{name}</a>')
        return "\n".join(lines).encode()

    def _digest(self, content: bytes) -> dict[str, str]:
        name = self.manners.hash_name
        return {name: hashlib.new(name, content).hexdigest()} if name else {}


def says(status: str, headers: dict[str, str] | None = None) -> Fault:
    """Read what came, and answer so; the answer repeats the password, as it must not be shown."""

    def fault(exchange: Exchange, resource: Resource) -> None:
        del resource
        exchange.body()
        exchange.send(f"{status} {SECRET}", headers or {}, f"{SECRET} is wrong".encode())

    return fault


def cuts_after(count: int) -> Fault:
    """Reset the connection after `count` bytes of the upload."""

    def fault(exchange: Exchange, resource: Resource) -> None:
        del resource
        exchange.body(count)
        exchange.reset()

    return fault


def takes_and_cuts(index: TakingIndex) -> Fault:
    """Keep the file, and let the answer be lost."""

    def fault(exchange: Exchange, resource: Resource) -> None:
        del resource
        index.keep(exchange)
        exchange.reset()

    return fault
