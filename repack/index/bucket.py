"""A bucket of S3, Google or Azure as the place of a static index, by obstore.

There is no lock: a wheel is put where none is, the state of a project is exchanged only for the one
that was read (compare-and-swap by ETag). Credentials are found as the services' own tools find
them: environment, profile, instance.
"""

import contextlib
import hashlib
import mimetypes
import os
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from repack.console import Progress
from repack.errors import InputError, OutputError, RepackError, UsageError, redact
from repack.files import sha256_of
from repack.index.folder import changed_source

SCHEMES = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss")
#: Objects on their way; whoever is killed leaves one, for a rule of the bucket to clear away.
_INCOMING = ".incoming"
_KEYS_HINT = (
    "give credentials (for s3: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE), and "
    "let them read, list, write and delete there"
)
_CODE = re.compile(r"<Code>(\w+)</Code>")
_DENIED = ("AccessDenied", "SignatureDoesNotMatch", "InvalidAccessKeyId", "ExpiredToken")
_TRIES = 50


class Bucket:
    """The objects under a URL. A bucket shows an object when all of it has come, or never."""

    near = False

    def __init__(self, url: str) -> None:
        import obstore  # noqa: PLC0415 - heavy, and only for whoever has a bucket
        from obstore.store import from_url  # noqa: PLC0415

        self.name = _check_url(url)
        self._obstore = obstore
        options: dict[str, Any] = {
            "client_options": {"allow_http": True},
            "retry_config": {"max_retries": 4},
        }
        if url.startswith("s3"):
            options |= {"copy_if_not_exists": "multipart", **_profile()}
        with self._faults(""):
            self._store = from_url(self.name, **options)

    def locate(self, key: str) -> str:
        """Return the URL of the file."""
        return f"{self.name}/{key}"

    def sizes(self) -> Mapping[str, int]:
        """Return the size of every object under the URL, by its key."""
        with self._faults(""):
            rows = [row for rows in self._obstore.list(self._store) for row in rows]
        hidden = f"{_INCOMING}/"
        return {
            row["path"]: row["size"]
            for row in sorted(rows, key=lambda row: row["path"])
            if not row["path"].startswith(hidden)
        }

    def read(self, key: str) -> bytes | None:
        """Return the content, None where there is no such object."""
        return self._read(key)[0]

    def sha256(self, key: str) -> str:
        """Return the SHA-256 of the content in hex; all of it has to come."""
        digest = hashlib.sha256()
        with self._faults(key):
            try:
                for chunk in self._obstore.get(self._store, key):
                    digest.update(chunk)
            except FileNotFoundError:
                raise InputError(
                    "there is no such file", code="missing-file", file=self.locate(key)
                ) from None
        return digest.hexdigest()

    def write(self, key: str, content: bytes) -> None:
        """Make `content` the content of the object, at once."""
        with self._faults(key):
            self._obstore.put(self._store, key, content, attributes=_attributes(key))

    def update(self, key: str, change: Callable[[bytes | None], bytes]) -> bool:
        """Return whether the content had to be replaced by what `change` makes of it.

        It is replaced again where another has changed it. It is read once more after it was
        written: not every store compares and writes in one step, and then two writers pass.
        """
        for attempt in range(_TRIES):
            before, tag = self._read(key)
            after = change(before)
            if after == before:
                return attempt > 0
            self._exchange(key, after, tag)
        raise OutputError(
            "others change it all the time",
            code="locked",
            file=self.locate(key),
            hint="run again: what was written stays, and no page names what was not",
        )

    def put(self, key: str, source: Path, sha256: str) -> None:
        """Put the file where there is none, and where there is one see that it is the same.

        In parts, so that it need not be in memory, and under another name, because what comes in
        parts cannot be made to depend on there being no object.
        """
        exceptions = self._obstore.exceptions
        temporary = f"{_INCOMING}/{uuid.uuid4().hex}"
        with self._faults(key):
            try:
                self._obstore.put(
                    self._store,
                    temporary,
                    source,
                    attributes=_attributes(key),
                    use_multipart=True,
                    max_concurrency=3,
                )
                if (actual := self.sha256(temporary)) != sha256:
                    raise self._damaged(key, source, actual, sha256)
                self._obstore.copy(self._store, temporary, key, overwrite=False)
            except exceptions.AlreadyExistsError:
                if self.sha256(key) != sha256:
                    raise InputError(
                        "the index has a file of that name with other bytes",
                        code="other-bytes",
                        file=self.locate(key),
                        hint="give yours another version with build.local, or remove that one",
                    ) from None
            finally:
                with contextlib.suppress(Exception):
                    self._obstore.delete(self._store, temporary)

    def delete(self, key: str) -> None:
        """Remove the object; it may be gone already."""
        with self._faults(key), contextlib.suppress(FileNotFoundError):
            self._obstore.delete(self._store, key)

    def hold_lock(self, progress: Progress) -> contextlib.AbstractContextManager[None]:
        """Do nothing: a bucket has no locks, and needs none."""
        del progress
        return contextlib.nullcontext()

    def _read(self, key: str) -> tuple[bytes | None, dict[str, str]]:
        """Return the content, and what tells it from any other; None and nothing for none."""
        with self._faults(key):
            try:
                answer = self._obstore.get(self._store, key)
                tag = {"e_tag": answer.meta["e_tag"], "version": answer.meta["version"]}
                content = bytes(answer.bytes())
                return content, {name: value for name, value in tag.items() if value is not None}
            except FileNotFoundError:
                return None, {}

    def _exchange(self, key: str, content: bytes, tag: dict[str, str]) -> None:
        """Write the object unless it is another by now than the one of that tag."""
        exceptions = self._obstore.exceptions
        mode: Any = tag or "create"
        conflicts = (exceptions.AlreadyExistsError, exceptions.PreconditionError)
        with self._faults(key), contextlib.suppress(*conflicts):
            self._obstore.put(self._store, key, content, mode=mode, attributes=_attributes(key))

    def _damaged(self, key: str, source: Path, actual: str, sha256: str) -> RepackError:
        if (current := sha256_of(source)) != sha256:
            return changed_source(source, current, sha256)
        return OutputError(
            f"what came back has SHA-256 {actual}, not {sha256}; it was removed",
            code="damaged",
            file=self.locate(key),
            hint="publish again; if it stays so, the store or a proxy before it is at fault",
        )

    @contextlib.contextmanager
    def _faults(self, key: str) -> Iterator[None]:
        """Turn a fault of the block into one line; answers of a service may hold a key."""
        try:
            yield
        except RepackError:
            raise
        except Exception as error:  # noqa: BLE001 - obstore's have no common root
            place = self.locate(key) if key else self.name
            raise _explain(error, place) from None


