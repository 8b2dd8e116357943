"""`repack.toml` and the settings of the command line, as one frozen `Config`.

A setting is a field of one of the structs below. Its type says what it takes, in the words of
messages and of docs/reference/configuration.md, and how a text is read.
"""

import json
import os
import re
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias, TypeVar, get_args
from urllib.parse import urlsplit
from urllib.request import url2pathname

import msgspec
from msgspec.structs import fields, replace
from packaging.requirements import Requirement
from packaging.version import Version

from repack.errors import ConfigError, UsageError, quote_name

DEFAULT_PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
#: What errors about a missing file or source say.
INIT_HINT = "`repack init` writes a repack.toml with comments"
_PYTHON = r"^3\.(?:[6-9]|[1-9][0-9])t?\Z"
_UNITS = {"": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


class _WrongValueError(ValueError):
    """A wrong value; the text is a sentence that names its key."""


# How a text is read. A plain ValueError: the key does not take it; a _WrongValueError says why.


def _read_version(text: str) -> str:
    return str(Version(text))


def _read_requirement(text: str) -> str:
    requirement = Requirement(text)
    if requirement.url or requirement.extras or requirement.marker:
        raise ValueError
    return str(requirement)


def _read_url(text: str) -> str:
    """Return the address `text`; one with a name or a password is refused."""
    try:
        parts = urlsplit(text)
        is_url = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, is_url = urlsplit(""), False
    if parts.username is not None or ("@" in text and not is_url):
        raise _WrongValueError(
            "holds a name or a password: put them into .netrc; for uploads into TWINE_USERNAME "
            "and TWINE_PASSWORD, .pypirc or keyring"
        )
    if not is_url or " " in text:
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


def _read_place(text: str) -> str | Path:
    return text if "://" in text else Path(text)


# What settings take


def _takes(
    words: str,
    read: Callable[[str], str | int | Path] = str,
    **limits: Any,  # noqa: ANN401 - msgspec's
) -> msgspec.Meta:
    return msgspec.Meta(description=words, extra={"read": read}, **limits)


_matching = msgspec.Meta  # of one thing in a list
_Text = Annotated[str, _takes("text in quotes")]
_Switch = Annotated[bool, _takes("true or false")]
_Path = Annotated[Path, _takes("a path", Path)]
_Paths = Annotated[tuple[Path, ...], _takes("a list of paths", Path)]
_Place = Annotated[str, _takes("a path or a URL", _read_place)]
_Url = Annotated[str, _takes("a URL that starts with https:// or http://", _read_url)]
_Api = Annotated[str, _takes("an https:// URL, for a token may be sent there", _read_api)]
_Sha256 = Annotated[str, _takes("64 hexadecimal digits", _read_sha256, pattern=r"^[0-9a-f]{64}\Z")]
_Version = Annotated[str, _takes('a version such as "4.14.0.94"', _read_version)]
_Requirement = Annotated[
    str, _takes('"name==1.0" without URL, extras and markers', _read_requirement)
]
_Wheels = Annotated[
    tuple[str, ...] | Literal["auto"],
    _takes('a list such as ["name==1.0"], or "auto"', _read_requirement),
]
_Wheel = Annotated[
    str,
    _takes('a name such as "name-1.0-cp312-cp312-win_amd64.whl"', pattern=r"^[\w.+!-]+\.whl\Z"),
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


# The settings


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """A table of settings."""


_T = TypeVar("_T", bound=_Table)


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
    """A wheel at a URL; `filename` is the wheel's where the URL's path does not end in it."""

    url: _Url
    filename: _Wheel | None = None
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
    filename: _Wheel | None = None
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
    out: _Path = Path("dist")
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
    """What the user permits though the strict checks refuse it."""

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
        """Return whether the command line named the source, which is then not pinned."""
        return any(key.startswith("source.") for key in self.given)


SOURCES: Mapping[str, type[Source]] = {
    "sample": SampleSource,
    "file": FileSource,
    "url": UrlSource,
    "requirement": IndexSource,
    "release": ReleaseSource,
}
_TABLES: Mapping[str, type[_Table]] = {
    "build": Build,
    "vendor": Vendor,
    "publish": Publish,
    "smoke": Smoke,
    "allow": Allow,
}
#: Tables that a [[build]] may have of its own.
_OWN_TABLES = ("source", "vendor", "smoke", "allow")
#: Settings that make the source another wheel, with another hash.
_WHICH_WHEEL = {*SOURCES, "tag", "asset", "python", "platform"}


class Setting(NamedTuple):
    """A key of the settings: its type, what it takes, how it is read, its default."""

    type: Any
    takes: str
    read: Callable[[str], str | int | Path]
    default: Any


def _list_settings() -> Iterator[tuple[str, Setting]]:
    """Yield the key of each field whose type says what it takes."""
    tables = [
        (f"source.{kind}" if kind == "sample" else "source", SOURCES[kind]) for kind in SOURCES
    ]
    for table, struct in [*tables, *_TABLES.items()]:
        for field in fields(struct):
            if meta := _find_meta(field.type):
                key = f"{table}.{field.encode_name}"
                read = (meta.extra or {})["read"]
                yield key, Setting(field.type, meta.description or "", read, field.default)


def _find_meta(kind: object) -> msgspec.Meta | None:
    """Return the outermost `_takes` of a type."""
    parts = (*getattr(kind, "__metadata__", ()), *get_args(kind))
    metas = [part if isinstance(part, msgspec.Meta) else _find_meta(part) for part in parts]
    return next((meta for meta in metas if meta and meta.extra), None)


SETTINGS: Mapping[str, Setting] = dict(_list_settings())


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
    given = frozenset(key for key, _ in overrides)
    builds: dict[str, dict[str, Any]] = {}
    with _faults_of(path, given):
        over = _read_overrides(overrides)
        if isinstance(tree.get("build"), list):
            builds = _name_builds(tree["build"])
            tree["build"] = _common_out(builds)
        common = _convert_tree(path, _merge(tree, over), given)
    configs = []
    for name, own in builds.items():
        with _faults_of(path, given, f'build "{name}": '):
            config = _convert_tree(path, _merge(_merge(tree, own), over), given)
        configs.append(_put_into_folder(config, normalise_name(name), path))
    return common, configs


@contextmanager
def _faults_of(path: Path | None, given: Collection[str], where: str = "") -> Iterator[None]:
    """Turn a wrong value into an error that names the file, or the option that gave it."""
    try:
        yield
    except _WrongValueError as wrong:
        text = str(wrong)
        if path is None or any(key in text.partition(" (did you mean")[0] for key in given):
            raise UsageError(text, code="config") from None
        raise ConfigError(where + text, code="config", file=path) from None


def _merge(common: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tables of `common` with those of `own` put over them, key by key.

    Another kind of source replaces the whole source, whose other keys would contradict it.
    Another wheel of the same kind has another hash.
    """
    merged = dict(common)
    for key, value in own.items():
        before = merged.get(key)
        if not (isinstance(before, dict) and isinstance(value, dict)):
            merged[key] = value
            continue
        if key == "source" and SOURCES.keys() & value.keys() - before.keys():
            before = {}
        if key == "source" and _WHICH_WHEEL & value.keys():
            before = {name: old for name, old in before.items() if name != "sha256"}
        merged[key] = _merge(before, value)
    return merged


def _convert_tree(path: Path | None, tree: Mapping[str, Any], given: frozenset[str]) -> Config:
    """Return the settings; raises _WrongValueError for the first that is wrong."""
    for name in sorted(tree.keys() - {"source", *_TABLES}):
        raise _refuse_key(name)
    folder = Path.cwd() if path is None else path.absolute().parent
    source = _convert_source(tree.get("source", {}), folder)
    tables: dict[str, Any] = {
        name: _convert_table(name, tree.get(name, {}), struct, folder)
        for name, struct in _TABLES.items()
    }
    build: Build = tables["build"]
    threaded = [python for python in build.python if python.endswith("t")]
    if build.emit == "abi3" and threaded:
        raise _WrongValueError(
            f'build.emit = "abi3" contradicts build.python {threaded[0]!r}: '
            "a free-threaded Python installs no abi3 wheel"
        )
    tables["build"] = replace(build, out=folder / build.out)
    lock = None if path is None else path.with_suffix(".lock")
    return Config(path=path, source=source, lock=lock, given=given, **tables)


def _convert_source(raw: object, folder: Path) -> Source | None:
    """Return the one source that is named; the keys of another kind are contradictions."""
    if not isinstance(raw, dict):
        raise _WrongValueError(f"source is a table, not {_show_value(raw)}")
    kinds = [kind for kind in SOURCES if kind in raw]
    if len(kinds) > 1:
        keys = " and ".join(f"source.{kind}" for kind in kinds)
        raise _WrongValueError(f"{keys} contradict each other: name one source")
    for name in raw:
        owners = [
            f"source.{kind}"
            for kind, struct in SOURCES.items()
            if name == kind
            or (kind != "sample" and name in {field.encode_name for field in fields(struct)})
        ]
        if not owners:
            raise _refuse_key(f"source.{name}")
        if not kinds or f"source.{kinds[0]}" not in owners:
            raise _WrongValueError(
                f"source.{name} belongs to {' or '.join(owners)}, which is not given"
            )
    if not kinds:
        return None
    if kinds == ["sample"]:
        return _convert_table("source.sample", raw["sample"], SampleSource, folder)
    return _convert_table("source", raw, SOURCES[kinds[0]], folder)


def _convert_table(name: str, raw: object, struct: type[_T], folder: Path) -> _T:
    """Return the settings of one table, its texts read."""
    if not isinstance(raw, dict):
        raise _WrongValueError(f"{name} is a table, not {_show_value(raw)}")
    values = {key: _read_value(f"{name}.{key}", value, folder) for key, value in raw.items()}
    try:
        return msgspec.convert(values, struct, dec_hook=_make)
    except msgspec.ValidationError as error:
        # It ends in the place: "Expected `bool`, got `int` - at `$.driver-stub`".
        key = str(error).rpartition("`$.")[2].split("`")[0].split("[")[0]
        raise _refuse_value(f"{name}.{key}", raw[key]) from None


def _make(kind: type, text: str) -> object:
    return kind(text)


def _read_value(key: str, raw: object, folder: Path) -> object:
    """Return a value with its texts read, and its paths made absolute."""
    setting = SETTINGS.get(key)
    if setting is None:
        raise _refuse_key(key)
    if raw == setting.default:
        return raw
    try:
        if not isinstance(raw, list):
            return _read_text(setting, raw, folder)
        values = [_read_text(setting, text, folder) for text in raw]
    except _WrongValueError as wrong:
        raise _WrongValueError(f"{key} {wrong}") from None
    except ValueError:
        raise _refuse_value(key, raw) from None
    for value in values:
        if isinstance(value, str) and values.count(value) > 1:
            raise _WrongValueError(f"{key} names {quote_name(value)} twice")
    return values


def _read_text(setting: Setting, raw: object, folder: Path) -> object:
    """Return the value that a text stands for; anything else as it is."""
    if not isinstance(raw, str):
        return raw
    if not raw.strip() or not raw.isprintable():
        raise ValueError
    value = setting.read(raw)
    if not isinstance(value, Path):
        return value
    try:
        path = folder / value.expanduser()
    except RuntimeError:
        raise _WrongValueError(
            f"names a home directory that is not there: {quote_name(raw)}"
        ) from None
    # "examples/../dist" is no path that a table or an error should show.
    return str(path.resolve() if ".." in path.parts else path)


def _refuse_key(key: str) -> _WrongValueError:
    """Return the error for a key that there is not."""
    written = key if re.fullmatch(r"[\w.-]+", key) else quote_name(key)
    return _WrongValueError(
        f"{written} is not a setting{_suggest(key, (*SETTINGS, 'source', *_TABLES))}"
    )


def _refuse_value(key: str, raw: object) -> _WrongValueError:
    """Return the error for a value that its key does not take."""
    takes = SETTINGS[key].takes
    words = re.findall(r'"([\w-]+)"', takes)
    texts = [text for text in (raw if isinstance(raw, list) else [raw]) if isinstance(text, str)]
    suggestion = next((_suggest(text, words) for text in texts if text not in words), "")
    return _WrongValueError(f"{key} takes {takes}, not {_show_value(raw)}{suggestion}")


def _suggest(text: str, known: Sequence[str]) -> str:
    """Return " (did you mean X?)" with the most similar key, "" without one."""
    same_name = [key for key in known if key.rpartition(".")[2] == text]
    nearest = [*same_name, *get_close_matches(text, known, n=1, cutoff=0.5)]
    return f" (did you mean {nearest[0]}?)" if nearest else ""


def _show_value(raw: object) -> str:
    return quote_name(raw) if isinstance(raw, str) else json.dumps(raw, default=str)


def require_source(config: Config) -> Source:
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


# The command line


def parse_override(text: str) -> tuple[str, object]:
    """Return key and value of a setting as the command line gives it: `build.emit=abi3`.

    A list, a table and a text in quotes are TOML; anything else is the text it is, a Python
    such as 3.10 too.
    """
    key, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not re.fullmatch(r"[\w-]+(?:\.[\w-]+)*", key, re.ASCII):
        what = f"{key!r} is not a key" if equals else f"{text!r} sets nothing"
        raise UsageError(what, code="config", hint="write build.emit=abi3")
    if value.startswith(("[", "{", '"', "'")) and "\n" not in value:
        with suppress(tomllib.TOMLDecodeError):
            return key, tomllib.loads(f"value={value}", parse_float=str)["value"]
    return key, value


def parse_source(text: str) -> list[tuple[str, object]]:
    """Return the settings that `--source text` stands for: a URL, a file or a requirement.

    A URL may end in #sha256=..., as for pip.
    """
    if re.match(r"(?i)(?:https?|file)://", text):
        url, mark, sha256 = text.partition("#sha256=")
        hashes: list[tuple[str, object]] = [("source.sha256", sha256)] if mark else []
        if url.lower().startswith("file:"):
            return [("source.file", url2pathname(urlsplit(url).path)), *hashes]
        return [("source.url", url), *hashes]
    is_path = text.lower().endswith(".whl") or re.search(r"[/\\]", text) or Path(text).exists()
    return [("source.file" if is_path else "source.requirement", text)]


def _read_overrides(overrides: Sequence[tuple[str, object]]) -> dict[str, Any]:
    """Return the settings of the command line as the tables of a file."""
    tree: dict[str, Any] = {}
    for key, raw in overrides:
        if key not in {*SETTINGS, "source", "source.sample", *_TABLES}:
            raise _refuse_key(key)
        *parents, name = key.split(".")
        table = tree
        for parent in parents:
            table = table.setdefault(parent, {})
        if key in SETTINGS:
            table[name] = _read_override(key, raw)
        elif isinstance(raw, dict):
            table[name] = table.get(name, {}) | raw
        else:
            raise _WrongValueError(f"{key} is a table, not {_show_value(raw)}")
    return tree


def _read_override(key: str, raw: object) -> object:
    """Return the value of a setting; a text may be a number or a switch, or one thing of a list."""
    setting = SETTINGS[key]
    is_of_list = setting.takes.startswith("a list") and f'or "{raw}"' not in setting.takes
    value = _read_value(key, [raw] if is_of_list and isinstance(raw, str) else raw, Path.cwd())
    try:
        return msgspec.convert(value, setting.type, strict=False, dec_hook=_make)
    except msgspec.ValidationError:
        raise _refuse_value(key, raw) from None


# Several builds


#: A folder's name everywhere: no device of Windows, nor the folder of wheels that did not work.
#: A path on Windows has 260 characters, and the name is in it twice.
_NAME = re.compile(
    r"(?!(?:con|prn|aux|nul|failed|com\d|lpt\d)(?:[-_.]|\Z))(?=.{1,40}\Z)"
    r"[A-Z0-9]+(?:[-_.]+[A-Z0-9]+)*",
    re.ASCII | re.IGNORECASE,
)
_NAME_TAKES = (
    "letters and digits with - _ or . between them, at most 40, and not a device of Windows nor "
    "'failed' at its beginning"
)


def normalise_name(text: str) -> str:
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
        name = table["name"]
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise _WrongValueError(
                f"[[build]] number {number}: name takes {_NAME_TAKES}, not {_show_value(name)}"
            )
        other = names.setdefault(name_token(normalise_name(name)), name)
        if other != name or name in builds:
            raise _WrongValueError(
                f'build "{name}" and another, build "{other}", are one name to a version of a '
                "wheel, which has no separators: give them different ones"
            )
        own = {key: table[key] for key in _OWN_TABLES if key in table}
        rest = {key: value for key, value in table.items() if key not in {"name", *own}}
        builds[name] = {"build": rest, **own}
    return builds


def _common_out(builds: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the `out` of any build as that of all: what they make is to lie in one folder."""
    outs = {name: own["build"]["out"] for name, own in builds.items() if "out" in own["build"]}
    if not outs:
        return {}
    first = next(iter(outs))
    for name, out in outs.items():
        if out != outs[first]:
            raise _WrongValueError(
                f'build "{name}": out is not that of build "{first}": one folder holds what all '
                "builds make"
            )
    return {"out": outs[first]}


def _put_into_folder(config: Config, name: str, path: Path | None) -> Config:
    """Return a build with its name and its folder; the lock tells its file by folder, too.

    CUDA 12's wheel of an OpenCV and CUDA 13's have one name as often as not.
    """
    build = replace(config.build, name=name, out=config.build.out / name)
    source = config.source
    if isinstance(source, FileSource) and path is not None:
        try:
            relative = Path(os.path.relpath(source.path, path.absolute().parent)).as_posix()
        except ValueError:  # another drive of Windows
            relative = source.path.as_posix()
        source = replace(source, pinned_as=relative)
    return replace(config, build=build, source=source)


def _select_builds(builds: Sequence[Config], names: Collection[str]) -> tuple[Config, ...]:
    """Return the builds called `names` in the file's order, all where none is named.

    Raises UsageError for a name that there is not.
    """
    known = [config.build.name for config in builds]
    chosen_names = {normalise_name(name) for name in names}
    for name in names:
        if known == [""]:
            raise UsageError(
                f"there is no build {quote_name(name)}: no build here has a name",
                hint="name them in [[build]] tables of repack.toml",
            )
        if normalise_name(name) not in known:
            longer = [build for build in known if build.startswith(normalise_name(name))]
            suggestion = _suggest(normalise_name(name), longer or known)
            raise UsageError(
                f"there is no build {quote_name(name)}{suggestion}",
                hint=f"there are {', '.join(known)}",
            )
    chosen = tuple(config for config in builds if not names or config.build.name in chosen_names)
    source = sorted(key for key in chosen[0].given if key.startswith("source."))
    if len(chosen) > 1 and source:
        raise UsageError(
            f"{source[0]} is given for {len(chosen)} builds, which would be made of one source",
            hint=f"name the one build: repack build {chosen[0].build.name} --source ...",
        )
    return chosen


#: The last second that a ZIP archive can tell.
_LAST_SECOND = 4_354_819_198


def source_date_epoch() -> int | None:
    """Return SOURCE_DATE_EPOCH in seconds since 1970, None where it is not set."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) > _LAST_SECOND:
        raise ConfigError(
            f"SOURCE_DATE_EPOCH is {quote_name(text)}, not the seconds from 1970 to a time "
            "before 2108",
            code="source-date-epoch",
            hint="unset it, or set it to the output of `git log -1 --format=%ct`",
        )
    return int(text)
