"""Tells by first bytes and name whether a file can be the wheel that was asked for."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from repack.config import FileSource
from repack.errors import FetchError, InputError, quote_name

_KINDS = (
    (rb"\s*(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b", "what looks like HTML"),
    (rb"\s*<\?xml\b", "what looks like XML"),
    (rb"\s*[{\[]", "what looks like JSON"),
    (rb"version https://git-lfs", "a Git LFS pointer"),
    (rb"\x1f\x8b", "a gzip file"),
    (rb"MZ", "a Windows program or DLL"),
    (rb"$", "an empty file"),
)
_TITLE = re.compile(rb"(?is)<title[^>]*>\s*(.{1,200}?)\s*</title>")


def check_archive(path: Path, *, file: object) -> None:
    """Raise InputError where the file at `path`, that came from `file`, cannot be a ZIP archive.

    Only its two ends are looked at; whether it is a sound wheel is seen when it is read.
    """
    with path.open("rb") as stream:
        first = stream.read(4096)
        size = stream.seek(0, 2)
        stream.seek(max(0, size - 2**16 - 22))
        is_ended = b"PK\x05\x06" in stream.read()
    if not first.startswith(b"PK"):
        reason = f"is not a wheel but {_describe(first)}, {size} bytes"
        hint = "look at what is there; of a URL, in a browser: a login or an error page is likely"
        raise InputError(reason, code="not-a-zip", file=file, hint=hint)
    if not is_ended:
        reason = f"is a ZIP archive without its end, {size} bytes"
        raise InputError(reason, code="not-a-zip", file=file, hint="it has been cut: get it again")


def _describe(first_bytes: bytes) -> str:
    """Return a description of content by its first bytes."""
    other = f"a file that begins with {first_bytes[:8].hex(' ')}"
    flags = re.DOTALL | re.IGNORECASE
    words = next((words for kind, words in _KINDS if re.match(kind, first_bytes, flags)), other)
    title = _TITLE.search(first_bytes) if words.endswith("HTML") else None
    return (
        f"{words} with the title {quote_name(title[1].decode('utf-8', 'replace'))}"
        if title
        else words
    )


def filename_of(url: str) -> str:
    """Return the last part of a URL's path, decoded once; names in headers are ignored."""
    return unquote(urlsplit(url).path.rpartition("/")[2])


def check_filename(name: str, *, file: object) -> None:
    """Raise FetchError where `name` is not the file name of a wheel, or may not be a file here."""
    reason = "is not the file name of a wheel" if name else "names no file"
    try:
        if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+!-]{,200}", name):
            parse_wheel_filename(name)
            return
    except InvalidWheelFilename as error:
        reason += f" ({str(error).partition(': ')[0].lower()})"
    if name and not str(file).endswith(name):
        reason = f"{quote_name(name)} {reason}"
    hint = (
        "a wheel is called name-version-python-abi-platform.whl; where a URL or an asset is called "
        "otherwise, source.filename gives that name"
    )
    raise FetchError(reason, code="filename", file=file, hint=hint)


def locate(source: FileSource) -> Path:
    """Return the wheel where it lies, whatever its hash; raises where it can be no wheel."""
    path = source.path
    if not path.is_file():
        reason = "is a folder, not a wheel" if path.is_dir() else "there is no such file"
        raise InputError(reason, code="no-file", file=path, hint="name a wheel file")
    check_filename(path.name, file=path)
    check_archive(path, file=path)
    return path
