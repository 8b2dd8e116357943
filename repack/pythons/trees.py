"""Folders of many files that are there whole or not at all, and are known by a manifest."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

from repack.files import not_written, replace, sweep, workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MANIFEST = "repack-manifest.json"


def is_whole(tree: Path) -> bool:
    """Return whether every file of the manifest is there and has its size: a look, no reading."""
    try:
        manifest = json.loads((tree / MANIFEST).read_bytes())
        return all((tree / name).stat().st_size == size for name, size in manifest.items())
    except (OSError, ValueError, AttributeError):
        return False


def place_tree(
    tree: Path,
    contents: Iterator[tuple[str, bytes]],
    advance: Callable[[int], None] = lambda _amount: None,
) -> None:
    """Write files and their manifest into the folder `tree`, which appears whole or not at all.

    `contents` are relative paths of harmless names and what goes there.
    """
    sweep(tree.parent)
    manifest = {}
    with workspace(tree.parent) as place:
        try:
            for name, content in contents:
                path = place / "tree" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                manifest[name] = len(content)
                advance(1)
            listing = json.dumps(manifest, sort_keys=True)
            (place / "tree" / MANIFEST).write_text(listing, encoding="utf-8")
            if tree.exists():
                shutil.rmtree(tree)
            replace(place / "tree", tree)
        except OSError as error:
            raise not_written(tree, error) from error
