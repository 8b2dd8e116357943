"""Places for what others read: a folder, or a bucket that has a URL, by one protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from repack.stores.local import LocalStore
from repack.stores.store import Store
from repack.stores.urls import folder_of, is_url, shown

if TYPE_CHECKING:
    from repack.stores.driver import Driver

__all__ = ["LocalStore", "Store", "folder_of", "is_url", "open_driver", "open_store", "shown"]


def open_store(text: str) -> Store:
    """Return the store that `text` names: a URL, or a folder, which need not be there yet."""
    if not is_url(text):
        return LocalStore(text)
    folder = folder_of(text)
    if folder is not None:
        return LocalStore(folder)
    from repack.stores.bucket import BucketStore  # noqa: PLC0415 - only for a URL

    return BucketStore(text)


def open_driver(url: str) -> Driver:
    """Return the files under `url`, for whoever needs no lock."""
    from repack.stores.driver import Driver  # noqa: PLC0415 - only for a URL

    return Driver.of(url)
