"""RECORD: which file has which hash and size."""

import base64
import csv
import hashlib
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from repack import files
from repack.wheel.names import refuse

#: The hashes that a RECORD may use: the specification asks for SHA-256 or better.
_ALGORITHMS = ("sha256", "sha384", "sha512")
_COLUMNS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordEntry:
    """One row: `digest` is URL-safe base64 without padding, `size` in bytes."""

    algorithm: str
    digest: str
    size: int

    @property
    def hex(self) -> str:
        """The digest in hexadecimal."""
        return base64.urlsafe_b64decode(f"{self.digest}==").hex()


def make_entry(digest: str, size: int, algorithm: str = "sha256") -> RecordEntry:
    """Return the row of a file whose digest in hex is `digest`."""
    encoded = base64.urlsafe_b64encode(bytes.fromhex(digest)).rstrip(b"=").decode()
    return RecordEntry(algorithm=algorithm, digest=encoded, size=size)


def entry_of(content: bytes | Path) -> RecordEntry:
    """Return the row for a file that has this content, or that of the file at a path."""
    if isinstance(content, bytes):
        return make_entry(hashlib.sha256(content).hexdigest(), len(content))
    return make_entry(files.sha256_of(content), content.stat().st_size)


def parse_record(content: bytes, *, name: str, file: Path) -> dict[str, RecordEntry]:
    """Return the rows of the RECORD called `name` by file, its own and its signatures' left out.

    A digest may yet be no base64: `read_wheel` compares it with the right one. Raises InputError
    for the wheel `file` where a row is there twice, or is not path, hash and size.
    """
    try:
        text = content.decode("utf-8")
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        refuse(file, f"it cannot be read as a table: {error}", "record", name)
    entries: dict[str, RecordEntry] = {}
    paths = set()
    for row in rows:
        if len(row) != _COLUMNS or row[0] in paths:
            refuse(file, "its row is there twice, or not path, hash and size", "record", row[0])
        path, digest, size = row
        paths.add(path)
        if path not in unhashed_members(name):
            algorithm, _, encoded = digest.partition("=")
            if algorithm not in _ALGORITHMS:
                refuse(file, f"its hash {digest!r} is not sha256 or better", "record", path)
            if not re.fullmatch(r"0|[1-9][0-9]{0,18}", size):
                refuse(file, f"its size is {size!r}", "record", path)
            entries[path] = RecordEntry(algorithm=algorithm, digest=encoded, size=int(size))
        elif path == name and (digest or size):
            refuse(file, "RECORD cannot hold its own hash or size", "record", path)
    if name not in paths:
        refuse(file, "it does not list itself", "record", name)
    return entries


def format_record(entries: Mapping[str, RecordEntry], record: str) -> bytes:
    """Return the RECORD that is called `record`: rows sorted by file, its own one last."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    for path in sorted(entries):
        entry = entries[path]
        writer.writerow((path, f"{entry.algorithm}={entry.digest}", entry.size))
    writer.writerow((record, "", ""))
    return text.getvalue().encode()


def unhashed_members(record: str) -> tuple[str, ...]:
    """Return the files that need no row, or one without a hash (PEP 427; PEP 815 drops two)."""
    return record, f"{record}.jws", f"{record}.p7s"
