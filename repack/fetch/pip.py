"""Requirements: pip chooses as the user has configured it, and the file is downloaded here."""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import url2pathname

import requests
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from repack.config import IndexSource
from repack.errors import FetchError, ToolError
from repack.fetch.archive import check_archive, check_filename, filename_of
from repack.fetch.download import download_wheel
from repack.fetch.http import Request, get
from repack.fetch.pipconfig import last_words, read_settings, run_pip
from repack.fetch.values import Fetched, Job
from repack.files import sha256_of, workspace
from repack.process import Finished, run

LOGIN_HINT = (
    "give name and password for that host as for pip: in the index URL of pip.conf or "
    "PIP_INDEX_URL, in .netrc or in keyring"
)
_PIP_HINT = "python -m pip install --upgrade pip"
_INDEX_HINT = "look at the requirement, and at `python -m pip config list`: which index is meant?"
#: What pip may yet be able to fetch: by another way to log in, from a host it is told to trust.
_LEFT_TO_PIP = frozenset({"http-401", "http-403", "http-407", "tls"})
_Login: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Choice:
    """The file that pip has chosen; `sha256` is None where the index does not say it."""

    url: str
    filename: str
    sha256: str | None


def fetch_requirement(source: IndexSource, job: Job) -> Fetched:
    """Return the wheel that pip chooses for `source`; a pin binds it to that version and file."""
    configure(job.session)
    requirement, pin = source.requirement, job.expected.pin
    if pin is not None:
        name, version, _, _ = parse_wheel_filename(pin.filename)
        requirement = f"{name}=={version}"
    with workspace(job.cache.folder("incoming")) as folder:
        with job.progress.task(f"Asking the index for {source.requirement}", unit="steps"):
            choice = resolve(requirement, source, folder, job.session)
        refusal = None
        if pin is None or pin.filename == choice.filename:
            job.expected.check(choice.sha256, file=_describe(source))
            hint = "the index may be changing at this moment: run again"
            job = job.with_hash(choice.sha256, by="the index", hint=hint)
            try:
                return _download(choice, job, folder)
            except FetchError as error:
                if error.code not in _LEFT_TO_PIP:
                    raise
                refusal = error
        with job.progress.task(f"Letting pip download {requirement}", unit="steps"):
            return _keep(_let_pip_download(requirement, source, job, folder, refusal), job)


def package_url(filename: str) -> str:
    """Return the package URL of an index's file: what it is called, on whatever mirror it lies."""
    name, version, _, _ = parse_wheel_filename(filename)
    escaped = str(version).replace("+", "%2B")
    return f"pkg:pypi/{name}@{escaped}?file_name={filename.replace('+', '%2B')}"


def configure(session: requests.Session) -> None:
    """Give the session pip's proxy and client certificate."""
    settings = read_settings()
    if settings.get("proxy"):
        session.proxies = dict.fromkeys(("http", "https"), settings["proxy"])
        session.trust_env = False
    session.cert = settings.get("client-cert") or None


def resolve(
    requirement: str, source: IndexSource, folder: Path, session: requests.Session
) -> Choice:
    """Return the file that pip would install, whose report comes into `folder`."""
    report = folder / "report.json"
    command = [
        *("install", "--dry-run", "--ignore-installed", "--no-deps", "--only-binary=:all:"),
        *(f"--target={folder / 'target'}", f"--report={report}"),
        *(*_target_options(source), requirement),
    ]
    # An index that does not serve the metadata of its wheels would have pip download each of
    # them, just to look: `fast-deps` reads it by Range. Some servers cannot do that.
    done = run_pip([*command, "--use-feature=fast-deps"], folder)
    if done.returncode:
        done = run_pip(command, folder)
    if done.returncode:
        raise _explain(done, requirement, source, session)
    try:
        download = json.loads(report.read_bytes())["install"][0]["download_info"]
        sha256 = download["archive_info"].get("hashes", {}).get("sha256")
        return Choice(download["url"], filename_of(download["url"]), sha256)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        reason, hint = f"pip's report is not one that is known here: {error!r}", _PIP_HINT
        raise ToolError(reason, code="pip-report", hint=hint) from error


def _target_options(source: IndexSource) -> Sequence[str]:
    """Return the options that say for which Python, which need not be the one that runs."""
    version = source.python.removesuffix("t")
    abi = f"cp{version.replace('.', '')}t"
    return (
        f"--platform={source.platform}",
        f"--python-version={version}",
        "--implementation=cp",
        *([f"--abi={abi}"] if source.python.endswith("t") else []),
    )


def _download(choice: Choice, job: Job, folder: Path) -> Fetched:
    """Return the chosen file, got with the logins that are known, one after the other."""
    place = urlsplit(choice.url)
    if place.scheme == "file":
        copy = shutil.copyfile(url2pathname(place.path), folder / choice.filename)
        return _keep(copy, job)
    refusals = []
    for login in find_logins(choice.url):
        request = Request(url=choice.url, auth=login, hint=LOGIN_HINT)
        try:
            url = package_url(choice.filename)
            return download_wheel(job, request, choice.filename, recorded_url=url)
        except FetchError as error:
            if error.code not in _LEFT_TO_PIP:
                raise
            refusals.append(error)
    raise refusals[0]


