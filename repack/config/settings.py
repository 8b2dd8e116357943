"""What each key of the configuration takes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

from packaging.version import InvalidVersion, Version

from repack.config.values import FileSource, IndexSource, ReleaseSource, SampleSource, UrlSource
from repack.errors import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from repack.config.values import Source

Key: TypeAlias = tuple[str, ...]
"""The parts of a dotted key."""


class WrongValueError(ValueError):
    """A value is not what its key takes; the text says what the key takes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Leaf:
    """One value as it was written, and the folder that its paths are relative to."""

    raw: object
    base: Path
    command_line: bool


Reader: TypeAlias = "Callable[[Leaf], object]"
PYTHON = re.compile(r"3\.(?:[6-9]|[1-9][0-9])t?")
_WORDS: Mapping[type, str] = MappingProxyType(
    {bool: "true or false", int: "a number", str: "text", list: "a list", dict: "a table"}
)


def kind_of(value: object) -> str:
    """Return what `value` is, in a configuration's words."""
    return _WORDS.get(type(value), f"a {type(value).__name__}")


def _text(leaf: Leaf) -> str:
    raw = leaf.raw
    if leaf.command_line and isinstance(raw, int) and not isinstance(raw, bool):
        return str(raw)
    if not isinstance(raw, str):
        raise WrongValueError(f"takes text in quotes, not {kind_of(raw)}")
    if not raw.strip() or any(not char.isprintable() for char in raw):
        raise WrongValueError(f"takes text, not {shown(raw)}")
    return raw


def _switch(leaf: Leaf) -> bool:
    if not isinstance(leaf.raw, bool):
        raise WrongValueError(f"takes true or false, not {kind_of(leaf.raw)}")
    return leaf.raw


def _number(least: int, most: int) -> Reader:
    def read(leaf: Leaf) -> int:
        raw = leaf.raw
        if not isinstance(raw, int) or isinstance(raw, bool):
            raise WrongValueError(f"takes a whole number, not {kind_of(raw)}")
        if not least <= raw <= most:
            raise WrongValueError(f"takes a number from {least} to {most}, not {raw}")
        return raw

    return read


def _choice(*values: str) -> Reader:
    def read(leaf: Leaf) -> str:
        text = _text(leaf)
        if text not in values:
            near = get_close_matches(text, values, n=1)
            asked = f" (did you mean {near[0]}?)" if near else ""
            raise WrongValueError(f"takes {_either(values)}, not {shown(text)}{asked}")
        return text

    return read


def _either(values: Sequence[str]) -> str:
    return " or ".join(f'"{value}"' for value in values)


def _matching(pattern: str, what: str) -> Reader:
    """Return a reader of text that is `what`: as a whole of the form `pattern`."""
    form = re.compile(pattern)

    def read(leaf: Leaf) -> str:
        text = _text(leaf)
        if not form.fullmatch(text):
            raise WrongValueError(f"takes {what}, not {shown(text)}")
        return text

    return read


def _many(one: Reader, *, least: int = 0) -> Reader:
    """Return a reader of a list of what `one` reads; the command line may give a single one."""

    def read(leaf: Leaf) -> tuple[object, ...]:
        raw = leaf.raw
        items = [raw] if leaf.command_line and not isinstance(raw, list | dict) else raw
        if not isinstance(items, list):
            raise WrongValueError(f"takes a list, not {kind_of(raw)}")
        found = tuple(
            one(Leaf(raw=item, base=leaf.base, command_line=leaf.command_line)) for item in items
        )
        if len(found) < least:
            raise WrongValueError("is an empty list")
        twice = next((item for item in found if found.count(item) > 1), None)
        if twice is not None:
            raise WrongValueError(f"names {shown(str(twice))} twice")
        return found

    return read


def _path(leaf: Leaf) -> Path:
    """Return the path made absolute, so that nothing later depends on the working directory."""
    try:
        path = leaf.base / Path(_text(leaf)).expanduser()
    except RuntimeError:
        raise WrongValueError(
            f"names a home directory that is not there: {shown(str(leaf.raw))}"
        ) from None
    # "examples/../dist" is no path that a table or an error should show.
    return path.resolve() if ".." in path.parts else path


