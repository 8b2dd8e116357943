"""A bucket, or any other place that fsspec has a driver for, as a store."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from repack.errors import InputError, OutputError
from repack.files import replacing, sha256_of
from repack.stores.claims import Claim
from repack.stores.driver import Driver

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from repack.console import Progress


class BucketStore:
    """The files under a URL. A bucket shows an object when all of it has come, or never."""

    near = False

    def __init__(self, url: str) -> None:
        self._driver = Driver.of(url)
        self._claim: Claim | None = None

    @property
    def place(self) -> str:
        """The URL."""
        return self._driver.place

    def locate(self, key: str) -> str:
        """Return the URL of the file."""
        return self._driver.url(key)

    def sizes(self) -> Mapping[str, int]:
        """Return the size of every file under the URL, by its key."""
        return {
            key: size
            for key, size in self._driver.sizes().items()
            if not any(part.startswith(".") for part in key.split("/"))
        }

    def read(self, key: str) -> bytes | None:
        """Return the content, None where there is no such file."""
        return self._driver.read(key)

    def sha256(self, key: str) -> str:
        """Return the SHA-256 of the content in hex; all of it has to come."""
        digest = hashlib.sha256()
        for chunk in self._chunks(key):
            digest.update(chunk)
        return digest.hexdigest()

    @contextlib.contextmanager
    def local(self, key: str) -> Iterator[Path]:
        """Give a copy of the file, fetched for the block."""
        with tempfile.TemporaryDirectory(prefix="repack-") as folder:
            path = Path(folder, key.rpartition("/")[2])
            with replacing(path) as stream:
                for chunk in self._chunks(key):
                    stream.write(chunk)
            yield path

    def write(self, key: str, content: bytes) -> None:
        """Make `content` the content of the file, at once."""
        self._check()
        self._driver.write(key, content)

    def put(self, key: str, source: Path, sha256: str) -> None:
        """Make the file the same as `source`, and read it back."""
        _check_source(source, sha256)
        self._check()
        self._driver.upload(key, source)
        if (found := self.sha256(key)) == sha256:
            return
        self.delete(key)
        _check_source(source, sha256)
        raise OutputError(
            f"what came back has SHA-256 {found}, not {sha256}; it was removed",
            code="damaged",
            file=self.locate(key),
            hint="publish again; if it stays so, the store or a proxy before it is at fault",
        )

    def delete(self, key: str) -> None:
        """Remove the file; it may be gone already."""
        self._check()
        self._driver.delete(key)

    @contextlib.contextmanager
    def lock(self, progress: Progress) -> Iterator[None]:
        """Keep every other process, on any machine, from changing what is under the URL."""
        claim = Claim(self._driver)
        with claim.held(progress):
            self._claim = claim
            try:
                yield
            finally:
                self._claim = None

    def _chunks(self, key: str) -> Iterator[bytes]:
        try:
            yield from self._driver.chunks(key)
        except FileNotFoundError as error:
            raise InputError(
                "there is no such file", code="missing-file", file=self.locate(key)
            ) from error

    def _check(self) -> None:
        if self._claim is not None:
            self._claim.check()


def _check_source(source: Path, sha256: str) -> None:
    if (found := sha256_of(source)) != sha256:
        raise InputError(
            f"it changed while it was copied: its SHA-256 is {found}, not {sha256}",
            code="changed",
            file=source,
            hint="publish again, once nobody writes to it",
        )
