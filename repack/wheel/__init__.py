"""A wheel at rest: read strictly, written by splicing; its name, METADATA, WHEEL and RECORD."""

from repack.wheel.archive import Archive, Member, open_archive
from repack.wheel.content import Sink, read_member, read_pieces, verify
from repack.wheel.entries import (
    Added,
    Carried,
    Copied,
    canonical_order,
    name_of,
    rewritten,
    size_of,
)
from repack.wheel.metadata import (
    applicable,
    requirement,
    windows_environment,
    with_metadata,
)
from repack.wheel.names import WheelName, local_version, parse_filename, renamed
from repack.wheel.reader import Wheel, read_wheel, startup_hooks
from repack.wheel.record import RecordEntry, entry_of
from repack.wheel.writer import Written, splice

__all__ = [
    "Added",
    "Archive",
    "Carried",
    "Copied",
    "Member",
    "RecordEntry",
    "Sink",
    "Wheel",
    "WheelName",
    "Written",
    "applicable",
    "canonical_order",
    "entry_of",
    "local_version",
    "name_of",
    "open_archive",
    "parse_filename",
    "read_member",
    "read_pieces",
    "read_wheel",
    "renamed",
    "requirement",
    "rewritten",
    "size_of",
    "splice",
    "startup_hooks",
    "verify",
    "windows_environment",
    "with_metadata",
]
