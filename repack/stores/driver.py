"""Buckets and other places with a URL, through fsspec and the driver of its scheme.

fsspec is what pandas, Dask and many more read and write with; the drivers (s3fs, gcsfs, adlfs) come
from the same people, and find their credentials by themselves: environment, profile, instance.
"""

from __future__ import annotations

import contextlib
import mimetypes
import os
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from repack.errors import InputError, OutputError, RepackError, UsageError
from repack.stores.store import checked
from repack.stores.urls import KEYS_HINT, scheme_of, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from repack.console import Task

_CHUNK = 1 << 20
_BLOCK = 16 << 20
#: What we ask of a driver: listings are to be those of now, and few parts in memory at once.
_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "s3": {"max_concurrency": 3, "use_listings_cache": False},
    "gs": {"use_listings_cache": False},
    "abfs": {"use_listings_cache": False},
}
#: How a driver is told the media type, without which a browser and pip take no page for a page.
_MEDIA_TYPE = {"s3": "ContentType", "gs": "content_type"}
_INSTALL = {"s3": "python -m pip install s3fs"}


@dataclass(frozen=True, slots=True)
class Driver:
    """The files under one URL, every fault of theirs as one line."""

    files: Any
    root: str
    place: str
    scheme: str

    @classmethod
    def of(cls, url: str) -> Driver:
        """Return the driver for `url`; raises UsageError where there is none."""
        place, scheme = shown(url), scheme_of(url)
        import fsspec  # noqa: PLC0415 - only who names a URL needs it

        # One for each store: fsspec would hand out one made for other credentials.
        options = {"skip_instance_cache": True, **_OPTIONS.get(scheme, {})}
        try:
            files, root = fsspec.core.url_to_fs(url, **options)
        except ImportError as error:
            hint = _INSTALL.get(scheme, f"for {scheme}: {error}")
            raise UsageError(
                "its driver is not installed", code="driver-missing", file=place, hint=hint
            ) from error
        except ValueError as error:
            raise UsageError(f"cannot be used: {error}", code="bad-url", file=place) from error
        except Exception as error:
            raise _input_error(error, place) from error
        return cls(files, root.rstrip("/"), place, scheme)

    def path(self, key: str) -> str:
        """Return what the driver calls the file of `key`."""
        return f"{self.root}/{checked(key)}"

    def url(self, key: str) -> str:
        """Return what a person calls it."""
        return f"{self.place}/{key}"

    @contextlib.contextmanager
    def reading(self, key: str = "") -> Iterator[None]:
        """Turn a fault of the block into an InputError; FileNotFoundError comes through."""
        try:
            yield
        except (RepackError, FileNotFoundError):
            raise
        except Exception as error:
            raise _input_error(error, self.url(key) if key else self.place) from error

    @contextlib.contextmanager
    def writing(self, key: str) -> Iterator[None]:
        """Turn a fault of the block into an OutputError."""
        try:
            yield
        except RepackError:
            raise
        except Exception as error:
            code, said, hint = _reason(error)
            raise OutputError(
                f"cannot be written: {said}", code=code, file=self.url(key), hint=hint
            ) from error

    def sizes(self, folder: str = "") -> dict[str, int]:
        """Return the size of every file beneath `folder`, by its key."""
        top = f"{self.root}/{folder}".rstrip("/")
        try:
            with self.reading(folder):
                found = self.files.find(top, detail=True)
        except FileNotFoundError as error:
            raise _input_error(error, self.place) from error
        start = len(self.root) + 1
        return {name[start:]: int(entry["size"]) for name, entry in sorted(found.items())}

    def size(self, key: str) -> int | None:
        """Return the size of one file, None where there is no such file."""
        path = self.path(key)
        try:
            with self.reading(key):
                size: int = self.files.size(path)
        except FileNotFoundError:
            return None
        return size

    def read(self, key: str) -> bytes | None:
        """Return the content, None where there is no such file."""
        path = self.path(key)
        try:
            with self.reading(key):
                content: bytes = self.files.cat_file(path)
        except FileNotFoundError:
            return None
        return content

    def chunks(self, key: str, task: Task | None = None) -> Iterator[bytes]:
        """Return the content, part after part; FileNotFoundError where there is none."""
        with (
            self.reading(key),
            self.files.open(
                self.path(key), "rb", block_size=_BLOCK, cache_type="readahead"
            ) as file,
        ):
            while chunk := file.read(_CHUNK):
                if task is not None:
                    task.advance(len(chunk))
                yield chunk

    def write(self, key: str, content: bytes) -> None:
        """Make `content` the content of the file, at once."""
        path = self.path(key)
        with self.writing(key):
            self._prepare(path)
            self.files.pipe_file(path, content, **self._media_type(key))

    def upload(self, key: str, source: Path) -> None:
        """Make the file the same as `source`: it shows when all of it has come."""
        path = self.path(key)
        with self.writing(key):
            self._prepare(path)
            if self.scheme in _OPTIONS:
                parts = {"chunksize": _BLOCK} if self.scheme == "s3" else {}
                self.files.put_file(os.fspath(source), path, **parts, **self._media_type(key))
                return
            # A folder shows a file from its first byte on; a bucket does not.
            folder, _, name = path.rpartition("/")
            beside = f"{folder}/.{name}.{uuid.uuid4().hex}.tmp"
            self.files.put_file(os.fspath(source), beside)
            self.files.mv(beside, path)

    def delete(self, key: str) -> None:
        """Remove the file; it may be gone already."""
        path = self.path(key)
        with self.writing(key), contextlib.suppress(FileNotFoundError):
            self.files.rm_file(path)

    def modified(self, key: str) -> float | None:
        """Return when the file was written by the clock of the place; None where it is not."""
        try:
            with self.reading(key):
                time: float = self.files.modified(self.path(key)).timestamp()
        except FileNotFoundError:
            return None
        return time

    def _prepare(self, path: str) -> None:
        """Make the folder where the place has folders; a bucket must be there already."""
        if self.scheme not in _OPTIONS:
            self.files.makedirs(path.rpartition("/")[0], exist_ok=True)

    def _media_type(self, key: str) -> dict[str, str]:
        known = mimetypes.guess_type(key, strict=True)[0] or "application/octet-stream"
        option = _MEDIA_TYPE.get(self.scheme)
        return {option: known} if option else {}


def _input_error(error: Exception, place: str) -> InputError:
    code, said, hint = _reason(error)
    return InputError(f"cannot be read: {said}", code=code, file=place, hint=hint)


def _reason(error: Exception) -> tuple[str, str, str]:
    """Return code, words and hint for what a driver raises.

    The drivers say what is like a fault of the disk as an OSError; the rest is known by its name,
    since the drivers' own libraries may not be here to be asked.
    """
    said = " ".join(str(error).split()) or type(error).__name__
    kind = type(error).__name__
    if isinstance(error, FileNotFoundError):
        return "no-bucket", f"there is no such bucket or folder ({said})", "make it first"
    if isinstance(error, PermissionError):
        return "no-permission", f"access is denied ({said})", KEYS_HINT
    if "Credential" in kind or "Credential" in said:
        return "no-credentials", f"no credentials ({said})", KEYS_HINT
    if "Checksum" in kind:
        return "damaged", said, "run again; if it stays so, the store or a proxy is at fault"
    hint = "see that the server is up and can be reached (for s3: AWS_ENDPOINT_URL), and run again"
    return "unreachable", said, hint
