"""What is a URL, what a folder, and how a URL may be printed."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit
from urllib.request import url2pathname

from repack.errors import UsageError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://.+")
KEYS_HINT = (
    "give credentials as the driver finds them (for s3: AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE), and let them read, list, write and delete there"
)


def is_url(text: str) -> bool:
    """Return whether `text` is a URL, not the path of a folder (C:/wheels is one)."""
    return _URL.fullmatch(text) is not None


def folder_of(url: str) -> str | None:
    """Return the path that a file: URL names, None for any other."""
    parts = urlsplit(url)
    if parts.scheme.lower() != "file":
        return None
    host = "" if parts.netloc in {"", "localhost"} else f"//{parts.netloc}"
    return host + url2pathname(parts.path)


def scheme_of(url: str) -> str:
    """Return the scheme, one name for those that mean the same."""
    scheme = urlsplit(url).scheme.lower()
    return {"s3a": "s3", "gcs": "gs", "az": "abfs"}.get(scheme, scheme)


def shown(url: str) -> str:
    """Return `url` as it may be printed: without a query; raises where it holds a password."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    # abfs://container@account/ is no secret.
    if ":" in user:
        place = urlunsplit((parts.scheme, host, parts.path, "", ""))
        raise UsageError(
            "a URL is no place for a password", code="bad-url", file=place, hint=KEYS_HINT
        )
    return urlunsplit((parts.scheme, user + at + host, parts.path.rstrip("/"), "", ""))
