"""What uv would install on a Windows Python, from the index that pip is configured for."""

from __future__ import annotations

import os
import shutil
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import unquote, urlsplit, urlunsplit

from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import canonicalize_name, parse_wheel_filename

from repack.console import Progress
from repack.errors import FetchError, ToolError, redact
from repack.fetch.pipconfig import read_settings
from repack.index.pinfiles import Pin
from repack.process import run

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Index:
    """Where pins are looked for, as `open_index` has it.

    `named` is the only index, and is written into the pin files; "" for those of pip. Options and
    environment are uv's, and the environment may hold passwords.
    """

    named: str
    options: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)


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
        for variable in ("UV_INDEX", "UV_FIND_LINKS"):
            environment.pop(variable, None)
        environment["UV_DEFAULT_INDEX"] = named
    elif first:
        environment["UV_INDEX"] = f"{first} {environment.get('UV_INDEX', '')}".strip()
    options = [
        *(["--offline"] if offline else []),
        *(["--no-index"] if settings.get("no-index") and not named else []),
    ]
    return Index(named=named, options=options, environment=environment)


def resolve(  # noqa: PLR0913 - what is asked for, and where
    requirements: Sequence[str],
    constraints: Sequence[str],
    python: str,
    index: Index,
    *,
    progress: Progress,
    alone: bool = False,
) -> list[Pin]:
    """Return the wheels that meet the requirements on a Windows `python`, by uv.

    With `alone` nothing is added that they require in their turn. Raises FetchError in uv's words
    where there is no choice.
    """
    if python.endswith("t"):
        raise FetchError(
            "uv resolves for no free-threaded Python",
            code="unresolved",
            file=f"{', '.join(requirements)} for Python {python} on Windows",
            hint="build with the smoke test: what it ran with is pinned",
        )
    with (
        TemporaryDirectory(prefix="repack-") as folder,
        progress.task(f"Asking the index what is installed on Python {python}", total=None),
    ):
        requirements_file = Path(folder, "requirements.in")
        constraints_file = Path(folder, "constraints.txt")
        requirements_file.write_text("\n".join([*requirements, ""]), encoding="utf-8")
        constraints_file.write_text("\n".join([*constraints, ""]), encoding="utf-8")
        done = run(
            [
                *(
                    find_uv(),
                    "pip",
                    "compile",
                    requirements_file,
                    "--constraints",
                    constraints_file,
                ),
                *("--python-platform", "windows", "--python-version", python),
                *("--python", sys.executable, "--no-python-downloads", "--no-config"),
                *("--only-binary", ":all:", "--index-strategy", "first-index"),
                *(
                    "--format",
                    "pylock.toml",
                    "--quiet",
                    "--output-file",
                    Path(folder, "pylock.toml"),
                ),
                *(["--no-deps"] if alone else []),
                *index.options,
            ],
            timeout=_LONGEST,
            env=index.environment,
        )
        if done.returncode or done.timed_out:
            raise _error(", ".join(requirements), python, done.output)
        document = tomllib.loads(Path(folder, "pylock.toml").read_text(encoding="utf-8"))
    return [_read_package(package, python) for package in document.get("packages", [])]


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


def _error(requirements: str, python: str, output: str) -> FetchError:
    """Return uv's reason in one line; its hints are about options of its own."""
    words = redact(" ".join(output.split())).partition(" hint: ")[0]
    for mark in ("error: ", "No solution found when resolving dependencies "):
        words = words.removeprefix(mark)
    return FetchError(
        words.removeprefix("cause: ") or "uv did not end in time",
        code="unresolved",
        file=f"{requirements} for Python {python} on Windows",
        hint="look at what the index has, and at `python -m pip config list`",
    )


def _read_package(package: Mapping[str, object], python: str) -> Pin:
    """Return the package with the wheel that an installer of that Python prefers."""
    wheels = package.get("wheels", [])
    order = {tag: number for number, tag in enumerate(_supported_tags(python))}
    candidates: list[tuple[int, str, str, str]] = []
    for wheel in wheels if isinstance(wheels, list) else []:
        url = str(wheel.get("url") or wheel.get("path"))
        parts = urlsplit(url)
        filename = unquote(parts.path.rpartition("/")[2])
        ranks = [order[tag] for tag in parse_wheel_filename(filename)[3] if tag in order]
        if ranks:
            plain = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
            candidates.append((min(ranks), filename, plain, wheel["hashes"]["sha256"]))
    name, version = canonicalize_name(str(package["name"])), str(package["version"])
    if not candidates:
        raise FetchError(
            f"the index has no wheel of {version} for it",
            code="unresolved",
            file=f"{name} for Python {python} on Windows",
        )
    _, filename, url, sha256 = min(candidates)
    return Pin(name=name, version=version, filename=filename, sha256=sha256, url=url)


def _supported_tags(python: str) -> list[Tag]:
    """Return the tags of the wheels that a 64-bit Windows `python` installs, the best first."""
    version = tuple(int(part) for part in python.split("."))
    interpreter = f"cp{python.replace('.', '')}"
    return [
        *cpython_tags(version, [interpreter], ["win_amd64"]),
        *compatible_tags(version, interpreter, ["win_amd64"]),
    ]
