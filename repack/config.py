"""`repack.toml` and the settings of the command line, as one frozen `Config`.

A setting is a field of one of the structs below; its key is that of its table and its own
("build.emit"). The field's type says what it takes: in messages, and in
docs/reference/configuration.md.
"""

import json
import os
import re
import tomllib
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, TypeAlias, get_args, get_origin
from urllib.request import url2pathname

import msgspec
from msgspec import Meta, field
from msgspec.structs import FieldInfo, fields, replace
from packaging.utils import canonicalize_name

from repack.dlls.families import FAMILIES
from repack.errors import ConfigError, RepackError, UsageError
from repack.files import decode_text

DEFAULT_PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
_INIT_HINT = "`repack init` writes a repack.toml with comments"
_QUOTES_HINT = r"texts go in straight quotes, those with \ in single ones ('C:\wheels')"
_TOML_HINT = f"{_QUOTES_HINT}; a table stands once, [build] or [[build]]; save it as UTF-8"


def _text(words: str, pattern: str) -> Meta:
    return Meta(description=words, pattern=rf"^(?:{pattern})\Z")


_HOST = r"(?:\[[0-9A-Fa-f:.]+\]|[\w.-]+)(?::[1-9][0-9]{0,4})?(?:[/?][^\s#]*)?"
_LOCAL = r"(?:127\.0\.0\.1|localhost|\[::1\])[:/]"
_SPECIFIER = r"\s*(?:[<>~=!]=|[<>]|===)\s*[\w.*+!]+\s*"
_Text = Annotated[str, _text("text", r"[^\x00-\x1f]*\S[^\x00-\x1f]*")]
_URL_WORDS = "a URL (https:// or http://) without #hash, name and password, which .netrc is for"
_Url = Annotated[str, _text(_URL_WORDS, rf"(?i:https?)://{_HOST}")]
_API_WORDS = "an https:// URL, for a token may be sent there"
_Api = Annotated[str, _text(_API_WORDS, rf"(?:https://|http://(?={_LOCAL})){_HOST}")]
_Sha256 = Annotated[str, _text("64 hexadecimal digits", "[0-9a-f]{64}")]
_Version = Annotated[str, _text('a version such as "4.14.0.94"', r"[0-9]+(?:\.[0-9]+)*")]
_REQUIREMENT_WORDS = 'a requirement such as "name==1.0", without URL, extras and markers'
_REQUIREMENT = rf"[A-Za-z0-9][\w.-]*(?:{_SPECIFIER}(?:,{_SPECIFIER})*)?"
_Requirement = Annotated[str, _text(_REQUIREMENT_WORDS, _REQUIREMENT)]
_Wheels = tuple[_Requirement, ...] | Literal["auto"]
_Repository = Annotated[str, _text('"owner/name"', r"\w[\w.-]*/\w[\w.-]*")]
_PYTHON_WORDS = 'a Python in quotes such as "3.12" or "3.14t"'
_Python = Annotated[str, _text(_PYTHON_WORDS, r"3\.(?:[6-9]|[1-9][0-9])t?")]
_Label = Annotated[str, _text('a label such as "cu126.team"', "[a-z0-9]+(?:[._-][a-z0-9]+)*")]
_FAMILIES = [name for name, row in FAMILIES.items() if row.kind in {"cuda", "cudnn"}]
_Family = Annotated[str, _text(f"one of {', '.join(_FAMILIES)}", "|".join(_FAMILIES))]
#: A name is a folder's on Windows, too: no device, nor the folder of wheels that did not work.
_NO_NAME = r"(?!(?i:failed|con|prn|aux|nul|com\d|lpt\d)\b)"
_NAME_WORDS = 'letters and digits with - _ . between them, no device of Windows and not "failed"'
_Name = Annotated[str, _text(_NAME_WORDS, rf"{_NO_NAME}[A-Za-z0-9]+(?:[-_.]+[A-Za-z0-9]+)*")]
_Dll = Annotated[str, _text('a DLL such as "nvJitLink_120_0.dll"', r"(?i:[\w.-]+\.dll)")]


