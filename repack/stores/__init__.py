"""Places for what others read: a folder now, by one protocol that other places can speak."""

from __future__ import annotations

from repack.stores.local import LocalStore
from repack.stores.store import Store

__all__ = ["LocalStore", "Store", "open_store"]


def open_store(text: str) -> Store:
    """Return the store that `text` names: the path of a folder, which need not be there yet."""
    return LocalStore(text)
