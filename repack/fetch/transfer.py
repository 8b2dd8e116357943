"""One file over HTTP: resumed where it broke off, begun anew where it changed, checked whole."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from repack.errors import FetchError, shown_url
from repack.fetch.content import looks_like
from repack.fetch.partial import Control
from repack.fetch.patience import PassingFault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from repack.console import Task
    from repack.fetch.http import Answer, Client
    from repack.fetch.partial import Partial
    from repack.fetch.request import Request
    from repack.fetch.values import Expected

_PARTIAL_CONTENT = 206
_RANGE_NOT_SATISFIABLE = 416
_LARGEST = 2**34
"""More bytes than any wheel has: the end of a server that sends without end."""


@dataclass(slots=True)
class _Transfer:
    """The state of one download; the only mutable thing here, and it never leaves."""

    client: Client
    request: Request
    expected: Expected
    partial: Partial
    task: Task
    restarts: int = 0
    furthest: int = 0

    def reached(self) -> int:
        """Return the furthest byte that has arrived."""
        self.furthest = max(self.furthest, self.partial.size)
        return self.furthest

    def whole(self) -> None:
        """Get everything that is not there yet."""
        self.client.patience.persist(
            self.attempt,
            what=shown_url(self.request.url),
            task=self.task,
            reached=self.reached,
        )

    def attempt(self) -> None:
        """Ask once, and take what comes."""
        offset = self.partial.size
        with self.client.opened(self.request, self._range(offset)) as answer:
            if answer.status == _RANGE_NOT_SATISFIABLE:
                self._not_satisfiable(answer)
                return
            total = self._going_on(answer) if answer.status == _PARTIAL_CONTENT else None
            if answer.status != _PARTIAL_CONTENT:
                total = self._from_the_start(answer)
            self.task.resize(total)
            self._take(answer, total)
        self._check_end(total)

    def _range(self, offset: int) -> Mapping[str, str]:
        """Return the headers that ask for the rest only, where that can be done safely.

        A strong mark goes into If-Range, so that changed content comes whole. Without any mark
        the hash, if it is known, decides at the end; a weak mark promises nothing.
        """
        control = self.partial.control
        if control is None or not offset:
            return {}
        if control.validator is not None:
            return {"Range": f"bytes={offset}-", "If-Range": control.validator}
        if self.expected.sha256 is not None and not control.weak:
            return {"Range": f"bytes={offset}-"}
        return {}

    def _from_the_start(self, answer: Answer) -> int | None:
        """Begin anew; return how many bytes there will be, if that is known."""
        total = answer.length
        self._refuse_page(answer)
        if total is None and not answer.chunked and self.expected.sha256 is None:
            raise self._error(
                "no length is announced and no SHA-256 is known, so a cut file would not show",
                "no-length",
                "give the SHA-256 of the file",
            )
        wanted = self.expected.size
        if None not in {total, wanted} and total != wanted:
            self._refuse(answer.read())
            said = f"has {total} bytes, {self.expected.by} says {wanted}"
            raise self._error(said, "size", self.expected.hint)
        total = wanted if total is None else total
        validator, weak = _validator(answer.headers)
        self.partial.check_room(total or 0)
        self.partial.begin(
            Control(url=self.request.url, validator=validator, weak=weak, total=total), self.task
        )
        return total

    def _going_on(self, answer: Answer) -> int | None:
        """Check that the answer goes on where we are; return how many bytes there are in all."""
        control, offset = self.partial.control, self.partial.size
        part = _part(answer.headers)
        if control is None or part is None or not part.continues(control, offset):
            said = answer.headers.get("Content-Range", "no range")
            self._restart(f"asked from byte {offset} on, the server sends {said!r}")
        total = control.total if control.total is not None else part.total
        self.partial.check_room((total or offset) - offset)
        return total

    def _not_satisfiable(self, answer: Answer) -> None:
        """Where all bytes are there, the hash decides; else they are of something else."""
        total = re.fullmatch(r"bytes\s+\*/(\d+)", answer.headers.get("Content-Range", "").strip())
        totals = {int(total[1])} if total else set()
        if self.partial.control is not None and self.partial.control.total is not None:
            totals.add(self.partial.control.total)
        if totals != {self.partial.size} or not self.partial.size:
            self._restart("the server has not as many bytes as are here")

    def _restart(self, reason: str) -> NoReturn:
        """Throw away what is here and try once more; the second time is the last."""
        self.partial.discard(self.task)
        self.restarts += 1
        if self.restarts > 1:
            raise self._error(reason, "bad-range", "the server, or a proxy, is at fault")
        raise PassingFault(reason, pause=0.0)

    def _take(self, answer: Answer, total: int | None) -> None:
        """Append the body."""
        limit = _LARGEST if total is None else total
        with self.partial.appending() as stream:
            while chunk := answer.read():
                if self.partial.size + len(chunk) > limit:
                    self.partial.discard(self.task)
                    raise self._error(f"more bytes come than the {limit} announced", "size")
                self.partial.append(stream, chunk)
                self.task.advance(len(chunk))

    def _check_end(self, total: int | None) -> None:
        """Raise where the body has ended before its end."""
        if total is not None and self.partial.size < total:
            raise PassingFault(f"the connection ended after {self.partial.size} of {total} bytes")

    def _refuse_page(self, answer: Answer) -> None:
        """Raise where the server answers with a page for people, as login portals do."""
        kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind in {"text/html", "application/xhtml+xml"}:
            self._refuse(answer.read() or b"<html>")

    def _refuse(self, first_bytes: bytes) -> None:
        """Raise where content that begins so cannot be an archive."""
        kind = looks_like(first_bytes)
        if kind:
            raise self._error(f"is not a wheel but {kind}", "not-a-wheel", _PAGE_HINT)

    def refuse_hash(self) -> None:
        """Raise because what is here is not what was expected, and remove it."""
        found, first_bytes = self.partial.sha256, self.partial.first_bytes()
        self.partial.discard(self.task)
        self._refuse(first_bytes)
        said = f"has SHA-256 {found}, {self.expected.by} says {self.expected.sha256}"
        raise self._error(said, "sha256", self.expected.hint)

    def _error(self, what: str, code: str, hint: str = "") -> FetchError:
        return FetchError(what, code=code, file=shown_url(self.request.url), hint=hint)


_PAGE_HINT = "open the URL in a browser: a login or an error page is likely"


def transfer(
    client: Client, request: Request, *, expected: Expected, partial: Partial, task: Task
) -> None:
    """Fill `partial` with the whole file, its SHA-256 being the expected one.

    A wrong SHA-256 is given one clean retry, because it may be of bytes that an earlier run
    left; then the file is removed.
    """
    task.advance(partial.size)
    for last in (False, True):
        got = _Transfer(client, request, expected, partial, task)
        got.whole()
        if expected.sha256 in {None, partial.sha256}:
            return
        if last:
            got.refuse_hash()
        partial.discard(task)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Part:
    """Which part of the whole a 206 answer holds, and the whole's strong mark."""

    start: int
    total: int | None
    etag: str | None

    def continues(self, control: Control, offset: int) -> bool:
        """Return whether this goes on at `offset` with the content that `control` speaks of."""
        same_total = self.total in {None, control.total} or control.total is None
        known = control.validator if (control.validator or "").startswith('"') else None
        same_mark = None in {self.etag, known} or self.etag == known
        return self.start == offset and same_total and same_mark


def _part(headers: Mapping[str, str]) -> _Part | None:
    """Return what the headers of a 206 answer say, if they say it rightly."""
    said = headers.get("Content-Range", "").strip()
    match = re.fullmatch(r"bytes\s+(\d+)-\d+/(\d+|\*)", said)
    if not match:
        return None
    total = int(match[2]) if match[2].isdecimal() else None
    return _Part(start=int(match[1]), total=total, etag=headers.get("ETag"))


def _validator(headers: Mapping[str, str]) -> tuple[str | None, bool]:
    """Return the mark that If-Range may carry, and whether the server's own mark is a weak one."""
    etag = headers.get("ETag", "").strip()
    if etag:
        weak = not re.fullmatch(r'"[^"]*"', etag)
        return (None if weak else etag), weak
    return headers.get("Last-Modified", "").strip() or None, False
