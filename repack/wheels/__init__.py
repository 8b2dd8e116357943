"""A wheel at rest: its name, METADATA, WHEEL, RECORD and members, read strictly, edited purely."""

from repack.wheels.filenames import WheelName, local_version, parse_filename, renamed
from repack.wheels.manners import startup_hooks
from repack.wheels.metadata import (
    Metadata,
    parse_metadata,
    requirement,
    wheel_file_with_tags,
    with_metadata,
)
from repack.wheels.reading import Wheel, read_wheel
from repack.wheels.record import RecordEntry, entry_of, format_record, parse_record
from repack.wheels.rewriting import Carried, rewritten

__all__ = [
    "Carried",
    "Metadata",
    "RecordEntry",
    "Wheel",
    "WheelName",
    "entry_of",
    "format_record",
    "local_version",
    "parse_filename",
    "parse_metadata",
    "parse_record",
    "read_wheel",
    "renamed",
    "requirement",
    "rewritten",
    "startup_hooks",
    "wheel_file_with_tags",
    "with_metadata",
]
