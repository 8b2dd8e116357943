"""A wheel at rest: read strictly, written by splicing; its name, METADATA, WHEEL and RECORD."""

from repack.wheel.archive import Archive, Member, open_archive
from repack.wheel.content import Sink, read_member
from repack.wheel.entries import Added, Carried, Copied, rewrite_members, size_of
from repack.wheel.metadata import (
    edit_metadata,
    parse_requirement,
    select_requirements,
    windows_environment,
)
from repack.wheel.names import WheelName, local_version, parse_filename, rename_wheel
from repack.wheel.reader import Wheel, read_wheel, startup_hooks
from repack.wheel.record import RecordEntry, entry_of
from repack.wheel.writer import splice

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
    "edit_metadata",
    "entry_of",
    "local_version",
    "open_archive",
    "parse_filename",
    "parse_requirement",
    "read_member",
    "read_wheel",
    "rename_wheel",
    "rewrite_members",
    "select_requirements",
    "size_of",
    "splice",
    "startup_hooks",
    "windows_environment",
]
