"""One file over HTTP: resumed where it broke off, begun anew where it changed, checked whole."""

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec
import requests
import urllib3.exceptions

from repack.console import Task
from repack.errors import FetchError, InputError
from repack.fetch.archive import check_archive, check_filename
from repack.fetch.cache import wrap_write_errors
from repack.fetch.http import Request, explain, get
from repack.fetch.values import Fetched, Job
from repack.files import replacing, sha256_of

_CHUNK = 2**20
#: More bytes than any wheel has: the end of a server that sends without end.
_LARGEST = 2**34


class _Whole(msgspec.Struct, frozen=True):
    """The whole file of a partial one: its mark from the server, and its size."""

    mark: str | None
    size: int | None


def download_wheel(job: Job, request: Request, filename: str, *, recorded_url: str) -> Fetched:
    """Return the wheel that a URL gives, in the cache as `filename`; pinned by `recorded_url`.

    One that the cache has by its SHA-256 is not asked for. What an earlier run has left of it is
    gone on with. Wrong content is given one clean retry, because it may be of bytes that an
    earlier run left.
    """
    check_filename(filename, file=request.url)
    place = job.cache.place(job.expected.sha256 or "unknown", filename)
    if place.is_file():
        size, sha256 = place.stat().st_size, place.parent.name
        pin = job.expected.make_pin(filename, recorded_url, size, sha256)
        if job.cache.find(pin, job.progress):
            return Fetched(path=place, pin=pin)
    part = job.cache.partial(job.expected.key)
    with job.progress.task(f"Downloading {filename}") as task:
        _download(job, request, part, task)
        try:
            sha256 = _check(job, request, part)
        except (FetchError, InputError):
            _discard(part, task)
            _download(job, request, part, task)
            sha256 = _check(job, request, part)
    size = part.stat().st_size
    path = job.cache.add(part, sha256, filename)
    _discard(part)
    return Fetched(path=path, pin=job.expected.make_pin(filename, recorded_url, size, sha256))


def _check(job: Job, request: Request, part: Path) -> str:
    """Return the SHA-256 of the whole file; raises where it cannot be the wanted one."""
    try:
        check_archive(part, file=request.url)
        sha256 = sha256_of(part)
        job.expected.check(sha256, file=request.url)
    except (FetchError, InputError):
        _discard(part)
        raise
    return sha256


def _download(job: Job, request: Request, part: Path, task: Task) -> None:
    """Fill the file `part`, trying again as the session does; each new byte renews the tries."""
    patience = job.session.get_adapter(request.url).max_retries  # type: ignore[attr-defined]
    retry, furthest = patience, _size_of(part)
    task.advance(furthest)
    while True:
        try:
            return _download_rest(job, request, part, task)
        except urllib3.exceptions.HTTPError as error:
            fault = error
        if _size_of(part) > furthest:
            retry, furthest = patience, _size_of(part)
        try:
            retry = retry.increment("GET", error=fault)
        except urllib3.exceptions.MaxRetryError:
            raise explain(fault, request.url) from None
        task.describe(f"{explain(fault, request.url).what}; trying again")
        retry.sleep()


def _download_rest(job: Job, request: Request, part: Path, task: Task) -> None:
    """Ask once for the missing rest, and append what comes."""
    whole, offset = _read_whole(part), _size_of(part)
    if whole is not None and offset and offset == whole.size:
        return
    is_known = job.expected.sha256 is not None
    headers = _make_range(whole, offset, is_known=is_known)
    with get(job.session, request, headers) as response:
        if response.headers.get("Content-Encoding", "identity").lower() not in {"", "identity"}:
            hint = "a proxy between here and there may be the cause"
            reason = "is sent encoded, though we ask for it as it is"
            raise FetchError(reason, code="content-encoding", file=request.url, hint=hint)
        if response.status_code == requests.codes.ok:
            _discard(part, task)
            whole = _start_file(part, response, is_known=is_known)
        elif whole is None or not _is_continued(response, whole, offset):
            _discard(part, task)
            answer = response.headers.get("Content-Range", "no range")
            reason = f"asked from byte {offset} on, the server sends {answer!r}"
            raise urllib3.exceptions.ProtocolError(reason)
        task.resize(whole.size)
        _append(response, part, whole, task)


