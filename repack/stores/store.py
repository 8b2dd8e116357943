"""What an index asks of the place that it lies in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from repack.console import Progress


def checked(key: str) -> str:
    """Return the key; raises ValueError for one that is none, or leads out of the place."""
    if any(part in {"", ".", ".."} for part in key.split("/")):
        message = f"{key!r} is no key"
        raise ValueError(message)
    return key


class Store(Protocol):
    """Files by key: relative paths with slashes ("opencv/index.html"), in no need of folders.

    A reader sees each file whole, as it was or as it is: never a part. Nothing else is promised
    to be simultaneous, so whoever writes several thinks about their order. Every method raises
    a RepackError of one line where the place fails.
    """

    #: Whether all of a file can be read for little: on a disk, not over a line that is paid for.
    near: bool

    @property
    def place(self) -> str:
        """The store as a person would name it: a path or a URL, without credentials."""

    def locate(self, key: str) -> str:
        """Return the file of `key` as a person would name it, whether it is there or not."""

    def sizes(self) -> Mapping[str, int]:
        """Return the size in bytes of every file, by key, sorted; hidden ones left out."""

    def read(self, key: str) -> bytes | None:
        """Return the content, None where there is no such file."""

    def sha256(self, key: str) -> str:
        """Return the SHA-256 of the content in hex."""

    def local(self, key: str) -> AbstractContextManager[Path]:
        """Give a local file with the content for the block; its name is the last part of the key.

        It is read, never written to.
        """

    def write(self, key: str, content: bytes) -> None:
        """Make `content` the content of `key`, at once."""

    def put(self, key: str, source: Path, sha256: str) -> None:
        """Make `key` the same as the local file `source`, at once; what arrived has that SHA-256.

        `source` is left as it is; where it is not what that SHA-256 says, nothing is changed.
        """

    def delete(self, key: str) -> None:
        """Remove the file; it may be gone already."""

    def lock(self, progress: Progress) -> AbstractContextManager[None]:
        """Keep every other process from changing the store; waits for one that does.

        The place is made if need be, and what a killed process left half-written is swept away.
        """
