"""From `repack.toml` and the command line to the configured values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repack.config.settings import (
    EMBEDDABLE,
    KIND_TABLES,
    KINDS,
    PYTHON,
    SETTINGS,
    TABLES,
    Leaf,
    WrongValueError,
    kind_of,
)
from repack.config.toml import parse_key, read_toml
from repack.config.values import Allow, Build, Config, Embeddable, Publish, Smoke, Vendor
from repack.errors import ConfigError, UsageError, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from repack.config.settings import Key
    from repack.config.values import Source


def load(path: Path | None, overrides: Sequence[tuple[str, object]] = ()) -> Config:
    """Return the settings of the file `path`, those of the command line put over them.

    Paths are relative to the file's folder, on the command line to the working directory.
    Every problem of the file is told in one `ConfigError`, of the command line in a `UsageError`.
    """
    problems: list[_Problem] = []
    leaves = {} if path is None else _leaves_of_file(path, problems)
    _put_over(leaves, _leaves_of_overrides(overrides, problems))
    values = _Values(dict(_parsed(leaves, problems)), leaves, problems)
    base = Path.cwd() if path is None else path.absolute().parent
    config = Config(
        path=path,
        source=_source(values),
        build=_build(values, base),
        vendor=Vendor(**values.table("vendor")),
        publish=Publish(**values.table("publish")),
        smoke=_smoke(values),
        allow=Allow(**values.table("allow")),
        lock=None if path is None else path.with_suffix(".lock"),
        given=frozenset(".".join(parse_key(key)) for key, _ in overrides),
    )
    _raise(path, problems)
    return config


def named_url(text: str) -> str:
    """Return the URL that the command line gives for an index; raises UsageError for no URL."""
    try:
        return str(SETTINGS["source", "url"](Leaf(raw=text, base=Path(), command_line=True)))
    except WrongValueError as error:
        raise UsageError(f"--index-url {error}", code="config") from None


def wanted_source(config: Config) -> Source:
    """Return the source; a configuration without one is refused."""
    if config.source is None:
        raise ConfigError(
            "no source is named",
            code="config",
            file=config.path or "",
            hint="put one of "
            + ", ".join(sorted(KINDS))
            + " under [source] in repack.toml, or give --source",
        )
    return config.source


def setting_keys() -> tuple[str, ...]:
    """Return every key that a file may have, as it is written, sorted."""
    return tuple(sorted(_dotted(key).replace("'*'", "*") for key in SETTINGS))


def source_from(text: str) -> tuple[str, object]:
    """Return the override that `--source text` stands for: a URL or a file."""
    return ("source.url" if re.match(r"https?://", text) else "source.file", text)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Problem:
    """Something to tell, and whether the command line is to blame."""

    said: str
    command_line: bool


def _leaves_of_file(path: Path, problems: list[_Problem]) -> dict[Key, Leaf]:
    tree = read_toml(path, hint="repack.toml is described in the README")
    base = path.absolute().parent
    found = _leaves(tree, (), command_line=False, problems=problems)
    return {key: Leaf(raw=raw, base=base, command_line=False) for key, raw in found}


def _leaves_of_overrides(
    overrides: Sequence[tuple[str, object]], problems: list[_Problem]
) -> dict[Key, Leaf]:
    leaves: dict[Key, Leaf] = {}
    for key, value in overrides:
        tree = value
        for part in reversed(parse_key(key)):
            tree = {part: tree}
        for path, raw in _leaves(tree, (), command_line=True, problems=problems):
            leaves[path] = Leaf(raw=raw, base=Path.cwd(), command_line=True)
    return leaves


def _leaves(
    tree: object, path: Key, *, command_line: bool, problems: list[_Problem]
) -> Iterator[tuple[Key, object]]:
    """Yield each value of `tree` that is a setting, with its key."""
    general = _general(path)
    if general in SETTINGS:
        yield path, tree
    elif general not in TABLES:
        said = f"{_dotted(path)} is not a setting{_suggestion(path)}"
        problems.append(_Problem(said=said, command_line=command_line))
    elif not isinstance(tree, dict):
        said = f"{_dotted(path)} is a table, not {kind_of(tree)}"
        problems.append(_Problem(said=said, command_line=command_line))
    else:
        if general in KIND_TABLES:
            yield path, {}
        for key, value in tree.items():
            yield from _leaves(
                value, (*path, str(key)), command_line=command_line, problems=problems
            )


def _put_over(leaves: dict[Key, Leaf], overrides: dict[Key, Leaf]) -> None:
    """Put the command line's settings over the file's.

    Another kind of source replaces the file's whole source, whose other keys would contradict it.
    """
    kinds = {key[1] for key in overrides if key[0] == "source" and key[1] in KINDS}
    if kinds - {key[1] for key in leaves if key[0] == "source"}:
        for key in [key for key in leaves if key[0] == "source"]:
            del leaves[key]
    if kinds - {"sample"}:
        # The hash in the file is that of another file, URL or version.
        leaves.pop(("source", "sha256"), None)
    leaves.update(overrides)


def _general(path: Key) -> Key:
    """Return `path` with the name of an embeddable Python replaced by a star."""
    return (*path[:2], "*", *path[3:]) if path[:2] == EMBEDDABLE and path[2:] else path


def _dotted(path: Key) -> str:
    """Return `path` as it would be written in TOML."""
    return ".".join(part if re.fullmatch(r"[\w-]+", part) else shown(part) for part in path)


def _suggestion(path: Key) -> str:
    """Return the known key that comes nearest to `path`, as a question."""
    known = [_dotted(key) for key in (*SETTINGS, *TABLES) if key]
    near = get_close_matches(_dotted(path), known, n=1, cutoff=0.6)
    if not near:
        same_name = [key for key in known if key.rpartition(".")[2] == path[-1]]
        near = same_name[:1]
    return f" (did you mean {near[0]}?)" if near else ""


def _raise(path: Path | None, problems: list[_Problem]) -> None:
    """Raise one error that tells the file's problems, or the command line's."""
    for kind, command_line in ((ConfigError, False), (UsageError, True)):
        told = [problem.said for problem in problems if problem.command_line is command_line]
        if not told:
            continue
        more = f"; and {len(told) - _TOLD} more" if len(told) > _TOLD else ""
        raise kind(
            "; ".join(told[:_TOLD]) + more,
            code="config",
            file="" if command_line else (path or ""),
        )


_TOLD = 6
"""How many problems are told at once: a screen's worth."""


