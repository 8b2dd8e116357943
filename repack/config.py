"""`repack.toml` and the settings of the command line, as one frozen `Config`.

A setting is a field of one of the structs below; its key is that of its table and its own
("build.emit"). The field's type says what it takes: in messages, and in
docs/reference/configuration.md.
"""

import json
import os
import re
import tomllib
from collections import ChainMap
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, get_args, get_origin
from urllib.request import url2pathname

import msgspec
from msgspec import Meta
from msgspec.structs import FieldInfo, fields, replace
from packaging.utils import canonicalize_name

from repack.errors import ConfigError, UsageError, quote_name
from repack.files import decode_text

DEFAULT_PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
#: What errors about a missing file or source say.
INIT_HINT = "`repack init` writes a repack.toml with comments"


def _text(words: str, pattern: str) -> Meta:
    return Meta(description=words, pattern=rf"^(?:{pattern})\Z")


_HOST = r"(?:\[[0-9A-Fa-f:.]+\]|[\w.-]+)(?::[1-9][0-9]{0,4})?(?:[/?][^\s#]*)?"
_LOCAL = r"(?:127\.0\.0\.1|localhost|\[::1\])[:/]"
_SPECIFIER = r"\s*(?:[<>~=!]=|[<>]|===)\s*[\w.*+!]+\s*"
_Text = Annotated[str, _text("text", r"[^\x00-\x1f]*\S[^\x00-\x1f]*")]
_URL_WORDS = (
    "a URL that starts with https:// or http://, without #hash, name and password (which belong "
    "into .netrc, .pypirc or keyring)"
)
_Url = Annotated[str, _text(_URL_WORDS, rf"(?i:https?)://{_HOST}")]
_API_WORDS = "an https:// URL, for a token may be sent there"
_Api = Annotated[str, _text(_API_WORDS, rf"(?:https://|http://(?={_LOCAL})){_HOST}")]
_Place = Annotated[str, _text("a path or a URL", ".+")]
_Sha256 = Annotated[str, _text("64 hexadecimal digits", "[0-9a-f]{64}")]
_Version = Annotated[str, _text('a version such as "4.14.0.94"', r"[0-9]+(?:\.[0-9]+)*")]
_Requirement = Annotated[
    str,
    _text(
        'a requirement such as "name==1.0", without URL, extras and markers',
        rf"[A-Za-z0-9][\w.-]*(?:{_SPECIFIER}(?:,{_SPECIFIER})*)?",
    ),
]
_Wheels = tuple[_Requirement, ...] | Literal["auto"]
_Repository = Annotated[str, _text('"owner/name"', r"\w[\w.-]*/\w[\w.-]*")]
_Platform = Annotated[str, _text('"win_amd64"', "win_amd64")]
_Python = Annotated[
    str, _text('a Python in quotes such as "3.12" or "3.14t"', r"3\.(?:[6-9]|[1-9][0-9])t?")
]
_Pythons = Annotated[tuple[_Python, ...], Meta(min_length=1)]
_Label = Annotated[str, _text('a label such as "cu126.team"', "[a-z0-9]+(?:[._-][a-z0-9]+)*")]
# fmt: off
_Family = Literal[
    "npp", "cudart", "cublas", "cufft", "cudnn", "nvrtc", "curand", "cusolver", "cusparse",
    "nvjpeg", "nvjitlink", "nvvm", "cupti", "nvtoolsext",
]
# fmt: on
_Families = Annotated[tuple[_Family, ...], Meta(min_length=1)]
_Size = Annotated[int, Meta(ge=0, description='a size such as "2 GiB"')]
_Cuda = Annotated[int, Meta(ge=10, le=99)]
_Seconds = Annotated[int, Meta(ge=1, le=86400)]
_Dll = Annotated[str, _text('a DLL such as "nvJitLink_120_0.dll"', r"(?i:[\w.-]+\.dll)")]


class _Table(msgspec.Struct, frozen=True, rename="kebab"):
    """A table of settings."""


_T = TypeVar("_T", bound=_Table)


