"""What is asked of a server; no library, so quickly imported."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One thing to be got; `token` goes to the host of `url` and to no other."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    token: str | None = field(default=None, repr=False)
    login: tuple[str, str] | None = field(default=None, repr=False)
    """User and password; they go to the host of `url` and to no other, as `token` does."""
    cacert: str | None = None
    """A file of certificate authorities for that host, in place of those of the environment."""
    client_cert: str | None = None
    """A file with our own certificate and its key, for that host."""
    stays: bool = False
    """Whether what another host has is no answer: a redirect to one is an error."""
    hint: str = ""
    """What to do where the server says that we may not, or that there is no such thing."""
