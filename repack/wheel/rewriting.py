"""A wheel written anew under another name: what is copied as it lies, and what is written."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from repack.wheel.metadata import wheel_file_with_tags, with_metadata
from repack.wheel.record import entry_of, exempt, format_record
from repack.wheel.writing import Added, Copied, canonical_order

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from repack.wheel.filenames import WheelName
    from repack.wheel.members import Member
    from repack.wheel.reading import Wheel
    from repack.wheel.record import RecordEntry


@dataclass(frozen=True, kw_only=True, slots=True)
class Carried:
    """A member that comes from another archive or a file, and the row that RECORD gets for it."""

    path: str
    entry: Copied | Added
    row: RecordEntry


def rewritten(  # noqa: PLR0913 - one edit per field
    wheel: Wheel,
    name: WheelName,
    files: Mapping[str, bytes | Path],
    *,
    requires_python: str = "",
    summary: str = "",
    add_requires: Sequence[str] = (),
    add_extras: Sequence[str] = (),
    add_licence: str = "",
    carried: Sequence[Carried] = (),
) -> tuple[Copied | Added, ...]:
    """Return the members of the wheel called `name`, in the order in which they are written.

    They are `wheel`'s with `files` and `carried` added or put in place, under a .dist-info of the
    new name. RECORD's signatures are left out: they are over bytes that change.
    """
    dist_info = f"{name.distribution}-{name.version}.dist-info"
    moved = {_moved(path, wheel.dist_info, dist_info): content for path, content in files.items()}
    brought = {_moved(each.path, wheel.dist_info, dist_info): each for each in carried}
    licenses = f"{dist_info}/licenses/"
    metadata = with_metadata(
        wheel.metadata,
        version=name.version,
        requires_python=requires_python,
        summary=summary,
        add_requires=add_requires,
        add_extras=add_extras,
        add_licence=add_licence,
        add_licenses=[path.removeprefix(licenses) for path in brought if path.startswith(licenses)],
    )
    written: dict[str, bytes | Path] = {
        **moved,
        f"{dist_info}/METADATA": metadata,
        f"{dist_info}/WHEEL": wheel_file_with_tags(wheel.wheel_file, name.tags),
    }
    return _assembled(wheel, dist_info, written, brought)


def _assembled(
    wheel: Wheel,
    dist_info: str,
    written: Mapping[str, bytes | Path],
    brought: Mapping[str, Carried],
) -> tuple[Copied | Added, ...]:
    """Return what is written, what is brought, and what is left of the wheel; RECORD lists it."""
    copied = {
        path: member
        for path, member in _kept(wheel, dist_info).items()
        if path not in written and path not in brought
    }
    record = f"{dist_info}/RECORD"
    rows = {path: entry_of(content) for path, content in written.items()}
    rows |= {path: wheel.record[member.name] for path, member in copied.items()}
    rows |= {path: each.row for path, each in brought.items()}
    entries: dict[str, Copied | Added] = {
        **{path: Copied(member=member, name=path) for path, member in copied.items()},
        **{path: replace(each.entry, name=path) for path, each in brought.items()},
        **{path: Added(name=path, content=content) for path, content in written.items()},
        record: Added(name=record, content=format_record(rows, record)),
    }
    return tuple(entries[path] for path in canonical_order(entries))


def _kept(wheel: Wheel, dist_info: str) -> dict[str, Member]:
    """Return the members whose content stays true, by their paths under the new .dist-info."""
    dropped = exempt(f"{wheel.dist_info}/RECORD")
    return {
        _moved(member.name, wheel.dist_info, dist_info): member
        for member in wheel.archive.members
        if not member.directory and member.name not in dropped
    }


def _moved(path: str, before: str, after: str) -> str:
    """Return a member's path under the new .dist-info folder, or .data folder."""
    old, new = before.removesuffix(".dist-info"), after.removesuffix(".dist-info")
    for suffix in (".dist-info/", ".data/"):
        if path.startswith(f"{old}{suffix}"):
            return f"{new}{suffix}{path.removeprefix(f'{old}{suffix}')}"
    return path
