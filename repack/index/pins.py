"""What is pinned for each Python: what the smoke test ran with, and for the rest uv's choice."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from repack.console import Progress
from repack.errors import InputError, RepackError
from repack.files import not_read, not_written, replacing
from repack.index.pinfiles import MARK, Pin, Target, pin_files, version_key
from repack.index.resolving import Index, resolve
from repack.record import BuildRecord, Seen, WheelRecord, read_records
from repack.wheel import Wheel, applicable, read_wheel

_EXTRA = re.compile(r"""\bextra == ["']([^"']+)["']""")
#: Every file that is ever written here has one of these names.
_PATTERNS = ("requirements*.txt", "constraints.txt", "pylock.toml")


@dataclass(frozen=True, kw_only=True, slots=True)
class Pinning:
    """What was pinned: by the build's folder, the Pythons, and the files written or removed.

    `unresolved` has the reason for each Python that could not be pinned.
    """

    targets: Mapping[Path, tuple[Target, ...]]
    unresolved: Mapping[Path, Mapping[str, RepackError]]
    written: tuple[Path, ...]
    changed: frozenset[Path]
    removed: tuple[Path, ...]


def write_pins(dist: Path, index: Index, progress: Progress) -> Pinning:
    """Write the pin files beside the wheels of all builds in `dist`; equal ones are left alone.

    Raises InputError where no build has a wheel that may be handed on, and nothing is written
    where one of the wheels is not what was built.
    """
    targets: dict[Path, tuple[Target, ...]] = {}
    unresolved: dict[Path, dict[str, RepackError]] = {}
    for folder, record in sorted(read_records(dist).items()):
        targets[folder], unresolved[folder] = _pin_build(folder, record, index, progress)
    if not any(targets.values()) and not any(unresolved.values()):
        raise InputError(
            "there is no build with a wheel that may be handed on",
            code="nothing-to-pin",
            file=dist,
            hint="run `repack build` first",
        )
    contents = {
        folder / name: text.encode()
        for folder, its_targets in targets.items()
        for name, text in pin_files(its_targets, index.named).items()
    }
    changed = frozenset(path for path, text in contents.items() if _content(path) != text)
    removed = tuple(path for folder in targets for path in _ours(folder) if path not in contents)
    for path in sorted(changed):
        with replacing(path) as stream:
            stream.write(contents[path])
    for path in removed:
        _remove(path)
    return Pinning(
        targets=targets,
        unresolved=unresolved,
        written=tuple(sorted(contents)),
        changed=changed,
        removed=removed,
    )


def pinning_json(pinning: Pinning) -> dict[str, object]:
    """Return what `repack pin --json` prints, without its version."""
    files = [
        *((path, path in pinning.changed, False) for path in pinning.written),
        *((path, True, True) for path in pinning.removed),
    ]
    return {
        "files": [
            {"path": str(path), "changed": changed, "removed": removed}
            for path, changed, removed in files
        ],
        "pins": [
            {
                "build": folder.name,
                "python": target.python,
                "name": entry.name,
                "version": entry.version,
                "filename": entry.filename,
                "sha256": entry.sha256,
                "extras": list(entry.extras) or None,
            }
            for folder, targets in pinning.targets.items()
            for target in targets
            for entry in target.pins
        ],
        "unresolved": [
            {"build": folder.name, "python": python, "message": str(error)}
            for folder, errors in pinning.unresolved.items()
            for python, error in errors.items()
        ],
    }


def _pin_build(
    folder: Path, record: BuildRecord, index: Index, progress: Progress
) -> tuple[tuple[Target, ...], dict[str, RepackError]]:
    """Return what is pinned for each Python that got a wheel, and why another is not."""
    extras = sorted({match[1] for line in record.requires for match in _EXTRA.finditer(line)})
    targets: list[Target] = []
    errors: dict[str, RepackError] = {}
    for built in record.wheels:
        if not built.works:
            continue
        wheel = _read_built(folder / built.path, built, progress)
        for seen in built.seen:
            try:
                targets.append(_pin_python(wheel, seen, extras, index, progress))
            except RepackError as error:
                errors[seen.python] = error
    return tuple(sorted(targets, key=lambda target: version_key(target.python))), errors


def _read_built(path: Path, built: WheelRecord, progress: Progress) -> Wheel:
    """Return the wheel; raises InputError where it is not what was built."""
    with progress.task(f"Checking {path.name}", total=built.size) as task:
        wheel = read_wheel(path, allow_startup_hook=True, task=task)
    if wheel.sha256 != built.sha256:
        raise InputError(
            f"has SHA-256 {wheel.sha256}, build.json says {built.sha256}",
            code="sha256",
            file=path,
            hint="build again: no other file has been tried",
        )
    return wheel


def _pin_python(
    wheel: Wheel, seen: Seen, extras: Sequence[str], index: Index, progress: Progress
) -> Target:
    """Return all that is pinned for the wheel on the Python of `seen`.

    Extras are resolved together with what comes without them, so that whoever adds one later
    gets no other version of anything.
    """
    tried = [_pin_of(beside.filename, beside.sha256) for beside in seen.beside]
    ask = partial(_complete, wheel=wheel, python=seen.python, index=index, progress=progress)
    everything = ask(tried, extras=extras)
    always = {entry.name for entry in ask(tried, within=everything)} if extras else None
    names_by_extra = {
        extra: {entry.name for entry in ask(tried, within=everything, extras=[extra])}
        for extra in extras
    }
    others = [
        entry
        if always is None or entry.name in always
        else replace(entry, extras=tuple(e for e in extras if entry.name in names_by_extra[e]))
        for entry in everything
    ]
    own = replace(_pin_of(wheel.path.name, wheel.sha256), own=True)
    target = Target(python=seen.python, pins=(own, *sorted(others, key=lambda pin: pin.name)))
    return _located(target, index, progress) if index.named else target


def _complete(  # noqa: PLR0913 - what is known, what is asked for, and where
    tried: Sequence[Pin],
    *,
    wheel: Wheel,
    python: str,
    index: Index,
    progress: Progress,
    within: Sequence[Pin] = (),
    extras: Sequence[str] = (),
) -> list[Pin]:
    """Return what was tried where it is all that is required, or else uv's choice around it.

    What was tried is pinned as it was, whatever else the index has under its name; of what is in
    `within` no other version is taken.
    """
    wanted = _requirements(wheel, python, extras)
    versions = {entry.name: entry for entry in tried}
    if all(_meets(versions.get(canonicalize_name(line.name)), line) for line in wanted):
        return list(tried)
    constraints = sorted({f"{entry.name}=={entry.version}" for entry in (*tried, *within)})
    answers = resolve([str(line) for line in wanted], constraints, python, index, progress=progress)
    for entry in answers:
        same = versions.get(entry.name)
        if same is not None and same.filename == entry.filename:
            _check_same(entry, same)
    return [*tried, *(entry for entry in answers if entry.name not in versions)]


def _located(target: Target, index: Index, progress: Progress) -> Target:
    """Return the target with the address of each file on the index that is to be named."""
    exact = [f"{entry.name}=={entry.version}" for entry in target.pins]
    answers = resolve(exact, [], target.python, index, progress=progress, alone=True)
    on_index = {entry.name: entry for entry in answers}
    pins = []
    for entry in target.pins:
        _check_same(on_index[entry.name], entry)
        pins.append(replace(entry, url=on_index[entry.name].url))
    return replace(target, pins=tuple(pins))


def _requirements(wheel: Wheel, python: str, extras: Sequence[str] = ()) -> list[Requirement]:
    """Return what the wheel requires on a Windows `python`; an address is refused."""
    requirements = applicable(wheel.requires, python, extras)
    for line in requirements:
        if line.url:
            raise InputError(
                f"requires {line.name} from an address, which no index can answer",
                code="url-requirement",
                file=wheel.path.name,
                hint="correct the METADATA of the source",
            )
    return requirements


def _meets(entry: Pin | None, line: Requirement) -> bool:
    """Return whether the pin answers the requirement; what its extras bring is not known."""
    return (
        entry is not None
        and not line.extras
        and line.specifier.contains(entry.version, prereleases=True)
    )


def _check_same(there: Pin, ours: Pin) -> None:
    if (there.filename, there.sha256) != (ours.filename, ours.sha256):
        raise InputError(
            f"the index has {there.filename} with SHA-256 {there.sha256}, pinned is {ours.sha256}",
            code="sha256",
            file=ours.filename,
            hint="publish the wheels of this build, and mirror NumPy and NVIDIA's as they are",
        )


def _pin_of(filename: str, sha256: str) -> Pin:
    name, version, _, _ = parse_wheel_filename(filename)
    return Pin(name=name, version=str(version), filename=filename, sha256=sha256)


def _ours(folder: Path) -> Iterable[Path]:
    """Return the files that an earlier call has left."""
    paths = sorted(path for pattern in _PATTERNS for path in folder.glob(pattern))
    return [path for path in paths if (_content(path) or b"").startswith(MARK.encode())]


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise not_read(path, error) from error


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise not_written(path, error) from error