class Place(str):
    """A path, made absolute, or a URL."""

    __slots__ = ()


class Size(int):
    """Bytes; in the file "2 GiB"."""


class _Table(msgspec.Struct, frozen=True, rename="kebab"):
    """A table of settings."""


class SampleSource(_Table, frozen=True):
    """The index's opencv-contrib-python wheel, given the imports of a CUDA build."""

    opencv: _Version = "4.14.0.94"
    cuda: Annotated[int, Meta(ge=10, le=99)] = 12
    driver: bool = False


class FileSource(_Table, frozen=True):
    """A wheel on this machine; `pinned_as` is what the lock calls it, "" for its name."""

    path: Path = field(name="file")
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
    platform: Annotated[str, _text('"win_amd64"', "win_amd64")] = "win_amd64"
    sha256: _Sha256 | None = None


class ReleaseSource(_Table, frozen=True):
    """The one asset of a GitHub release whose name matches `asset`; without a tag of the latest.

    The first variable of `token_env` that has a value gives the token.
    """

    repository: _Repository = field(name="release")
    tag: _Text | None = None
    asset: _Text = "*win_amd64.whl"
    filename: _Text | None = None
    api: _Api = "https://api.github.com"
    token_env: tuple[_Text, ...] = ("GH_TOKEN", "GITHUB_TOKEN")
    sha256: _Sha256 | None = None


Source: TypeAlias = SampleSource | FileSource | UrlSource | IndexSource | ReleaseSource


class Build(_Table, frozen=True):
    """What is made of the source, and where it is put; `name` is of one of several builds."""

    name: _Name = ""
    mode: Literal["patch", "depend", "vendor"] = "patch"
    driver_stub: bool = False
    emit: Literal["per-python", "abi3"] = "per-python"
    python: Annotated[tuple[_Python, ...], Meta(min_length=1)] = DEFAULT_PYTHONS
    out: Path = Path("dist")
    patches: tuple[Path, ...] = ()
    local: _Label | None = None
    help_url: _Url = ""


class Vendor(_Table, frozen=True):
    """Which DLLs a wheel carries in vendor mode; `dll_dirs` come before the wheels `dlls`."""

    engine: Literal["splice", "delvewheel"] = "splice"
    families: Annotated[tuple[_Family, ...], Meta(min_length=1)] | Literal["all"] = "all"
    dlls: _Wheels = "auto"
    dll_dirs: tuple[Path, ...] = ()


class Publish(_Table, frozen=True):
    """What the index takes; where it is written, read, or uploaded to."""

    max_size: Size | None = None
    index_dir: Place | None = None
    index_url: _Url | None = None
    repository_url: _Url | None = None
    repository: _Text | None = None


class Smoke(_Table, frozen=True):
    """How the emitted wheels are tried; `timeout` is in seconds, for each process."""

    enabled: bool = True
    timeout: Annotated[int, Meta(ge=1, le=86400)] = 300
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
#: Tables that a [[build]] may have of its own.
_OWN_TABLES = ("source", "vendor", "smoke", "allow")
_ONE_SOURCE = f"one of {', '.join(sorted(_SOURCES))}"
#: Settings that make the source another wheel, with another hash.
_WHICH_WHEEL = {f"source.{name}" for name in (*_SOURCES, "tag", "asset", "python", "platform")}
_TABLES = {table.__name__.lower(): table for table in (Build, Vendor, Publish, Smoke, Allow)}
_PREFIXES: Mapping[type[_Table], str] = {
    **dict.fromkeys(_SOURCES.values(), "source"),
    SampleSource: "source.sample",
    **{table: name for name, table in _TABLES.items()},
}
#: All settings: key -> field.
SETTINGS: Mapping[str, FieldInfo] = {
    f"{prefix}.{row.encode_name}": row
    for table, prefix in _PREFIXES.items()
    for row in fields(table)
    if row.name != "pinned_as"
}


