"""A server on loopback that does what servers, proxies and networks do at their worst.

A path has content and, in a queue, the faults that its next requests meet; when the queue is
empty it serves as it should: ranges, If-Range, redirects and all.
"""

import contextlib
import re
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

#: What an exchange meets in place of a good answer.
Fault = Callable[["Exchange", "Resource"], None]


@dataclass(kw_only=True)
class Resource:
    """What a path holds, and what happens to those who ask for it."""

    content: bytes
    etag: str | None = '"one"'
    kind: str = "application/octet-stream"
    faults: deque[Fault] = field(default_factory=deque)


class Exchange(BaseHTTPRequestHandler):
    """A request that came, and the connection that it came by."""

    def __init__(self, owner: "FaultServer", *connection: Any) -> None:  # noqa: ANN401 - socketserver's
        self._owner = owner
        super().__init__(*connection)

    def setup(self) -> None:
        self._owner.connections += 1
        if self._owner.context is not None:
            self.request = self._owner.context.wrap_socket(self.request, server_side=True)
        super().setup()

    def handle(self) -> None:
        self.raw_requestline = self.rfile.readline()
        if self.raw_requestline and self.parse_request():
            self._owner.seen.append(self)
            with contextlib.suppress(OSError):
                self._owner.respond(self)

    def finish(self) -> None:
        super().finish()
        self.request.close()

    def body(self) -> bytes:
        """Return what came after the head."""
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def send(self, status: str, headers: dict[str, str], body: bytes = b"") -> None:
        lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers.items())]
        head = "\r\n".join([*lines, "Connection: close", "", ""])
        self.wfile.write(head.encode("latin-1") + body)

    def reset(self) -> None:
        # What lies unread in the other side's buffer dies with a reset: let it be read first.
        time.sleep(0.2)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def serve(
    exchange: Exchange,
    resource: Resource,
    count: int | None = None,
    then: Callable[[Exchange], object] = bool,
) -> None:
    """Answer as a good server does; but after `count` bytes of the body do `then`, and no more."""
    headers, size = {"Content-Type": resource.kind}, len(resource.content)
    if resource.etag:
        headers["ETag"] = resource.etag
    status, body = "200 OK", resource.content
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", exchange.headers.get("range", ""))
    if asked and not asked[1]:
        # As PyPI does (pypi/warehouse issue 12823).
        exchange.send("501 Unsupported client range", {"Content-Length": "0"})
        return
    if asked and exchange.headers.get("if-range") in {None, resource.etag}:
        start = int(asked[1])
        end = min(int(asked[2] or size) + 1, size)
        status, body = "206 Partial Content", resource.content[start:end]
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        if start >= size:
            status, headers["Content-Range"] = "416 Range Not Satisfiable", f"bytes */{size}"
    headers |= {"Content-Length": str(len(body)), "Accept-Ranges": "bytes"}
    exchange.send(status, headers, b"" if exchange.command == "HEAD" else body[:count])
    then(exchange)


def ends_after(count: int) -> Fault:
    """Close the connection cleanly after `count` bytes of the body."""
    return partial(serve, count=count)


def resets_after(count: int) -> Fault:
    """Reset the connection after `count` bytes, as a crashed server or a firewall does."""
    return partial(serve, count=count, then=Exchange.reset)


def stalls_after(count: int, until: threading.Event) -> Fault:
    """Send `count` bytes and then nothing, the connection staying open."""
    return partial(serve, count=count, then=lambda _: until.wait(20))


def drips(size: int, pause: float) -> Fault:
    """Send everything, a few bytes at a time."""

    def fault(exchange: Exchange, resource: Resource) -> None:
        serve(exchange, resource, 0)
        for start in range(0, len(resource.content), size):
            time.sleep(pause)
            exchange.wfile.write(resource.content[start : start + size])

    return fault


def answers(status: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Fault:
    """Give this answer, whatever was asked for."""
    length = {"Content-Length": str(len(body))}
    return lambda exchange, _resource: exchange.send(status, length | (headers or {}), body)


class _Server(ThreadingHTTPServer):
    # Closed at once, so that a reset is one.
    shutdown_request = ThreadingHTTPServer.close_request

    def handle_error(self, *_: object) -> None:
        """Let those go who do not trust our certificate."""


class FaultServer:
    """The server; `url(path)` is where it listens, `seen` what it was asked."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.context = context
        self.seen: list[Exchange] = []
        self.connections = 0
        self.resources: dict[str, Resource] = {}
        self._server = _Server(("127.0.0.1", 0), partial(Exchange, self))
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"{'https' if self.context else 'http'}://{host}:{self.port}{path}"

    def add(self, path: str, content: bytes = b"", *faults: Fault, **marks: str | None) -> Resource:
        """Let `path` hold `content`; its first requests meet `faults`."""
        resource = Resource(content=content, faults=deque(faults), **marks)  # type: ignore[arg-type]
        self.resources[path] = resource
        return resource

    def paths(self) -> list[str]:
        return [seen.path for seen in self.seen]

    def respond(self, exchange: Exchange) -> None:
        resource = self.resources.get(exchange.path)
        if resource is None:
            exchange.send("404 Not Found", {"Content-Length": "0"})
            return
        fault = resource.faults.popleft() if resource.faults else serve
        fault(exchange, resource)
