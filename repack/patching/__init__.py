"""Applies `patches/` to a wheel's text members: pure, idempotent, refuses what it does not know.

The rooms, from the bottom up: `texts` (a Python text, edited by its AST's positions), `patterns`
(what an edit looks for), `edits` (an edit as a value), `diffs` (unified diffs), `additions`,
`wrapping` and `elements` (one kind of edit each), `folders` (patch folders -> edits), `applying`.
"""

from __future__ import annotations

from repack.patching.applying import Patched, apply, texts_wanted
from repack.patching.edits import Note, Patch
from repack.patching.folders import builtin_folder, load_patches

__all__ = [
    "Note",
    "Patch",
    "Patched",
    "apply",
    "builtin_folder",
    "load_patches",
    "texts_wanted",
]