def describe(kind: Any) -> str:  # noqa: ANN401 - any type
    """Return in words what a type takes."""
    words = {
        bool: "true or false",
        dict: "a table",
        Path: "a path",
        Place: "a path or a URL",
        Size: 'a size such as "2 GiB"',
    }
    if kind in words:
        return words[kind]
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


# Reading

_Values = dict[str, Any]  # by the keys of the settings


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
    build of a file without such tables has none. Raises as `load` does, and UsageError for a name
    that there is not.
    """
    common, *named = _read_file(path, overrides)
    builds = named or [common]
    known = [config.build.name for config in builds]
    wanted: dict[str, str] = {canonicalize_name(name): name for name in names}
    for name in sorted(wanted.keys() - set(known)):
        hint = "give a wheel by --source; builds are [[build]] tables of repack.toml"
        hint = f"there are {', '.join(known)}" if named else hint
        raise UsageError(f"there is no build {wanted[name]!r}", hint=hint)
    return tuple(config for config in builds if config.build.name in (wanted or known))


def _read_file(path: Path | None, overrides: Iterable[tuple[str, object]]) -> list[Config]:
    """Return what holds for all builds, and then each of the `[[build]]` tables."""
    given = _read_values(dict(overrides), None)
    tree = {} if path is None else read_toml(path, hint="" if path.is_file() else _INIT_HINT)
    tables = tree.pop("build") if isinstance(tree.get("build"), list) else []
    common = _read_values({"build.out": "dist", **tree}, path)
    builds = [_read_values({"build": table}, path) for table in tables]
    outs = {values["build.out"] for values in builds if "build.out" in values}
    if len(outs) > 1:
        raise _refuse("build.out differs between builds, which have to share it", path)
    common["build.out"] = next(iter(outs), common["build.out"])
    tokens = {name_token((own | given).get("build.name", "")) for own in builds}
    if "" in tokens or len(tokens) < len(builds):
        what = "each [[build]] needs a build.name of its own; to a version cu-13 is CU13, too"
        raise _refuse(what, path)
    configs = []
    for own in ({}, *builds):
        values = _merge(_merge(common, own), given)
        made = {name: _make_table(table, values) for name, table in _TABLES.items()}
        name = canonicalize_name(made["build"].name)
        made["build"] = replace(made["build"], name=name, out=made["build"].out / name)
        config = Config(
            path=path,
            lock=None if path is None else path.with_suffix(".lock"),
            source=_make_source(values, path),
            source_is_given=any(key.startswith("source.") for key in given),
            **made,
        )
        configs.append(config)
    return configs


def _refuse(what: str, file: Path | None, build: str = "", hint: str = "") -> RepackError:
    """Return the error of a setting of the file; without one, of the command line."""
    if file is None:
        return UsageError(what, code="config", hint=hint)
    return ConfigError(what, code="config", file=file, member=build, hint=hint)


def _read_values(tree: Mapping[str, Any], file: Path | None, prefix: str = "") -> _Values:
    """Return the values of a file's tables, or of the command line, by their full keys."""
    folder = Path.cwd() if file is None else file.absolute().parent
    values: _Values = {}
    for name, raw in tree.items():
        key = name if prefix == "build." and name in _OWN_TABLES else f"{prefix}{name}"
        is_table = key in {"source", "source.sample", *_TABLES}
        if not (is_table or key in SETTINGS):
            known = [*SETTINGS, "source.sample", *_TABLES]
            nearest = get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f" (did you mean {nearest[0]}?)" if nearest else ""
            raise _refuse(f"{key} is not a setting{hint}", file)
        kind = dict if is_table else SETTINGS[key].type
        try:
            value = _read_value(key, raw, kind, folder)
        except (TypeError, ValueError):
            shown = json.dumps(raw, default=str, ensure_ascii=False)
            shown = "one with a password" if re.search("://.*@", shown) else shown
            # "C:\temp" has a tab.
            hint = _QUOTES_HINT if "\\" in shown else ""
            raise _refuse(f"{key} takes {describe(kind)}, not {shown}", file, hint=hint) from None
        if key not in {"source", *_TABLES}:
            values[key] = value  # an empty source.sample says something, too
        if is_table:
            values |= _read_values(value, file, f"{key}.")
    return values


