"""A wheel written anew under another name: what is copied as it lies, and what is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from repack.archives import Added, Copied, canonical_order
from repack.wheels.metadata import wheel_file_with_tags, with_metadata
from repack.wheels.record import entry_of, exempt, format_record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from repack.archives import Member
    from repack.wheels.filenames import WheelName
    from repack.wheels.reading import Wheel


def rewritten(  # noqa: PLR0913 - one edit per field
    wheel: Wheel,
    name: WheelName,
    files: Mapping[str, bytes | Path],
    *,
    requires_python: str = "",
    summary: str = "",
    add_requires: Sequence[str] = (),
) -> tuple[Copied | Added, ...]:
    """Return the members of the wheel called `name`, in the order in which they are written.

    They are `wheel`'s with `files` added or put in place, under a .dist-info of the new name.
    RECORD's signatures are left out: they are over bytes that change.
    """
    dist_info = f"{name.distribution}-{name.version}.dist-info"
    moved = {_moved(path, wheel.dist_info, dist_info): content for path, content in files.items()}
    metadata = with_metadata(
        wheel.metadata,
        version=name.version,
        requires_python=requires_python,
        summary=summary,
        add_requires=add_requires,
    )
    written: dict[str, bytes | Path] = {
        **moved,
        f"{dist_info}/METADATA": metadata,
        f"{dist_info}/WHEEL": wheel_file_with_tags(wheel.wheel_file, name.tags),
    }
    members = _kept(wheel, dist_info)
    copied = {path: member for path, member in members.items() if path not in written}
    record = f"{dist_info}/RECORD"
    rows = {path: entry_of(content) for path, content in written.items()}
    rows |= {path: wheel.record[member.name] for path, member in copied.items()}
    written[record] = format_record(rows, record)
    return tuple(
        Added(name=path, content=written[path])
        if path in written
        else Copied(member=copied[path], name=path)
        for path in canonical_order([*written, *copied])
    )


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