def _make_range(whole: _Whole | None, offset: int, *, is_known: bool) -> Mapping[str, str]:
    """Return the headers that ask for the rest only, where that can be done safely.

    The mark goes into If-Range, so that changed content comes whole; without one a SHA-256 that
    is known decides at the end.
    """
    if whole is None or not offset:
        return {}
    if whole.mark is not None:
        return {"Range": f"bytes={offset}-", "If-Range": whole.mark}
    return {"Range": f"bytes={offset}-"} if is_known else {}


def _is_continued(response: requests.Response, whole: _Whole, offset: int) -> bool:
    """Return whether the answer continues `whole` at `offset`."""
    header = response.headers.get("Content-Range", "").strip()
    match = re.fullmatch(r"bytes\s+(\d+)-\d+/(\d+|\*)", header)
    if response.status_code != requests.codes.partial_content or not match:
        return False
    etag, mark = response.headers.get("ETag"), whole.mark or ""
    is_same = not etag or not mark.startswith('"') or etag == mark
    is_long = whole.size is None or match[2] in {"*", str(whole.size)}
    return is_same and is_long and int(match[1]) == offset


def _start_file(part: Path, response: requests.Response, *, is_known: bool) -> _Whole:
    """Begin the file anew; return what it will be.

    The old bytes are gone by now: in no order of events may the bytes of one content stand
    beside the mark of another.
    """
    headers = response.headers
    is_chunked = "chunked" in headers.get("Transfer-Encoding", "").lower()
    length = headers.get("Content-Length", "").strip()
    size = int(length) if length.isdecimal() and not is_chunked else None
    if size is None and not is_chunked and not is_known:
        reason = "no length is announced and no SHA-256 is known, so a cut file would not show"
        hint = "give its source.sha256"
        raise FetchError(reason, code="no-length", file=response.url, hint=hint)
    etag = headers.get("ETag", "").strip()
    # A weak mark promises nothing about bytes.
    mark = etag if re.fullmatch(r'"[^"]*"', etag) else None
    whole = _Whole(mark=mark or (headers.get("Last-Modified") if not etag else None), size=size)
    with wrap_write_errors(part):
        part.touch()
        with replacing(_whole_path(part)) as stream:
            stream.write(msgspec.json.encode(whole))
    return whole


def _append(response: requests.Response, part: Path, whole: _Whole, task: Task) -> None:
    """Append the body to the file; raises urllib3's errors where that breaks off.

    Not by `iter_content`: that one drops what it has of a chunk when the connection breaks.
    """
    size, limit = _size_of(part), _LARGEST if whole.size is None else whole.size
    with wrap_write_errors(part), part.open("ab") as stream:
        while chunk := response.raw.read1(_CHUNK, decode_content=False):
            size += len(chunk)
            if size > limit:
                break
            stream.write(chunk)
            stream.flush()
            task.advance(len(chunk))
    if size > limit:
        _discard(part, task)
        reason = f"more bytes come than the {limit} announced"
        raise FetchError(reason, code="size", file=response.url)
    if whole.size is not None and size < whole.size:
        reason = f"the connection ended after {size} of {whole.size} bytes"
        raise urllib3.exceptions.ProtocolError(reason)


def _read_whole(part: Path) -> _Whole | None:
    try:
        return msgspec.json.decode(_whole_path(part).read_bytes(), type=_Whole)
    except (OSError, msgspec.DecodeError):
        return None


def _discard(part: Path, task: Task | None = None) -> None:
    """Forget what has come so far."""
    if task is not None:
        task.advance(-_size_of(part))
    with wrap_write_errors(part):
        part.unlink(missing_ok=True)
        _whole_path(part).unlink(missing_ok=True)


def _size_of(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _whole_path(part: Path) -> Path:
    return part.with_suffix(".json")
