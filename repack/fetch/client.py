"""HTTP, by `requests`; its types stay in here.

`requests` is what pip and twine stand on: proxies, certificates and .netrc are taken from the
environment as a user of those expects, and its releases are prompt where security is concerned.
Redirects are followed here and not by it, because a token has to stay with the host it is for.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

import requests
import requests.auth
import urllib3.exceptions

import repack
from repack.errors import FetchError, shown_url
from repack.fetch.patience import PassingFault, Patience

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from repack.console import Progress
    from repack.fetch.request import Request

CHUNK = 2**20
# urllib3 begins with what met the fault, in one form or another by its version.
_MET_BY = re.compile(r"^(<.* object at 0x\w+>|HTTPS?Connection(Pool)?\([^)]*\)): ")
#: The code of an answer that another host would have given.
ELSEWHERE = "redirect-elsewhere"
_REDIRECTS = 10
_REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
# 520 and 527 are a well-known CDN's way to say that it could not reach the origin.
PASSING_STATUSES = frozenset({408, 429, 500, 502, 503, 504, 520, 527})
_LARGEST_DOCUMENT = 16 * 2**20
_OUR_HEADERS = {"User-Agent": f"repack/{repack.__version__}", "Accept-Encoding": "identity"}
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Answer:
    """The server's answer: status, headers and the body as it comes."""

    status: int
    headers: Mapping[str, str]
    _response: requests.Response

    def read(self) -> bytes:
        """Return the next bytes as soon as there are any, up to CHUNK; none at the end.

        `read1` and not `iter_content`: that one drops what it has of a chunk when the connection
        breaks, and lets a slow server fill a whole chunk before anybody sees a byte.
        """
        try:
            return bytes(self._response.raw.read1(CHUNK, decode_content=False) or b"")
        except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as error:
            raise PassingFault(_broken_body(error)) from error

    @property
    def url(self) -> str:
        """Where the body comes from, redirects followed."""
        return str(self._response.url)

    @property
    def length(self) -> int | None:
        """The announced length of the body in bytes."""
        said = self.headers.get("Content-Length", "").strip()
        return int(said) if said.isdecimal() and not self.chunked else None

    @property
    def chunked(self) -> bool:
        """Whether the body's end is marked within it."""
        return "chunked" in self.headers.get("Transfer-Encoding", "").lower()


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """A document: where it was found, its media type, its bytes."""

    url: str
    kind: str
    content: bytes


