"""The files that pin what is installed, beside the wheels of each build."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from repack.building.resolving import Resolver, extras_of, own_wheel
from repack.errors import InputError
from repack.files import not_read, not_written, replace, replacing, workspace
from repack.index import pylock
from repack.index.pins import told_apart, version_key
from repack.index.requirements import (
    MARK,
    format_all_requirements,
    format_constraints,
    format_requirements,
    requirements_name,
)
from repack.record import read_records

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from repack.building.supply import Supply
    from repack.index.pins import Target
    from repack.record import BuildRecord

_log = logging.getLogger(__name__)
#: Every file that is ever written here has one of these names.
_OURS = ("requirements*.txt", "constraints.txt", pylock.FILENAME)


@dataclass(frozen=True, kw_only=True, slots=True)
class PinFile:
    """A file that now pins, and whether that is anything new; `removed` ones spoke of no wheel."""

    path: Path
    changed: bool
    removed: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Pinning:
    """What was pinned, for each build by its folder, and the files that say so."""

    targets: Mapping[Path, tuple[Target, ...]]
    files: tuple[PinFile, ...]


def pin(dist: Path, supply: Supply, *, index_url: str = "", obeys: bool = True) -> Pinning:
    """Write the pin files of all builds in `dist`, once all is known; equal ones are left alone.

    With `index_url` that index is asked and named in them. The wheels have to be on it then.
    `obeys` False: the lock is no more than the cache's memory.
    """
    records = read_records(dist)
    resolver = Resolver(supply=supply, index_url=index_url, obeys=obeys)
    targets = {
        folder: _targets(folder, record, resolver) for folder, record in sorted(records.items())
    }
    if not any(targets.values()):
        raise InputError(
            "there is no build with a wheel that may be handed on",
            code="nothing-to-pin",
            file=dist,
            hint="run `repack build` first",
        )
    files = [each for folder in targets for each in _put(folder, targets[folder], index_url)]
    return Pinning(targets=targets, files=tuple(files))


def pinning_json(pinning: Pinning) -> dict[str, Any]:
    """Return what `repack pin --json` prints, without its version."""
    return {
        "files": [
            {"path": str(file.path), "changed": file.changed, "removed": file.removed}
            for file in pinning.files
        ],
        "pins": [
            {
                "build": folder.name,
                "python": target.python,
                "name": pinned.name,
                "version": pinned.version,
                "filename": pinned.file.filename,
                "sha256": pinned.file.sha256,
                "extras": None if pinned.extras is None else sorted(pinned.extras),
            }
            for folder, targets in pinning.targets.items()
            for target in targets
            for pinned in target.pins
        ],
    }


def _targets(folder: Path, record: BuildRecord, resolver: Resolver) -> tuple[Target, ...]:
    """Return what is pinned for each Python that got a wheel; failures are never handed on."""
    extras = extras_of(record)
    found = []
    for wheel in record.wheels:
        if wheel.works:
            own = own_wheel(folder / wheel.path, wheel, resolver.supply.progress)
            found += [resolver.target(own, seen, extras) for seen in wheel.seen]
    return tuple(sorted(found, key=lambda target: version_key(target.python)))


def _contents(targets: Sequence[Target], index_url: str) -> Iterator[tuple[str, str]]:
    """Yield name and content of each file."""
    extras = sorted({extra for target in targets for extra in target.extras})
    together, apart = told_apart(targets)
    if apart:
        _log.warning(
            "requirements.txt, constraints.txt and pylock.toml are not for Python %s, on which "
            "other versions are installed: take its own file",
            ", ".join(apart),
        )
    for extra in (None, *extras):
        for target in targets:
            text = format_requirements(target, extra=extra, index_url=index_url)
            yield requirements_name(target.python, extra), text
        yield (
            requirements_name(None, extra),
            format_all_requirements(together, extra=extra, index_url=index_url),
        )
    yield "constraints.txt", format_constraints(together)
    yield pylock.FILENAME, pylock.format_pylock(together, mark=MARK, index_url=index_url)


def _put(folder: Path, targets: Sequence[Target], index_url: str) -> list[PinFile]:
    """Write the files of one build, and remove those of ours that speak of no wheel any more."""
    wanted = dict(_contents(targets, index_url)) if targets else {}
    contents = {folder / name: text.encode() for name, text in wanted.items()}
    new = {path: text for path, text in contents.items() if _read(path) != text}
    stale = [path for path in _ours(folder) if path not in contents]
    with workspace(folder) as stage:
        # A disk that is full says so before the first of them is replaced.
        for path, text in new.items():
            with replacing(stage / path.name) as stream:
                stream.write(text)
        for path in new:
            replace(stage / path.name, path)
    for path in stale:
        _remove(path)
    return [
        *(PinFile(path=path, changed=path in new) for path in sorted(contents)),
        *(PinFile(path=path, changed=True, removed=True) for path in stale),
    ]


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise not_written(path, error) from error


def _ours(folder: Path) -> list[Path]:
    """Return the files that an earlier call has left."""
    found = sorted(path for pattern in _OURS for path in folder.glob(pattern))
    return [path for path in found if (_read(path) or b"").startswith(MARK.encode())]


def _read(path: Path) -> bytes | None:
    """Return the content of a file, None where there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise not_read(path, error) from error
