"""RECORD: which file has which hash and size."""

import base64
import csv
import hashlib
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from repack import files
from repack.wheel.names import refuse

#: The specification asks for SHA-256 or better.
_HASH = re.compile(r"sha(256|384|512)=")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_COLUMNS = 3


class RecordEntry(NamedTuple):
    """One row: `hash` is "sha256=" and URL-safe base64 without padding, `size` is in bytes."""

    hash: str
    size: int

    @property
    def algorithm(self) -> str:
        """The name of the hash."""
        return self.hash.partition("=")[0]

    @property
    def hex(self) -> str:
        """The digest in hexadecimal."""
        return base64.urlsafe_b64decode(f"{self.hash.partition('=')[2]}==").hex()


def make_entry(digest: bytes, size: int, algorithm: str = "sha256") -> RecordEntry:
    """Return the row of a file with this digest."""
    encoded = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    return RecordEntry(f"{algorithm}={encoded}", size)


def entry_of(content: bytes | Path) -> RecordEntry:
    """Return the row for a file that has this content, or that of the file at a path."""
    if isinstance(content, bytes):
        return make_entry(hashlib.sha256(content).digest(), len(content))
    return make_entry(bytes.fromhex(files.sha256_of(content)), content.stat().st_size)


def parse_record(content: bytes, *, name: str, file: Path) -> dict[str, RecordEntry]:
    """Return the rows of the RECORD called `name` by file, its own and its signatures' left out.

    A hash may yet be no base64: `read_wheel` compares it with the right one. Raises InputError for
    the wheel `file` where a row is there twice, or is not path, hash and size.
    """
    try:
        table = io.StringIO(content.decode("utf-8"), newline="")
        rows = [row for row in csv.reader(table, strict=True) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        refuse(file, f"it cannot be read as a table: {error}", "record", name)
    cells: dict[str, list[str]] = {}
    for row in rows:
        if len(row) != _COLUMNS or row[0] in cells:
            refuse(file, "its row is there twice, or not path, hash and size", "record", row[0])
        cells[row[0]] = row[1:]
    if cells.get(name) != ["", ""]:
        refuse(file, "it does not list itself, without hash and size", "record", name)
    entries = {}
    for path in sorted(cells.keys() - {*unhashed_members(name)}):
        digest, size = cells[path]
        if not _HASH.match(digest) or not _SIZE.fullmatch(size):
            what = f"{digest!r} is not sha256 or better, or {size!r} is no size"
            refuse(file, what, "record", path)
        entries[path] = RecordEntry(digest, int(size))
    return entries


def format_record(entries: Mapping[str, RecordEntry], record: str) -> bytes:
    """Return the RECORD that is called `record`: rows sorted by file, its own one last."""
    text = io.StringIO(newline="")
    rows = [(path, *entries[path]) for path in sorted(entries)]
    csv.writer(text, lineterminator="\n").writerows([*rows, (record, "", "")])
    return text.getvalue().encode()


def unhashed_members(record: str) -> tuple[str, ...]:
    """Return the files that need no row, or one without a hash (PEP 427; PEP 815 drops two)."""
    return record, f"{record}.jws", f"{record}.p7s"
