"""ZIP: a strict reader that refuses what installers disagree on, and a writer that splices."""

from repack.archives.members import DEFLATED, STORED, Archive, Member
from repack.archives.reading import open_archive
from repack.archives.verifying import LIMITS, Limits, Sink, read_member, verify
from repack.archives.writing import (
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
    "STORED",
    "Added",
    "Archive",
    "Copied",
    "Limits",
    "Member",
    "Sink",
    "Written",
    "canonical_order",
    "name_of",
    "open_archive",
    "read_member",
    "size_of",
    "splice",
    "verify",
]
