"""An index on loopback that takes uploads, and fails as it is told."""

import base64
import email
import ssl
from collections.abc import Iterable
from hashlib import sha256
from itertools import chain, repeat

from faultserver import Exchange, Fault, FaultServer, Resource
from indexservers import SECRET, USER

LOGIN = f"Basic {base64.b64encode(f'{USER}:{SECRET}'.encode()).decode()}"


class TakingIndex(FaultServer):
    """Takes uploads at /, once each, and lists them below /simple/.

    Its pages tell of files only when they were asked for `unlisted` times.
    """

    def __init__(
        self,
        *faults: Fault,
        has_hashes: bool = True,
        unlisted: int = 0,
        context: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(context)
        self.files: dict[str, bytes] = {}
        self.pages: dict[str, Fault] = {}
        self._has_hashes, self._unlisted = has_hashes, unlisted
        self.meet(faults)

    def meet(self, faults: Iterable[Fault]) -> None:
        """Let the next uploads meet these faults."""
        self._faults = chain(faults, repeat(self.take))

    @property
    def posts(self) -> int:
        return sum(seen.method == "POST" for seen in self.seen)

    def respond(self, exchange: Exchange) -> None:
        if exchange.seen.method == "POST":
            next(self._faults)(exchange, Resource(content=b""))
            return
        page = self.pages.get(exchange.seen.path) if not self.posts else None
        *_, folder, name = exchange.seen.path.split("/")
        if page is not None:
            page(exchange, Resource(content=b""))
        elif folder == "files" and name in self.files:
            exchange.send("200 OK", {}, self.files[name])
        elif exchange.seen.path == "/simple/" or self._is_listed():
            exchange.send("200 OK", {"Content-Type": "text/html"}, self._page())
        else:
            exchange.send("404 Not Found", {"Content-Length": "0"})

    def take(self, exchange: Exchange, _: Resource) -> None:
        """Do what a good index does."""
        status = "200 OK" if self.keep(exchange) else "409 Conflict"
        exchange.send(status, {"Content-Length": "0"})

    def take_and_spoil(self, exchange: Exchange, resource: Resource) -> None:
        """Keep the file with other bytes."""
        self.take(exchange, resource)
        self.files = {name: content[:-1] + b"!" for name, content in self.files.items()}

    def keep(self, exchange: Exchange) -> bool:
        """Keep the file that came, unless there is one of its name."""
        head = f"Content-Type: {exchange.seen.headers['content-type']}\r\n\r\n".encode()
        message = email.message_from_bytes(head + exchange.body())
        parts = {part.get_filename(): part.get_payload(decode=True) for part in message.walk()}
        [(name, content)] = [(name, content) for name, content in parts.items() if name]
        assert isinstance(content, bytes)
        if name in self.files:
            return False
        self.files[name] = content
        return True

    def _is_listed(self) -> bool:
        if self.files and self._unlisted:
            self._unlisted -= 1
            return False
        return bool(self.files)

    def _page(self) -> bytes:
        lines = ["<!DOCTYPE html><title>Simple index</title>"]
        for file, content in self.files.items():
            fragment = f"#sha256={sha256(content).hexdigest()}" if self._has_hashes else ""
            lines.append(f'<a href="/files/{file}{fragment}">{file}</a>')
        return "\n".join(lines).encode()


def says(status: str, headers: dict[str, str] | None = None) -> Fault:
    """Read what came, and answer so; the answer repeats the password, as it must not be shown."""

    def fault(exchange: Exchange, _: Resource) -> None:
        exchange.body()
        exchange.send(f"{status} {SECRET}", headers or {}, f"{SECRET} is wrong".encode())

    return fault


def cuts_after(count: int) -> Fault:
    """Reset the connection after `count` bytes of the upload."""

    def fault(exchange: Exchange, _: Resource) -> None:
        exchange.body(count)
        exchange.reset()

    return fault
