"""`repack.toml`, the settings of the command line, and `repack.lock`, as frozen values."""

from __future__ import annotations

from repack.config.epoch import source_date_epoch
from repack.config.lock import Lock, Pin, difference, read_lock, write_lock
from repack.config.reading import load, named_url, setting_keys, source_from, wanted_source
from repack.config.toml import format_toml, parse_override
from repack.config.values import (
    DEFAULT_PYTHONS,
    Allow,
    Build,
    Config,
    Embeddable,
    FileSource,
    IndexSource,
    Publish,
    ReleaseSource,
    SampleSource,
    Smoke,
    Source,
    UrlSource,
    Vendor,
)

__all__ = [
    "DEFAULT_PYTHONS",
    "Allow",
    "Build",
    "Config",
    "Embeddable",
    "FileSource",
    "IndexSource",
    "Lock",
    "Pin",
    "Publish",
    "ReleaseSource",
    "SampleSource",
    "Smoke",
    "Source",
    "UrlSource",
    "Vendor",
    "difference",
    "format_toml",
    "load",
    "named_url",
    "parse_override",
    "read_lock",
    "setting_keys",
    "source_date_epoch",
    "source_from",
    "wanted_source",
    "write_lock",
]