class Client:
    """Asks servers, patiently."""

    def __init__(self, patience: Patience | None = None) -> None:
        """Take proxies, certificates and .netrc from the environment."""
        self.patience = Patience() if patience is None else patience

    def document(self, request: Request, progress: Progress) -> object:
        """Return the JSON document at a URL."""
        host = urlsplit(request.url).hostname
        with progress.task(f"Asking {host}", unit="steps") as task:
            text = self.patience.persist(
                lambda: self._document(request), what=shown_url(request.url), task=task, kept=""
            )
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise FetchError(
                "does not answer with JSON",
                code="not-json",
                file=shown_url(request.url),
                hint="is this the URL of an API?",
            ) from None

    def _document(self, request: Request) -> bytes:
        with self.opened(request) as answer:
            return self._content(answer, request)

    def _content(self, answer: Answer, request: Request) -> bytes:
        content = b""
        while chunk := answer.read():
            content += chunk
            if len(content) > _LARGEST_DOCUMENT:
                reason = "answers with more than any document of this kind holds"
                raise FetchError(reason, code="size", file=shown_url(request.url))
        return content

    def page(self, request: Request, progress: Progress) -> Page:
        """Return a document of any kind, and where it was found in the end."""
        host = urlsplit(request.url).hostname
        with progress.task(f"Asking {host}", unit="steps") as task:
            return self.patience.persist(
                lambda: self._page(request), what=shown_url(request.url), task=task, kept=""
            )

    def _page(self, request: Request) -> Page:
        with self.opened(request) as answer:
            content = self._content(answer, request)
            kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            return Page(url=answer.url, kind=kind, content=content)

    @contextlib.contextmanager
    def opened(
        self, request: Request, headers: Mapping[str, str] = _NO_HEADERS
    ) -> Iterator[Answer]:
        """Open the URL, redirects followed, and give the answer of a server that has something.

        That is 200, 206 or 416. Raises `PassingFault` where another try may help, and
        `FetchError` where it will not.
        """
        # A session of its own for each: nothing is left open, and threads share nothing.
        with (
            requests.Session() as session,
            self._followed(
                session, request, {**_OUR_HEADERS, **request.headers, **headers}
            ) as response,
        ):
            self._check_status(response, request)
            encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
            if encoding not in {"", "identity"}:
                raise FetchError(
                    f"is sent encoded as {encoding!r}, though we ask for it as it is",
                    code="content-encoding",
                    file=shown_url(request.url),
                    hint="a proxy between here and there may be the cause",
                )
            yield Answer(response.status_code, response.headers, response)

    def _followed(
        self, session: requests.Session, request: Request, headers: Mapping[str, str]
    ) -> requests.Response:
        """Return the first answer that is no redirect."""
        url, seen = request.url, {request.url}
        while True:
            response = self._send(session, url, headers, request)
            target = session.get_redirect_target(response)
            if response.status_code not in _REDIRECT_STATUSES or not target:
                return response
            response.close()
            url = _redirected(url, target)
            if request.stays and urlsplit(url).hostname != urlsplit(request.url).hostname:
                raise FetchError(
                    f"is redirected to {shown_url(url)}, which is another host",
                    code=ELSEWHERE,
                    file=shown_url(request.url),
                    hint=request.hint,
                )
            if url in seen or len(seen) > _REDIRECTS:
                raise FetchError(
                    "is redirected in a loop" if url in seen else "is redirected without end",
                    code="redirect-loop",
                    file=shown_url(request.url),
                    hint=f"the last place named is {shown_url(url)}",
                )
            seen.add(url)

    def _send(
        self, session: requests.Session, url: str, headers: Mapping[str, str], request: Request
    ) -> requests.Response:
        """Return the answer to one request, its body not read yet."""
        patience = self.patience
        # Giving an `auth` of our own also keeps .netrc out of requests with a token.
        auth = _Token(request) if request.token or request.login else None
        try:
            prepared = session.prepare_request(
                requests.Request("GET", url, headers=headers, auth=auth)
            )
            settings = session.merge_environment_settings(url, {}, True, None, None)
            own = origin(url) == origin(request.url)
            # Not by session.send: that one looks into redirects, and reads their bodies whole.
            return session.get_adapter(url).send(
                prepared,
                stream=True,
                timeout=(patience.connect, patience.read),
                proxies=settings["proxies"],
                verify=(request.cacert if own else None) or settings["verify"] or True,
                cert=(request.client_cert if own else None) or settings["cert"],
            )
        except (OSError, ValueError) as error:
            # All of requests' errors are OSErrors.
            raise explained(error, url) from error

    def _check_status(self, response: requests.Response, request: Request) -> None:
        status, headers = response.status_code, response.headers
        if status in {200, 206, 416}:
            return
        self._check_rate_limit(response, request)
        said = f"the server says {status} {response.reason or ''}".rstrip()
        if status in PASSING_STATUSES:
            raise PassingFault(said, pause=self.patience.retry_after(headers))
        hint = request.hint if status in {401, 403, 404, 410} else ""
        raise FetchError(said, code=f"http-{status}", file=shown_url(request.url), hint=hint)

    def _check_rate_limit(self, response: requests.Response, request: Request) -> None:
        """Raise where a limit that is used up is the reason; say when it ends."""
        status, headers = response.status_code, response.headers
        used_up = headers.get("X-RateLimit-Remaining", "").strip() == "0"
        if not (status in {403, 429} and used_up) and not (
            status == 403 and "Retry-After" in headers  # noqa: PLR2004 - HTTP's own number
        ):
            return
        reset = headers.get("X-RateLimit-Reset", "").strip()
        now = self.patience.now()
        until = float(reset) if reset.isdecimal() else now + self._asked_wait(headers)
        moment = datetime.fromtimestamp(min(until, 2.0**32), UTC)
        minutes = max(1, round((until - now) / 60))
        raise FetchError(
            f"the server's limit of requests is used up until {moment:%Y-%m-%d %H:%M} UTC, "
            f"in {minutes} minute{'s' if minutes > 1 else ''}",
            code="rate-limit",
            file=shown_url(request.url),
            hint=request.hint,
        )

    def _asked_wait(self, headers: Mapping[str, str]) -> float:
        said = headers.get("Retry-After", "").strip()
        return float(said) if said.isdecimal() else self.patience.retry_after(headers) or 60.0


