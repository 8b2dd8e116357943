"""What a command line gives: settings, builds, and what fetches; and what a command answers."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from repack.building import Supply
from repack.config import INIT_HINT, Config, load, load_builds, parse_override, parse_source
from repack.console import Console, Progress
from repack.errors import UsageError, shown
from repack.fetch import Cache
from repack.results import Json

CONFIG = Path("repack.toml")


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a command has to say on stdout, as JSON or shown to a person; `next_step` on stderr."""

    json: Json
    show: Callable[[Console], None]
    failed: bool = False
    next_step: str = ""


def config_of(options: argparse.Namespace, more: Sequence[tuple[str, object]] = ()) -> Config:
    """Return the settings of the file, and over them those of the command line."""
    return load(_find_file(options), [*more, *_read_overrides(options)])


def builds_of(options: argparse.Namespace) -> tuple[Config, ...]:
    """Return the settings of each build that is asked for; some source has to be named."""
    for name in options.names:
        if name.endswith(".whl") or "/" in name:
            raise UsageError(
                f"{shown(name)} is a wheel, not the name of a build",
                hint=f"write repack build --source {name}",
            )
    path = _find_file(options)
    configs = load_builds(path, _read_overrides(options), options.names)
    if path is None and configs[0].source is None:
        raise UsageError(
            "there is no repack.toml here that names a source",
            hint=f"{INIT_HINT}, or give one: repack build --source WHEEL-OR-URL",
        )
    return configs


def _find_file(options: argparse.Namespace) -> Path | None:
    """Return the file of settings that is named, or the one that is here."""
    if options.config is None and CONFIG.is_file():
        return CONFIG
    named: Path | None = options.config
    return named


def _read_overrides(options: argparse.Namespace) -> list[tuple[str, object]]:
    """Return the settings that the command line gives; an option's own goes before `--set`."""
    overrides = [parse_override(text) for text in options.overrides]
    if getattr(options, "source", None) is not None:
        overrides += parse_source(options.source)
    keys = sorted(key for key in vars(options) if "." in key)
    overrides += [(key, getattr(options, key)) for key in keys if getattr(options, key) is not None]
    return overrides


def supply_of(config: Config, options: argparse.Namespace, progress: Progress) -> Supply:
    """Return what fetches; without a configuration the pins lie in the cache."""
    cache = replace(Cache.default(), sizes_only=getattr(options, "dry_run", False))
    return Supply(
        cache,
        config.lock or cache.folder("pins") / "repack.lock",
        offline=options.offline,
        update=getattr(options, "update_lock", False),
        progress=progress,
    )
