"""Where wheels come from: a file, a URL, an index or a release; the only room that fetches."""

from repack.fetch.cache import Cache
from repack.fetch.supply import Fetched, Listing, Supply, locate, pin_key

__all__ = ["Cache", "Fetched", "Listing", "Supply", "locate", "pin_key"]