def _read_value(key: str, raw: object, kind: Any, folder: Path) -> Any:  # noqa: ANN401 - any setting's
    """Return the value of a setting, a path made absolute; TypeError or ValueError for a wrong one.

    The command line gives texts: "60" is a number, "true" a switch, and "3.12,3.13" a list, too;
    but a path and a requirement may hold commas.
    """
    takes = describe(kind)
    if isinstance(raw, str) and key in SETTINGS and raw == SETTINGS[key].default:
        return raw
    value: Any = raw
    if takes.startswith("a list"):
        value = raw if isinstance(raw, list) else [raw]
        if "path" not in takes and "requirement" not in takes:
            value = " ".join(value).replace(",", " ").split()
    elif key == "source.sha256" and isinstance(raw, str):
        value = raw.lower().removeprefix("sha256:")
    value = msgspec.convert(value, kind, strict=False, dec_hook=partial(_read_special, folder))
    return tuple(dict.fromkeys(value)) if isinstance(value, tuple) else value


def _read_special(folder: Path, kind: type, raw: object) -> object:
    """Return a size, a place or a path; "examples/../dist" is none that an error should show."""
    text = raw if isinstance(raw, str) else ""
    if kind is Size:
        size = re.fullmatch(r"(\d{1,15}(?:\.\d{1,3})?) ?(?:([kmg])(i?))?b?", str(raw).lower())
        if not size:
            raise ValueError
        return Size(float(size[1]) * (1024 if size[3] else 1000) ** " kmg".index(size[2] or " "))
    is_url = "://" in text
    if not text.strip() or not text.isprintable() or (is_url and kind is Path):
        raise ValueError
    if is_url:
        return Place(text)
    # pathlib's would follow links, and fails for a user that is not there.
    return kind(os.path.abspath(folder / os.path.expanduser(text)))  # noqa: PTH100, PTH111


def _merge(common: _Values, own: _Values) -> _Values:
    """Return the values of `common` with those of `own` put over them.

    Another kind of source replaces the whole source, whose other keys would contradict it.
    Another wheel of the same kind has another hash.
    """
    dropped = {"source.sha256"} if _WHICH_WHEEL & own.keys() else set()
    if set(_source_kinds(own)) - set(_source_kinds(common)):
        dropped = {key for key in common if key.startswith("source.")}
    return {key: value for key, value in common.items() if key not in dropped} | own


def _source_kinds(values: _Values) -> list[str]:
    """Return the kinds of sources that are named; a sample also by a key of its own."""
    names = {key.split(".")[1] for key in values if key.startswith("source.")}
    return [kind for kind in _SOURCES if kind in names]


def _make_table(table: type[_Table], values: _Values) -> Any:  # noqa: ANN401 - a `table`
    keys = [key for key in SETTINGS if key in values and key.rpartition(".")[0] == _PREFIXES[table]]
    return table(**{SETTINGS[key].name: values[key] for key in keys})