class SampleSource(_Table, frozen=True):
    """The index's opencv-contrib-python wheel, given the imports of a CUDA build."""

    opencv: _Version = "4.14.0.94"
    cuda: _Cuda = 12
    driver: bool = False


class FileSource(_Table, frozen=True, rename={"path": "file"}):
    """A wheel on this machine; `pinned_as` is what the lock calls it, "" for its name."""

    path: Path
    sha256: _Sha256 | None = None
    pinned_as: str = ""


class UrlSource(_Table, frozen=True):
    """A wheel at a URL; `filename` is the wheel's where the URL's path does not end in it."""

    url: _Url
    filename: _Text | None = None
    sha256: _Sha256 | None = None


class IndexSource(_Table, frozen=True):
    """What pip finds for `requirement` on the user's index, for one Windows Python."""

    requirement: _Requirement
    python: _Python = "3.12"
    platform: _Platform = "win_amd64"
    sha256: _Sha256 | None = None


class ReleaseSource(
    _Table, frozen=True, rename={"repository": "release", "token_env": "token-env"}
):
    """The one asset of a GitHub release whose name matches `asset`; without a tag of the latest.

    The first variable of `token_env` that has a value gives the token.
    """

    repository: _Repository
    tag: _Text | None = None
    asset: _Text = "*win_amd64.whl"
    filename: _Text | None = None
    api: _Api = "https://api.github.com"
    token_env: tuple[_Text, ...] = ("GH_TOKEN", "GITHUB_TOKEN")
    sha256: _Sha256 | None = None


Source: TypeAlias = SampleSource | FileSource | UrlSource | IndexSource | ReleaseSource


class Build(_Table, frozen=True):
    """What is made of the source, and where it is put; `name` is of one of several builds."""

    name: str = ""
    mode: Literal["patch", "depend", "vendor"] = "patch"
    driver_stub: bool = False
    emit: Literal["per-python", "abi3"] = "per-python"
    python: _Pythons = DEFAULT_PYTHONS
    out: Path = Path("dist")
    patches: tuple[Path, ...] = ()
    local: _Label | None = None
    help_url: _Url = ""


class Vendor(_Table, frozen=True):
    """Which DLLs a wheel carries in vendor mode; `dll_dirs` come before the wheels `dlls`."""

    engine: Literal["splice", "delvewheel"] = "splice"
    families: _Families | Literal["all"] = "all"
    dlls: _Wheels = "auto"
    dll_dirs: tuple[Path, ...] = ()


class Publish(_Table, frozen=True):
    """What the index takes, in bytes; where it is written, read, or uploaded to."""

    max_size: _Size | None = None
    index_dir: _Place | None = None
    index_url: _Url | None = None
    repository_url: _Url | None = None
    repository: _Text | None = None


class Smoke(_Table, frozen=True):
    """How the emitted wheels are tried; `timeout` is in seconds, for each process."""

    enabled: bool = True
    timeout: _Seconds = 300
    dlls: _Wheels = "auto"
    dll_dirs: tuple[Path, ...] = ()
    interpreters: tuple[Path, ...] = ()


class Allow(_Table, frozen=True):
    """What the user permits though the strict checks refuse it."""

    startup_hook: bool = False
    unlisted_dlls: tuple[_Dll, ...] = ()


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """All settings, checked; every path is absolute.

    `lock` is where the pins lie. A source that the command line named (`source_is_given`) is not
    pinned.
    """

    path: Path | None
    lock: Path | None
    source: Source | None
    source_is_given: bool
    build: Build
    vendor: Vendor
    publish: Publish
    smoke: Smoke
    allow: Allow


_SOURCES: Mapping[str, type[Source]] = {
    "sample": SampleSource,
    "file": FileSource,
    "url": UrlSource,
    "requirement": IndexSource,
    "release": ReleaseSource,
}
_ONE_OF_SOURCES = f"one of {', '.join(sorted(_SOURCES))}"
_TABLES = {table.__name__.lower(): table for table in (Build, Vendor, Publish, Smoke, Allow)}
_TABLE_KEYS = ("source", "source.sample", *_TABLES)
#: Settings that make the source another wheel, with another hash.
_WHICH_WHEEL = {f"source.{name}" for name in (*_SOURCES, "tag", "asset", "python", "platform")}


