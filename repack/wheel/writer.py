"""Wheels written anew, unchanged members copied as they lie, compressed bytes and all.

Whatever is written is a function of the entries and the timestamp alone: fixed order, times,
modes, versions, and no extra fields below 4 GiB.
"""

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, NamedTuple

from packaging.metadata import parse_email
from zlib_ng import zlib_ng

from repack.files import replacing, sha256_of
from repack.wheel.archive import (
    CENTRAL,
    DEFLATED,
    END,
    LOCAL,
    STORED,
    Archive,
    Member,
    format_ends,
    format_headers,
    read_packed,
)
from repack.wheel.metadata import (
    RecordEntry,
    edit_metadata,
    entry_of,
    format_record,
    join_licence,
    lists_licenses,
    wheel_file_with_tags,
)
from repack.wheel.names import WheelName, check_names
from repack.wheel.reader import Wheel

_PIECE = 1 << 20
_LEVEL = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Copied:
    """A member that is copied as it lies in `archive`."""

    name: str
    member: Member
    archive: Archive

    @property
    def size(self) -> int:
        """How many bytes are copied."""
        return self.member.compressed_size


@dataclass(frozen=True, kw_only=True, slots=True)
class Added:
    """A member that is new, with its content or the file that holds it.

    The bytes of DEFLATE data may differ from one processor to the next; those stored never do.
    """

    name: str
    content: bytes | Path
    deflate: bool = False

    @property
    def size(self) -> int:
        """How many bytes it has, before it is deflated."""
        content = self.content
        return len(content) if isinstance(content, bytes) else content.stat().st_size


class Carried(NamedTuple):
    """A member of a new wheel, and the row that RECORD gets for it."""

    entry: Copied | Added
    row: RecordEntry


class Written(NamedTuple):
    """An archive that was written; `size` in bytes, `sha256` in hex."""

    path: Path
    size: int
    sha256: str


def rewrite_members(  # noqa: PLR0913 - what a wheel is made of
    wheel: Wheel,
    name: WheelName,
    files: Mapping[str, bytes | Path],
    *,
    fields: Mapping[str, Sequence[str]] | None = None,
    add: Mapping[str, Sequence[str]] | None = None,
    add_licence: str = "",
    carried: Sequence[Carried] = (),
) -> tuple[Copied | Added, ...]:
    """Return the members of the wheel called `name`, in the order in which they are written.

    They are `wheel`'s with `files` and `carried` added or put in place, under a .dist-info of the
    new name; `fields` and `add` change METADATA as `edit_metadata` does, and `add_licence` joins a
    License-Expression. RECORD's signatures are left out: they are over bytes that change.
    .dist-info comes last and RECORD at its end, as PEP 427 recommends: whoever reads it as a
    stream has the rest by then.
    """
    folder = f"{wheel.dist_info}/licenses/"
    paths = [part.entry.name for part in carried if part.entry.name.startswith(folder)]
    listed = paths if lists_licenses(parse_email(wheel.metadata)[0]) else []
    licence = join_licence(wheel.metadata, add_licence)
    fields = {"Version": [str(name.version)], **licence, **(fields or {})}
    add = {**(add or {}), "License-File": [path.removeprefix(folder) for path in listed]}
    written: dict[str, bytes | Path] = {
        **files,
        f"{wheel.dist_info}/METADATA": edit_metadata(wheel.metadata, fields=fields, add=add),
        f"{wheel.dist_info}/WHEEL": wheel_file_with_tags(wheel.wheel_file, name.tags),
    }
    archive = wheel.archive
    entries: dict[str, tuple[Copied | Added, RecordEntry]] = {
        path: (Copied(name=path, member=archive.members[path], archive=archive), row)
        for path, row in wheel.record.items()
    }
    entries |= {part.entry.name: part for part in carried}
    for path, content in written.items():
        entries[path] = Added(name=path, content=content), entry_of(content)
    old, new = wheel.dist_info.removesuffix(".dist-info"), f"{name.distribution}-{name.version}"
    pattern = re.compile(rf"^{re.escape(old)}(?=\.(dist-info|data)/)")
    entries = {pattern.sub(new, path): part for path, part in entries.items()}
    record = f"{new}.dist-info/RECORD"
    rows = {path: row for path, (_, row) in entries.items()}
    ordered = sorted(entries, key=lambda path: (path.startswith(f"{new}.dist-info/"), path))
    return (
        *(replace(entries[path][0], name=path) for path in ordered),
        Added(name=record, content=format_record(rows, record)),
    )


def size_of(entries: Iterable[Copied | Added]) -> int:
    """Return how many bytes the archive of `entries` will have, but for ZIP64's records.

    What is to be deflated counts as if it were stored.
    """
    headers = LOCAL.size + CENTRAL.size
    return END.size + sum(headers + 2 * len(entry.name.encode()) + entry.size for entry in entries)


def splice(entries: Sequence[Copied | Added], destination: Path, *, timestamp: int) -> Written:
    """Write the archive of `entries`, in the order given, and return what was written.

    `timestamp` (seconds since 1970, up to 2107) is each member's time, in UTC. Raises OutputError
    if it cannot be written, InputError if an archive of `entries` was changed meanwhile or a name
    may not be used; then `destination` is as it was.
    """
    check_names((entry.name for entry in entries), destination)
    archives = {entry.archive.path: entry.archive for entry in entries if isinstance(entry, Copied)}
    directory = []
    with replacing(destination) as file, ExitStack() as sources:
        opened = {path: sources.enter_context(archives[path].open()) for path in archives}
        for entry in entries:
            offset = file.tell()
            if isinstance(entry, Copied):
                path, member = entry.archive.path, entry.member
                local, central = format_headers(entry.name, member, offset, timestamp)
                file.write(local)
                file.writelines(read_packed(opened[path], path, member))
            else:
                central = _add(file, entry, timestamp)
            directory.append(central)
        listing, offset = b"".join(directory), file.tell()
        file.write(listing + format_ends(len(directory), len(listing), offset))
    return Written(destination, destination.stat().st_size, sha256_of(destination))


def _add(file: BinaryIO, entry: Added, timestamp: int) -> bytes:
    """Write a new member at the end of `file`, and return the directory's entry.

    Its header is written twice: what it says is known once the content has been read.
    """
    start, size = file.tell(), entry.size
    member = Member(entry.name, size, size, 0, DEFLATED if entry.deflate else STORED)
    file.write(format_headers(entry.name, member, start, timestamp)[0])
    offset = file.tell()
    deflater = zlib_ng.compressobj(_LEVEL, zlib_ng.DEFLATED, -15) if entry.deflate else None
    content = entry.content
    crc = 0
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as stream:
        while piece := stream.read(_PIECE):
            crc = zlib_ng.crc32(piece, crc)
            file.write(deflater.compress(piece) if deflater else piece)
    if deflater:
        file.write(deflater.flush())
    end = file.tell()
    member = member._replace(compressed_size=end - offset, crc=crc)
    local, central = format_headers(entry.name, member, start, timestamp)
    file.seek(start)
    file.write(local)
    file.seek(end)
    return central
