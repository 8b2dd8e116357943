"""HTTP by `requests`, with the trust and the proxy of the user's pip, and errors in a line."""

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import requests.adapters
import truststore
import urllib3
import urllib3.exceptions

import repack
from repack.errors import FetchError
from repack.fetch.pip import read_settings

#: Seconds for a connection, and between two bytes of an answer.
TIMEOUT = (10.0, 30.0)
#: 520 and 527 are a well-known CDN's way to say that it could not reach the origin.
_PASSING_STATUSES = (408, 429, 500, 502, 503, 504, 520, 527)
#: `other` is a wrong certificate, which stays so.
PATIENCE = urllib3.Retry(
    total=5,
    other=0,
    status_forcelist=_PASSING_STATUSES,
    allowed_methods=("GET", "HEAD"),
    backoff_factor=0.5,
    backoff_max=8,
    backoff_jitter=0.5,
    raise_on_status=False,
    retry_after_max=60,
)
_NETWORK_HINT = "look at the connection, HTTPS_PROXY and NO_PROXY; run again: what came is kept"
_TLS_HINT = "a certificate authority of your own is named by SSL_CERT_FILE or PIP_CERT"


def make_session() -> requests.Session:
    """Return a session for any server, with proxies and .netrc of the environment.

    It trusts what pip trusts: the authorities of the system, and those of pip's `cert` and of the
    usual variables. A redirect takes no password to another host, and does not leave https.
    """
    truststore.inject_into_ssl()
    settings = read_settings()
    session = _Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, requests.adapters.HTTPAdapter(max_retries=PATIENCE))
    session.headers["User-Agent"] = f"repack/{repack.__version__}"
    session.headers["Accept-Encoding"] = "identity"
    bundle = settings.get("cert") or os.environ.get("SSL_CERT_FILE", "")
    session.verify = bundle if Path(bundle).is_file() else True
    session.cert = settings.get("client-cert")
    if "proxy" in settings:
        session.proxies = dict.fromkeys(("http", "https"), settings["proxy"])
    return session


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return where the answer leads; raises FetchError where that is away from https."""
        target = super().get_redirect_target(resp)
        is_secure = resp.url.startswith("https:")
        if target and is_secure and urlsplit(urljoin(resp.url, target)).scheme != "https":
            resp.close()
            reason = f"is redirected to {target}, which is no https URL"
            hint = "what comes from there could be anybody's; ask the server's keeper"
            raise FetchError(reason, code="insecure-redirect", file=resp.url, hint=hint)
        return target


def get(
    session: requests.Session,
    url: str,
    *,
    hint: str = "",
    **options: Any,  # noqa: ANN401
) -> requests.Response:
    """Return the answer of a server that has something: 200, 206 or 416.

    `options` are those of `requests`; `hint` is what to do where the server denies access.
    Raises FetchError of code `http-<status>`, `rate-limit`, `network` or `tls`.
    """
    # What is given with a request goes before what the environment says.
    options = {"proxies": session.proxies, "stream": True, "timeout": TIMEOUT, **options}
    try:
        response = session.get(url, **options)
    except (OSError, ValueError) as error:
        # All of requests' errors are OSErrors. What they hold has the password in it.
        raise explain(error, url) from None
    status = response.status_code
    if status in {200, 206, 416}:
        return response
    response.close()
    code, reason = f"http-{status}", f"the server says {status} {response.reason}"
    hint = _NETWORK_HINT if status in _PASSING_STATUSES else hint
    limit = _read_limit(response.headers) if status in {403, 429} else ""
    if limit:
        code, hint = "rate-limit", "run again then"
        reason += f": its limit of requests is used up until {limit}"
    raise FetchError(reason, code=code, file=url, hint=hint)


def _read_limit(headers: Mapping[str, str]) -> str:
    """Return when a rate limit ends, "" where the server names none."""
    reset, pause = headers.get("X-RateLimit-Reset", ""), headers.get("Retry-After", "")
    if headers.get("X-RateLimit-Remaining") == "0" and reset.isdecimal():
        return f"{datetime.fromtimestamp(min(int(reset), 2**32), UTC):%Y-%m-%d %H:%M} UTC"
    return f"{pause} seconds from now" if pause.isdecimal() else pause


def explain(error: Exception, url: str) -> FetchError:
    """Return an error of requests or urllib3 in one line, in its own words without the query."""
    is_tls = isinstance(error, requests.exceptions.SSLError | urllib3.exceptions.SSLError)
    code, hint = ("tls", _TLS_HINT) if is_tls else ("network", _NETWORK_HINT)
    kind = "no secure connection" if is_tls else "no answer"
    words = re.sub(r"\?\S*", "", str(error).rpartition("(Caused by ")[2])
    return FetchError(f"{kind}: {words}", code=code, file=url, hint=hint)
