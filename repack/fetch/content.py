"""What a file is by its first bytes and its name: whether it can be the wheel that was wanted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from repack.errors import FetchError, InputError, shown

if TYPE_CHECKING:
    from pathlib import Path

_FIRST_BYTES = 4096
_KINDS = (
    (
        re.compile(
            rb"\s*(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b",
            re.IGNORECASE | re.DOTALL,
        ),
        "HTML",
    ),
    (re.compile(rb"\s*<\?xml\b"), "XML"),
    (re.compile(rb"\s*[{\[]"), "JSON"),
    (re.compile(rb"version https://git-lfs"), "a Git LFS pointer"),
    (re.compile(rb"\x1f\x8b"), "a gzip file"),
    (re.compile(rb"MZ"), "a Windows program or DLL"),
    (re.compile(rb"7z\xbc\xaf"), "a 7z archive"),
)
_TITLE = re.compile(rb"(?is)<title[^>]*>\s*(.{1,200}?)\s*</title>")
_ALPHABET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*")


def looks_like(first_bytes: bytes) -> str:
    """Return what content that begins so looks like, in words; nothing where it may be a ZIP."""
    if not first_bytes:
        return "an empty file"
    if first_bytes[:4] in {b"PK\x03\x04"[: len(first_bytes)], b"PK\x05\x06"[: len(first_bytes)]}:
        return ""
    for pattern, name in _KINDS:
        if pattern.match(first_bytes):
            title = _TITLE.search(first_bytes) if name == "HTML" else None
            said = f" with the title {shown(title[1].decode('utf-8', 'replace'))}" if title else ""
            return f"{'what looks like ' if name.isupper() else ''}{name}{said}"
    return f"a file that begins with {first_bytes[:8].hex(' ')}"


def check_archive(path: Path, *, file: object) -> None:
    """Raise where the file at `path`, that came from `file`, cannot be a ZIP archive.

    Only its two ends are looked at; whether it is a sound wheel is seen when it is read.
    """
    with path.open("rb") as stream:
        first = stream.read(_FIRST_BYTES)
        size = stream.seek(0, 2)
        stream.seek(max(0, size - 2**16 - 22))
        ended = b"PK\x05\x06" in stream.read()
    kind = looks_like(first)
    if kind:
        said = f"is not a wheel but {kind}, {size} bytes"
        raise InputError(said, code="not-a-zip", file=file, hint="look at what is there")
    if not ended:
        said = f"is a ZIP archive without its end, {size} bytes"
        raise InputError(said, code="not-a-zip", file=file, hint="it has been cut: get it again")


def file_name_of(url: str) -> str:
    """Return the last part of the path of `url`, decoded once: names in headers are not heeded."""
    return unquote(urlsplit(url).path.rpartition("/")[2])


def check_file_name(name: str, *, file: object, hint: str = "") -> None:
    """Raise where `name` may not become a file here: its letters are the specification's."""
    if not _ALPHABET.fullmatch(name) or len(name) > 200:  # noqa: PLR2004 - paths on Windows
        said = f"{shown(name)} is no name for a file here" if name else "names no file"
        raise FetchError(said, code="filename", file=file, hint=hint)


def check_any_name(name: str, *, file: object, wheel: bool) -> None:
    """Raise where `name` is not the file name of a wheel, or else of any file that may be here."""
    if wheel:
        check_wheel_name(name, file=file)
    else:
        check_file_name(name, file=file)


def check_wheel_name(name: str, *, file: object) -> None:
    """Raise where `name` is not the file name of a wheel."""
    check_file_name(name, file=file, hint="the URL's path has to end in the wheel's file name")
    try:
        parse_wheel_filename(name)
    except InvalidWheelFilename as error:
        hint = "a wheel is called name-version-python-abi-platform.whl"
        said = str(error).partition(": ")[0].lower()
        if not str(file).endswith(name):
            said += f": {name}"
        raise FetchError(said, code="filename", file=file, hint=hint) from None
