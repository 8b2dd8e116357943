"""HTTP by `requests`: sessions that are patient and trust what pip trusts, and errors in a line."""

import os
import re
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, TypeAlias
from urllib.parse import urljoin, urlsplit

import requests
import requests.adapters
import truststore
import urllib3
import urllib3.exceptions

import repack
from repack.errors import FetchError
from repack.fetch.pipconfig import read_settings

_Auth: TypeAlias = Callable[[requests.PreparedRequest], requests.PreparedRequest]
# 520 and 527 are a well-known CDN's way to say that it could not reach the origin.
_PASSING_STATUSES = (408, 429, 500, 502, 503, 504, 520, 527)
#: Seconds for a connection, and between two bytes of an answer.
TIMEOUT = (10.0, 30.0)
#: Seconds that a server may ask us to wait.
_LONGEST_PAUSE = 60.0
_NETWORK_HINT = "look at the connection, HTTPS_PROXY and NO_PROXY, and run again"
_TLS_HINT = "a certificate authority of your own is named by SSL_CERT_FILE or PIP_CERT"
# urllib3 begins with what met the fault, in one form or another by its version.
_MET_BY = re.compile(r"^(<.* object at 0x\w+>|HTTPS?Connection(Pool)?\([^)]*\)): ")


class Patience(urllib3.Retry):
    """urllib3's Retry; a wrong certificate stays so, and no Retry-After is obeyed for long."""

    def increment(self, *args: Any, **options: Any) -> Self:  # noqa: ANN401 - urllib3's
        """Return what is left of the tries."""
        error = options.get("error")
        if isinstance(error, urllib3.exceptions.SSLError):
            raise error
        return super().increment(*args, **options)

    def parse_retry_after(self, retry_after: str) -> float:
        """Return the seconds that the server asks for."""
        try:
            return min(super().parse_retry_after(retry_after), _LONGEST_PAUSE)
        except urllib3.exceptions.InvalidHeader:
            return 0.0


PATIENCE = Patience(
    total=5,
    status_forcelist=_PASSING_STATUSES,
    allowed_methods=("GET", "HEAD"),
    backoff_factor=0.5,
    backoff_max=8,
    backoff_jitter=0.5,
    raise_on_status=False,
)


def make_session(patience: Patience = PATIENCE) -> requests.Session:
    """Return a session for any server: proxies and .netrc are the environment's.

    It trusts what pip trusts: the authorities of the system, and those of pip's `cert` and of the
    usual variables. A redirect takes no password to another host, and does not leave https.
    """
    session = _Session()
    session.mount("https://", _Adapter(max_retries=patience))
    session.mount("http://", _Adapter(max_retries=patience))
    session.headers["User-Agent"] = f"repack/{repack.__version__}"
    session.headers["Accept-Encoding"] = "identity"
    bundle = os.environ.get("SSL_CERT_FILE", "")
    session.verify = read_settings().get("cert") or (Path(bundle).is_file() and bundle) or True
    return session


class _Adapter(requests.adapters.HTTPAdapter):
    """Trusts the system's authorities, and what `verify` names besides."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - requests'
        context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        super().init_poolmanager(*args, **options, ssl_context=context)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:  # noqa: ANN401 - requests'
        context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        return super().proxy_manager_for(
            proxy, **options, ssl_context=context, proxy_ssl_context=context
        )


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return where the answer leads; away from https, or to no web server, is nowhere."""
        target = super().get_redirect_target(resp)
        try:
            place = urljoin(resp.url, target or "")
            scheme = urlsplit(place).scheme
        except ValueError:
            place, scheme = target or "", ""
        if scheme == "https" or (scheme == "http" and urlsplit(resp.url).scheme == "http"):
            return target
        resp.close()
        reason = f"is redirected to {place}, which is no https URL"
        hint = "what comes from there could be anybody's; ask the server's keeper"
        raise FetchError(reason, code="insecure-redirect", file=resp.url, hint=hint)

    def rebuild_auth(
        self, prepared_request: requests.PreparedRequest, response: requests.Response
    ) -> None:
        """Take a password away from another host, and do not put .netrc's in a token's place."""
        had_token = response.request.headers.get("Authorization", "").startswith("Bearer ")
        super().rebuild_auth(prepared_request, response)  # type: ignore[no-untyped-call]
        if had_token and prepared_request.headers.get("Authorization", "").startswith("Basic "):
            del prepared_request.headers["Authorization"]


