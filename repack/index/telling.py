"""What `publish` did, as rows and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from repack.index.publishing import Published

HEADINGS = ("project", "version", "file", "what")


def published_rows(published: Published) -> list[tuple[str, ...]]:
    """Return a row for each file."""
    return [(each.project, each.version, each.filename, each.what) for each in published.files]


def published_json(published: Published) -> dict[str, object]:
    """Return what was done to each file, and the keys of files that no page lists."""
    return {
        "index": published.place,
        "files": [asdict(each) for each in published.files],
        "unlisted": list(published.strays),
    }
