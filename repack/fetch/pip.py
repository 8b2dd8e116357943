"""The user's pip: what it is told about indexes, what it would install, what it downloads."""

import ast
import functools
import json
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from os.path import expanduser
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import unquote, urlsplit

from msgspec.structs import replace
from packaging.requirements import Requirement
from packaging.utils import parse_wheel_filename

from repack.config import DEFAULT_PYTHONS, IndexSource
from repack.errors import FetchError, ToolError, redact
from repack.lock import Pin
from repack.process import Finished, run

#: Seconds: an index may not tell what its wheels require, and then pip downloads them to look.
_LONGEST = 4 * 3600.0
#: No `pip.py` of this folder is run.
_PIP = (sys.executable, "-P", "-m", "pip", "--no-color", "--disable-pip-version-check")
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
#: A row of `pip config list`, as pip's documentation shows it.
_SETTING = re.compile(r"^(\S+)\.([\w-]+)=(['\"].*['\"])$", re.MULTILINE)
#: An index that does not serve the metadata of its wheels would have pip download the wheel,
#: just to look: this reads it by Range.
_FAST = ("--use-feature=fast-deps",)
#: What would hide the list of pip's settings or a part of it, or have another Python's pip asked.
_NEUTRAL = {
    **dict.fromkeys(("PIP_QUIET", "PIP_USER", "PIP_SITE", "PIP_GLOBAL", "PIP_ISOLATED"), "0"),
    "PIP_PYTHON": "",
}
#: What the user may tell our uv: all else, as for pip, says how and where the user installs.
_OF_UV = ("UV_CACHE_DIR", "UV_NO_CACHE", "UV_HTTP_TIMEOUT", "UV_HTTP_RETRIES")
#: Of pip's last lines, the letters that are quoted of their beginning and of their end.
_QUOTED = 250
LOGIN_HINT = "a name and a password go into pip's index-url, .netrc or keyring"
_HINT = f"look at the requirement and at `python -m pip config list`; {LOGIN_HINT}"


def read_settings() -> Mapping[str, str]:
    """Return what the user's pip is told about indexes, by variables and by pip.conf.

    The names are those of pip's options; lists are separated by white space. It may hold
    passwords. Raises ToolError where pip cannot read its configuration.
    """
    return _list_settings(tuple(sorted(os.environ.items())))