def _place(leaf: Leaf) -> str:
    """Return the place of an index: a URL, or a folder, made absolute as a path is."""
    text = _text(leaf)
    return text if "://" in text else str(_path(leaf))


def _python(leaf: Leaf) -> str:
    if isinstance(leaf.raw, float):
        raise WrongValueError(
            f'takes Pythons in quotes ("3.10", because the number 3.10 is {leaf.raw})'
        )
    text = _text(leaf)
    if not PYTHON.fullmatch(text):
        raise WrongValueError(f"takes Pythons such as 3.12 or 3.14t, not {shown(text)}")
    return text


def _version(leaf: Leaf) -> str:
    try:
        return str(Version(_text(leaf)))
    except InvalidVersion:
        raise WrongValueError(
            f"takes a version such as 4.14.0.94, not {shown(str(leaf.raw))}"
        ) from None


def _requirement(leaf: Leaf) -> str:
    # Slow to import, and few configurations have one.
    from packaging.requirements import InvalidRequirement, Requirement  # noqa: PLC0415

    text = _text(leaf)
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        reason = str(error).split("\n", 1)[0]
        raise WrongValueError(
            f"takes a requirement such as name==1.0, not {shown(text)}: {reason}"
        ) from None
    if requirement.url:
        raise WrongValueError(f"takes a requirement of the index, not one at a URL: {shown(text)}")
    if requirement.extras or requirement.marker:
        raise WrongValueError(
            f"takes a name and a version, no extras and no markers: {shown(text)}"
        )
    return str(requirement)


def _url(leaf: Leaf) -> str:
    text = _text(leaf)
    try:
        parts = urlsplit(text)
        right = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise WrongValueError(f"takes a URL, not {shown(text)}") from None
    if not right or " " in text:
        raise WrongValueError(
            f"takes a URL that starts with https:// or http://, not {shown(text)}"
        )
    if parts.username or parts.password:
        raise WrongValueError(
            "holds a name or a password: put them into .netrc, a lock file is for all"
        )
    if parts.fragment:
        raise WrongValueError(f"ends in #{parts.fragment}: a hash goes into sha256")
    return text


def _help_url(leaf: Leaf) -> str:
    """Return the address of the pages on the wheel's messages; "" is for none."""
    return "" if leaf.raw == "" else _url(leaf)


def _repository_url(leaf: Leaf) -> str:
    """Return a URL that takes uploads; who has a secret in it is told where twine looks for it."""
    text = _text(leaf)
    if "@" in text:
        raise WrongValueError(
            "holds a name or a password: put them into TWINE_USERNAME and TWINE_PASSWORD, "
            ".pypirc or keyring"
        )
    return _url(leaf)


def _api(leaf: Leaf) -> str:
    """Return the base URL of a release API; a token may go there, so it has to be https.

    The machine itself is let off: a tunnel or a test listens there.
    """
    text = _url(leaf).rstrip("/")
    parts = urlsplit(text)
    if parts.scheme == "http" and parts.hostname not in {"127.0.0.1", "::1", "localhost"}:
        raise WrongValueError(
            f"takes an https:// URL, a token may be sent there, not {shown(text)}"
        )
    return text


def _sha256(leaf: Leaf) -> str:
    text = _text(leaf).lower().removeprefix("sha256:")
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise WrongValueError(f"takes 64 hexadecimal digits, not {shown(text)}")
    return text


def _dlls(leaf: Leaf) -> object:
    if leaf.raw == "auto":
        return "auto"
    if isinstance(leaf.raw, str) and not leaf.command_line:
        raise WrongValueError(f'takes "auto" or a list of requirements, not {shown(leaf.raw)}')
    return _many(_requirement)(leaf)


#: Families of DLLs that a wheel can carry.
_FAMILIES = (
    *("npp", "cudart", "cublas", "cufft", "cudnn", "nvrtc", "curand", "cusolver", "cusparse"),
    *("nvjpeg", "nvjitlink", "nvvm", "cupti", "nvtoolsext"),
)


def _families(leaf: Leaf) -> object:
    return "all" if leaf.raw == "all" else _many(_choice(*_FAMILIES), least=1)(leaf)


