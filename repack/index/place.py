"""Where a static index lies: a folder on a disk or a file share, or a bucket by obstore.

Both have the same methods, by keys such as "opencv-python/index.json".
"""

import contextlib
import hashlib
import mimetypes
import os
import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import filelock

from repack import files
from repack.console import Progress
from repack.errors import InputError, OutputError, RepackError, UsageError, redact

_CHUNK = 1 << 20
_Tag = dict[str, str]
_SCHEMES = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss")
_BUCKET_HINT = (
    "is the server up (for s3: AWS_ENDPOINT_URL), is the bucket there, and do the credentials "
    "(AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY) let you read, list, write and delete?"
)


class Folder:
    """The files of a folder.

    All that is made in it may be read and written by whoever may read and write the folder,
    whatever the umask: a web server, the others of a group.
    """

    #: Whether all of a file can be read for little.
    near = True

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self.name = str(self._path)

    def sizes(self) -> dict[str, int]:
        """Return the size of every file in the folder and the folders in it, by its key."""
        sizes = {}
        for folder, names, filenames in os.walk(self._path, onerror=_raise_unreadable):
            names[:] = [name for name in names if not name.startswith(".")]
            for path in (Path(folder, name) for name in filenames if not name.startswith(".")):
                with contextlib.suppress(FileNotFoundError):
                    sizes[path.relative_to(self._path).as_posix()] = path.stat().st_size
        return dict(sorted(sizes.items()))

    def read(self, key: str) -> tuple[bytes | None, _Tag]:
        """Return the content, None where there is no such file; the lock is its tag."""
        path = self._path / key
        try:
            return path.read_bytes(), {}
        except FileNotFoundError:
            return None, {}
        except OSError as error:
            raise files.not_read(path, error) from error

    def sha256(self, key: str) -> str:
        """Return the SHA-256 of the content in hex; InputError where there is no such file."""
        return files.sha256_of(self._path / key)

    def write(self, key: str, content: Iterable[bytes], _: _Tag | None = None) -> None:
        """Make these parts the content at once."""
        path = self._path / key
        self._make_folder(path.parent)
        with files.replacing(path) as stream:
            stream.writelines(content)
            # Some mounts (FAT, SMB) keep no modes.
            with contextlib.suppress(PermissionError):
                Path(stream.name).chmod(self._mode() & 0o666 | 0o600)

    def put(self, key: str, source: Path, sha256: str) -> None:
        """Make the file a copy of `source`.

        A link would be cheaper, and change with what it links to: `cp` writes into the old file.
        """
        self.write(key, _read_checked(source, sha256))

    def delete(self, key: str) -> None:
        """Remove the file; it may be gone already."""
        (self._path / key).unlink(missing_ok=True)

    @contextlib.contextmanager
    def hold_lock(self, progress: Progress) -> Iterator[None]:
        """Keep every other process from changing the folder; waits for one that does."""
        path = self._path / ".repack.lock"
        try:
            self._make_folder(self._path)
            lock = filelock.FileLock(path, mode=self._mode() & 0o666 | 0o600)
            with progress.task(f"Locking {self.name}"):
                held = lock.acquire()
        except OSError as error:
            raise files.not_written(path, error) from error
        with held:
            for folder in (self._path, *self._path.iterdir()):
                files.sweep(folder)
            yield

    def _make_folder(self, folder: Path) -> None:
        """Make a project's folder with the mode of the index, or the index itself.

        That, and what it lies in, is as its parent for its group, and never closed to a web server.
        """
        if folder.is_dir():
            return
        self._make_folder(folder.parent)
        is_project = folder.parent == self._path
        mode = self._mode() if is_project else 0o755 | (folder.parent.stat().st_mode & 0o2020)
        folder.mkdir(exist_ok=True)
        with contextlib.suppress(PermissionError):
            folder.chmod(mode)

    def _mode(self) -> int:
        return self._path.stat().st_mode & 0o7777