def _let_pip_download(
    requirement: str, source: IndexSource, job: Job, folder: Path, refusal: FetchError | None
) -> Path:
    """Return the wheel that pip has downloaded into `folder`; a hash that is known binds it."""
    sha256 = f" --hash=sha256:{job.expected.sha256}" if job.expected.sha256 else ""
    requirements, wheels = folder / "requirements.txt", folder / "wheels"
    requirements.write_text(f"{requirement}{sha256}\n", encoding="utf-8")
    command = ("download", "--no-deps", "--only-binary=:all:", "--no-cache-dir")
    files = (f"--dest={wheels}", f"--requirement={requirements}")
    done = run_pip([*command, *files, *_target_options(source)], folder)
    if done.returncode:
        reason, hint = f"pip says: {last_words(done)}", job.expected.hint
        raise refusal or FetchError(reason, code="index", file=_describe(source), hint=hint)
    return next(wheels.iterdir())


def _keep(path: Path, job: Job) -> Fetched:
    """Return the wheel `path`, moved into the cache once it was seen to be the wanted one."""
    check_filename(path.name, file=path.name)
    check_archive(path, file=path.name)
    size, sha256 = path.stat().st_size, sha256_of(path)
    job.expected.check(sha256, file=path.name)
    pin = job.expected.make_pin(path.name, package_url(path.name), size, sha256)
    return Fetched(path=job.cache.add(path, sha256, path.name), pin=pin)


def find_logins(url: str) -> Iterator[_Login | None]:
    """Yield the names and passwords to try, as pip finds them; None leaves it to .netrc."""
    settings = read_settings()
    place = urlsplit(url)
    names = ("index-url", "pypi-url", "extra-index-url", "find-links")
    indexes = [
        index
        for text in " ".join(settings.get(name, "") for name in names).split()
        if _origin(index := urlsplit(text)) == _origin(place)
    ]
    logins = [
        (unquote(index.username), unquote(index.password))
        for index in indexes
        if index.username is not None and index.password is not None
    ]
    yield logins[0] if logins else None
    user = next((unquote(index.username) for index in indexes if index.username), "")
    if settings.get("keyring-provider") != "disabled":
        services = [_without_login(index) for index in indexes]
        yield from _ask_keyring([*dict.fromkeys(services), place.netloc.rpartition("@")[2]], user)


def _ask_keyring(services: Sequence[str], user: str) -> Iterator[_Login]:
    """Yield what the `keyring` command knows of the services."""
    program = shutil.which("keyring")
    for service in services if program else ():
        command = [str(program), "--mode=creds", "--output=json", "get", service]
        done = run([*command, *([user] if user else [])], timeout=60.0)
        try:
            credentials = json.loads(done.output.strip().splitlines()[-1])
            yield credentials["username"], credentials["password"]
        except (ValueError, LookupError, TypeError):
            continue


def _explain(
    done: Finished, requirement: str, source: IndexSource, session: requests.Session
) -> FetchError:
    """Return why pip has found nothing: the index does not answer, or pip's own words."""
    settings = read_settings()
    where = _describe(source, requirement)
    indexes = f"{settings.get('index-url', '')} {settings.get('extra-index-url', '')}".split()
    for index in [] if settings.get("no-index") else indexes:
        project = canonicalize_name(Requirement(requirement).name)
        fault = _ask(f"{_without_login(urlsplit(index)).rstrip('/')}/{project}/", session)
        if fault is not None:
            reason = f"the index cannot be asked: {fault.file}: {fault.what}"
            return FetchError(reason, code=fault.code, file=where, hint=fault.hint)
    if done.output.rstrip().endswith("EOFError: EOF when reading a line"):
        reason = "the index asks for a name and a password"
        return FetchError(reason, code="http-401", file=where, hint=LOGIN_HINT)
    if done.timed_out or "WARNING: " in done.output:
        reason = f"the index cannot be asked: {last_words(done)}"
        return FetchError(reason, code="index", file=where, hint=_INDEX_HINT)
    reason = f"the index has no such wheel: {last_words(done)}"
    return FetchError(reason, code="no-such-version", file=where, hint=_INDEX_HINT)


def _ask(url: str, session: requests.Session) -> FetchError | None:
    """Return why an index does not answer; None where it does, as by not knowing the name."""
    fault = None
    for login in find_logins(url):
        try:
            get(session, Request(url=url, auth=login, hint=LOGIN_HINT)).close()
        except FetchError as error:
            fault = None if error.code == "http-404" else error
        else:
            return None
    return fault


def _origin(place: SplitResult) -> tuple[str, str | None, int | None]:
    port = place.port or {"https": 443, "http": 80}.get(place.scheme)
    return place.scheme, place.hostname, port


def _without_login(place: SplitResult) -> str:
    return place._replace(netloc=place.netloc.rpartition("@")[2]).geturl()


def _describe(source: IndexSource, requirement: str = "") -> str:
    what = requirement or source.requirement
    return f"{what} for Python {source.python} on {source.platform}"
