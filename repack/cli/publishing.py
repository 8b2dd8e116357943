"""The commands that hand wheels on: into an index, and into the files that pin them."""

import argparse
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repack.cli.commands import Answer, config_of, describe_error
from repack.config import Config
from repack.console import Progress
from repack.errors import RepackError, UsageError, redact_url
from repack.index.pins import Index, write_pins
from repack.index.place import Place, open_place
from repack.index.publish import change_version, check_place, check_url, publish, read_offers
from repack.index.upload import read_account, upload
from repack.record import read_records

_log = logging.getLogger(__name__)
#: The settings that name an index which takes uploads, and the one that names a folder.
_UPLOADS = ("publish.repository-url", "publish.repository")
_FOLDER = "publish.index-dir"


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
    index_url = options.index_url  # "" for the configured one, None for none
    config = config_of(options, [("publish.index-url", index_url)] if index_url else [])
    url = "" if index_url is None else config.publish.index_url or ""
    if index_url is not None and not url:
        raise UsageError("--index-url has no URL", hint="give one, or set publish.index-url")
    dist = (options.dist or config.build.out).absolute()
    return _pin(dist, Index(progress, url=url, offline=options.offline))


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
        repack publish --check https://index.example.com/simple/
        repack publish --index-dir /srv/simple --yank 4.13.0.90+cu126 --reason "no cuDNN"

    """
    _check_options(options)
    served = options.check  # "" for the static index, None for no check
    config = config_of(options, [("publish.index-url", served)] if served else [])
    if served:
        return _report_check(check_url(served, progress))
    if served is not None:
        return _report_check(check_place(_open_place(config), progress))
    if options.yank or options.unyank or options.remove:
        return _change(options, _open_place(config), progress)
    place = None if _takes_uploads(options, config) else _open_place(config)
    dist = (options.dist or config.build.out).absolute()
    offers = read_offers(
        dist,
        allow_startup_hook=config.allow.startup_hook,
        max_size=config.publish.max_size,
        progress=progress,
    )
    if place is None:
        if options.offline:
            raise UsageError("--offline allows no upload")
        url = None if getattr(options, "publish.repository") else config.publish.repository_url
        account = read_account(url, config.publish.repository, options.config_file)
        first, actions = upload(offers, account, config.publish.index_url or "", progress)
        name = redact_url(first)
    else:
        actions = publish(offers, place, progress)
        name = place.name
        first = Path(name).as_uri() if place.near else ""
    failed = not _pin_published(dist, first, options, progress)
    return _describe_actions(name, actions, failed=failed)


def _pin_published(dist: Path, first: str, options: argparse.Namespace, progress: Progress) -> bool:
    """Pin what a build left, and return whether all of it could be.

    The index just written, `first`, is asked, and not named in the files: where it is served, it
    may not be there yet.
    """
    if not read_records(dist):
        return True
    try:
        return not _pin(dist, Index(progress, first=first, offline=options.offline)).failed
    except RepackError as error:
        _log.error("the wheels are published, and not pinned: %s", error)
        return False


def _pin(dist: Path, index: Index) -> Answer:
    """Write the pin files and return what became of them; a Python without pins is a failure."""
    pinning = write_pins(dist, index)
    for row in pinning["unresolved"]:
        _log.error("%s: Python %s is not pinned: %s", row["build"], row["python"], row["message"])
    lines = [*pinning["files"], *(f"{path}: removed" for path in pinning["removed"])]
    return Answer(pinning, lines, failed=bool(pinning["unresolved"]))


def _describe_actions(place: str, actions: Mapping[str, str], *, failed: bool = False) -> Answer:
    """Return what was done to each file of an index."""
    rows = sorted(actions.items())
    json = {"index": place, "files": [{"filename": name, "what": what} for name, what in rows]}
    return Answer(json, [place, [("file", "what"), *rows]], failed=failed)


def _check_options(options: argparse.Namespace) -> None:
    """Refuse options that contradict each other."""
    publishes = not (options.yank or options.unyank or options.remove or options.check is not None)
    others = ("dist", "config_file", "publish.index-url", *_UPLOADS)
    if not publishes and any(getattr(options, name) for name in others):
        message = "DIST and the options of uploads do not go with --check, --yank or --remove"
        raise UsageError(message, hint="--check takes the URL that pip installs from")
    if options.check and (
        not options.check.startswith(("https://", "http://")) or getattr(options, _FOLDER)
    ):
        message = "--check takes a URL (https:// or http://), or goes with --index-dir"
        raise UsageError(message, hint="repack publish --check --index-dir DIR checks a folder")
    if options.check and options.offline:
        raise UsageError("--offline allows no check of a URL")
    if options.reason and not options.yank:
        raise UsageError("--reason belongs to --yank")
    if options.project and not (options.yank or options.unyank or options.remove):
        raise UsageError("--project belongs to --yank, --unyank and --remove")


def _takes_uploads(options: argparse.Namespace, config: Config) -> bool:
    """Return whether wheels are uploaded; the command line decides, then the file, then twine's."""
    if any(getattr(options, key) for key in (_FOLDER, *_UPLOADS)):
        return not getattr(options, _FOLDER)
    named = config.publish.repository_url or config.publish.repository
    if named and config.publish.index_dir:
        message = "repack.toml names both a folder and an index that takes uploads"
        hint = "say which: --index-dir DIR, --repository-url URL or --repository NAME"
        raise UsageError(message, hint=hint)
    twine = os.environ.get("TWINE_REPOSITORY_URL") or os.environ.get("TWINE_REPOSITORY")
    return not config.publish.index_dir and bool(named or twine)


def _open_place(config: Config) -> Place:
    """Return where the static index lies."""
    if not config.publish.index_dir:
        hint = "give --index-dir DIR or --repository-url URL, or set them under [publish]"
        raise UsageError("no index is named", hint=hint)
    return open_place(config.publish.index_dir)


def _report_check(result: dict[str, Any]) -> Answer:
    """Return what is wrong with an index, a line for each fault."""
    index, faults = result["index"], result["faults"]
    for key in result["unlisted"]:
        _log.warning("%s/%s: no page lists it; publish it, or remove it", index, key)
    lines = [*map(str, faults), f"{index}: files: {result['files']}, faults: {len(faults)}"]
    json = {**result, "faults": list(map(describe_error, faults))}
    return Answer(json, lines, failed=bool(faults))


def _change(options: argparse.Namespace, place: Place, progress: Progress) -> Answer:
    """Yank a version, or take it out."""
    version, project = options.yank or options.unyank or options.remove, options.project or ""
    reason = " ".join(options.reason.split())
    yanked = None if options.remove else bool(options.yank) and (reason or True)
    names = change_version(place, version, project, progress, yanked=yanked)
    action = "removed" if options.remove else "yanked" if options.yank else "no longer yanked"
    return _describe_actions(place.name, dict.fromkeys(names, action))
