"""What uv would install on a Windows Python, from the index that pip is configured for."""

import os
import shutil
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit

from packaging.pylock import PackageWheel, Pylock, PylockSelectError
from packaging.tags import Tag, compatible_tags, cpython_tags

from repack.console import Progress
from repack.errors import FetchError, ToolError, redact
from repack.fetch.pipconfig import read_settings
from repack.index.pinfiles import Pin
from repack.process import run
from repack.wheel import windows_environment

#: Seconds: an index may tell no hashes, and then each file is downloaded for its own.
_LONGEST = 3600.0
#: pip's setting -> uv's variable, and what uv separates several values by.
_VARIABLES = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "client-cert": ("SSL_CLIENT_CERT", " "),
    "proxy": ("ALL_PROXY", " "),
}
_OPTIONS = (
    *("--python", sys.executable, "--no-python-downloads", "--no-config", "--quiet"),
    *("--only-binary", ":all:", "--index-strategy", "first-index"),
    *("--format", "pylock.toml", "--python-platform", "windows"),
)


class Index(NamedTuple):
    """Where pins are looked for.

    `named` is the only index, and is written into the pin files; "" for those of pip. Options and
    environment are uv's, and the environment may hold passwords.
    """

    named: str
    options: Sequence[str]
    environment: Mapping[str, str]


def open_index(*, named: str = "", first: str = "", offline: bool = False) -> Index:
    """Return the one index `named`, or those that pip is configured for.

    Before pip's comes `first`, the index that was just published to; it may hold a password.
    """
    replaced = {variable for variable, _ in _VARIABLES.values() if variable.startswith("UV_")}
    environment = {name: value for name, value in os.environ.items() if name not in replaced}
    environment |= trust_settings()
    settings = read_settings()
    for key, (variable, separator) in _VARIABLES.items():
        if key in settings:
            environment[variable] = separator.join(settings[key].split())
    if named:
        environment |= {"UV_DEFAULT_INDEX": named, "UV_INDEX": "", "UV_FIND_LINKS": ""}
    elif first:
        environment["UV_INDEX"] = f"{first} {environment.get('UV_INDEX', '')}".strip()
    # For ten minutes uv asks no index again: what was published meanwhile would not be seen.
    options = ["--offline" if offline else "--refresh"]
    if settings.get("no-index") and not named:
        options.append("--no-index")
    return Index(named, options, environment)


def resolve(
    requirements: Sequence[str],
    fixed: Iterable[Pin],
    python: str,
    index: Index,
    progress: Progress,
) -> list[Pin]:
    """Return the wheels that meet the requirements on a Windows `python`, by uv.

    Of what is in `fixed` no other version is taken. Raises FetchError in uv's words where there
    is no choice.
    """
    subject = f"{', '.join(requirements)} for Python {python} on Windows"
    if python.endswith("t"):
        raise FetchError(
            "uv resolves for no free-threaded Python",
            code="unresolved",
            file=subject,
            hint="build with the smoke test: what it ran with is pinned",
        )
    constraints = sorted({f"{pin.name}=={pin.version}" for pin in fixed})
    with (
        TemporaryDirectory(prefix="repack-") as name,
        progress.task(f"Asking the index what is installed on Python {python}", total=None),
    ):
        source, limits, lock = (
            Path(name, part) for part in ("in.txt", "limits.txt", "pylock.toml")
        )
        source.write_text("\n".join(requirements), encoding="utf-8")
        limits.write_text("\n".join(constraints), encoding="utf-8")
        command: list[str | Path] = [find_uv(), "pip", "compile", source, "--constraints", limits]
        command += ["--output-file", lock, "--python-version", python, *_OPTIONS, *index.options]
        done = run(command, timeout=_LONGEST, env=index.environment)
        if done.returncode or done.timed_out:
            raise _explain(done.output, subject)
        document = tomllib.loads(lock.read_text(encoding="utf-8"))
    return _read_pins(Pylock.from_dict(document), python, subject)


def trust_settings() -> dict[str, str]:
    """Return the variables by which uv trusts whom pip trusts: the system's authorities too."""
    variables = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
    cert = next(filter(None, map(os.environ.get, variables)), read_settings().get("cert"))
    return {"UV_SYSTEM_CERTS": "true", **({"SSL_CERT_FILE": cert} if cert else {})}


def find_uv() -> str:
    """Return the path of the uv that was installed with repack, or else the one on PATH."""
    beside = shutil.which("uv", path=os.fspath(Path(sys.executable).parent))
    program = beside or shutil.which("uv")
    if program is None:
        raise ToolError("uv is not installed", code="tool-missing", hint="python -m pip install uv")
    return program


def _explain(output: str, subject: str) -> FetchError:
    """Return uv's reason in one line; its hints are about options of its own."""
    words = redact(" ".join(output.split())).partition(" hint: ")[0]
    for mark in ("error: ", "No solution found when resolving dependencies ", "cause: "):
        words = words.removeprefix(mark)
    return FetchError(
        words or "uv did not end in time",
        code="unresolved",
        file=subject,
        hint="look at what the index has, and at `python -m pip config list`",
    )


def _read_pins(lock: Pylock, python: str, subject: str) -> list[Pin]:
    """Return each package with the wheel that an installer of that Python prefers."""
    environment = windows_environment(python)
    try:
        chosen = list(lock.select(environment=environment, tags=_supported_tags(python)))  # type: ignore[arg-type]
    except PylockSelectError as error:
        raise FetchError(str(error), code="unresolved", file=subject) from None
    return [
        _make_pin(package.name, str(package.version), wheel)
        for package, wheel in chosen
        if isinstance(wheel, PackageWheel)
    ]


def _make_pin(name: str, version: str, wheel: PackageWheel) -> Pin:
    parts = urlsplit(wheel.url or wheel.path or "")
    return Pin(
        name=name,
        version=version,
        filename=unquote(parts.path.rpartition("/")[2]),
        sha256=wheel.hashes["sha256"],
        url=urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])),
    )


def _supported_tags(python: str) -> list[Tag]:
    """Return the tags of the wheels that a 64-bit Windows `python` installs, the best first."""
    version = tuple(int(part) for part in python.split("."))
    interpreter = f"cp{python.replace('.', '')}"
    return [
        *cpython_tags(version, [interpreter], ["win_amd64"]),
        *compatible_tags(version, interpreter, ["win_amd64"]),
    ]