class Bucket:
    """The objects under a URL; an object is shown when all of it has come, or never.

    There is no lock: a wheel is put where none is, a page is exchanged only for the one that was
    read (compare-and-swap by ETag).
    """

    near = False

    def __init__(self, url: str) -> None:
        import obstore  # noqa: PLC0415 - heavy, and only for whoever has a bucket

        self.name = url.partition("?")[0].rstrip("/")
        self._obstore = obstore
        options: dict[str, Any] = {
            "client_options": {"allow_http": True},
            "retry_config": {"max_retries": 4},
        }
        if url.startswith("s3"):
            options["copy_if_not_exists"] = "multipart"
            if os.environ.get("AWS_PROFILE"):
                from obstore.auth.boto3 import Boto3CredentialProvider  # noqa: PLC0415

                options["credential_provider"] = Boto3CredentialProvider()
        with self._faults(""):
            self._store = obstore.store.from_url(self.name, **options)

    def sizes(self) -> dict[str, int]:
        """Return the size of every object under the URL, by its key."""
        with self._faults(""):
            rows = [row for rows in self._obstore.list(self._store) for row in rows]
        return dict(sorted((row["path"], row["size"]) for row in rows if row["path"][0] != "."))

    def read(self, key: str) -> tuple[bytes | None, _Tag]:
        """Return the content, and what tells it from any other; None and nothing for none."""
        with self._faults(key), contextlib.suppress(FileNotFoundError):
            answer = self._obstore.get(self._store, key)
            tag = {"e_tag": answer.meta["e_tag"], "version": answer.meta["version"]}
            return bytes(answer.bytes()), {name: text for name, text in tag.items() if text}
        return None, {}

    def sha256(self, key: str) -> str:
        """Return the SHA-256 of the content in hex; all of it has to come."""
        digest = hashlib.sha256()
        with self._faults(key):
            try:
                for chunk in self._obstore.get(self._store, key):
                    digest.update(chunk)
            except FileNotFoundError as error:
                raise files.not_read(Path(key), error) from None
        return digest.hexdigest()

    def write(self, key: str, content: Iterable[bytes], tag: _Tag) -> None:
        """Make this the content, or nothing where it is not what was read with `tag` any more."""
        exceptions = self._obstore.exceptions
        conflicts = (exceptions.AlreadyExistsError, exceptions.PreconditionError)
        mode: Any = tag or "create"
        with self._faults(key), contextlib.suppress(*conflicts):
            whole = b"".join(content)
            self._obstore.put(self._store, key, whole, mode=mode, attributes=_attributes(key))

    def put(self, key: str, source: Path, sha256: str) -> None:
        """Put the file where there is none, and where there is one see that it is the same.

        In parts, so that it need not be in memory, and under another name first, because what
        comes in parts cannot be made to depend on there being no object. Whoever is killed leaves
        one below `.incoming/`, for a rule of the bucket to clear away.
        """
        incoming = f".incoming/{uuid.uuid4().hex}"
        content = _read_checked(source, sha256)
        with self._faults(key):
            try:
                self._obstore.put(
                    self._store, incoming, content, attributes=_attributes(key), max_concurrency=3
                )
                self._obstore.copy(self._store, incoming, key, overwrite=False)
            except self._obstore.exceptions.AlreadyExistsError:
                if self.sha256(key) != sha256:
                    raise other_bytes(source, self.name) from None
            finally:
                with contextlib.suppress(Exception):
                    self._obstore.delete(self._store, incoming)

    def delete(self, key: str) -> None:
        """Remove the object; it may be gone already."""
        with self._faults(key), contextlib.suppress(FileNotFoundError):
            self._obstore.delete(self._store, key)

    def hold_lock(self, _: Progress) -> contextlib.AbstractContextManager[None]:
        """Do nothing: a bucket has no locks, and needs none."""
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def _faults(self, key: str) -> Iterator[None]:
        """Turn a fault of the block into one line; answers of a service may hold a key."""
        try:
            yield
        except RepackError:
            raise
        except Exception as error:  # noqa: BLE001 - obstore's have no common root
            code = re.search(r"<Code>(\w+)</Code>", str(error))
            reason = code[1] if code else redact(str(error).partition("\n")[0].strip())
            raise OutputError(
                f"the store says: {reason}",
                code="bucket",
                file=f"{self.name}/{key}".rstrip("/"),
                hint=_BUCKET_HINT,
            ) from None


Place = Folder | Bucket


def open_place(text: str) -> Place:
    """Return the folder, which need not be there yet, or the bucket that `text` names."""
    scheme, mark, _ = text.partition("://")
    if not mark:
        return Folder(Path(text))
    if scheme not in _SCHEMES or urlsplit(text).password is not None:
        hint = "name a folder, or a bucket without a password: s3://, gs://, az://"
        raise UsageError("is not a place for an index", code="bad-url", file=text, hint=hint)
    try:
        return Bucket(text)
    except ImportError:
        message = "obstore is not installed, or boto3, which reads AWS_PROFILE"
        hint = "python -m pip install obstore, and boto3 where AWS_PROFILE is set"
        raise UsageError(message, code="driver-missing", file=text, hint=hint) from None


def update(place: Place, key: str, change: Callable[[bytes | None], bytes] | bytes) -> bool:
    """Write the content, or what a change makes of it; return whether it was another.

    Where somebody else has changed it meanwhile, nothing is written: call it until it says that
    there is nothing to change.
    """
    before, tag = place.read(key)
    after = change if isinstance(change, bytes) else change(before)
    if after != before:
        place.write(key, [after], tag)
    return after != before


def other_bytes(file: object, place: str) -> InputError:
    """Return the error for a file whose name stands for other bytes already."""
    return InputError(
        f"{place} has other bytes under this name",
        code="other-bytes",
        file=file,
        hint="pins and caches know those: give yours another version with build.local",
    )


def _read_checked(source: Path, sha256: str) -> Iterator[bytes]:
    """Yield the content; raises OutputError at its end where it is not what was checked."""
    digest = hashlib.sha256()
    with source.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
            yield chunk
    if digest.hexdigest() != sha256:
        hint = "publish again, once nobody writes to it"
        raise OutputError("changed while it was copied", code="changed", file=source, hint=hint)


def _raise_unreadable(error: OSError) -> None:
    """Raise InputError for a folder that cannot be read; a missing one is empty."""
    if not isinstance(error, FileNotFoundError):
        raise files.not_read(Path(error.filename), error) from error


def _attributes(key: str) -> dict[str, str]:
    """Return the media type, without which a browser and pip take no page for a page."""
    return {"Content-Type": mimetypes.guess_type(key)[0] or "application/octet-stream"}
