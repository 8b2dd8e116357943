"""The user's pip: what it is told about indexes, what it would install, what it downloads."""

import ast
import functools
import json
import os
import re
import sys
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from packaging.utils import parse_wheel_filename

from repack.config import IndexSource
from repack.errors import FetchError, ToolError
from repack.lock import Pin
from repack.process import Finished, run

#: Seconds: an index may not tell what its wheels require, and then pip downloads each.
_LONGEST = 4 * 3600.0
_PIP = (sys.executable, "-m", "pip", "--no-color", "--disable-pip-version-check")
#: What pip is told about indexes and the way to them. All else says how and where the user
#: installs (`user`, `target`, `require-hashes`, `quiet`, `constraint`, ...): not for our calls.
_ABOUT_INDEXES = (
    *("index-url", "extra-index-url", "no-index", "find-links", "trusted-host"),
    *("cert", "client-cert", "proxy", "no-proxy-env", "keyring-provider"),
    *("timeout", "default-timeout", "retries", "resume-retries"),
    *("cache-dir", "no-cache-dir", "uploaded-prior-to"),
)
#: Each goes before those in front of it.
_SECTIONS = ("global", "install", ":env:")
_SETTING = re.compile(r"^(\S+)\.([\w-]+)=(['\"].*['\"])$", re.MULTILINE)
_NONE = "No matching distribution found"
_MANY_VERSIONS = re.compile(r"\(from versions: [^)]*?, ((?:[^,)]+, ){5}[^,)]+)\)")
LOGIN_HINT = "give name and password as for pip: in its index-url, in .netrc or in keyring"


class Choice(NamedTuple):
    """The file that pip has chosen; `sha256` is None where the index does not say it."""

    source: IndexSource
    url: str
    filename: str
    sha256: str | None


def read_settings() -> Mapping[str, str]:
    """Return what the user's pip is told about indexes, by variables and by pip.conf.

    The names are those of pip's options; lists are separated by white space. It may hold
    passwords. Raises ToolError where pip cannot read its configuration.
    """
    names = {_variable(name) for name in (*_ABOUT_INDEXES, "config-file")}
    return _list_settings(tuple(sorted(_environment(names).items())))


