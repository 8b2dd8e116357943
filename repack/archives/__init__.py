"""ZIP: a strict reader that refuses what installers disagree on, and a writer that splices."""

from repack.archives.contents import read_member
from repack.archives.members import DEFLATED, STORED, Archive, Member
from repack.archives.reading import open_archive
from repack.archives.verifying import LIMITS, Limits, Outcome, Sink, verify, verifying
from repack.archives.writing import Added, Copied, Written, canonical_order, splice

__all__ = [
    "DEFLATED",
    "LIMITS",
    "STORED",
    "Added",
    "Archive",
    "Copied",
    "Limits",
    "Member",
    "Outcome",
    "Sink",
    "Written",
    "canonical_order",
    "open_archive",
    "read_member",
    "splice",
    "verify",
    "verifying",
]