def _make_source(values: _Values, path: Path | None) -> Source | None:
    """Return the one source that is named; the keys of another kind are contradictions.

    The lock tells a file by its folder, too: CUDA 12's wheel of an OpenCV and CUDA 13's have one
    name as often as not.
    """
    keys = [key for key in values if key.startswith("source.")]
    if not keys:
        return None
    try:
        (kind,) = _source_kinds(values)
        source: Source = _make_table(_SOURCES[kind], values)
    except (TypeError, ValueError):
        what = f"{', '.join(keys)}: a source is {_ONE_SOURCE}, with the keys that it takes"
        raise _refuse(what, path, values.get("build.name", "")) from None
    if isinstance(source, FileSource) and path is not None:
        with suppress(ValueError):  # another drive of Windows
            place = Path(os.path.relpath(source.path, path.absolute().parent))
            source = replace(source, pinned_as=place.as_posix())
    return source


def require_source(config: Config) -> Source:
    """Return the source; a configuration without one is refused."""
    if config.source is None:
        what = f"no source is named: give --source, or put {_ONE_SOURCE} under [source]"
        raise _refuse(f"{what}; {_INIT_HINT}", config.path)
    return config.source


def read_toml(path: Path, *, hint: str) -> dict[str, Any]:
    """Return the tables of the TOML file `path`; `hint` says what to do where there is none."""
    try:
        return tomllib.loads(decode_text(path.read_bytes()))
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
    except (ValueError, RecursionError) as error:
        reason, hint = f"is not TOML in UTF-8: {error}", hint or _TOML_HINT
    raise ConfigError(reason, code="config", file=path, hint=hint)


# The command line


def parse_override(text: str) -> tuple[str, object]:
    """Return key and value of a setting as the command line gives it: `build.emit=abi3`.

    A list, a table and a text in quotes are TOML; anything else is the text it is, a Python
    such as 3.10 too. Raises UsageError.
    """
    key, equals, value = (part.strip() for part in text.partition("="))
    if not (key and equals):
        what = f"{text!r} is not KEY=VALUE"
        raise UsageError(what, code="config", hint="write build.emit=abi3")
    if value.startswith(("[", "{", '"', "'")):
        try:
            return key, tomllib.loads(f"value={value}", parse_float=str)["value"]
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            hint = f"{_QUOTES_HINT}; a list of words is a,b as well"
            raise _refuse(f"{key} is not TOML: {error}", None, hint=hint) from None
    return key, value


def parse_source(text: str) -> list[tuple[str, object]]:
    """Return the settings that `--source text` stands for: a URL, a file or a requirement.

    A URL may end in #sha256=..., and have the name before it ("name @ https://..."), as for pip.
    """
    text = re.sub(r"^[\w.-]+ *@ *(?=\w+:)", "", text)
    url, mark, sha256 = text.partition("#sha256=")
    hashes: list[tuple[str, object]] = [("source.sha256", sha256)] if mark else []
    if url.lower().startswith("file:"):
        path = re.sub("(?i)^file:(//(localhost)?(?=/))?", "", url)
        return [("source.file", url2pathname(path)), *hashes]
    if "://" in url:
        return [("source.url", url), *hashes]
    is_path = url.lower().endswith(".whl") or re.search(r"[/\\]", url) or Path(url).is_file()
    return [("source.file" if is_path else "source.requirement", url), *hashes]


def name_token(name: str) -> str:
    """Return a build's name as one part of a local version ("cu13team" of "cu13-team").

    A part of digits loses its leading zeros there (PEP 440).
    """
    token = canonicalize_name(name).replace("-", "")
    return str(int(token)) if token.isdigit() else token


def source_date_epoch() -> int | None:
    """Return SOURCE_DATE_EPOCH in seconds since 1970, None where it is not set."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    last_second = 4_354_819_198  # that a ZIP archive can tell
    if text and not (re.fullmatch("[0-9]{1,10}", text) and int(text) <= last_second):
        what = f"SOURCE_DATE_EPOCH is {text!r}, not the seconds from 1970 to before 2108"
        hint = "unset it, or set it to the output of `git log -1 --format=%ct`"
        raise ConfigError(what, code="source-date-epoch", hint=hint)
    return int(text) if text else None