_UNITS = {"": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,3})?) ?([kmg]i?b)?", re.IGNORECASE)


def _size(leaf: Leaf) -> int:
    """Return a size in bytes; indexes tell theirs as "100 MB", or "2 GiB"."""
    found = _SIZE.fullmatch(leaf.raw if isinstance(leaf.raw, str) else str(leaf.raw))
    if isinstance(leaf.raw, bool) or not found:
        raise WrongValueError(f'takes a size such as "2 GiB", not {shown(str(leaf.raw))}')
    return int(float(found[1]) * _UNITS[(found[2] or "").lower()])


_VARIABLE = _matching(r"[A-Za-z_][A-Za-z0-9_]*", "names of environment variables")
EMBEDDABLE = ("smoke", "embeddable")

SETTINGS: Mapping[Key, Reader] = MappingProxyType(
    {
        ("source", "sample", "opencv"): _version,
        ("source", "sample", "cuda"): _number(10, 99),
        ("source", "sample", "driver"): _switch,
        ("source", "file"): _path,
        ("source", "url"): _url,
        ("source", "sha256"): _sha256,
        ("source", "requirement"): _requirement,
        ("source", "python"): _python,
        ("source", "platform"): _matching("win_amd64", '"win_amd64"'),
        ("source", "release"): _matching(r"[\w.-]+/[\w.-]+", 'a repository as "owner/name"'),
        ("source", "tag"): _text,
        ("source", "asset"): _text,
        ("source", "api"): _api,
        ("source", "token-env"): _many(_VARIABLE),
        ("build", "mode"): _choice("patch", "depend", "vendor"),
        ("build", "driver-stub"): _switch,
        ("build", "emit"): _choice("per-python", "abi3"),
        ("build", "python"): _many(_python, least=1),
        ("build", "out"): _path,
        ("build", "patches"): _many(_path),
        ("build", "local"): _matching(
            "[a-z0-9]+(?:[._-][a-z0-9]+)*", "a local version label such as cu126.team"
        ),
        ("build", "help-url"): _help_url,
        ("vendor", "families"): _families,
        ("vendor", "dlls"): _dlls,
        ("vendor", "dll-dirs"): _many(_path),
        ("publish", "max-size"): _size,
        ("publish", "index-dir"): _place,
        ("publish", "index-url"): _url,
        ("publish", "repository-url"): _repository_url,
        ("publish", "repository"): _text,
        ("smoke", "enabled"): _switch,
        ("smoke", "timeout"): _number(1, 86400),
        ("smoke", "dlls"): _dlls,
        ("smoke", "dll-dirs"): _many(_path),
        ("smoke", "interpreters"): _many(_path),
        (*EMBEDDABLE, "*", "url"): _url,
        (*EMBEDDABLE, "*", "sha256"): _sha256,
        ("allow", "startup-hook"): _switch,
        ("allow", "unlisted-dlls"): _many(
            _matching(r"[\w.-]+\.dll", "names of DLLs such as nvJitLink_120_0.dll")
        ),
    }
)
TABLES = frozenset(key[:depth] for key in SETTINGS for depth in range(len(key)))
KIND_TABLES = frozenset({("source", "sample")})
"""Tables that say something by being there, though they be empty."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """A kind of source: the keys that go with it, and what is made of them."""

    make: Callable[[dict[str, Any]], Source]
    details: frozenset[str] = frozenset({"sha256"})


def _renamed(cls: Callable[..., Source], old: str, new: str) -> Callable[[dict[str, Any]], Source]:
    """Return what makes a `cls` of fields of which `old` is called `new` there."""
    return lambda fields: cls(**{new if key == old else key: fields[key] for key in fields})


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "sample": Kind(make=lambda fields: SampleSource(**fields), details=frozenset()),
        "file": Kind(make=_renamed(FileSource, "file", "path")),
        "url": Kind(make=lambda fields: UrlSource(**fields)),
        "requirement": Kind(
            make=lambda fields: IndexSource(**fields),
            details=frozenset({"sha256", "python", "platform"}),
        ),
        "release": Kind(
            make=_renamed(ReleaseSource, "release", "repository"),
            details=frozenset({"sha256", "tag", "asset", "api", "token-env"}),
        ),
    }
)