def _explain(error: Exception, place: str) -> OutputError:
    """Return the reason in a few words, and what to do."""
    words = str(error)
    match = _CODE.search(words)
    code = match[1] if match else ""
    if isinstance(error, FileNotFoundError) or code == "NoSuchBucket":
        return OutputError("there is no such bucket", code="no-bucket", file=place, hint="make it")
    if isinstance(error, PermissionError) or code in _DENIED or "Unauthenticated" in repr(error):
        reason = f"access is denied ({code})" if code else "access is denied"
        return OutputError(reason, code="no-permission", file=place, hint=_KEYS_HINT)
    if "redential" in words or "metadata" in words.lower():
        return OutputError("no credentials", code="no-credentials", file=place, hint=_KEYS_HINT)
    return OutputError(
        f"cannot be reached, or fails: {code or redact(words.partition(chr(10))[0].strip())}",
        code="unreachable",
        file=place,
        hint="see that the server is up (for s3: AWS_ENDPOINT_URL), and run again",
    )


def _profile() -> dict[str, object]:
    """Return what finds the credentials of AWS_PROFILE, which obstore leaves to boto3."""
    if not os.environ.get("AWS_PROFILE"):
        return {}
    try:
        from obstore.auth.boto3 import Boto3CredentialProvider  # noqa: PLC0415 - rarely there
    except ImportError:
        raise UsageError(
            "AWS_PROFILE is read by boto3, which is not installed",
            code="driver-missing",
            hint="python -m pip install boto3, or give AWS_ACCESS_KEY_ID",
        ) from None
    return {"credential_provider": Boto3CredentialProvider()}


def _check_url(url: str) -> str:
    """Return the URL without its query; UsageError where it holds a password."""
    parts = urlsplit(url)
    if parts.password is not None:
        place = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
        raise UsageError(
            "a URL is no place for a password", code="bad-url", file=place, hint=_KEYS_HINT
        )
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))


def _attributes(key: str) -> dict[str, str]:
    """Return the media type, without which a browser and pip take no page for a page."""
    kind = mimetypes.guess_type(key)[0] or "application/octet-stream"
    return {"Content-Type": kind}
