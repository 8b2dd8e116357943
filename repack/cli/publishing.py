"""The commands that pin wheels and hand them on: to a static index, or by upload to another."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from repack.cli.given import Answer, config_of
from repack.config import load
from repack.errors import RepackError, UsageError
from repack.results import JSON_VERSION

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from repack.config import Config
    from repack.console import Progress
    from repack.index.publishing import Published, Terms
    from repack.index.resolving import Index
    from repack.stores import Store

_log = logging.getLogger(__name__)


def run_pin(options: argparse.Namespace, progress: Progress) -> Answer:
    """Write requirements, constraints and pylock.toml with the hashes of what is installed.

    Writes beside the wheels of a build requirements for each Python and for all, constraints and
    pylock.toml: the wheel, NumPy and all that is required, each with the hash of its file. What
    is pinned is what the smoke test used, as far as it was run.

    Examples:
        repack pin
        repack pin dist --offline
        repack pin dist --index-url https://index.example.com/simple

    """
    from repack.index.resolving import open_index  # noqa: PLC0415 - slow to import

    config = config_of(options)
    dist = (options.dist or config.build.out).absolute()
    index = open_index(named=_named_index(options.index_url, config), offline=options.offline)
    return _pin_answer(dist, index, progress)


def _pin_answer(dist: Path, index: Index, progress: Progress) -> Answer:
    """Write the pin files and return what became of them; a Python without pins is a failure."""
    from repack.index.pins import pin, pinning_json  # noqa: PLC0415 - slow to import

    pinning = pin(dist, index, progress)
    for folder, errors in pinning.unresolved.items():
        for python, error in errors.items():
            _log.error("%s: Python %s is not pinned: %s", folder, python, error)
    lines = [str(path) for path in pinning.written]
    lines += [f"{path}: removed" for path in pinning.removed]
    return Answer(
        json={"version": JSON_VERSION, **pinning_json(pinning)},
        show=lambda console: console.show_lines(lines),
        failed=any(pinning.unresolved.values()),
    )


def _named_index(given: str | None, config: Config) -> str:
    """Return the index that the pin files are to name; "" for none."""
    if given is None:
        return ""
    url = given or config.publish.index_url or ""
    if not url:
        raise UsageError("--index-url has no URL", hint="give one, or set publish.index-url")
    return load(None, [("publish.index-url", url)]).publish.index_url or ""


def run_publish(options: argparse.Namespace, progress: Progress) -> Answer:
    """Put wheels into a package index.

    Puts the wheels of a build into an index. A file that is there with the same hash is left
    alone, with another it is refused before anything is written. What cannot be handed on whole
    is not handed on at all. Then the pin files are written.

    Examples:
        repack publish --index-dir /srv/simple
        repack publish wheelhouse --index-dir //server/share/simple --json
        repack publish --repository-url https://pypi.example.com/
        repack publish --index-dir s3://bucket/simple --check
        repack publish --index-dir /srv/simple --yank 4.13.0.90+cu126 --reason "no cuDNN"

    """
    from repack.index import telling  # noqa: PLC0415 - slow to import

    config = config_of(options)
    _check_options(options)
    if options.check:
        return _check(config, progress)
    dist = (options.dist or config.build.out).absolute()
    if _uploads(options, config):
        published = _upload(dist, config, options, progress)
    else:
        published = _put_into_folder(dist, config, options, progress)
    pinned = _changes(options) or _pin(dist, _index(config, options), progress)
    return Answer(
        json={"version": JSON_VERSION, **telling.published_json(published)},
        show=lambda console: console.show_table(
            published.place, telling.HEADINGS, telling.published_rows(published)
        ),
        failed=not pinned,
    )


def _index(config: Config, options: argparse.Namespace) -> Index:
    """Return where pins are looked for: in the folder just written, before pip's indexes."""
    from repack.index.resolving import open_index  # noqa: PLC0415 - slow to import

    folder = config.publish.index_dir
    first = "" if folder is None or "://" in folder else Path(folder).absolute().as_uri()
    return open_index(first=first, offline=options.offline)


#: The settings that name an index which takes uploads.
_UPLOADS = ("publish.repository-url", "publish.repository")


def _is_given(options: argparse.Namespace, key: str) -> bool:
    """Return whether the option for a setting was given."""
    return bool(getattr(options, key))


def _changes(options: argparse.Namespace) -> bool:
    """Return whether a version that is there is to be changed, and nothing added."""
    return bool(options.yank or options.unyank or options.remove)


