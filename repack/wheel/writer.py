"""Wheels written anew, unchanged members copied as they lie, compressed bytes and all.

Whatever is written is a function of the entries and the timestamp alone: fixed order, times,
modes, versions, and no extra fields below 4 GiB.
"""

import hashlib
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple

from zlib_ng import zlib_ng

from repack.files import replacing
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
#: RECORD's own.
_NO_ROW = RecordEntry("", 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A member of a new wheel, and the row that RECORD gets for it.

    `content` is what is new, or the file that holds it; or the archive of which the member `source`
    is copied as it lies. The bytes of DEFLATE data may differ from one processor to the next; those
    stored never do.
    """

    name: str
    content: bytes | Path | Archive
    row: RecordEntry = _NO_ROW
    source: str = ""
    deflate: bool = False

    @property
    def is_copied(self) -> bool:
        """Whether it is copied as it lies."""
        return isinstance(self.content, Archive)

    @property
    def size(self) -> int:
        """How many bytes it takes in the new wheel, or would if it were not deflated."""
        content = self.content
        if isinstance(content, Archive):
            return content.members[self.source].compressed_size
        return len(content) if isinstance(content, bytes) else content.stat().st_size


def make_part(name: str, content: bytes | Path, *, deflate: bool = False) -> Part:
    """Return a new member and its row; raises InputError for a file that cannot be read."""
    return Part(name=name, content=content, row=entry_of(content), deflate=deflate)


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
    add_licence: str = "",
    carried: Sequence[Part] = (),
) -> tuple[Part, ...]:
    """Return the members of the wheel called `name`, in the order in which they are written.

    They are `wheel`'s with `files` and `carried` added or put in place, under a .dist-info of the
    new name; `fields` are METADATA's own values, and `add_licence` joins a License-Expression.
    RECORD's signatures are left out: they are over bytes that change.
    .dist-info comes last and RECORD at its end, as PEP 427 recommends: whoever reads it as a
    stream has the rest by then.
    """
    folder = f"{wheel.dist_info}/licenses/"
    paths = [part.name for part in carried if part.name.startswith(folder)]
    licence = join_licence(wheel.fields, add_licence)
    fields = {"Version": [str(name.version)], **licence, **(fields or {})}
    if lists_licenses(wheel.fields):
        listed = wheel.fields.get("license_files", [])
        fields["License-File"] = [*listed, *(path.removeprefix(folder) for path in paths)]
    written: dict[str, bytes | Path] = {
        **files,
        f"{wheel.dist_info}/METADATA": edit_metadata(wheel.metadata, fields),
        f"{wheel.dist_info}/WHEEL": wheel_file_with_tags(wheel.wheel_file, name.tags),
    }
    parts = {
        path: Part(name=path, content=wheel.archive, source=path, row=row)
        for path, row in wheel.record.items()
    }
    parts |= {part.name: part for part in carried}
    parts |= {path: make_part(path, content) for path, content in written.items()}
    old, new = wheel.dist_info.removesuffix(".dist-info"), f"{name.distribution}-{name.version}"
    pattern = re.compile(rf"^{re.escape(old)}(?=\.(dist-info|data)/)")
    renamed = [replace(part, name=pattern.sub(new, part.name)) for part in parts.values()]
    renamed.sort(key=lambda part: (part.name.startswith(f"{new}.dist-info/"), part.name))
    record = f"{new}.dist-info/RECORD"
    content = format_record({part.name: part.row for part in renamed}, record)
    return (*renamed, Part(name=record, content=content))


def size_of(parts: Iterable[Part]) -> int:
    """Return how many bytes the archive of `parts` will have, but for ZIP64's records.

    What is to be deflated counts as if it were stored.
    """
    headers = LOCAL.size + CENTRAL.size
    return END.size + sum(headers + 2 * len(part.name.encode()) + part.size for part in parts)


def splice(parts: Sequence[Part], destination: Path, *, timestamp: int) -> Written:
    """Write the archive of `parts`, in the order given, and return what was written.

    `timestamp` (seconds since 1970, up to 2107) is each member's time, in UTC. Raises OutputError
    if it cannot be written, InputError if an archive of `parts` was changed meanwhile or a name
    may not be used; then `destination` is as it was.
    """
    check_names((part.name for part in parts), destination)
    directory = []
    digest = hashlib.sha256()
    with replacing(destination) as file:
        for part in parts:
            content, start = part.content, file.tell()
            if isinstance(content, Archive):
                member = content.members[part.source]
                local, central = format_headers(part.name, member, start, timestamp)
                with content.open() as source:
                    pieces = read_packed(source, content.path, member, at_once=_PIECE)
                    _write_hashed(file, chain([local], pieces), digest)
            else:
                stream = io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")
                with stream:
                    central = _add(file, part, stream, timestamp)
                file.seek(start)
                while piece := file.read(_PIECE):
                    digest.update(piece)
            directory.append(central)
        listing, offset = b"".join(directory), file.tell()
        ending = listing + format_ends(len(directory), len(listing), offset)
        _write_hashed(file, [ending], digest)
    return Written(destination, destination.stat().st_size, digest.hexdigest())


def _write_hashed(file: BinaryIO, pieces: Iterable[bytes], digest: "hashlib._Hash") -> None:
    """Write and hash what is final: hashing it now is cheaper than reading it again."""
    for piece in pieces:
        file.write(piece)
        digest.update(piece)


def _add(file: BinaryIO, part: Part, stream: BinaryIO, timestamp: int) -> bytes:
    """Write a new member at the end of `file`, and return the directory's entry.

    Its header is written twice: what it says is known once the content has been read.
    """
    start, size = file.tell(), part.size
    member = Member(part.name, size, size, 0, DEFLATED if part.deflate else STORED)
    file.write(format_headers(part.name, member, start, timestamp)[0])
    offset = file.tell()
    deflater = zlib_ng.compressobj(_LEVEL, zlib_ng.DEFLATED, -15) if part.deflate else None
    crc = 0
    while piece := stream.read(_PIECE):
        crc = zlib_ng.crc32(piece, crc)
        file.write(deflater.compress(piece) if deflater else piece)
    if deflater:
        file.write(deflater.flush())
    end = file.tell()
    member = member._replace(compressed_size=end - offset, crc=crc)
    local, central = format_headers(part.name, member, start, timestamp)
    file.seek(start)
    file.write(local)
    file.seek(end)
    return central
