"""What `publish` did or found, as rows and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from repack.index.checking import Checked
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


def checked_lines(checked: Checked) -> list[str]:
    """Return a line for each fault, and one that counts."""
    faults = [
        f"{each.file}: {each.message} [{each.code}]" + (f"; {each.hint}" if each.hint else "")
        for each in checked.faults
    ]
    return [*faults, f"{checked.place}: files: {checked.files}, faults: {len(faults)}"]


def checked_json(checked: Checked) -> dict[str, object]:
    """Return the faults, the number of files compared, and the keys that no page lists."""
    return {
        "index": checked.place,
        "files": checked.files,
        "faults": [asdict(each) for each in checked.faults],
        "unlisted": list(checked.strays),
    }
