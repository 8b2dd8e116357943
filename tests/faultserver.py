"""A server on loopback that does what servers, proxies and networks do at their worst.

It speaks HTTP/1.1 by hand over real sockets, so that a cut body is a cut body and a reset is a
reset. A path has content and, in a queue, the faults that its next requests meet; when the queue
is empty it serves as it should: ranges, If-Range, redirects and all.
"""

import contextlib
import json
import re
import socket
import socketserver
import ssl
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.parser import HeaderParser
from http.client import HTTPConnection
from typing import Self
from urllib.parse import urlsplit

#: What an exchange meets in place of a good answer.
Fault = Callable[["Exchange", "Resource"], None]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A request that came; header names in lower case."""

    path: str
    headers: dict[str, str]
    method: str = "GET"


@dataclass(kw_only=True)
class Resource:
    """What a path holds, and what happens to those who ask for it."""

    content: bytes
    etag: str | None = '"one"'
    last_modified: str | None = None
    kind: str = "application/octet-stream"
    faults: deque[Fault] = field(default_factory=deque)

    def marks(self) -> dict[str, str]:
        marks = {"ETag": self.etag, "Last-Modified": self.last_modified}
        return {name: value for name, value in marks.items() if value is not None}


class Exchange:
    """One request and the connection that it came by."""

    def __init__(self, connection: socket.socket, seen: Seen, begun: bytes = b"") -> None:
        self.connection = connection
        self.seen = seen
        self._body = begun

    def body(self, count: int | None = None) -> bytes:
        """Return what came after the head, or no more than `count` bytes of it."""
        length = int(self.seen.headers.get("content-length", 0))
        wanted = length if count is None else min(count, length)
        while len(self._body) < wanted:
            block = self.connection.recv(65536)
            if not block:
                break
            self._body += block
        return self._body[:wanted]

    def send(self, status: str, headers: dict[str, str], body: bytes = b"") -> None:
        lines = [f"HTTP/1.1 {status}", *(f"{name}: {said}" for name, said in headers.items())]
        head = "\r\n".join([*lines, "Connection: close", "", ""])
        self.write(head.encode("latin-1") + body)

    def write(self, content: bytes) -> None:
        self.connection.sendall(content)

    def reset(self) -> None:
        """End the connection by RST: what a crashed server or a firewall does."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def asked_start(self, resource: Resource) -> int | None:
        """Where the wanted range starts; None where everything is to be sent."""
        asked = self.seen.headers.get("range", "")
        if match := re.fullmatch(r"bytes=-(\d+)", asked):
            return max(0, len(resource.content) - int(match[1]))
        match = re.fullmatch(r"bytes=(\d+)-\d*", asked)
        condition = self.seen.headers.get("if-range")
        if not match or condition not in {None, resource.etag, resource.last_modified}:
            return None
        return int(match[1])


def serve(exchange: Exchange, resource: Resource) -> None:
    """Answer as a good server does."""
    start, size = exchange.asked_start(resource), len(resource.content)
    kind = {"Content-Type": resource.kind, **resource.marks()}
    if start is None:
        whole = {**kind, "Content-Length": str(size), "Accept-Ranges": "bytes"}
        is_head = exchange.seen.method == "HEAD"
        exchange.send("200 OK", whole, b"" if is_head else resource.content)
    elif start >= size:
        exchange.send("416 Range Not Satisfiable", {"Content-Range": f"bytes */{size}"})
    else:
        match = re.fullmatch(r"bytes=\d+-(\d+)", exchange.seen.headers["range"])
        end = min(int(match[1]) + 1, size) if match else size
        part = {"Content-Range": f"bytes {start}-{end - 1}/{size}"}
        length = {"Content-Length": str(end - start)}
        exchange.send("206 Partial Content", kind | part | length, resource.content[start:end])


def _cut(exchange: Exchange, resource: Resource, count: int) -> None:
    """Send `count` bytes of what a good server would send whole."""
    start, size = exchange.asked_start(resource) or 0, len(resource.content)
    if start:
        _send_part(exchange, resource, f"bytes {start}-{size - 1}/{size}", count)
    else:
        headers = {"Content-Length": str(size), **resource.marks()}
        exchange.send("200 OK", headers, resource.content[:count])


def _send_part(exchange: Exchange, resource: Resource, what: str, count: int | None = None) -> None:
    """Send the rest that is asked for, or its first `count` bytes, and call it `what`."""
    rest = resource.content[exchange.asked_start(resource) or 0 :]
    headers = {"Content-Length": str(len(rest)), "Content-Range": what, **resource.marks()}
    exchange.send("206 Partial Content", headers, rest[:count])


def ends_after(count: int) -> Fault:
    """Close the connection cleanly after `count` bytes of the body."""
    return lambda exchange, resource: _cut(exchange, resource, count)


def resets_after(count: int) -> Fault:
    """Reset the connection after `count` bytes of the body."""

    def fault(exchange: Exchange, resource: Resource) -> None:
        _cut(exchange, resource, count)
        # What lies unread in the other side's buffer dies with a reset: let it be read first.
        threading.Event().wait(0.2)
        exchange.reset()

    return fault


