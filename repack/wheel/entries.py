"""What a new wheel is made of: members copied from archives, and members that are new."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from packaging.metadata import parse_email

from repack.wheel.archive import CENTRAL, END, LOCAL, Archive, Member
from repack.wheel.metadata import edit_metadata, join_licence, lists_licenses, wheel_file_with_tags
from repack.wheel.names import WheelName
from repack.wheel.reader import Wheel
from repack.wheel.record import RecordEntry, entry_of, format_record


@dataclass(frozen=True, kw_only=True, slots=True)
class Copied:
    """A member that is copied as it lies in `archive`."""

    name: str
    member: Member
    archive: Archive


@dataclass(frozen=True, kw_only=True, slots=True)
class Added:
    """A member that is new, with its content or the file that holds it.

    The bytes of DEFLATE data may differ from one processor to the next; those stored never do.
    """

    name: str
    content: bytes | Path
    mode: int = 0o644
    deflate: bool = False


class Carried(NamedTuple):
    """A member that comes from another archive or a file, and the row that RECORD gets for it."""

    entry: Copied | Added
    row: RecordEntry


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
    """
    old, new = wheel.dist_info.removesuffix(".dist-info"), f"{name.distribution}-{name.version}"
    parts: dict[str, tuple[Copied | Added, RecordEntry]] = {}

    def put(entry: Copied | Added, row: RecordEntry) -> None:
        path = entry.name
        if path.startswith((f"{old}.dist-info/", f"{old}.data/")):
            path = new + path.removeprefix(old)
        parts[path] = replace(entry, name=path), row

    for member in wheel.archive.members:
        if row := wheel.record.get(member.name):
            put(Copied(name=member.name, member=member, archive=wheel.archive), row)
    for addition in carried:
        put(addition.entry, addition.row)
    licence = join_licence(wheel.metadata, add_licence)
    fields = {"Version": [str(name.version)], **licence, **(fields or {})}
    texts = _list_licences(wheel, carried)
    written: dict[str, bytes | Path] = {
        **files,
        f"{wheel.dist_info}/METADATA": edit_metadata(
            wheel.metadata, fields=fields, add={**(add or {}), "License-File": texts}
        ),
        f"{wheel.dist_info}/WHEEL": wheel_file_with_tags(wheel.wheel_file, name.tags),
    }
    for path, content in written.items():
        put(Added(name=path, content=content), entry_of(content))
    record = f"{new}.dist-info/RECORD"
    content = format_record({path: row for path, (_, row) in parts.items()}, record)
    entries = {path: entry for path, (entry, _) in parts.items()}
    entries[record] = Added(name=record, content=content)
    return tuple(entries[path] for path in canonical_order(entries))


def _list_licences(wheel: Wheel, carried: Iterable[Carried]) -> list[str]:
    """Return what METADATA is to list of the licences' texts that come in."""
    folder = f"{wheel.dist_info}/licenses/"
    if not lists_licenses(parse_email(wheel.metadata)[0]):
        return []
    paths = (addition.entry.name for addition in carried)
    return [path.removeprefix(folder) for path in paths if path.startswith(folder)]


def canonical_order(names: Iterable[str]) -> list[str]:
    """Return the names in the order that wheels are written in: .dist-info last, RECORD at its end.

    So PEP 427 recommends; a reader that streams has the rest by then.
    """

    def key(name: str) -> tuple[bool, bool, str]:
        folder, _, rest = name.partition("/")
        is_info = folder.endswith(".dist-info")
        return is_info, is_info and rest == "RECORD", name

    return sorted(names, key=key)


def size_of(entries: Sequence[Copied | Added]) -> int:
    """Return how many bytes the archive of `entries` will have, but for ZIP64's records.

    What is to be deflated counts as if it were stored.
    """
    total = END.size
    for entry in entries:
        if isinstance(entry, Copied):
            size = entry.member.compressed_size
        elif isinstance(entry.content, Path):
            size = entry.content.stat().st_size
        else:
            size = len(entry.content)
        total += LOCAL.size + CENTRAL.size + 2 * len(entry.name.encode()) + size
    return total