def make_bearer_auth(token: str) -> _Auth:
    """Return what adds a token to a request; `requests` takes it away from other hosts."""

    def add(prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        prepared.headers["Authorization"] = f"Bearer {token}"
        return prepared

    return add


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One GET request; `hint` is what to do where the server denies access."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    auth: _Auth | tuple[str, str] | None = field(default=None, repr=False)
    hint: str = ""


def get(
    session: requests.Session, request: Request, headers: Mapping[str, str] | None = None
) -> requests.Response:
    """Return the answer of a server that has something, its body not read yet.

    That is 200, 206 or 416. Raises FetchError of code `http-<status>`, `rate-limit`, `network`,
    `tls` or `url`.
    """
    try:
        response = session.get(
            request.url,
            headers={**request.headers, **(headers or {})},
            auth=request.auth,
            stream=True,
            timeout=TIMEOUT,
        )
    except (OSError, ValueError) as error:
        # All of requests' errors are OSErrors. What they hold has the password in it.
        raise explain(error, request.url) from None
    status = response.status_code
    if status in {200, 206, 416}:
        return response
    response.close()
    reason = f"the server says {status} {response.reason or ''}".rstrip()
    code, hint = f"http-{status}", _NETWORK_HINT if status in _PASSING_STATUSES else request.hint
    until = _limit_of(response) if status in {403, 429} else None
    if until is not None:
        code, minutes = "rate-limit", max(1, round((until - time.time()) / 60))
        moment = datetime.fromtimestamp(min(until, 2.0**32), UTC)
        reason = f"the server's limit of requests is used up until {moment:%Y-%m-%d %H:%M} UTC"
        reason += f", in {minutes} minute{'s' if minutes > 1 else ''}"
    raise FetchError(reason, code=code, file=request.url, hint=hint)


def _limit_of(response: requests.Response) -> float | None:
    """Return when the server's rate limit ends, if it says so."""
    headers = response.headers
    pause, reset = headers.get("Retry-After", ""), headers.get("X-RateLimit-Reset", "")
    if headers.get("X-RateLimit-Remaining") == "0" and reset.isdecimal():
        return float(reset)
    return time.time() + float(pause) if pause.isdecimal() else None


def explain(error: Exception, url: str) -> FetchError:
    """Return the reason of an error of requests or urllib3 in one line."""
    reason = _innermost(error)
    code, hint = "network", f"{_NETWORK_HINT}: what has arrived is kept"
    match error:
        case requests.exceptions.SSLError():
            code, reason, hint = "tls", f"no secure connection: {reason}", _TLS_HINT
        case requests.exceptions.ProxyError():
            reason = f"the proxy cannot be reached or refuses ({reason})"
        case requests.exceptions.Timeout() | urllib3.exceptions.TimeoutError():
            reason = "no answer in time"
        case requests.exceptions.ConnectionError():
            reason = f"no connection ({reason})"
        case urllib3.exceptions.HTTPError():
            reason = f"the connection broke off ({reason})"
        case requests.exceptions.TooManyRedirects():
            code, reason, hint = "redirect-loop", "is redirected without end", ""
        case _:
            code, reason, hint = "url", f"cannot be asked for: {reason}", ""
    return FetchError(reason, code=code, file=url, hint=hint)


def _innermost(error: BaseException) -> str:
    """Return the reason at the bottom of a chain of wrapped errors, without address and query."""
    seen: set[int] = set()
    while id(error) not in seen:
        seen.add(id(error))
        inner = [*error.args, getattr(error, "reason", None)]
        causes = [cause for cause in inner if isinstance(cause, BaseException)]
        error = causes[-1] if causes else error
    text = str(getattr(error, "strerror", None) or error)
    return _MET_BY.sub("", re.sub(r"\?\S*", "", text)) or type(error).__name__
