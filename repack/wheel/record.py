"""RECORD: which file has which hash and size."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from repack import files

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

#: The hashes that a RECORD may use: the specification asks for SHA-256 or better.
ALGORITHMS = {"sha256": 32, "sha384": 48, "sha512": 64}
_COLUMNS = 3


class BrokenRecordError(Exception):
    """RECORD says something impossible; `member` is the row's file."""

    def __init__(self, what: str, member: str = "") -> None:
        """Keep the row's file apart from what is wrong with it."""
        self.member = member
        super().__init__(what)


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordEntry:
    """One row: `digest` is URL-safe base64 without padding, `size` in bytes."""

    algorithm: str
    digest: str
    size: int

    @property
    def hex(self) -> str:
        """The digest in hexadecimal."""
        return base64.urlsafe_b64decode(self.digest + "=" * (-len(self.digest) % 4)).hex()


def entry_of(content: bytes | Path) -> RecordEntry:
    """Return the row for a file that has this content, or that of the file at a path."""
    if isinstance(content, bytes):
        digest, size = hashlib.sha256(content).digest(), len(content)
    else:
        digest, size = bytes.fromhex(files.sha256_of(content)), content.stat().st_size
    encoded = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    return RecordEntry(algorithm="sha256", digest=encoded, size=size)


def parse_record(content: bytes, *, name: str) -> dict[str, RecordEntry]:
    """Return the rows of the RECORD called `name` by file, its own and its signatures' left out.

    Raises BrokenRecordError for a row that is there twice, or is not path, hash and size.
    """
    try:
        text = content.decode("utf-8")
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except UnicodeDecodeError:
        raise BrokenRecordError("it is not UTF-8") from None
    except csv.Error as error:
        raise BrokenRecordError(f"it cannot be read as a table: {error}") from None
    entries: dict[str, RecordEntry] = {}
    seen = set()
    for row in filter(None, rows):
        if len(row) != _COLUMNS:
            raise BrokenRecordError(f"a row has {len(row)} columns, not 3", row[0])
        path, digest, size = row
        if path in seen:
            raise BrokenRecordError("its row is there twice", path)
        seen.add(path)
        if path not in exempt(name):
            entries[path] = _entry(path, digest, size)
        elif path == name and (digest or size):
            raise BrokenRecordError("RECORD cannot hold its own hash or size", path)
    if name not in seen:
        raise BrokenRecordError("it does not list itself", name)
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


def exempt(record: str) -> tuple[str, ...]:
    """Return the files that need no row, or one without a hash (PEP 427; PEP 815 drops two)."""
    return record, f"{record}.jws", f"{record}.p7s"


def _entry(path: str, digest: str, size: str) -> RecordEntry:
    algorithm, _, encoded = digest.partition("=")
    if not digest:
        raise BrokenRecordError("its row has no hash", path)
    if algorithm not in ALGORITHMS:
        raise BrokenRecordError(f"its hash is {algorithm!r}, which is not sha256 or better", path)
    entry = RecordEntry(algorithm=algorithm, digest=encoded, size=-1)
    if not _is_strict_base64(encoded) or len(entry.hex) != 2 * ALGORITHMS[algorithm]:
        raise BrokenRecordError(f"its {algorithm} is not URL-safe base64 without padding", path)
    if not re.fullmatch(r"[0-9]{1,19}", size):
        raise BrokenRecordError(f"its size is {size!r}", path)
    return RecordEntry(algorithm=algorithm, digest=encoded, size=int(size))


def _is_strict_base64(text: str) -> bool:
    """Return whether `text` is the one way to write its bytes."""
    if not re.fullmatch(r"[A-Za-z0-9_-]+", text) or len(text) % 4 == 1:
        return False
    decoded = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    return base64.urlsafe_b64encode(decoded).rstrip(b"=").decode() == text