def _read_size(text: str) -> int:
    size = re.fullmatch(r"(\d{1,15}(?:\.\d{1,3})?) ?(?:([kmg])(i?))?b?", text.lower())
    if not size:
        raise ValueError
    base = 1024 if size[3] else 1000
    return int(float(size[1]) * base ** " kmg".index(size[2] or " "))


def _read_path(folder: Path, _: type, text: object) -> Path:
    """Return the absolute path; "examples/../dist" is none that an error should show."""
    if not isinstance(text, str) or not text.strip() or not text.isprintable():
        raise ValueError
    # pathlib's would follow links, and fails for a user that is not there.
    return Path(os.path.abspath(folder / os.path.expanduser(text)))  # noqa: PTH100, PTH111


#: How texts are read that are not what their setting is: a function of the text and the folder.
_READERS: Mapping[str, Callable[[str, Path], object]] = {
    "source.sha256": lambda text, _: text.lower().removeprefix("sha256:"),
    "source.api": lambda text, _: text.rstrip("/"),
    "publish.max-size": lambda text, _: _read_size(text),
    "publish.index-dir": lambda text, folder: (
        text if "://" in text else str(_read_path(folder, Path, text))
    ),
}


def describe(kind: Any) -> str:  # noqa: ANN401 - any type
    """Return in words what a type takes."""
    if kind in {bool, Path}:
        return "true or false" if kind is bool else "a path"
    parts = get_args(kind)
    if get_origin(kind) is Annotated:
        meta = parts[1]
        numbers = f"a number from {meta.ge} to {meta.le}" if meta.le else ""
        return meta.description or numbers or describe(parts[0])
    if get_origin(kind) is Literal:
        return " or ".join(", ".join(map(json.dumps, parts)).rsplit(", ", 1))
    if get_origin(kind) is tuple:
        return f"a list, each {describe(parts[0])}"
    return ", or ".join(describe(part) for part in parts if part is not NoneType)


def _list_fields(prefix: str, table: type[_Table]) -> dict[str, FieldInfo]:
    """Return the fields of a table by the keys of settings; a plain `str` is none."""
    rows = [row for row in fields(table) if row.type is not str]
    return {f"{prefix}.{row.encode_name}": row for row in rows}


_SOURCE_FIELDS = {
    kind: _list_fields("source.sample" if kind == "sample" else "source", table)
    for kind, table in _SOURCES.items()
}
_TABLE_FIELDS = {name: _list_fields(name, table) for name, table in _TABLES.items()}
#: All settings: key -> field.
SETTINGS: Mapping[str, FieldInfo] = ChainMap(*_SOURCE_FIELDS.values(), *_TABLE_FIELDS.values())


# Reading

_Values = dict[str, Any]  # by the keys of the settings


class _WrongValueError(ValueError):
    """A wrong value; the text is a sentence that names its key."""


def load(path: Path | None, overrides: Iterable[tuple[str, object]] = ()) -> Config:
    """Return the settings of the file `path`, those of the command line put over them.

    Of a file with several builds these are what holds for all, and where they all lie.
    Paths are relative to the file's folder, on the command line to the working directory.
    What is wrong in the file is a `ConfigError`, on the command line a `UsageError`.
    """
    return _read_file(path, overrides)[0]


def load_builds(
    path: Path | None,
    overrides: Iterable[tuple[str, object]] = (),
    names: Collection[str] = (),
) -> tuple[Config, ...]:
    """Return the settings of each build called `names`, of all where none is named.

    A `[[build]]` has its own over what the file says for all, and a folder of its name; the only
    build of a file without such tables has none. Raises as `load` does.
    """
    configs = _read_file(path, overrides)
    return _select_builds(configs[1:] or configs, names)


