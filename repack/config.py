"""`repack.toml` and the settings of the command line, as one frozen `Config`.

A setting is a field of one of the structs below whose type tells what it takes.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias, get_args
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import FieldInfo, fields
from packaging.requirements import Requirement
from packaging.version import Version

from repack.errors import ConfigError, UsageError, shown

DEFAULT_PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
#: What errors about a missing file or source say.
INIT_HINT = "`repack init` writes a repack.toml with comments"
_PYTHON = r"^3\.(?:[6-9]|[1-9][0-9])t?\Z"
_SHA256 = r"^[0-9a-f]{64}\Z"
_UNITS = {"": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


class _WrongValueError(ValueError):
    """A value that its key does not take; the text says why."""


# What a text becomes; a plain ValueError: the key does not take it.


def _read_version(text: str) -> str:
    return str(Version(text))


def _read_requirement(text: str) -> str:
    requirement = Requirement(text)
    if requirement.url or requirement.extras or requirement.marker:
        raise ValueError
    return str(requirement)


def _read_url(text: str) -> str:
    """Return the address `text`; it gets into files that everybody reads."""
    try:
        parts = urlsplit(text)
        right = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, right = urlsplit(""), False
    if parts.username is not None or ("@" in text and not right):
        raise _WrongValueError(
            "holds a name or a password: put them into .netrc; for uploads into TWINE_USERNAME "
            "and TWINE_PASSWORD, .pypirc or keyring"
        )
    if not right or " " in text:
        raise ValueError
    if parts.fragment:
        raise _WrongValueError(f"ends in #{parts.fragment}: a hash goes into sha256")
    return text


def _read_api(text: str) -> str:
    """Return the base of a release API; only this machine's own may do without https."""
    address = _read_url(text).rstrip("/")
    parts = urlsplit(address)
    if parts.scheme == "http" and parts.hostname not in {"127.0.0.1", "::1", "localhost"}:
        raise ValueError
    return address


def _read_sha256(text: str) -> str:
    return text.lower().removeprefix("sha256:")


def _read_size(text: str) -> int:
    size = re.fullmatch(r"(\d{1,15}(?:\.\d{1,3})?) ?([kmg]i?b)?", text, re.IGNORECASE)
    if not size:
        raise ValueError
    return int(float(size[1]) * _UNITS[(size[2] or "").lower()])


# What settings take; the words stand in messages and in docs/reference/configuration.md.

_IsPath: TypeAlias = Literal["no", "yes", "or URL"]


def _takes(
    words: str,
    read: Callable[[str], str | int] = str,
    *,
    path: _IsPath = "no",
    **limits: Any,  # noqa: ANN401 - msgspec's
) -> msgspec.Meta:
    """Return what a setting takes: in words, how a text is read, and msgspec's limits."""
    return msgspec.Meta(description=words, extra={"read": read, "path": path}, **limits)