@dataclass(frozen=True, slots=True)
class _Values:
    """The settings that are right, the leaves they came from, and the problems so far."""

    parsed: Mapping[Key, Any]
    leaves: Mapping[Key, Leaf]
    problems: list[_Problem]

    def table(self, *path: str) -> dict[str, Any]:
        """Return the settings right under `path`, by the name of their field."""
        return {
            key[-1].replace("-", "_"): value
            for key, value in self.parsed.items()
            if key[:-1] == path and key not in KIND_TABLES
        }

    def wrong(self, said: str, *keys: Key) -> None:
        """Note a contradiction between `keys`."""
        command_line = any(self.leaves[key].command_line for key in keys if key in self.leaves)
        self.problems.append(_Problem(said=said, command_line=command_line))


def _parsed(leaves: Mapping[Key, Leaf], problems: list[_Problem]) -> Iterator[tuple[Key, object]]:
    """Yield the settings whose value is what they take."""
    for path, leaf in leaves.items():
        reader = SETTINGS.get(_general(path))
        try:
            yield path, leaf.raw if reader is None else reader(leaf)
        except WrongValueError as wrong:
            said = f"{_dotted(path)} {wrong}"
            problems.append(_Problem(said=said, command_line=leaf.command_line))


def _source(values: _Values) -> Source | None:
    """Return the one source that is named; the keys of another kind are contradictions."""
    given = [key for key in values.leaves if key[0] == "source"]
    kinds = [kind for kind in KINDS if ("source", kind) in values.leaves]
    if len(kinds) > 1:
        named = " and ".join(f"source.{kind}" for kind in kinds)
        values.wrong(f"{named} contradict each other: name one source", *given)
        return None
    allowed = KINDS[kinds[0]].details if kinds else frozenset[str]()
    strays = [key for key in given if key[1] not in {*kinds, *allowed}]
    for key in strays:
        owners = " or ".join(f"source.{kind}" for kind in KINDS if key[1] in KINDS[kind].details)
        values.wrong(f"{_dotted(key)} belongs to {owners}, which is not given", key)
    if not kinds or strays or any(key not in values.parsed for key in given):
        return None
    fields = {**values.table("source"), **values.table("source", "sample")}
    made: Source = KINDS[kinds[0]].make(fields)
    return made


def _build(values: _Values, base: Path) -> Build:
    fields = {"out": base / "dist", **values.table("build")}
    build = Build(**fields)
    threaded = [python for python in build.python if python.endswith("t")]
    if build.emit == "abi3" and threaded:
        said = f'build.emit = "abi3" contradicts build.python {threaded[0]!r}'
        reason = "a free-threaded Python installs no abi3 wheel"
        values.wrong(f"{said}: {reason}", ("build", "emit"), ("build", "python"))
    return build


def _smoke(values: _Values) -> Smoke:
    versions = sorted({key[2] for key in values.leaves if key[:2] == EMBEDDABLE})
    packages = []
    for version in versions:
        path = (*EMBEDDABLE, version)
        fields = values.table(*path)
        if not PYTHON.fullmatch(version):
            values.wrong(f"{_dotted(path)} is not a Python such as 3.12", *values.leaves)
        elif fields.keys() == {"url", "sha256"}:
            packages.append(Embeddable(version=version, **fields))
        elif not any(key[:3] == path and key not in values.parsed for key in values.leaves):
            values.wrong(f"{_dotted(path)} takes both url and sha256", (*path, "url"))
    return Smoke(**values.table("smoke"), embeddable=tuple(packages))