def _read_file(path: Path | None, overrides: Iterable[tuple[str, object]]) -> list[Config]:
    """Return what holds for all builds, and then each of the `[[build]]` tables."""
    folder = Path.cwd() if path is None else path.absolute().parent
    tree = {} if path is None else read_toml(path, hint="" if path.is_file() else INIT_HINT)
    tables = tree.pop("build") if isinstance(tree.get("build"), list) else None
    with _refusing(None):
        given = _read_values(dict(overrides), Path.cwd())
    with _refusing(path):
        common = _read_values(tree, folder)
        named = {} if tables is None else _name_builds(tables)
    builds = {}
    for name, own in named.items():
        with _refusing(path, f'build "{name}": '):
            builds[name] = _read_values(own, folder)
            out = builds[name].get("build.out")
            if out and out != common.setdefault("build.out", out):
                raise _WrongValueError("build.out is not the one of another build: all share it")
    common.setdefault("build.out", folder / "dist")
    configs = []
    for name, values in {"": {}, **builds}.items():
        with _refusing(path, f'build "{name}": ' if name else ""):
            configs.append(_make_config(path, _merge(common, values), given, name))
    return configs


@contextmanager
def _refusing(path: Path | None, where: str = "") -> Iterator[None]:
    """Turn a wrong value into an error of the file; without one, of the command line."""
    try:
        yield
    except _WrongValueError as wrong:
        if path is None:
            raise UsageError(str(wrong), code="config") from None
        raise ConfigError(f"{where}{wrong}", code="config", file=path) from None


def _read_values(tree: Mapping[str, Any], folder: Path) -> _Values:
    """Return the values of a file's tables, or of the command line, by their full keys."""
    return {key: _read_value(key, raw, folder) for key, raw in _flatten(tree)}


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in tree.items():
        key = f"{prefix}{name}"
        if key not in _TABLE_KEYS:
            yield key, value
        elif not isinstance(value, dict):
            raise _WrongValueError(f"{key} is a table, not {_show_value(value)}")
        else:
            if key == "source.sample":  # an empty table says something, too
                yield key, value
            yield from _flatten(value, f"{key}.")


def _read_value(key: str, raw: object, folder: Path) -> object:
    """Return the value of a setting, a path made absolute.

    The command line gives texts: "60" is a number, "true" a switch, and "3.12,3.13" a list, too;
    but a path and a requirement may hold commas.
    """
    if key == "source.sample":
        return raw
    if key not in SETTINGS:
        known = [*SETTINGS, *_TABLE_KEYS]
        raise _WrongValueError(f"{key} is not a setting{_suggest(key, known)}")
    setting, takes = SETTINGS[key], describe(SETTINGS[key].type)
    if isinstance(raw, str) and raw == setting.default:
        return raw
    value: Any = raw
    try:
        if isinstance(raw, str) and key in _READERS:
            value = _READERS[key](raw, folder)
        elif takes.startswith("a list"):
            value = raw if isinstance(raw, list) else [raw]
            if "path" not in takes and "requirement" not in takes:
                value = " ".join(value).replace(",", " ").split()
        hook = partial(_read_path, folder)
        value = msgspec.convert(value, setting.type, strict=False, dec_hook=hook)
        return tuple(dict.fromkeys(value)) if isinstance(value, tuple) else value
    except (TypeError, ValueError):
        reason = f"{key} takes {takes}, not {_show_value(raw)}"
        raise _WrongValueError(reason) from None


def _suggest(text: str, known: Sequence[str]) -> str:
    """Return " (did you mean X?)" with the most similar key, "" without one."""
    nearest = get_close_matches(text, known, n=1, cutoff=0.5)
    return f" (did you mean {nearest[0]}?)" if nearest else ""


def _show_value(raw: object) -> str:
    if isinstance(raw, str):
        return "one with a password" if re.search("://.*@", raw) else quote_name(raw)
    return json.dumps(raw, default=str)


def _merge(common: _Values, own: _Values) -> _Values:
    """Return the values of `common` with those of `own` put over them.

    Another kind of source replaces the whole source, whose other keys would contradict it.
    Another wheel of the same kind has another hash.
    """
    dropped: Collection[str] = ()
    if set(_source_kinds(own)) - set(_source_kinds(common)):
        dropped = [key for key in common if key.startswith("source.")]
    elif _WHICH_WHEEL & own.keys():
        dropped = ["source.sha256"]
    return {key: value for key, value in common.items() if key not in dropped} | own


