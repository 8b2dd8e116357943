"""A wheel at rest: read strictly, written by splicing; its name, METADATA, WHEEL and RECORD."""

from repack.wheel.archive import open_archive
from repack.wheel.contents import read_member, read_pieces
from repack.wheel.filenames import WheelName, local_version, parse_filename, renamed
from repack.wheel.manners import startup_hooks
from repack.wheel.members import DEFLATED, STORED, Archive, Member
from repack.wheel.metadata import (
    Metadata,
    parse_metadata,
    requirement,
    wheel_file_with_tags,
    with_metadata,
)
from repack.wheel.reading import Wheel, read_wheel
from repack.wheel.record import RecordEntry, entry_of, format_record, parse_record
from repack.wheel.rewriting import Carried, rewritten
from repack.wheel.verifying import (
    LIMITS,
    SHARES,
    Limits,
    Sink,
    Work,
    check_limits,
    verify,
    verifying,
)
from repack.wheel.writing import (
    Added,
    Copied,
    Written,
    canonical_order,
    name_of,
    size_of,
    splice,
)

__all__ = [
    "DEFLATED",
    "LIMITS",
    "SHARES",
    "STORED",
    "Added",
    "Archive",
    "Carried",
    "Copied",
    "Limits",
    "Member",
    "Metadata",
    "RecordEntry",
    "Sink",
    "Wheel",
    "WheelName",
    "Work",
    "Written",
    "canonical_order",
    "check_limits",
    "entry_of",
    "format_record",
    "local_version",
    "name_of",
    "open_archive",
    "parse_filename",
    "parse_metadata",
    "parse_record",
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
    "verifying",
    "wheel_file_with_tags",
    "with_metadata",
]