_matching = msgspec.Meta  # of one thing in a list
_Text = Annotated[str, _takes("text in quotes")]
_Switch = Annotated[bool, _takes("true or false")]
_Path = Annotated[Path, _takes("a path", path="yes")]
_Paths = Annotated[tuple[Path, ...], _takes("a list of paths", path="yes")]
_Place = Annotated[str, _takes("a path or a URL", path="or URL")]
_Url = Annotated[str, _takes("a URL that starts with https:// or http://", _read_url)]
_Api = Annotated[str, _takes("an https:// URL, for a token may be sent there", _read_api)]
_Sha256 = Annotated[str, _takes("64 hexadecimal digits", _read_sha256, pattern=_SHA256)]
_Version = Annotated[str, _takes('a version such as "4.14.0.94"', _read_version)]
_Requirement = Annotated[
    str, _takes('"name==1.0" without URL, extras and markers', _read_requirement)
]
_Wheels = Annotated[
    tuple[str, ...] | Literal["auto"],
    _takes('a list such as ["name==1.0"], or "auto"', _read_requirement),
]
_Repository = Annotated[str, _takes('"owner/name"', pattern=r"^[\w.-]+/[\w.-]+\Z")]
_Variables = Annotated[
    tuple[Annotated[str, _matching(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\Z")], ...],
    _takes("a list of names of environment variables"),
]
_Engine = Annotated[Literal["splice", "delvewheel"], _takes('"splice" or "delvewheel"')]
_Mode = Annotated[Literal["patch", "depend", "vendor"], _takes('"patch", "depend" or "vendor"')]
_Emit = Annotated[Literal["per-python", "abi3"], _takes('"per-python" or "abi3"')]
_Platform = Annotated[str, _takes('"win_amd64"', pattern=r"^win_amd64\Z")]
_Python = Annotated[str, _takes('a Python in quotes such as "3.12"', pattern=_PYTHON)]
_Pythons = Annotated[
    tuple[Annotated[str, _matching(pattern=_PYTHON)], ...],
    _takes('a list of Pythons in quotes such as ["3.10", "3.14t"]', min_length=1),
]
_Label = Annotated[
    str, _takes('a label such as "cu126.team"', pattern=r"^[a-z0-9]+(?:[._-][a-z0-9]+)*\Z")
]
_FAMILIES = (
    *("npp", "cudart", "cublas", "cufft", "cudnn", "nvrtc", "curand", "cusolver", "cusparse"),
    *("nvjpeg", "nvjitlink", "nvvm", "cupti", "nvtoolsext"),
)
_Family = Annotated[str, _matching(pattern=rf"^(?:{'|'.join(_FAMILIES)})\Z")]
_Families = Annotated[
    Annotated[tuple[_Family, ...], _matching(min_length=1)] | Literal["all"],
    _takes(f'a list of {", ".join(map(json.dumps, _FAMILIES))}, or "all"'),
]
_Size = Annotated[int, _takes('a size such as "2 GiB"', _read_size, ge=0)]
_Cuda = Annotated[int, _takes("a number from 10 to 99", ge=10, le=99)]
_Seconds = Annotated[int, _takes("a number from 1 to 86400", ge=1, le=86400)]
_Dlls = Annotated[
    tuple[Annotated[str, _matching(pattern=r"(?i)^[\w.-]+\.dll\Z")], ...],
    _takes('a list of DLLs such as ["nvJitLink_120_0.dll"]'),
]


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """Settings that stand together."""


class SampleSource(_Table, frozen=True, kw_only=True):
    """The index's opencv-contrib-python wheel, given the imports of a CUDA build."""

    opencv: _Version = "4.14.0.94"
    cuda: _Cuda = 12
    driver: _Switch = False


class FileSource(_Table, frozen=True, kw_only=True, rename={"path": "file"}):
    """A wheel on this machine; `pinned_as` is what the lock calls it, "" for its name."""

    path: _Path
    sha256: _Sha256 | None = None
    pinned_as: str = ""


class UrlSource(_Table, frozen=True, kw_only=True):
    """A wheel at a URL whose path ends in its file name."""

    url: _Url
    sha256: _Sha256 | None = None


class IndexSource(_Table, frozen=True, kw_only=True):
    """What pip finds for `requirement` on the user's index, for one Windows Python."""

    requirement: _Requirement
    python: _Python = "3.12"
    platform: _Platform = "win_amd64"
    sha256: _Sha256 | None = None


class ReleaseSource(
    _Table, frozen=True, kw_only=True, rename={"repository": "release", "token_env": "token-env"}
):
    """The one asset of a GitHub release whose name matches `asset`; without a tag of the latest.

    The first variable of `token_env` that has a value gives the token.
    """

    repository: _Repository
    tag: _Text | None = None
    asset: _Text = "*win_amd64.whl"
    api: _Api = "https://api.github.com"
    token_env: _Variables = ("GH_TOKEN", "GITHUB_TOKEN")
    sha256: _Sha256 | None = None


Source: TypeAlias = SampleSource | FileSource | UrlSource | IndexSource | ReleaseSource


class Build(_Table, frozen=True, kw_only=True):
    """What is made of the source, and where it is put; `name` is of one of several builds."""

    name: str = ""
    mode: _Mode = "patch"
    driver_stub: _Switch = False
    emit: _Emit = "per-python"
    python: _Pythons = DEFAULT_PYTHONS
    out: _Path
    patches: _Paths = ()
    local: _Label | None = None
    help_url: _Url = ""


class Vendor(_Table, frozen=True, kw_only=True):
    """Which DLLs a wheel carries in vendor mode; `dll_dirs` come before the wheels `dlls`."""

    engine: _Engine = "splice"
    families: _Families = "all"
    dlls: _Wheels = "auto"
    dll_dirs: _Paths = ()


class Publish(_Table, frozen=True, kw_only=True):
    """What the index takes, in bytes; where it is written, read, or uploaded to."""

    max_size: _Size | None = None
    index_dir: _Place | None = None
    index_url: _Url | None = None
    repository_url: _Url | None = None
    repository: _Text | None = None


class Smoke(_Table, frozen=True, kw_only=True):
    """How the emitted wheels are tried; `timeout` is in seconds, for each process."""

    enabled: _Switch = True
    timeout: _Seconds = 300
    dlls: _Wheels = "auto"
    dll_dirs: _Paths = ()
    interpreters: _Paths = ()


class Allow(_Table, frozen=True, kw_only=True):
    """What the strict checks let through because somebody has said so."""

    startup_hook: _Switch = False
    unlisted_dlls: _Dlls = ()


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """All settings, checked; every path is absolute.

    `lock` is where the pins lie, `given` has the keys that the command line set.
    """

    path: Path | None
    source: Source | None
    build: Build
    vendor: Vendor
    publish: Publish
    smoke: Smoke
    allow: Allow
    lock: Path | None
    given: frozenset[str] = frozenset()

    @property
    def source_is_given(self) -> bool:
        """Return whether the command line named the source: then no lock speaks of it."""
        return any(key.startswith("source.") for key in self.given)


class Setting(NamedTuple):
    """What is known of one key."""

    type: Any
    takes: str
    default: Any = msgspec.NODEFAULT
    read: Callable[[str], str | int] = str
    path: _IsPath = "no"


SOURCES: Mapping[str, type[Source]] = MappingProxyType(
    {
        "sample": SampleSource,
        "file": FileSource,
        "url": UrlSource,
        "requirement": IndexSource,
        "release": ReleaseSource,
    }
)
#: The tables of a file; a [[build]] may have some of its own.
_TABLES: Mapping[str, tuple[type[_Table], ...]] = MappingProxyType(
    {
        "source": (FileSource, UrlSource, IndexSource, ReleaseSource),
        "source.sample": (SampleSource,),
        "build": (Build,),
        "vendor": (Vendor,),
        "publish": (Publish,),
        "smoke": (Smoke,),
        "allow": (Allow,),
    }
)
_OWN_TABLES = ("source", "vendor", "smoke", "allow")
#: Settings that make the source another wheel, with another hash.
_WHICH_WHEEL = {f"source.{name}" for name in (*SOURCES, "tag", "asset", "python", "platform")}


def _settings(table: str, field: FieldInfo) -> Iterator[tuple[str, Setting]]:
    """Yield the key of a field, if its type says what it takes."""
    meta = _meta_of(field.type)
    if meta is not None and meta.description and meta.extra:
        key = f"{table}.{field.encode_name}"
        yield key, Setting(field.type, meta.description, field.default, **meta.extra)


def _meta_of(kind: object) -> msgspec.Meta | None:
    """Return the outermost `_takes` of a type."""
    parts = (*getattr(kind, "__metadata__", ()), *get_args(kind))
    metas = [part if isinstance(part, msgspec.Meta) else _meta_of(part) for part in parts]
    return next((meta for meta in metas if meta is not None and meta.extra), None)


SETTINGS: Mapping[str, Setting] = MappingProxyType(
    dict(
        setting
        for table, classes in _TABLES.items()
        for field in chain(*map(fields, classes))
        for setting in _settings(table, field)
    )
)


# Reading


def load(path: Path | None, overrides: Sequence[tuple[str, object]] = ()) -> Config:
    """Return the settings of the file `path`, those of the command line put over them.

    Of a file with several builds these are what holds for all, and where they all lie.
    Paths are relative to the file's folder, on the command line to the working directory.
    What is wrong in the file is a `ConfigError`, on the command line a `UsageError`.
    """
    return _read_file(path, overrides)[0]


def load_builds(
    path: Path | None,
    overrides: Sequence[tuple[str, object]] = (),
    names: Collection[str] = (),
) -> tuple[Config, ...]:
    """Return the settings of each build called `names`, of all where none is named.

    A `[[build]]` has its own over what the file says for all; its wheels go into a folder of
    its name. The only build of a file without such tables has no name. Raises as `load` does.
    """
    common, builds = _read_file(path, overrides)
    return _select_builds(builds or [common], names)


def _read_file(
    path: Path | None, overrides: Sequence[tuple[str, object]]
) -> tuple[Config, list[Config]]:
    """Return what holds for all builds, and each of the `[[build]]` tables."""
    tree = {} if path is None else read_toml(path, hint="" if path.is_file() else INIT_HINT)
    base = Path.cwd() if path is None else path.absolute().parent
    with _faults_of(path):
        tables = _name_builds(tree.pop("build")) if isinstance(tree.get("build"), list) else {}
        common = _read_tree(tree, base)
    own = {"": dict[str, Any]()}
    for name, table in tables.items():
        with _faults_of(path, name):
            own[name] = _read_tree(table, base)
            common |= _common_out(name, own)
    given = dict(overrides)
    with _faults_of(None):
        over = _read_tree(given, Path.cwd(), command_line=True)
    configs = [
        _make_build(path, base, (_put_over(common, layer), over), name, frozenset(given))
        for name, layer in own.items()
    ]
    return configs[0], configs[1:]


def _make_build(
    path: Path | None,
    base: Path,
    layers: tuple[Mapping[str, Any], Mapping[str, Any]],
    name: str,
    given: frozenset[str],
) -> Config:
    """Return the settings of the file for one build, with those of the command line over them.

    The file has to be right without the command line, so that it is known which of them is wrong.
    """
    with _faults_of(path, name):
        config = _make_config(path, base, layers[0], frozenset())
    with _faults_of(None):
        config = _make_config(path, base, _put_over(*layers), given)
    return _put_into_folder(config, normalised_name(name), base) if name else config


@contextmanager
def _faults_of(path: Path | None, build: str = "") -> Iterator[None]:
    """Say of a wrong value in which file it stands, and in which of its builds.

    Without a file it is the command line that is wrong.
    """
    try:
        yield
    except _WrongValueError as wrong:
        text = str(wrong)
        if build:  # whose keys are written without the name of the table
            short = text.removeprefix("build.").replace("(did you mean build.", "(did you mean ")
            text = f'build "{build}": {short}'
        if path is None:
            raise UsageError(text, code="config") from None
        raise ConfigError(text, code="config", file=path) from None


def _read_tree(
    tree: Mapping[str, Any], base: Path, *, table: str = "", command_line: bool = False
) -> dict[str, Any]:
    """Return the settings of a file or a part of one, by their keys; tell all faults at once."""
    values: dict[str, Any] = {}
    faults = []
    for name, raw in tree.items():
        try:
            values |= _read_key(f"{table}{name}", raw, base, command_line=command_line)
        except _WrongValueError as wrong:
            faults.append(str(wrong))
    if faults:
        raise _WrongValueError("; ".join(faults))
    return values


def _read_key(key: str, raw: object, base: Path, *, command_line: bool) -> dict[str, Any]:
    """Return the one setting that `key` is, or all of its table."""
    if key in SETTINGS:
        value = _read_value(key, SETTINGS[key], raw, base, command_line=command_line)
        return {key.rpartition(".")[0]: {}, key: value}
    if key not in _TABLES:
        written = key if re.fullmatch(r"[\w.-]+", key) else shown(key)
        near = _suggestion(key, (*SETTINGS, *_TABLES))
        raise _WrongValueError(f"{written} is not a setting{near}")
    if not isinstance(raw, dict):
        raise _WrongValueError(f"{key} is a table, not {_written(raw)}")
    # An empty table says something, too: `sample = {}` is a source.
    return {key: {}, **_read_tree(raw, base, table=f"{key}.", command_line=command_line)}


def _read_value(
    key: str, setting: Setting, raw: object, base: Path, *, command_line: bool = False
) -> Any:  # noqa: ANN401 - what the setting's type says
    """Return the value of a setting; raises _WrongValueError."""
    if type(raw) is type(setting.default) and raw == setting.default:
        return raw
    for spelling in _spellings(raw) if command_line else [raw]:
        try:
            text = _prepare(setting, spelling, base)
            value = msgspec.convert(text, setting.type, dec_hook=lambda kind, text: kind(text))
        except _WrongValueError as wrong:
            raise _WrongValueError(f"{key} {wrong}") from None
        except ValueError:
            continue
        twice = [item for item in value if value.count(item) > 1] if type(value) is tuple else []
        if twice:
            raise _WrongValueError(f"{key} names {shown(str(twice[0]))} twice")
        return value
    words = re.findall(r'"([\w-]+)"', setting.takes)
    texts = [text for text in (raw if isinstance(raw, list) else [raw]) if isinstance(text, str)]
    near = next((_suggestion(text, words) for text in texts if text not in words), "")
    raise _WrongValueError(f"{key} takes {setting.takes}, not {_written(raw)}{near}")


def _spellings(raw: object) -> list[object]:
    """Return what the command line may mean: a number may be text, one thing a list of it."""
    words = [raw, str(raw)] if type(raw) is int else [raw]
    return [*words, *([word] for word in words if not isinstance(word, list | dict))]


def _prepare(setting: Setting, raw: object, base: Path) -> object:
    """Return a value with its texts read, and its paths made absolute."""
    if isinstance(raw, list):
        return [_prepare(setting, item, base) for item in raw]
    if not isinstance(raw, str):
        return raw
    if not raw.strip() or not raw.isprintable():
        raise ValueError
    if setting.path == "no" or (setting.path == "or URL" and "://" in raw):
        return setting.read(raw)
    try:
        path = base / Path(raw).expanduser()
    except RuntimeError:
        raise _WrongValueError(f"names a home directory that is not there: {shown(raw)}") from None
    # "examples/../dist" is no path that a table or an error should show.
    return str(path.resolve() if ".." in path.parts else path)


def _suggestion(text: str, known: Sequence[str]) -> str:
    """Return what comes nearest to `text`, as a question."""
    same_name = [key for key in known if key.rpartition(".")[2] == text]
    near = [*get_close_matches(text, known, n=1), *same_name]
    return f" (did you mean {near[0]}?)" if near else ""


def _written(raw: object) -> str:
    """Return a value as a message shows it, on one line."""
    if isinstance(raw, str):
        return shown(raw)
    return json.dumps(raw, default=str)


def _put_over(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of all layers, the later ones put over the earlier.

    Another kind of source replaces the whole source, whose other keys would contradict it.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        if {f"source.{kind}" for kind in SOURCES} & layer.keys() - merged.keys():
            merged = {key: value for key, value in merged.items() if not key.startswith("source")}
        if layer.keys() & _WHICH_WHEEL:
            merged.pop("source.sha256", None)
        merged |= layer
    return merged


def _make_config(
    path: Path | None, base: Path, values: Mapping[str, Any], given: frozenset[str]
) -> Config:
    """Return the settings; raises _WrongValueError where they contradict each other."""
    build = Build(**{"out": base / "dist", **_fields_of(values, "build", Build)})
    threaded = [python for python in build.python if python.endswith("t")]
    if build.emit == "abi3" and threaded:
        raise _WrongValueError(
            f'build.emit = "abi3" contradicts build.python {threaded[0]!r}: '
            "a free-threaded Python installs no abi3 wheel"
        )
    return Config(
        path=path,
        source=_make_source(values),
        build=build,
        vendor=Vendor(**_fields_of(values, "vendor", Vendor)),
        publish=Publish(**_fields_of(values, "publish", Publish)),
        smoke=Smoke(**_fields_of(values, "smoke", Smoke)),
        allow=Allow(**_fields_of(values, "allow", Allow)),
        lock=None if path is None else path.with_suffix(".lock"),
        given=given,
    )


def _fields_of(values: Mapping[str, Any], table: str, cls: type[_Table]) -> dict[str, Any]:
    """Return the settings of a table, by the names of the fields of `cls`."""
    keys = {field.name: f"{table}.{field.encode_name}" for field in fields(cls)}
    return {name: values[key] for name, key in keys.items() if key in values}


def _make_source(values: Mapping[str, Any]) -> Source | None:
    """Return the one source that is named; the keys of another kind are contradictions."""
    kinds = [kind for kind in SOURCES if f"source.{kind}" in values]
    if len(kinds) > 1:
        keys = " and ".join(f"source.{kind}" for kind in kinds)
        raise _WrongValueError(f"{keys} contradict each other: name one source")
    names = {kind: {field.encode_name for field in fields(cls)} for kind, cls in SOURCES.items()}
    for key in (key for key in SETTINGS if key.startswith("source.") and key in values):
        name = key.rpartition(".")[2]
        if not any(name in names[kind] for kind in kinds):
            owners = " or ".join(f"source.{kind}" for kind in SOURCES if name in names[kind])
            raise _WrongValueError(f"{key} belongs to {owners}, which is not given")
    if not kinds:
        return None
    cls = SOURCES[kinds[0]]
    return cls(**_fields_of(values, "source.sample" if cls is SampleSource else "source", cls))


def wanted_source(config: Config) -> Source:
    """Return the source; a configuration without one is refused."""
    if config.source is None:
        kinds = ", ".join(sorted(SOURCES))
        raise ConfigError(
            "no source is named",
            code="config",
            file=config.path or "",
            hint=f"put one of {kinds} under [source], or give --source; {INIT_HINT}",
        )
    return config.source


def read_option(option: str, key: str, text: str) -> str:
    """Return the text of the setting `key` that an option of the command line gives."""
    try:
        return str(_read_value(option, SETTINGS[key], text, Path()))
    except _WrongValueError as wrong:
        raise UsageError(str(wrong), code="config") from None


def source_from(text: str) -> tuple[str, object]:
    """Return the override that `--source text` stands for: a URL or a file."""
    return ("source.url" if re.match(r"https?://", text) else "source.file", text)


def parse_override(text: str) -> tuple[str, object]:
    """Return key and value of a setting as the command line gives it: `build.emit=abi3`.

    The value is a TOML literal; whatever is none is taken as the text it is. Numbers with a
    point stay text too, because 3.10 is a Python here and not three and a tenth.
    """
    key, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not re.fullmatch(r"[\w-]+(?:\.[\w-]+)*", key, re.ASCII):
        what = f"{key!r} is not a key" if equals else f"{text!r} sets nothing"
        raise UsageError(what, code="config", hint="write build.emit=abi3")
    try:
        literal = tomllib.loads(f"value={value}", parse_float=str)["value"]
    except tomllib.TOMLDecodeError:
        return key, value
    is_plain = type(literal) is int and str(literal) == value
    is_right = is_plain or isinstance(literal, bool | str | list | dict)
    return key, literal if is_right and "\n" not in value else value


def read_toml(path: Path, *, hint: str) -> dict[str, Any]:
    """Return the tables of the TOML file `path`; `hint` says what to do where it is none.

    Windows' editors begin UTF-8 with a byte order mark, which is read over.
    """
    try:
        content = path.read_bytes()
        if not content.startswith((b"\xff\xfe", b"\xfe\xff")):
            return tomllib.loads(content.decode("utf-8-sig"))
        reason = "is UTF-16: save it as UTF-8"
    except FileNotFoundError:
        reason = "there is no such file"
    except OSError as error:
        reason = f"cannot be read ({error.strerror or error})"
    except UnicodeDecodeError as error:
        reason = f"is not UTF-8 (byte {error.start}): save it as UTF-8"
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        reason = f"is not TOML: {error}"
    raise ConfigError(reason, code="config", file=path, hint=hint)


# Several builds


#: A folder's name everywhere: no device of Windows, nor the folder of wheels that did not work.
#: A path on Windows has 260 characters, and the name is in it twice.
_NAME = Setting(
    Annotated[
        str,
        _matching(
            pattern=r"(?i)^(?!(?:con|prn|aux|nul|failed|com\d|lpt\d)(?:[-_.]|\Z))"
            r"[A-Z0-9]+(?:[-_.]+[A-Z0-9]+)*\Z",
            max_length=40,
        ),
    ],
    takes="letters and digits with - _ or . between them, at most 40, and not a device of Windows "
    "nor 'failed' at its beginning",
)


def normalised_name(text: str) -> str:
    """Return a build's name as it is compared: lower case, "-" between its parts (PEP 503)."""
    return re.sub(r"[-_.]+", "-", text).lower()


def name_token(name: str) -> str:
    """Return the normalised name as one part of a local version ("cu13team" of "cu13-team").

    A part of digits loses its leading zeros there (PEP 440).
    """
    token = name.replace("-", "")
    return (token.lstrip("0") or "0") if token.isdigit() else token


def _name_builds(tables: Sequence[Any]) -> dict[str, dict[str, Any]]:
    """Return the `[[build]]` tables by their names, each as the tables of a file of its own."""
    if not tables:
        raise _WrongValueError("build is an empty list")
    builds: dict[str, dict[str, Any]] = {}
    names: dict[str, str] = {}
    for number, table in enumerate(tables, start=1):
        if not isinstance(table, dict) or "name" not in table:
            raise _WrongValueError(f"[[build]] number {number} has no name")
        name = _read_value(f"[[build]] number {number}: name", _NAME, table["name"], Path())
        other = names.setdefault(name_token(normalised_name(name)), name)
        if other != name or name in builds:
            raise _WrongValueError(
                f'build "{name}" and another, build "{other}", are one name to a version of a '
                "wheel, which has no separators: give them different ones"
            )
        own = {key: table[key] for key in _OWN_TABLES if key in table}
        rest = {key: value for key, value in table.items() if key not in {"name", *own}}
        builds[name] = {"build": rest, **own}
    return builds


def _common_out(name: str, own: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the `out` of any build as that of all: what they make is to lie in one folder."""
    given = {other: layer["build.out"] for other, layer in own.items() if "build.out" in layer}
    for other, out in given.items():
        if given.get(name, out) != out:
            raise _WrongValueError(
                f'out is not that of build "{other}": one folder holds what all builds make'
            )
    return dict.fromkeys(["build.out"], next(iter(given.values()))) if given else {}


def _put_into_folder(config: Config, name: str, base: Path) -> Config:
    """Return a build with its name and its folder; the lock tells its file by folder, too.

    CUDA 12's wheel of an OpenCV and CUDA 13's have one name as often as not.
    """
    build = msgspec.structs.replace(config.build, name=name, out=config.build.out / name)
    source = config.source
    if isinstance(source, FileSource):
        try:
            relative = Path(os.path.relpath(source.path, base)).as_posix()
        except ValueError:  # another drive of Windows
            relative = source.path.as_posix()
        source = msgspec.structs.replace(source, pinned_as=relative)
    return msgspec.structs.replace(config, build=build, source=source)


def _select_builds(builds: Sequence[Config], names: Collection[str]) -> tuple[Config, ...]:
    """Return the builds called `names` in the file's order, all where none is named.

    Raises UsageError for a name that there is not.
    """
    known = [config.build.name for config in builds]
    wanted = {normalised_name(name) for name in names}
    for name in names:
        if normalised_name(name) not in filter(None, known):
            raise _no_build(name, known)
    chosen = tuple(build for build in builds if not wanted or build.build.name in wanted)
    source = sorted(key for key in chosen[0].given if key.startswith("source."))
    if len(chosen) > 1 and source:
        raise UsageError(
            f"{source[0]} is given for {len(chosen)} builds, which would be made of one source",
            hint=f"name the one build: repack build {chosen[0].build.name} --source ...",
        )
    return chosen


def _no_build(name: str, known: Sequence[str]) -> UsageError:
    if known == [""]:
        return UsageError(
            f"there is no build {shown(name)}: no build here has a name",
            hint="name them in [[build]] tables of repack.toml",
        )
    begun = [build for build in known if build.startswith(normalised_name(name))]
    near = f" (did you mean {begun[0]}?)" if begun else _suggestion(normalised_name(name), known)
    return UsageError(
        f"there is no build {shown(name)}{near}", hint=f"there are {', '.join(known)}"
    )


#: The last second that a ZIP archive can tell.
_LAST_SECOND = 4_354_819_198


def source_date_epoch() -> int | None:
    """Return SOURCE_DATE_EPOCH in seconds since 1970, None where it is not set."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) > _LAST_SECOND:
        raise ConfigError(
            f"SOURCE_DATE_EPOCH is {shown(text)}, not the seconds from 1970 to a time before 2108",
            code="source-date-epoch",
            hint="unset it, or set it to the output of `git log -1 --format=%ct`",
        )
    return int(text)