@functools.cache
def _list_settings(environment: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    done = run([*_PIP, "config", "list"], timeout=60.0, env={**dict(environment), **_NEUTRAL})
    if done.returncode:
        reason = f"pip cannot read its configuration: {_quote(done)}"
        raise ToolError(reason, code="pip-config", hint="python -m pip config debug")
    rows = [row for row in _SETTING.findall(done.output) if row[0] in _SECTIONS]
    rows.sort(key=lambda row: _SECTIONS.index(row[0]))
    settings = {name: ast.literal_eval(value) for _, name, value in rows if name in _ABOUT_INDEXES}
    # pip's own options read `~` so.
    return {name: " ".join(map(expanduser, text.split())) for name, text in settings.items()}


def find_authorities() -> str:
    """Return the file or folder of certificates that the user names, "" where there is none."""
    first = map(os.environ.get, ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"))
    paths = (*first, read_settings().get("cert"), os.environ.get("SSL_CERT_FILE"))
    return next((path for path in paths if path and Path(path).exists()), "")


def make_uv_environment() -> dict[str, str]:
    """Return variables for uv: it trusts whom pip trusts, and asks keyring where pip may.

    The system's authorities are trusted too.
    """
    kept = {name: os.environ[name] for name in os.environ if name[:3] != "UV_" or name in _OF_UV}
    path, disabled = find_authorities(), read_settings().get("keyring-provider") == "disabled"
    variable = "SSL_CERT_DIR" if Path(path).is_dir() else "SSL_CERT_FILE"
    return {
        **kept,
        "UV_SYSTEM_CERTS": "true",
        "UV_KEYRING_PROVIDER": "disabled" if disabled else "subprocess",
        **({variable: path} if path else {}),
    }


def choose_wheel(source: IndexSource, pin: Pin | None) -> tuple[str, str, str | None]:
    """Return name, URL and SHA-256 (None for not told) of the file that pip would install.

    For a pin it is one of its version. Raises FetchError, of code "no-such-version" where the
    index has other wheels of the project, else "index".
    """
    requirement = _exact_requirement(pin.filename) if pin else source.requirement
    with TemporaryDirectory(prefix="repack-") as folder:
        report = Path(folder, "report.json")
        done = _resolve(requirement, source, report, *_FAST)
        if done.returncode:
            # Where a download is redirected to a signed address, HEAD is refused.
            done = _resolve(requirement, source, report)
        if done.returncode:
            raise _refuse(done, requirement, source, report)
        download = json.loads(report.read_bytes())["install"][0]["download_info"]
    filename = unquote(urlsplit(download["url"]).path.rpartition("/")[2])
    return filename, download["url"], download["archive_info"].get("hashes", {}).get("sha256")


def _resolve(requirement: str, source: IndexSource, report: Path, *options: str) -> Finished:
    """Return what came of pip's choice of a wheel, which the file `report` tells then."""
    command = ("install", "--dry-run", "--ignore-installed", "--no-deps")
    files = (f"--report={report}", f"--target={report.parent}")
    return _run_pip(*command, *files, *options, *_target_options(source), requirement)


def _refuse(done: Finished, requirement: str, source: IndexSource, report: Path) -> FetchError:
    """Return why there is no wheel; whether the index has another is asked of pip, too.

    What pip prints is for people and differs from version to version: it is quoted, not read.
    """
    project = Requirement(requirement).name
    pythons = dict.fromkeys((source.python, *reversed(DEFAULT_PYTHONS)))
    sources = (replace(source, python=python) for python in pythons)
    others = (_resolve(project, other, report, *_FAST, "--retries=0") for other in sources)
    code, reason = "index", f"pip gets no wheel of {project} at all"
    if any(other.returncode == 0 for other in others):
        code, reason = "no-such-version", "the index has no such wheel"
    where = f"{requirement} for Python {source.python} on {source.platform}"
    return FetchError(f"{reason}: {_quote(done)}", code=code, file=where, hint=_HINT)


def download_by_pip(filename: str, sha256: str | None, source: IndexSource, part: Path) -> None:
    """Write the wheel that pip downloads into the file `part`; its hash, where known, binds it."""
    line = _exact_requirement(filename) + (f" --hash=sha256:{sha256}" if sha256 else "")
    with TemporaryDirectory(prefix="repack-") as folder:
        requirements, wheels = Path(folder, "requirements.txt"), Path(folder, "wheels")
        requirements.write_text(line, encoding="utf-8")
        files = (f"--dest={wheels}", f"--requirement={requirements}", "--no-cache-dir")
        done = _run_pip("download", "--no-deps", *files, *_target_options(source))
        if done.returncode:
            reason = f"pip cannot download it: {_quote(done)}"
            raise FetchError(reason, code="index", file=filename, hint=_HINT)
        shutil.copyfile(next(wheels.iterdir()), part)


def _exact_requirement(filename: str) -> str:
    name, version, _, _ = parse_wheel_filename(filename)
    return f"{name}=={version}"


def _target_options(source: IndexSource) -> Sequence[str]:
    """Return the options that say for which Python, which need not be the one that runs."""
    version = source.python.removesuffix("t")
    abi = [f"--abi=cp{version.replace('.', '')}t"] if source.python.endswith("t") else []
    python = (f"--python-version={version}", "--implementation=cp", *abi)
    return ("--only-binary=:all:", f"--platform={source.platform}", *python)


def _run_pip(*arguments: str) -> Finished:
    """Return what came of pip, which may ask keyring and nobody else, and reads no pip.conf.

    What the user's pip is told about indexes stands in no command line: it may hold passwords.
    """
    others = {name: text for name, text in os.environ.items() if not name.startswith("PIP_")}
    settings = {
        f"PIP_{name.upper().replace('-', '_')}": text for name, text in read_settings().items()
    }
    environment = {**others, **settings, "PIP_CONFIG_FILE": os.devnull}
    return run([*_PIP, *arguments], timeout=_LONGEST, env=environment)


def _quote(done: Finished) -> str:
    """Return pip's last three lines, or their beginning and their end, as they are.

    But for secrets: of paths of URLs, too, and before half of one is cut off.
    """
    text = re.sub(r"\?\S*", "", redact(" ".join(done.output.splitlines()[-3:])))
    return text if len(text) <= 2 * _QUOTED else f"{text[:_QUOTED]} ... {text[-_QUOTED:]}"
