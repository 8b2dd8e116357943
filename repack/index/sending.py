"""Uploads, by `twine` as a library; its types stay in here.

As a library and not as a program: names and passwords are found as twine finds them and stand in
no command line, the server's answer is had as it is and not as text to be taken apart, there is a
limit to how long it may keep silent, and tries are made with pauses and not at once.
"""

from __future__ import annotations

import http.client
import io
import logging
import os
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast
from urllib.parse import urlsplit

from requests_toolbelt import MultipartEncoder, MultipartEncoderMonitor
from twine.commands.check import _RENDERERS
from twine.exceptions import NonInteractive, TwineException
from twine.package import PackageFile
from twine.repository import Repository
from twine.settings import Settings

from repack.errors import ConfigError, FetchError, InputError, UsageError, redact, shown_url
from repack.fetch.http import PASSING_STATUSES, explained
from repack.fetch.patience import PassingFault

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from repack.console import Progress, Task
    from repack.fetch.http import Client


class _Response(Protocol):
    """What is looked at of a server's answer."""

    status_code: int
    reason: str
    text: str
    headers: Mapping[str, str]


_EXISTS = frozenset({400, 403, 409})
_WHY: Mapping[int, str] = {
    401: "set TWINE_USERNAME and TWINE_PASSWORD, or let .pypirc or keyring hold them",
    # What some say where name or password are wrong.
    403: "look at TWINE_USERNAME and TWINE_PASSWORD, and at whether that user may upload there",
    404: "look at the URL: --repository-url is where twine uploads to",
    405: "look at the URL: --repository-url is where twine uploads to",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """Where uploads go, and as whom."""

    url: str
    login: tuple[str, str] | None = field(default=None, repr=False)
    cacert: str | None = None
    client_cert: str | None = None

    def reason(self, response: _Response) -> str:
        """Return a server's words for its answer: HTTP's own where they may hold the password."""
        password = self.login[1] if self.login else ""
        if password and password in (response.reason or ""):
            return http.client.responses.get(response.status_code, "")
        return redact(response.reason or "")


def account_of(url: str | None, repository: str | None, config_file: Path | None) -> Account:
    """Return what twine's settings, `.pypirc`, environment and keyring say."""
    logging.getLogger("twine").setLevel(logging.CRITICAL)
    environment = os.environ
    given: dict[str, Any] = {"config_file": str(config_file)} if config_file else {}
    if url is None and repository is None:
        url = environment.get("TWINE_REPOSITORY_URL")
        repository = environment.get("TWINE_REPOSITORY")
    try:
        settings = Settings(
            repository_url=url,
            repository_name=repository or "pypi",
            username=environment.get("TWINE_USERNAME"),
            password=environment.get("TWINE_PASSWORD"),
            cacert=environment.get("TWINE_CERT"),
            client_cert=environment.get("TWINE_CLIENT_CERT"),
            non_interactive=True,
            **given,
        )
        settings.check_repository_url()
        place = str(settings.repository_config["repository"])
        _check_url(place)
        return Account(
            url=place,
            login=_login(settings),
            cacert=settings.cacert,
            client_cert=settings.client_cert,
        )
    except (TwineException, ValueError) as error:
        said = str(error).split("\n")[0]
        hint = "give --repository-url, or mend the file"
        raise ConfigError(said, code="twine", file=config_file or "", hint=hint) from None
    finally:
        logging.getLogger("twine").setLevel(logging.CRITICAL)


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise UsageError(
            "the URL holds a name or a password",
            code="secret-in-url",
            file=shown_url(url),
            hint="put them into TWINE_USERNAME and TWINE_PASSWORD, .pypirc or keyring",
        )


def _login(settings: Settings) -> tuple[str, str] | None:
    """Return user and password; None where nothing is known, as some indexes ask for none."""
    try:
        user, password = settings.username, settings.password
    except NonInteractive:
        return None
    return (user or "", password or "") if user or password else None


def form_of(path: Path) -> list[tuple[str, Any]]:
    """Return what twine sends of a wheel beside its bytes; refuses what `twine check` refuses."""
    try:
        metadata = PackageFile.from_filename(str(path), None).metadata_dictionary()
    except (TwineException, ValueError) as error:
        said = str(error).split("\n")[0]
        raise InputError(
            f"twine cannot read it: {said}", code="twine", file=path, hint="mend its METADATA"
        ) from None
    _check_description(cast("Mapping[str, Any]", metadata), path)
    return Repository._convert_metadata_to_list_of_tuples(metadata)  # noqa: SLF001 - twine's form


def _check_description(metadata: Mapping[str, Any], path: Path) -> None:
    """Raise where the description would not be shown as it is meant."""
    text = metadata.get("description")
    kind = str(metadata.get("description_content_type") or "text/x-rst").partition(";")[0].strip()
    renderer = _RENDERERS.get(kind, _RENDERERS[None])
    if not text or renderer is None:
        return
    said = io.StringIO()
    if renderer.render(text, stream=said) is None:
        first = next(iter(said.getvalue().strip().split("\n")))
        raise InputError(
            f"its description would not be rendered: {first}",
            code="description",
            file=path,
            member="METADATA",
            hint="`twine check` tells all of it",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Sender:
    """Sends files to one account."""

    account: Account
    client: Client
    progress: Progress
    hint_too_large: Mapping[str, str]

    def send(self, path: Path, form: list[tuple[str, Any]], size: int) -> bool:
        """Upload a file; False where the server says that it has one of that name."""
        with self.progress.task(f"Uploading {path.name}", total=size) as task:
            return self.client.patience.persist(
                lambda: self._attempt(path, form, task),
                what=self._place(path),
                task=task,
                kept="only what lacks is sent",
            )

    def _attempt(self, path: Path, form: list[tuple[str, Any]], task: Task) -> bool:
        patience, done = self.client.patience, 0

        def advance(monitor: MultipartEncoderMonitor) -> None:
            nonlocal done
            task.advance(monitor.bytes_read - done)
            done = monitor.bytes_read

        account = self.account
        with closing(Repository(account.url, *(account.login or (None, None)))) as repository:
            repository.set_certificate_authority(account.cacert)
            repository.set_client_certificate(account.client_cert)
            with path.open("rb") as stream:
                parts = [*form, (":action", "file_upload"), ("protocol_version", "1")]
                parts.append(("content", (path.name, stream, "application/octet-stream")))
                body = MultipartEncoderMonitor(MultipartEncoder(parts), advance)
                try:
                    response = repository.session.post(
                        account.url,
                        data=body,
                        allow_redirects=False,
                        headers={"Content-Type": body.content_type},
                        timeout=(patience.connect, patience.answer),
                    )
                except OSError as error:
                    task.advance(-done)
                    # From None: what requests holds of the request has the password in it.
                    raise self._fault(error, path) from None
            task.advance(-done if response.status_code in PASSING_STATUSES else 0)
            return self._judged(cast("_Response", response), path)

    def _fault(self, error: OSError, path: Path) -> PassingFault | FetchError:
        found = explained(error, self.account.url)
        if isinstance(found, PassingFault):
            return found
        return FetchError(found.what, code=found.code, file=self._place(path), hint=found.hint)

    def _judged(self, response: _Response, path: Path) -> bool:
        """Return whether the file was taken; raise what else the server says."""
        status = response.status_code
        if status in {200, 201, 202, 204}:
            return True
        if status == 409 or (status in _EXISTS and "exist" in self._words(response).lower()):  # noqa: PLR2004 - HTTP's own number
            return False
        said = f"the server says {status} {self.account.reason(response)}".rstrip()
        if 300 <= status < 400:  # noqa: PLR2004 - HTTP's own numbers
            target = shown_url(response.headers.get("Location", ""))
            raise FetchError(
                f"{said}, and sends us to {target}",
                code="redirect",
                file=self._place(path),
                hint="nothing is sent there; if that is right, name it by --repository-url",
            )
        if status in PASSING_STATUSES:
            raise PassingFault(said, pause=self.client.patience.retry_after(response.headers))
        hint = _WHY.get(status, "ask the index's keeper, and run again: only what lacks is sent")
        if status == 413:  # noqa: PLR2004 - HTTP's own number
            hint = self.hint_too_large.get(path.name, "")
        raise FetchError(said, code=f"http-{status}", file=self._place(path), hint=hint)

    def _words(self, response: _Response) -> str:
        return f"{response.reason or ''} {response.text[:2000]}"

    def _place(self, path: Path) -> str:
        return f"{path.name} -> {shown_url(self.account.url)}"