def stalls_after(count: int, until: threading.Event) -> Fault:
    """Send `count` bytes and then nothing, the connection staying open."""

    def fault(exchange: Exchange, resource: Resource) -> None:
        _cut(exchange, resource, count)
        until.wait(20)

    return fault


def drips(size: int, pause: float) -> Fault:
    """Send everything, a few bytes at a time."""

    def fault(exchange: Exchange, resource: Resource) -> None:
        _cut(exchange, resource, 0)
        for start in range(0, len(resource.content), size):
            threading.Event().wait(pause)
            exchange.write(resource.content[start : start + size])

    return fault


def answers(status: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Fault:
    """Give this answer, whatever was asked for."""
    length = {"Content-Length": str(len(body))}
    return lambda exchange, _resource: exchange.send(status, length | (headers or {}), body)


def raw_answer(head: str, body: bytes = b"") -> Fault:
    """Send these very bytes."""
    content = head.replace("\n", "\r\n").encode("latin-1") + body
    return lambda exchange, _resource: exchange.write(content)


def ignores_range(exchange: Exchange, resource: Resource) -> None:
    """Send everything, though only the rest was asked for."""
    headers = {"Content-Length": str(len(resource.content)), **resource.marks()}
    exchange.send("200 OK", headers, resource.content)


def serves_range(form: str) -> Fault:
    """Answer a range with the rest, calling it `form`: "bytes {start}-{last}/{size}" is right."""

    def fault(exchange: Exchange, resource: Resource) -> None:
        start, size = exchange.asked_start(resource) or 0, len(resource.content)
        places = {"start": start, "last": size - 1, "size": size, "wrong": start + 7}
        _send_part(exchange, resource, form.format(**places, more=size + 9))

    return fault


class FaultServer:
    """The server; `url(path)` is where it listens, `seen` what it was asked."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.seen: list[Seen] = []
        self.resources: dict[str, Resource] = {}
        self._context = context
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError):
                    outer._handle(self.request)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

        self._server = Server(("127.0.0.1", 0), Handler)
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
        scheme = "https" if self._context else "http"
        return f"{scheme}://{host}:{self.port}{path}"

    def add(self, path: str, content: bytes = b"", *faults: Fault, **marks: str | None) -> Resource:
        """Let `path` hold `content`; its first requests meet `faults`."""
        resource = Resource(content=content, faults=deque(faults), **marks)  # type: ignore[arg-type]
        self.resources[path] = resource
        return resource

    def add_json(self, path: str, document: object) -> None:
        self.add(path, json.dumps(document).encode(), kind="application/json")

    def paths(self) -> list[str]:
        return [seen.path for seen in self.seen]

    def _handle(self, connection: socket.socket) -> None:
        if self._context is not None:
            connection = self._context.wrap_socket(connection, server_side=True)
        with contextlib.closing(connection):
            found = _request(connection)
            if found is None:
                return
            seen, begun = found
            self.seen.append(seen)
            self.respond(Exchange(connection, seen, begun))

    def respond(self, exchange: Exchange) -> None:
        resource = self.resources.get(exchange.seen.path)
        if resource is None:
            exchange.send("404 Not Found", {"Content-Length": "0"})
            return
        fault = resource.faults.popleft() if resource.faults else serve
        fault(exchange, resource)


class ProxyServer(FaultServer):
    """A forward proxy for plain HTTP."""

    def respond(self, exchange: Exchange) -> None:
        parts = urlsplit(exchange.seen.path)
        _pass_on(exchange, parts.hostname or "", parts.port or 80, parts.path)


class RecordingServer(FaultServer):
    """Stands before the server at a port, and notes what it is asked."""

    def __init__(self, behind: int) -> None:
        super().__init__()
        self._behind = behind

    def count(self, method: str) -> int:
        return sum(seen.method == method for seen in self.seen)

    def respond(self, exchange: Exchange) -> None:
        _pass_on(exchange, "127.0.0.1", self._behind, exchange.seen.path)


def _pass_on(exchange: Exchange, host: str, port: int, path: str) -> None:
    """Ask the server behind the same, and give its answer; the body as it is."""
    seen = exchange.seen
    with contextlib.closing(HTTPConnection(host, port, timeout=20)) as connection:
        connection.request(seen.method, path, exchange.body() or None, seen.headers)
        answer = connection.getresponse()
        body = answer.read()
    passing = {"connection", "transfer-encoding"}
    headers = {name: said for name, said in answer.getheaders() if name.lower() not in passing}
    if answer.chunked:
        headers["Content-Length"] = str(len(body))
    exchange.send(f"{answer.status} {answer.reason}", headers, body)


def _request(connection: socket.socket) -> tuple[Seen, bytes] | None:
    """Read the head of a request; with it comes what has come of the body."""
    head = b""
    while b"\r\n\r\n" not in head:
        block = connection.recv(65536)
        if not block:
            return None
        head += block
    head, _, begun = head.partition(b"\r\n\r\n")
    first, _, lines = head.decode("latin-1").partition("\r\n")
    headers = {name.lower(): value for name, value in HeaderParser().parsestr(lines).items()}
    method, path = first.split(" ")[:2]
    return Seen(path=path, headers=headers, method=method), begun


@contextlib.contextmanager
def listening(context: ssl.SSLContext | None = None) -> Iterator[FaultServer]:
    with FaultServer(context) as server:
        yield server
