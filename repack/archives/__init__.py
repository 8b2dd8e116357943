"""ZIP: a strict reader that refuses what installers disagree on, and a writer that splices."""

from repack.archives.contents import read_member, read_pieces
from repack.archives.members import DEFLATED, STORED, Archive, Member
from repack.archives.reading import open_archive
from repack.archives.verifying import (
    LIMITS,
    SHARES,
    Limits,
    Sink,
    Work,
    check_limits,
    verify,
    verifying,
)
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
    "SHARES",
    "STORED",
    "Added",
    "Archive",
    "Copied",
    "Limits",
    "Member",
    "Sink",
    "Work",
    "Written",
    "canonical_order",
    "check_limits",
    "name_of",
    "open_archive",
    "read_member",
    "read_pieces",
    "size_of",
    "splice",
    "verify",
    "verifying",
]