def _source_kinds(values: _Values) -> list[str]:
    """Return the kinds of sources that are named; a sample also by a key of its own."""
    names = {key.split(".")[1] for key in values if key.startswith("source.")}
    return [kind for kind in _SOURCES if kind in names]


def _make_config(path: Path | None, values: _Values, given: _Values, name: str) -> Config:
    """Return the settings of the build `name` ("" for none), and of the command line over them.

    Raises _WrongValueError where some contradict others.
    """
    values = _merge(values, given)
    tables: dict[str, Any] = {
        table: _make_table(struct, _TABLE_FIELDS[table], values)
        for table, struct in _TABLES.items()
    }
    build: Build = tables["build"]
    name = canonicalize_name(name)
    tables["build"] = replace(build, name=name, out=build.out / name)
    return Config(
        path=path,
        lock=None if path is None else path.with_suffix(".lock"),
        source=_make_source(values, path),
        source_is_given=any(key.startswith("source.") for key in given),
        **tables,
    )


def _make_table(table: type[_T], rows: Mapping[str, FieldInfo], values: _Values) -> _T:
    return table(**{row.name: values[key] for key, row in rows.items() if key in values})


def _make_source(values: _Values, path: Path | None) -> Source | None:
    """Return the one source that is named; the keys of another kind are contradictions.

    The lock tells a file by its folder, too: CUDA 12's wheel of an OpenCV and CUDA 13's have one
    name as often as not.
    """
    keys = [key for key in values if key.startswith("source.")]
    if not keys:
        return None
    kinds = _source_kinds(values)
    if not kinds:
        raise _WrongValueError(f"{keys[0]} alone names no source: add {_ONE_OF_SOURCES}")
    kind = kinds[0]
    for key in keys:
        if key not in {"source.sample", *_SOURCE_FIELDS[kind]}:
            raise _WrongValueError(f"{key} contradicts source.{kind}: name one source")
    source: Source = _make_table(_SOURCES[kind], _SOURCE_FIELDS[kind], values)
    if isinstance(source, FileSource) and path is not None:
        with suppress(ValueError):  # another drive of Windows
            place = Path(os.path.relpath(source.path, path.absolute().parent))
            source = replace(source, pinned_as=place.as_posix())
    return source


def require_source(config: Config) -> Source:
    """Return the source; a configuration without one is refused."""
    if config.source is None:
        hint = f"give --source, or put {_ONE_OF_SOURCES} under [source]; {INIT_HINT}"
        if config.path is None:
            raise UsageError("there is no repack.toml that names a source", hint=hint)
        raise ConfigError("no source is named", code="config", file=config.path, hint=hint)
    return config.source


def read_toml(path: Path, *, hint: str) -> dict[str, Any]:
    """Return the tables of the TOML file `path`; `hint` says what to do where it is none."""
    try:
        return tomllib.loads(decode_text(path.read_bytes()))
    except FileNotFoundError:
        reason = "there is no such file"
    except OSError as error:
        reason = f"cannot be read ({error.strerror or error})"
    except (ValueError, RecursionError) as error:
        reason = f"is not TOML in UTF-8: {error}"
    raise ConfigError(reason, code="config", file=path, hint=hint)


# The command line


def parse_override(text: str) -> tuple[str, object]:
    """Return key and value of a setting as the command line gives it: `build.emit=abi3`.

    A list, a table and a text in quotes are TOML; anything else is the text it is, a Python
    such as 3.10 too.
    """
    key, equals, value = (part.strip() for part in text.partition("="))
    if not (key and equals):
        what = f"{quote_name(text)} sets nothing"
        raise UsageError(what, code="config", hint="write build.emit=abi3")
    if value.startswith(("[", "{", '"', "'")):
        with suppress(tomllib.TOMLDecodeError, RecursionError):
            return key, tomllib.loads(f"value={value}", parse_float=str)["value"]
    return key, value