def _check_options(options: argparse.Namespace) -> None:
    """Refuse options that contradict each other."""
    if options.reason and not options.yank:
        raise UsageError("--reason belongs to --yank, which is not given")
    if options.project and not _changes(options):
        raise UsageError("--project belongs to --yank, --unyank or --remove; none is given")
    if options.check and any(_is_given(options, key) for key in _UPLOADS):
        raise UsageError("--check reads a static index", hint="name it with --index-dir")
    if options.dist and (options.check or _changes(options)):
        raise UsageError(
            f"nothing of {options.dist} is published by --check, --yank, --unyank and --remove",
            hint="leave it out, and publish in a command of its own",
        )


def _uploads(options: argparse.Namespace, config: Config) -> bool:
    """Return whether wheels are uploaded; the command line decides, then the file."""
    if _is_given(options, "publish.index-dir") or _changes(options):
        return False
    named = config.publish.repository_url or config.publish.repository
    if any(_is_given(options, key) for key in _UPLOADS):
        return True
    if named and config.publish.index_dir:
        raise UsageError(
            "repack.toml names both a folder and an index that takes uploads",
            hint="say which: --index-dir DIR, --repository-url URL or --repository NAME",
        )
    by_twine = any(os.environ.get(name) for name in ("TWINE_REPOSITORY_URL", "TWINE_REPOSITORY"))
    return bool(named) or (by_twine and not config.publish.index_dir)


def _upload(
    dist: Path, config: Config, options: argparse.Namespace, progress: Progress
) -> Published:
    """Upload by twine."""
    from repack.index.uploading import Target, upload  # noqa: PLC0415 - slow to import

    if options.offline:
        raise UsageError("--offline lets nothing be uploaded")
    settings = config.publish
    target = Target(
        repository_url=None
        if _is_given(options, "publish.repository")
        else settings.repository_url,
        repository=settings.repository,
        index_url=settings.index_url,
        config_file=options.config_file,
        allow_startup_hook=config.allow.startup_hook,
        max_size=settings.max_size,
    )
    return upload(dist, target, progress)


def _put_into_folder(
    dist: Path, config: Config, options: argparse.Namespace, progress: Progress
) -> Published:
    """Change a static index."""
    from repack.index.publishing import Terms, publish  # noqa: PLC0415 - slow to import

    store = _store(config)
    terms = Terms(
        allow_startup_hook=config.allow.startup_hook,
        max_size=config.publish.max_size,
        index_url=config.publish.index_url or "",
    )
    if _changes(options):
        published = _change(options, store, terms, progress)
    else:
        published = publish(dist, store, terms, progress)
    _tell_strays(store, published.strays)
    return published


def _check(config: Config, progress: Progress) -> Answer:
    """Compare a static index with itself."""
    from repack.index import telling  # noqa: PLC0415 - slow to import
    from repack.index.checking import check  # noqa: PLC0415

    store = _store(config)
    checked = check(store, progress)
    _tell_strays(store, checked.strays)
    return Answer(
        json={"version": JSON_VERSION, **telling.checked_json(checked)},
        show=lambda console: console.show_lines(telling.checked_lines(checked)),
        failed=bool(checked.faults),
    )


def _store(config: Config) -> Store:
    """Return where the static index lies."""
    from repack.stores import open_store  # noqa: PLC0415 - slow to import

    if not config.publish.index_dir:
        raise UsageError(
            "no index is named",
            hint="give --index-dir DIR or --repository-url URL, or set them under [publish]",
        )
    return open_store(config.publish.index_dir)


def _tell_strays(store: Store, keys: Sequence[str]) -> None:
    for key in keys:
        _log.warning(
            "%s: no page lists it; publish it from where it came, or remove it", store.locate(key)
        )


def _change(
    options: argparse.Namespace, store: Store, terms: Terms, progress: Progress
) -> Published:
    """Yank a version, or take it out."""
    from repack.index.changes import parse_reason, parse_subject  # noqa: PLC0415 - as above
    from repack.index.publishing import remove, yank  # noqa: PLC0415

    subject = parse_subject(options.yank or options.unyank or options.remove, options.project)
    if options.remove:
        return remove(subject, store, terms, progress)
    reason = parse_reason(options.reason) if options.yank else None
    return yank(subject, reason, store, terms, progress)


def _pin(dist: Path, index: Index, progress: Progress) -> bool:
    """Return whether all that was handed on is pinned, too; wheels of no build need no pins.

    No index is named in them: where this one is served, it may not be there yet.
    """
    from repack.record import read_records  # noqa: PLC0415 - slow to import

    if not read_records(dist):
        return True
    try:
        return not _pin_answer(dist, index, progress).failed
    except RepackError as error:
        _log.error("the wheels are published, and not pinned: %s", error)
        return False
