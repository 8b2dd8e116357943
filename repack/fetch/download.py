"""One file over HTTP: resumed where it broke off, begun anew where it changed."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import requests
import urllib3.exceptions

from repack.console import Task
from repack.errors import FetchError
from repack.fetch import http
from repack.files import not_written, replacing

_CHUNK = 2**20


class Offer(NamedTuple):
    """A wheel that a source has: its name, where anybody may get it, its hash if `by` tells it.

    `fill` writes it into a file; the SHA-256 that it is to have is given, where it is known.
    """

    filename: str
    url: str
    sha256: str | None
    fill: Callable[[Path, Task, str | None], None]
    by: str = "the server"


def download(
    ask: Callable[..., requests.Response], part: Path, task: Task, sha256: str | None
) -> None:
    """Fill the file `part` with what `ask` gives, from where an earlier run has left it.

    A `sha256` that is known decides at the end, elsewhere. Tries again as a session does, and
    each new byte renews the tries. Raises FetchError.
    """
    # Within a body, other faults than a wrong certificate pass.
    patience = fresh = http.PATIENCE.new(other=None)
    furthest = _size_of(part)
    task.advance(furthest)
    while True:
        size, mark, headers = _size_of(part), _read_mark(part), {}
        # Safe where a hash decides, or where the mark lets changed content come whole.
        if size and (mark or sha256):
            headers = {"Range": f"bytes={size}-", **({"If-Range": mark} if mark else {})}
        if size > furthest:
            patience, furthest = fresh, size
        with ask(headers=headers) as response:
            try:
                return _take_answer(response, part, task, sha256)
            except urllib3.exceptions.HTTPError as error:
                fault, url = error, response.url
        try:
            patience = patience.increment("GET", error=fault)
        except urllib3.exceptions.MaxRetryError:
            raise http.explain(fault, url) from None
        patience.sleep()


def _take_answer(response: requests.Response, part: Path, task: Task, sha256: str | None) -> None:
    """Append the body to the file; raises urllib3's errors where it is not all, or no such part."""
    headers, status, total = response.headers, response.status_code, _read_total(response)
    if headers.get("Content-Encoding", "identity") != "identity":
        raise FetchError("is sent encoded, unasked", code="content-encoding", file=response.url)
    if status == requests.codes.ok:
        if total is None and sha256 is None and "Transfer-Encoding" not in headers:
            reason = "no length is announced and no SHA-256 is known, so a cut file would not show"
            hint = "give its source.sha256"
            raise FetchError(reason, code="no-length", file=response.url, hint=hint)
        discard(part, task)
        # After the old bytes are gone: never may they stand beside the mark of others.
        with replacing(part.with_suffix(".etag")) as stream:
            stream.write(_strong_mark(response).encode())
    elif not _is_continued(response, part):
        discard(part, task)
        place = headers.get("Content-Range")
        raise urllib3.exceptions.ProtocolError(f"for the rest the server sends {place}")
    task.resize(total)
    if status != requests.codes.requested_range_not_satisfiable:
        _append(response, part, task)
    size = _size_of(part)
    if total is not None and size != total:
        if size > total:
            discard(part, task)
        raise urllib3.exceptions.ProtocolError(f"{size} of {total} bytes came")


def _read_total(response: requests.Response) -> int | None:
    """Return the size of the whole file, None where the server does not tell."""
    total = response.headers.get("Content-Range", "").rpartition("/")[2]
    if not total and "Transfer-Encoding" not in response.headers:
        total = response.headers.get("Content-Length", "")
    return int(total) if total.isdecimal() else None


def _is_continued(response: requests.Response, part: Path) -> bool:
    """Return whether the answer is the rest of the file, or says (416) that it is all here."""
    offset, place = _size_of(part), response.headers.get("Content-Range", "")
    old, new = _read_mark(part), _strong_mark(response)
    is_same = not old or not new or old == new
    return is_same and bool(re.fullmatch(rf"bytes ({offset}-\d+/(\d+|\*)|\*/{offset})", place))


def _append(response: requests.Response, part: Path, task: Task) -> None:
    """Append the body to the file, each byte as it comes.

    Not by `iter_content`: that one drops what it has of a chunk when the connection breaks.
    """
    try:
        with part.open("ab", buffering=0) as stream:
            while chunk := response.raw.read1(_CHUNK, decode_content=False):
                stream.write(chunk)
                task.advance(len(chunk))
    except OSError as error:
        raise not_written(part, error) from error


def discard(part: Path, task: Task) -> None:
    """Forget what has come so far."""
    task.advance(-_size_of(part))
    part.unlink(missing_ok=True)
    part.with_suffix(".etag").unlink(missing_ok=True)


def _size_of(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _strong_mark(response: requests.Response) -> str:
    """Return the ETag; "" for a weak one (W/), which promises nothing about bytes."""
    match = re.fullmatch(r'"[^"]*"', response.headers.get("ETag", ""))
    return match[0] if match else ""


def _read_mark(part: Path) -> str:
    path = part.with_suffix(".etag")
    return path.read_text(encoding="utf-8") if path.is_file() else ""
