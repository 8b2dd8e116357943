"""python.org's embeddable packages: a whole Windows Python in one small ZIP archive."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from repack.archives import open_archive, read_member
from repack.config import UrlSource
from repack.errors import InputError
from repack.interpreters.assembling import BREAKS_WINE
from repack.interpreters.trees import is_whole, place_tree
from repack.interpreters.values import ON_WINDOWS
from repack.sources import fetch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from repack.config import Embeddable
    from repack.console import Progress
    from repack.sources import Cache


def unpack_embeddable(
    package: Embeddable, *, cache: Cache, offline: bool, progress: Progress
) -> Path:
    """Return python.exe of an embeddable package, fetched and unpacked once.

    Raises FetchError, and InputError where it is no such package.
    """
    name = hashlib.sha256(f"{package.sha256} {ON_WINDOWS}".encode()).hexdigest()[:16]
    tree = cache.folder("pythons") / f"{package.version}-embeddable-{name}"
    if not is_whole(tree):
        with cache.lock(f"python {tree.name}", progress):
            if not is_whole(tree):
                source = UrlSource(url=package.url, sha256=package.sha256)
                path = fetch(
                    source, lock=None, cache=cache, offline=offline, progress=progress, wheel=False
                ).path
                place_tree(tree, _contents(path))
    return tree / "python.exe"


def _contents(path: Path) -> Iterator[tuple[str, bytes]]:
    archive = open_archive(path)
    if archive.member("python.exe") is None:
        raise InputError(
            "holds no python.exe",
            code="no-python",
            file=path,
            hint="give the URL of a python-*-embed-amd64.zip",
        )
    for member in archive.members:
        breaks_here = member.name == BREAKS_WINE and not ON_WINDOWS
        if not member.directory and not breaks_here:
            yield member.name, read_member(archive, member.name, limit=256 << 20)
