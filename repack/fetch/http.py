"""HTTP by `requests`: trust, proxy and logins of the user's pip, errors in a line, downloads."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, unquote, urljoin, urlsplit

import requests
import requests.adapters
import truststore
import urllib3
import urllib3.exceptions

import repack
from repack.console import Task
from repack.errors import FetchError
from repack.fetch.pip import find_authorities, read_settings
from repack.files import not_written, write

_CHUNK = 2**20
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
    session.verify = find_authorities() or True
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
            reason = f"is redirected to {target}, which is not an https URL"
            hint = "anyone could change it on its way; ask the server's administrator"
            raise FetchError(reason, code="insecure-redirect", file=resp.url, hint=hint)
        return target


def get(
    session: requests.Session,
    url: str,
    headers: Mapping[str, str],
    *,
    hint: str,
    auth: tuple[str, str] | None = None,
) -> requests.Response:
    """Return the answer of a server that has something (200, 206 or 416), its body not yet read.

    `hint` is what to do where the server denies access. Raises FetchError of code
    `http-<status>`, `rate-limit`, `network` or `tls`.
    """
    try:
        response = session.get(
            url,
            headers=headers,
            auth=auth,
            stream=True,
            timeout=TIMEOUT,
            # What is given with a request goes before what the environment says.
            proxies=session.proxies,
        )
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
        code, hint = "rate-limit", "run again then, or as somebody who may ask more often"
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
    code, kind, hint = "network", "no answer", _NETWORK_HINT
    # Of requests it is a plain OSError that REQUESTS_CA_BUNDLE names no file.
    is_plain = type(error) is OSError
    if is_plain or isinstance(error, requests.exceptions.SSLError | urllib3.exceptions.SSLError):
        code, kind, hint = "tls", "no secure connection", _TLS_HINT
    elif isinstance(error, ValueError):
        code = "bad-url"
    elif isinstance(error, requests.TooManyRedirects):
        code, hint = "redirects", "look at the URL: nothing is there but what leads back"
    words = re.sub(r"\?\S*", "", str(error).rpartition("(Caused by ")[2])
    return FetchError(f"{kind}: {words}", code=code, file=url, hint=hint)


def origin(url: str) -> tuple[str, str | None, int | None]:
    """Return what has to be equal for two URLs to be of one host: scheme, name and port."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)


def find_login(url: str) -> tuple[str, str] | None:
    """Return name and password that pip's configuration has for the host, as it is reached."""
    settings = read_settings()
    names = ("index-url", "extra-index-url", "find-links")
    for index in " ".join(settings.get(name, "") for name in names).split():
        parts = urlsplit(index)
        if parts.username and origin(index) == origin(url):
            return unquote(parts.username), unquote(parts.password or "")
    return None


def add_login(url: str, login: tuple[str, str] | None) -> str:
    """Return the URL with the name and the password in it; keyring is asked where there is none."""
    secrets = ":".join(quote(word, safe="") for word in login or () if word)
    return url.replace("://", f"://{secrets}@", 1) if login else url


def refuse_encoded(response: requests.Response) -> None:
    """Raise FetchError for a file that is packed on its way: pip takes it for other bytes."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise FetchError(
            "the server sent it in an encoding that was not asked for",
            code="content-encoding",
            file=response.url,
        )


def download(
    ask: Callable[[dict[str, str]], requests.Response], part: Path, task: Task, sha256: str | None
) -> None:
    """Fill the file `part` with what `ask` gets, from where an earlier run has left it.

    `ask` takes the headers of a request. A `sha256` that is known decides at the end, elsewhere.
    Tries again as a session does, and each new byte renews the tries. Raises FetchError.
    """
    # Within a body, other faults than a wrong certificate pass.
    patience = fresh = PATIENCE.new(other=None)
    furthest = _size_of(part)
    task.advance(furthest)
    while True:
        size, mark, headers = _size_of(part), _read_mark(part), {}
        # Safe where a hash decides, or where the mark lets changed content come whole.
        if size and (mark or sha256):
            headers = {"Range": f"bytes={size}-", **({"If-Range": mark} if mark else {})}
        if size > furthest:
            patience, furthest = fresh, size
        with ask(headers) as response:
            try:
                return _take_answer(response, part, task)
            except urllib3.exceptions.HTTPError as error:
                try:
                    patience = patience.increment("GET", error=error)
                except urllib3.exceptions.MaxRetryError:
                    raise explain(error, response.url) from None
        patience.sleep()


def _take_answer(response: requests.Response, part: Path, task: Task) -> None:
    """Append the body to the file; raises urllib3's errors where it is not all, or no such part."""
    headers, total = response.headers, read_total(response)
    refuse_encoded(response)
    size, place = _size_of(part), headers.get("Content-Range", "")
    old, new = _read_mark(part), headers.get("ETag", "")
    # A weak one (W/) promises nothing about bytes.
    new = new if new.startswith('"') else ""
    if response.status_code == requests.codes.ok:
        discard(part, task)
        # After the old bytes are gone: never may they stand beside the mark of others.
        write(_mark_of(part), new.encode("latin-1"))
    # It is the rest, or 416 says that it is all here.
    elif (old and new and old != new) or not re.fullmatch(
        rf"bytes ({size}-\d+/(\d+|\*)|\*/{size})", place
    ):
        discard(part, task)
        raise urllib3.exceptions.ProtocolError(f"for the rest the server sends {place}")
    task.resize(total)
    if response.status_code != requests.codes.requested_range_not_satisfiable:
        # Not by `iter_content`: that drops what it has of a chunk when the connection breaks.
        with part.open("ab", buffering=0) as stream:
            while chunk := response.raw.read1(_CHUNK, decode_content=False):
                try:
                    stream.write(chunk)
                except OSError as error:
                    raise not_written(part, error) from error
                task.advance(len(chunk))
    if total not in {None, part.stat().st_size}:
        raise urllib3.exceptions.ProtocolError(f"{part.stat().st_size} of {total} bytes came")


def read_total(response: requests.Response) -> int | None:
    """Return the size of the whole file, None where the server does not tell."""
    total = response.headers.get("Content-Range", "").rpartition("/")[2]
    if not total and "Transfer-Encoding" not in response.headers:
        total = response.headers.get("Content-Length", "")
    return int(total) if total.isdecimal() else None


def discard(part: Path, task: Task) -> None:
    """Forget what has come so far."""
    task.advance(-_size_of(part))
    part.unlink(missing_ok=True)
    _mark_of(part).unlink(missing_ok=True)


def _mark_of(part: Path) -> Path:
    return part.with_suffix(".etag")


def _read_mark(part: Path) -> str:
    # As http.client reads headers.
    return _mark_of(part).read_text("latin-1") if _mark_of(part).is_file() else ""


def _size_of(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0