def find_authorities() -> str:
    """Return the file or folder of certificates that the user names, "" where there is none."""
    first = map(os.environ.get, ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"))
    paths = (*first, read_settings().get("cert"), os.environ.get("SSL_CERT_FILE"))
    return next((path for path in paths if path and Path(path).exists()), "")


def trust_settings() -> dict[str, str]:
    """Return the variables by which uv trusts whom pip trusts: the system's authorities too."""
    path = find_authorities()
    variable = "SSL_CERT_DIR" if Path(path).is_dir() else "SSL_CERT_FILE"
    return {"UV_SYSTEM_CERTS": "true", **({variable: path} if path else {})}


@functools.cache
def _list_settings(environment: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    # A pip.conf may say `quiet`, which would show no list, and `user`, which would show one file.
    plain = dict.fromkeys(("PIP_QUIET", "PIP_USER", "PIP_SITE", "PIP_GLOBAL"), "0")
    done = run([*_PIP, "config", "list"], timeout=60.0, env={**dict(environment), **plain})
    if done.returncode:
        reason = f"pip cannot read its configuration: {_last_words(done)}"
        raise ToolError(reason, code="pip-config", hint="python -m pip config debug")
    rows = [row for row in _SETTING.findall(done.output) if row[0] in _SECTIONS]
    rows.sort(key=lambda row: _SECTIONS.index(row[0]))
    return {name: ast.literal_eval(value) for _, name, value in rows if name in _ABOUT_INDEXES}


def choose_wheel(source: IndexSource, pin: Pin | None) -> Choice:
    """Return the file that pip would install, which for a pin is one of its version.

    Raises FetchError of code "no-such-version", or another where pip could not ask.
    """
    requirement = _exact_requirement(pin.filename) if pin else source.requirement
    with TemporaryDirectory(prefix="repack-") as folder:
        report = Path(folder) / "report.json"
        command = [
            *("install", "--dry-run", "--ignore-installed", "--no-deps", f"--report={report}"),
            *(f"--target={folder}", *_target_options(source), requirement),
        ]
        # An index that does not serve the metadata of its wheels would have pip download each
        # of them, just to look: `fast-deps` reads it by Range. Some servers cannot do that.
        done = _run_pip([*command, "--use-feature=fast-deps"])
        if done.returncode and _NONE not in done.output:
            done = _run_pip(command)
        if done.returncode:
            raise _explain(done, requirement, source)
        download = json.loads(report.read_bytes())["install"][0]["download_info"]
    filename = unquote(urlsplit(download["url"]).path.rpartition("/")[2])
    sha256 = download["archive_info"].get("hashes", {}).get("sha256")
    return Choice(source, download["url"], filename, sha256)


def download_by_pip(choice: Choice, sha256: str | None, folder: Path) -> Path:
    """Return the wheel that pip has downloaded into `folder`; its hash, where known, binds it."""
    requirements, wheels = folder / "requirements.txt", folder / "wheels"
    requirement, options = _exact_requirement(choice.filename), _target_options(choice.source)
    hashed = f"{requirement} --hash=sha256:{sha256}" if sha256 else requirement
    requirements.write_text(hashed, encoding="utf-8")
    files = (f"--dest={wheels}", f"--requirement={requirements}")
    done = _run_pip(["download", "--no-deps", "--no-cache-dir", *files, *options])
    if done.returncode:
        raise _explain(done, requirement, choice.source)
    return next(wheels.iterdir())


def _exact_requirement(filename: str) -> str:
    name, version, _, _ = parse_wheel_filename(filename)
    return f"{name}=={version}"


def _target_options(source: IndexSource) -> Sequence[str]:
    """Return the options that say for which Python, which need not be the one that runs."""
    version = source.python.removesuffix("t")
    abi = f"--abi=cp{version.replace('.', '')}t"
    return (
        "--only-binary=:all:",
        f"--platform={source.platform}",
        f"--python-version={version}",
        "--implementation=cp",
        *([abi] if source.python.endswith("t") else []),
    )


def _run_pip(arguments: Sequence[str]) -> Finished:
    """Return what came of pip, which may ask keyring and nobody else, and reads no pip.conf.

    What the user's pip is told about indexes stands in no command line: it may hold passwords.
    """
    settings = {_variable(name): value for name, value in read_settings().items()}
    environment = {**_environment(()), **settings, "PIP_CONFIG_FILE": os.devnull}
    # Only with -vv it says which index did not answer.
    return run([*_PIP, "-vv", *arguments], timeout=_LONGEST, env=environment)


def _explain(done: Finished, requirement: str, source: IndexSource) -> FetchError:
    """Return why pip has found nothing, in its own words."""
    faults = re.findall("Could not fetch URL (.*) - skipping", done.output)
    # An index that does not know the project has answered.
    faults = [fault for fault in faults if ": 404 Client Error" not in fault]
    words = " ".join(faults) or _last_words(done)
    code, reason = "index", f"pip gets nothing from the index: {words}"
    hint = "look at the requirement, and at `python -m pip config list`: which index is meant?"
    if not faults and _NONE in done.output:
        code, reason = "no-such-version", f"the index has no such wheel: {words}"
    if "EOFError" in done.output or ": 401 Client Error" in words:
        code, reason, hint = "http-401", "the index asks for a name and a password", LOGIN_HINT
    where = f"{requirement} for Python {source.python} on {source.platform}"
    return FetchError(reason, code=code, file=where, hint=hint)


def _last_words(done: Finished) -> str:
    """Return why pip has failed; its very last error says only that there is none."""
    if done.timed_out:
        return "it did not end"
    errors = re.findall(r"^(?:ERROR|[\w.]*Error): (.+)", done.output, re.MULTILINE)
    errors = [words for words in errors if not words.startswith(_NONE)]
    words = next(iter([*errors[-1:], *done.output.splitlines()[-1:]]), "")
    return _MANY_VERSIONS.sub(r"(newest versions: \1)", words)


def _environment(names: Container[str]) -> dict[str, str]:
    """Return our environment, of pip's variables those named; no `pip.py` of this folder is run."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PIP_") or name in names
    }
    return {**kept, "PYTHONSAFEPATH": "1"}


def _variable(name: str) -> str:
    return f"PIP_{name.upper().replace('-', '_')}"
