"""What a command line gives: settings, builds, and what fetches; and what a command answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from repack.building import Supply
from repack.config import INIT_HINT, load, load_builds, parse_override, parse_source
from repack.errors import UsageError, shown
from repack.fetch import Cache

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from repack.config import Config
    from repack.console import Console, Progress
    from repack.results import Json

CONFIG = Path("repack.toml")


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a command has to say on stdout, as JSON or shown to a person."""

    json: Json
    show: Callable[[Console], None]
    failed: bool = False


def config_of(
    options: argparse.Namespace,
    *,
    more: Sequence[tuple[str, object]] = (),
) -> Config:
    """Return the settings of the file, and over them those of the command line."""
    return load(_file(options), [*_overrides(options), *more, *_from_options(options)])


def builds_of(options: argparse.Namespace) -> tuple[Config, ...]:
    """Return the settings of each build that is asked for; some source has to be named."""
    path = _file(options)
    overrides = [*_overrides(options), *_from_options(options)]
    names = [*getattr(options, "names", ()), *getattr(options, "builds", ())]
    wheel = next((name for name in names if name.endswith(".whl") or "/" in name), None)
    if wheel:
        raise UsageError(
            f"{shown(wheel)} is a wheel, not the name of a build",
            hint="write repack build --source " + wheel,
        )
    configs = load_builds(path, overrides, names)
    if path is None and configs[0].source is None:
        raise UsageError(
            "there is no repack.toml here that names a source",
            hint=f"{INIT_HINT}, or give one: repack build --source WHEEL-OR-URL",
        )
    return configs


def _file(options: argparse.Namespace) -> Path | None:
    """Return the file of settings that is named, or the one that is here."""
    if options.config is None and CONFIG.is_file():
        return CONFIG
    named: Path | None = options.config
    return named


def _overrides(options: argparse.Namespace) -> list[tuple[str, object]]:
    return [parse_override(text) for text in options.overrides]


def _from_options(options: argparse.Namespace) -> list[tuple[str, object]]:
    """Return the settings that options of their own stand for."""
    given: list[tuple[str, object]] = []
    if getattr(options, "source", None) is not None:
        given += parse_source(options.source)
    for option in ("mode", "emit", "python", "out"):
        value = getattr(options, option, None)
        if value is not None and options.command == "build":
            given.append((f"build.{option}", str(value) if option == "out" else value))
    if getattr(options, "driver_stub", None):
        given.append(("build.driver-stub", True))
    if getattr(options, "no_smoke", False):
        given.append(("smoke.enabled", False))
    for option in ("index_dir", "index_url", "repository_url", "repository"):
        if options.command == "publish" and getattr(options, option) is not None:
            given.append((f"publish.{option.replace('_', '-')}", getattr(options, option)))
    return given


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