class _Token(requests.auth.AuthBase):
    """Adds the token where a request goes to the host it is for; elsewhere adds nothing."""

    def __init__(self, request: Request) -> None:
        self._origin = origin(request.url)
        self._token = request.token
        self._login = request.login

    def __call__(self, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        if origin(prepared.url or "") != self._origin:
            return prepared
        if self._login is not None:
            user, password = (part.encode() for part in self._login)
            requests.auth.HTTPBasicAuth(user, password)(prepared)
            return prepared
        prepared.headers["Authorization"] = f"Bearer {self._token}"
        return prepared


def origin(url: str) -> tuple[str, str, int | None]:
    """Return what has to be equal for two URLs to be of one host: scheme, name and port."""
    parts = urlsplit(url)
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    return parts.scheme, (parts.hostname or "").lower(), port


def _redirected(url: str, target: str) -> str:
    """Return where `url` is redirected to; away from https is nowhere we go."""
    try:
        found = urljoin(url, target)
        scheme, right = urlsplit(found).scheme, bool(urlsplit(found).hostname)
    except ValueError:
        found, scheme, right = target, "", False
    if scheme not in {"http", "https"} or not right:
        reason = f"is redirected to what is no URL: {target!r}"
        raise FetchError(reason, code="redirect", file=shown_url(url))
    if urlsplit(url).scheme == "https" and scheme != "https":
        raise FetchError(
            f"is redirected from https to {shown_url(found)}",
            code="insecure-redirect",
            file=shown_url(url),
            hint="what comes over plain http could be anybody's; ask the server's keeper",
        )
    return found


def explained(error: Exception, url: str) -> PassingFault | FetchError:
    """Return what an error of requests comes to: worth another try, or the end."""
    if isinstance(error, requests.exceptions.SSLError):
        return FetchError(
            f"no secure connection: {_innermost(error)}",
            code="tls",
            file=shown_url(url),
            hint="a certificate authority of your own is named by REQUESTS_CA_BUNDLE",
        )
    if isinstance(error, requests.exceptions.ConnectionError | requests.exceptions.Timeout):
        return PassingFault(_no_answer(error))
    # OSError: requests says so of a REQUESTS_CA_BUNDLE that is not there.
    reason = f"cannot be asked for: {_innermost(error)}"
    return FetchError(reason, code="url", file=shown_url(url))


def _no_answer(error: Exception) -> str:
    """Return in a few words why no answer came."""
    if isinstance(error, requests.exceptions.ProxyError):
        return f"the proxy cannot be reached or refuses ({_innermost(error)})"
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return "no connection in time"
    if isinstance(error, requests.exceptions.ReadTimeout):
        return "no answer in time"
    return f"no connection ({_innermost(error)})"


def _broken_body(error: Exception) -> str:
    """Return in a few words how a body broke off."""
    if isinstance(error, urllib3.exceptions.ReadTimeoutError | TimeoutError):
        return "the server stopped sending"
    return f"the connection broke off ({_innermost(error)})"


def _innermost(error: BaseException) -> str:
    """Return the reason at the bottom of a chain of wrapped errors, without object addresses."""
    seen: set[int] = set()
    while id(error) not in seen:
        seen.add(id(error))
        inner = [arg for arg in (*error.args, getattr(error, "reason", None)) if arg is not error]
        causes = [arg for arg in inner if isinstance(arg, BaseException)]
        if not causes:
            break
        error = causes[-1]
    text = str(getattr(error, "strerror", None) or error)
    return _MET_BY.sub("", text) or type(error).__name__