def parse_source(text: str) -> list[tuple[str, object]]:
    """Return the settings that `--source text` stands for: a URL, a file or a requirement.

    A URL may end in #sha256=..., and have the name before it ("name @ https://..."), as for pip.
    """
    text = re.sub(r"^[\w.-]+ *@ *(?=\w+:)", "", text)
    if re.match("(?i)file:", text) or "://" in text:
        url, mark, sha256 = text.partition("#sha256=")
        hashes: list[tuple[str, object]] = [("source.sha256", sha256)] if mark else []
        if url.lower().startswith("file:"):
            path = re.sub("(?i)^file:(//(localhost)?(?=/))?", "", url)
            return [("source.file", url2pathname(path)), *hashes]
        return [("source.url", url), *hashes]
    is_path = text.lower().endswith(".whl") or re.search(r"[/\\]", text) or Path(text).is_file()
    return [("source.file" if is_path else "source.requirement", text)]


# Several builds

#: Tables that a [[build]] may have of its own.
_OWN_TABLES = ("source", "vendor", "smoke", "allow")
#: A name is a folder's on Windows, too: no device, nor the folder of wheels that did not work.
_NAME = re.compile(
    r"(?i)(?!(?:failed|con|prn|aux|nul|com\d|lpt\d)\b)[a-z0-9]+(?:[-_.]+[a-z0-9]+)*", re.ASCII
)
_NAME_TAKES = "letters and digits with - _ . between them, no device of Windows and not 'failed'"


def name_token(name: str) -> str:
    """Return a build's name as one part of a local version ("cu13team" of "cu13-team").

    A part of digits loses its leading zeros there (PEP 440).
    """
    token = canonicalize_name(name).replace("-", "")
    return str(int(token)) if token.isdigit() else token


def _name_builds(tables: Sequence[Any]) -> dict[str, dict[str, Any]]:
    """Return the `[[build]]` tables by their names, each as the tables of a file of its own."""
    builds: dict[str, dict[str, Any]] = {}
    for number, table in enumerate(tables, start=1):
        name = table.get("name") if isinstance(table, dict) else None
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            wrong = _show_value(name)
            raise _WrongValueError(f"[[build]] {number}: name takes {_NAME_TAKES}, not {wrong}")
        if name_token(name) in map(name_token, builds):
            same = "is one name with another build's: a version has no - _ . and capitals"
            raise _WrongValueError(f"[[build]] {number}: {quote_name(name)} {same}")
        own = {key: table[key] for key in _OWN_TABLES if key in table}
        rest = {key: value for key, value in table.items() if key not in {"name", *own}}
        builds[name] = {"build": rest, **own}
    return builds


def _select_builds(builds: Sequence[Config], names: Collection[str]) -> tuple[Config, ...]:
    """Return the builds called `names` in the file's order, all where none is named.

    Raises UsageError for a name that there is not, and for several builds of one given source.
    """
    known = [config.build.name for config in builds]
    wanted: set[str] = {canonicalize_name(name) for name in names} or {*known}
    for name in sorted(wanted.difference(known)):
        listed = f"there are {', '.join(known)}"
        raise UsageError(
            f"there is no build {quote_name(name)}{_suggest(name, known)}",
            hint=listed if known[0] else "name them in [[build]] tables of repack.toml",
        )
    chosen = tuple(config for config in builds if config.build.name in wanted)
    if len(chosen) > 1 and chosen[0].source_is_given:
        raise UsageError(
            f"a source is given for {len(chosen)} builds, which would all be made of it",
            hint=f"name the one build: repack build {chosen[0].build.name} --source ...",
        )
    return chosen


def source_date_epoch() -> int | None:
    """Return SOURCE_DATE_EPOCH in seconds since 1970, None where it is not set."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return None
    last_second = 4_354_819_198  # that a ZIP archive can tell
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) > last_second:
        raise ConfigError(
            f"SOURCE_DATE_EPOCH is {quote_name(text)}, not the seconds from 1970 to before 2108",
            code="source-date-epoch",
            hint="unset it, or set it to the output of `git log -1 --format=%ct`",
        )
    return int(text)
