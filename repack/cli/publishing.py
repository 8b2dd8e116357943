"""The commands that hand wheels on: into an index, and into the files that pin them."""

import argparse
import logging
import os
from pathlib import Path

import msgspec

from repack.cli.commands import Answer, config_of
from repack.config import Config, load
from repack.console import Progress
from repack.errors import RepackError, UsageError
from repack.index.account import read_account
from repack.index.check import Checked, check_place, check_url
from repack.index.pins import pinning_json, write_pins
from repack.index.publishing import (
    Done,
    Place,
    open_place,
    parse_reason,
    parse_version,
    publish,
    remove,
    upload_time,
    yank,
)
from repack.index.resolving import Index, open_index
from repack.index.upload import upload
from repack.index.wheels import Offer, read_offers
from repack.record import read_records

_log = logging.getLogger(__name__)
#: The settings that name an index which takes uploads, and the one that names a folder.
_UPLOADS = ("publish.repository-url", "publish.repository")
_FOLDER = "publish.index-dir"
_HEADINGS = ("project", "version", "file", "what")


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
    config = config_of(options)
    dist = (options.dist or config.build.out).absolute()
    index = open_index(named=_named_index(options.index_url, config), offline=options.offline)
    return _pin_answer(dist, index, progress)


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
        repack publish --check https://index.example.com/simple/
        repack publish --index-dir /srv/simple --yank 4.13.0.90+cu126 --reason "no cuDNN"

    """
    config = config_of(options)
    _check_options(options)
    if options.check is not None:
        return _check(config, options, progress)
    if _changes(options):
        changed = _place(config)
        return _answer(changed.name, _change(changed, options, progress))
    dist = (options.dist or config.build.out).absolute()
    place = None if _uploads(options, config) else _place(config)
    offers = read_offers(
        dist,
        time=upload_time(),
        allow_startup_hook=config.allow.startup_hook,
        max_size=config.publish.max_size,
        progress=progress,
    )
    if place is None:
        name, done, first = _upload(offers, config, options, progress)
    else:
        index_url = config.publish.index_url or ""
        done = publish(offers, place, progress, index_url=index_url)
        name = place.name
        first = Path(name).as_uri() if place.near else ""
    pinned = _pin(dist, first, progress, offline=options.offline)
    return _answer(name, done, failed=not pinned)


def _pin_answer(dist: Path, index: Index, progress: Progress) -> Answer:
    """Write the pin files and return what became of them; a Python without pins is a failure."""
    pinning = write_pins(dist, index, progress)
    for folder, errors in pinning.unresolved.items():
        for python, error in errors.items():
            _log.error("%s: Python %s is not pinned: %s", folder, python, error)
    lines = [file.path + (": removed" if file.removed else "") for file in pinning.files]
    return Answer(
        pinning_json(pinning),
        lines,
        failed=any(pinning.unresolved.values()),
    )


def _answer(place: str, done: list[Done], *, failed: bool = False) -> Answer:
    done = sorted(done, key=lambda file: (file.project, file.filename))
    rows = [(file.project, file.version, file.filename, file.what) for file in done]
    json = {"index": place, "files": [file._asdict() for file in done]}
    return Answer(json, tables=[(place, _HEADINGS, rows)], failed=failed)


def _changes(options: argparse.Namespace) -> bool:
    """Return whether a version that is there is to be changed, and nothing added."""
    return bool(options.yank or options.unyank or options.remove)


def _check_options(options: argparse.Namespace) -> None:
    """Refuse options that contradict each other."""
    checks = options.check is not None
    if options.reason and not options.yank:
        raise UsageError("--reason belongs to --yank, which is not given")
    if options.project and not _changes(options):
        raise UsageError("--project belongs to --yank, --unyank or --remove; none is given")
    if checks and any(getattr(options, key) for key in _UPLOADS):
        raise UsageError("--check takes the URL that pip installs from", hint="write --check URL")
    if options.check and getattr(options, _FOLDER):
        raise UsageError("--check is given an index twice", hint="leave out one of the two")
    if options.check and "://" not in options.check:
        raise UsageError(
            f"--check takes a URL, which {options.check} is not",
            hint="name a folder by --index-dir",
        )
    if options.dist and (checks or _changes(options)):
        raise UsageError(
            f"nothing of {options.dist} is published by --check, --yank, --unyank and --remove",
            hint="leave it out, and publish in a command of its own",
        )


def _uploads(options: argparse.Namespace, config: Config) -> bool:
    """Return whether wheels are uploaded; the command line decides, then the file."""
    if getattr(options, _FOLDER):
        return False
    named = config.publish.repository_url or config.publish.repository
    if any(getattr(options, key) for key in _UPLOADS):
        return True
    if named and config.publish.index_dir:
        raise UsageError(
            "repack.toml names both a folder and an index that takes uploads",
            hint="say which: --index-dir DIR, --repository-url URL or --repository NAME",
        )
    by_twine = any(os.environ.get(name) for name in ("TWINE_REPOSITORY_URL", "TWINE_REPOSITORY"))
    return bool(named) or (by_twine and not config.publish.index_dir)


def _upload(
    offers: list[Offer], config: Config, options: argparse.Namespace, progress: Progress
) -> tuple[str, list[Done], str]:
    """Return the index's URL, what was done, and the URL by which pins are looked for there."""
    if options.offline:
        raise UsageError("--offline lets nothing be uploaded")
    settings = config.publish
    url = None if getattr(options, "publish.repository") else settings.repository_url
    account = read_account(url, settings.repository, options.config_file)
    return upload(offers, account, settings.index_url or "", progress)


def _check(config: Config, options: argparse.Namespace, progress: Progress) -> Answer:
    """Compare a static index with itself, or what is served with what its pages say."""
    if options.check:
        checked = check_url(options.check, progress)
    else:
        place = _place(config)
        checked = check_place(place, progress)
        for key in checked.unlisted:
            _log.warning(
                "%s: no page lists it; publish it from where it came, or remove it",
                place.locate(key),
            )
    return Answer(msgspec.to_builtins(checked), _fault_lines(checked), failed=bool(checked.faults))


def _fault_lines(checked: Checked) -> list[str]:
    """Return a line for each fault, and one that counts."""
    faults = [
        f"{fault.file}: {fault.message} [{fault.code}]" + (f"; {fault.hint}" if fault.hint else "")
        for fault in checked.faults
    ]
    return [*faults, f"{checked.index}: files: {checked.files}, faults: {len(faults)}"]


def _place(config: Config) -> Place:
    """Return where the static index lies."""
    if not config.publish.index_dir:
        raise UsageError(
            "no index is named",
            hint="give --index-dir DIR or --repository-url URL, or set them under [publish]",
        )
    return open_place(config.publish.index_dir)


def _change(place: Place, options: argparse.Namespace, progress: Progress) -> list[Done]:
    """Yank a version, or take it out."""
    version = parse_version(options.yank or options.unyank or options.remove)
    project = options.project or ""
    if options.remove:
        return remove(place, version, project, progress)
    reason = parse_reason(options.reason) if options.yank else None
    return yank(place, version, reason, project, progress)


def _pin(dist: Path, first: str, progress: Progress, *, offline: bool) -> bool:
    """Return whether all that was handed on is pinned, too; wheels of no build need no pins.

    They are looked for in the index `first`, and it is not named in them: where it is served, it
    may not be there yet.
    """
    if not read_records(dist):
        return True
    try:
        index = open_index(first=first, offline=offline)
        return not _pin_answer(dist, index, progress).failed
    except RepackError as error:
        _log.error("the wheels are published, and not pinned: %s", error)
        return False
