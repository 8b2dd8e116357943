"""What uv would install on a Windows Python, from the index that pip is configured for."""

import os
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit

from packaging.pylock import PackageWheel, Pylock, PylockSelectError
from packaging.tags import compatible_tags, cpython_tags
from uv import find_uv_bin

from repack.console import Progress
from repack.errors import FetchError
from repack.fetch.pip import read_settings
from repack.process import run
from repack.wheel.metadata import windows_environment

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
_REPLACED = {variable for variable, _ in _VARIABLES.values() if variable.startswith("UV_")}
_OPTIONS = (
    *("--python", sys.executable, "--no-python-downloads", "--no-config", "--quiet"),
    *("--only-binary", ":all:", "--index-strategy", "first-index"),
    *("--format", "pylock.toml", "--python-platform", "windows"),
)


class Pin(NamedTuple):
    """One wheel that is installed; `extra` is the one that brings it, "" for always.

    `url` is where the index has it, without a password.
    """

    name: str
    version: str
    filename: str
    sha256: str
    url: str = ""
    extra: str = ""


class Index(NamedTuple):
    """Where pins are looked for.

    `url` is the only index, and is written into the pin files; "" for those of pip. Options and
    environment are uv's, and the environment may hold passwords.
    """

    url: str
    options: Sequence[str]
    environment: Mapping[str, str]
    progress: Progress

    def resolve(self, requirements: Sequence[str], python: str) -> list[Pin]:
        """Return the index's wheels that meet the requirements on a 64-bit Windows `python`.

        Raises FetchError where there is no choice.
        """
        subject = f"{requirements[0]} for Python {python} on Windows"
        with TemporaryDirectory(prefix="repack-") as name:
            source, lock = Path(name, "in.txt"), Path(name, "pylock.toml")
            source.write_text("\n".join(requirements), encoding="utf-8")
            command = [find_uv_bin(), "pip", "compile", str(source), "--output-file", str(lock)]
            command += ["--python-version", python, *_OPTIONS, *self.options]
            with self.progress.task(f"Asking the index what is installed on Python {python}"):
                done = run(command, timeout=_LONGEST, env=self.environment)
            if done.returncode or done.timed_out:
                # What uv hints at are options of its own.
                words = " ".join(done.output.split()).partition(" hint: ")[0]
                raise FetchError(
                    words.removeprefix("error: ") or "uv did not end in time",
                    code="unresolved",
                    file=subject,
                    hint="look at what the index has, and at `python -m pip config list`",
                )
            document = Pylock.from_dict(tomllib.loads(lock.read_text(encoding="utf-8")))
        try:
            return _choose_wheels(document, python)
        except PylockSelectError as error:
            raise FetchError(str(error), code="unresolved", file=subject) from None


def open_index(
    progress: Progress, *, url: str = "", first: str = "", offline: bool = False
) -> Index:
    """Return the one index at `url`, or those that pip is configured for.

    Before pip's comes `first`, the index that was just published to; it may hold a password.
    """
    settings = read_settings()
    environment = {name: value for name, value in os.environ.items() if name not in _REPLACED}
    environment |= trust_settings()
    for key, (variable, separator) in _VARIABLES.items():
        if key in settings:
            environment[variable] = separator.join(settings[key].split())
    if url:
        environment |= {"UV_DEFAULT_INDEX": url, "UV_INDEX": "", "UV_FIND_LINKS": ""}
    elif first:
        environment["UV_INDEX"] = f"{first} {environment.get('UV_INDEX', '')}".strip()
    # For ten minutes uv asks no index again: what was published meanwhile would not be seen.
    options = ["--offline" if offline else "--refresh"]
    if settings.get("no-index") and not url:
        options.append("--no-index")
    return Index(url, options, environment, progress)


def trust_settings() -> dict[str, str]:
    """Return the variables by which uv trusts whom pip trusts: the system's authorities too."""
    variables = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
    cert = next(filter(None, map(os.environ.get, variables)), read_settings().get("cert"))
    return {"UV_SYSTEM_CERTS": "true", **({"SSL_CERT_FILE": cert} if cert else {})}


def _choose_wheels(lock: Pylock, python: str) -> list[Pin]:
    """Return of each package of an index the wheel that an installer of that Python prefers."""
    version, interpreter = tuple(map(int, python.split("."))), f"cp{python.replace('.', '')}"
    tags = [
        *cpython_tags(version, [interpreter], ["win_amd64"]),
        *compatible_tags(version, interpreter, ["win_amd64"]),
    ]
    pins = []
    environment: Any = windows_environment(python)  # a TypedDict, of which select needs no more
    for package, wheel in lock.select(environment=environment, tags=tags):
        if isinstance(wheel, PackageWheel):
            parts = urlsplit(wheel.url or wheel.path or "")
            pin = Pin(
                name=package.name,
                version=str(package.version),
                filename=unquote(parts.path.rpartition("/")[2]),
                sha256=wheel.hashes["sha256"],
                url=urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])),
            )
            pins.append(pin)
        elif getattr(wheel, "path", None) is None:  # our own is a file
            message = f"{package.name} is required from an address, which no index can answer"
            raise FetchError(message, code="url-requirement", hint="correct the source's METADATA")
    return pins
