"""What is pinned for each Python: what the smoke test ran with, and for the rest uv's choice."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from repack.console import Progress
from repack.errors import InputError, RepackError
from repack.index.folder import Folder
from repack.index.pinfiles import MARK, Pin, Target, pin_files, version_key
from repack.index.resolving import Index, resolve
from repack.index.wheels import check_built
from repack.record import BuildRecord, Seen, WheelRecord, read_records
from repack.wheel import Wheel, read_wheel, select_requirements

_EXTRA = re.compile(r"""\bextra == ["']([^"']+)["']""")
#: Every file that is ever written here has one of these names.
_PATTERNS = ("requirements*.txt", "constraints.txt", "pylock.toml")


class PinFile(NamedTuple):
    """A pin file, and what became of it; one that is removed speaks of no wheel any more."""

    path: str
    changed: bool
    removed: bool = False


class Pinning(NamedTuple):
    """What was pinned, for each build's folder, and why a Python could not be."""

    targets: Mapping[Path, Sequence[Target]]
    unresolved: Mapping[Path, Mapping[str, RepackError]]
    files: Sequence[PinFile]


def write_pins(dist: Path, index: Index, progress: Progress) -> Pinning:
    """Write the pin files beside the wheels of all builds in `dist`; equal ones are left alone.

    Raises InputError where no build has a wheel that may be handed on, and nothing is written
    where one of the wheels is not what was built.
    """
    targets: dict[Path, list[Target]] = {}
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
    texts = {folder: pin_files(rows, index.named) for folder, rows in targets.items()}
    files = [file for folder in targets for file in _replace_files(folder, texts[folder])]
    return Pinning(targets, unresolved, files)


def pinning_json(pinning: Pinning) -> dict[str, object]:
    """Return what `repack pin --json` prints, without its version."""
    return {
        "files": [file._asdict() for file in pinning.files],
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


def _replace_files(folder: Path, texts: Mapping[str, str]) -> list[PinFile]:
    """Write the pin files of a folder, and remove those of ours that are of no Python now."""
    place = Folder(folder)
    names = sorted(path.name for pattern in _PATTERNS for path in folder.glob(pattern))
    before = {name: place.read(name) or b"" for name in names}
    files = []
    for name, text in sorted(texts.items()):
        content = text.encode()
        is_changed = before.pop(name, None) != content
        if is_changed:
            place.write(name, content)
        files.append(PinFile(str(folder / name), changed=is_changed))
    for name, content in before.items():
        if content.startswith(MARK.encode()):
            place.delete(name)
            files.append(PinFile(str(folder / name), changed=True, removed=True))
    return files


def _pin_build(
    folder: Path, record: BuildRecord, index: Index, progress: Progress
) -> tuple[list[Target], dict[str, RepackError]]:
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
    return sorted(targets, key=lambda target: version_key(target.python)), errors


def _read_built(path: Path, built: WheelRecord, progress: Progress) -> Wheel:
    """Return the wheel; raises InputError where it is not what was built."""
    with progress.task(f"Checking {path.name}", total=built.size) as task:
        wheel = read_wheel(path, allow_startup_hook=True, task=task)
    check_built(wheel, built)
    return wheel


def _pin_python(
    wheel: Wheel, seen: Seen, extras: Sequence[str], index: Index, progress: Progress
) -> Target:
    """Return all that is pinned for the wheel on the Python of `seen`.

    Extras are resolved together with what comes without them, so that whoever adds one later
    gets no other version of anything.
    """
    tried = [_pin_of(beside.filename, beside.sha256) for beside in seen.beside]

    def complete(extras: Sequence[str], within: Sequence[Pin] = ()) -> list[Pin]:
        requirements = _requirements(wheel, seen.python, extras)
        if _is_met(requirements, tried):
            return tried
        lines, fixed = list(map(str, requirements)), (*tried, *within)
        return _add_answers(tried, resolve(lines, fixed, seen.python, index, progress))

    pins = complete(extras)
    if extras:
        always = {pin.name for pin in complete([], within=pins)}
        names = {extra: {pin.name for pin in complete([extra], within=pins)} for extra in extras}
        pins = [
            pin
            if pin.name in always
            else pin._replace(extras=tuple(extra for extra in extras if pin.name in names[extra]))
            for pin in pins
        ]
    own = _pin_of(wheel.path.name, wheel.sha256)._replace(own=True)
    target = Target(seen.python, (own, *sorted(pins, key=lambda pin: pin.name)))
    return _locate(target, index, progress) if index.named else target


def _requirements(wheel: Wheel, python: str, extras: Sequence[str]) -> list[Requirement]:
    """Return what the wheel requires on a Windows `python`; an address is refused."""
    requirements = select_requirements(wheel.requires, python, extras)
    for requirement in requirements:
        if requirement.url:
            raise InputError(
                f"requires {requirement.name} from an address, which no index can answer",
                code="url-requirement",
                file=wheel.path.name,
                hint="correct the METADATA of the source",
            )
    return requirements


def _is_met(requirements: Sequence[Requirement], pins: Sequence[Pin]) -> bool:
    """Return whether the pins are all that is required; what extras of theirs bring is unknown."""
    versions = {pin.name: pin.version for pin in pins}
    return all(
        canonicalize_name(requirement.name) in versions
        and not requirement.extras
        and requirement.specifier.contains(
            versions[canonicalize_name(requirement.name)], prereleases=True
        )
        for requirement in requirements
    )


def _add_answers(tried: Sequence[Pin], answers: Sequence[Pin]) -> list[Pin]:
    """Return what was tried, as it was, and what the index has beside it."""
    by_name = {pin.name: pin for pin in tried}
    for answer in answers:
        same = by_name.get(answer.name)
        if same is not None and same.filename == answer.filename:
            _check_same(answer, same)
    return [*tried, *(answer for answer in answers if answer.name not in by_name)]


def _locate(target: Target, index: Index, progress: Progress) -> Target:
    """Return the target with the address of each file on the index that is to be named."""
    exact = [f"{pin.name}=={pin.version}" for pin in target.pins]
    alone = index._replace(options=[*index.options, "--no-deps"])
    answers = {pin.name: pin for pin in resolve(exact, [], target.python, alone, progress)}
    for pin in target.pins:
        _check_same(answers[pin.name], pin)
    pins = tuple(pin._replace(url=answers[pin.name].url) for pin in target.pins)
    return Target(target.python, pins)


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
