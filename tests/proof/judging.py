"""Compares what was seen with what was to be seen."""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import PureWindowsPath

from proof.machines import Outcome
from proof.scenarios import IMPORTS, Wanted, fill
from repack.dlls.families import Kind, classify


def find_faults(wanted: Wanted, outcome: Outcome, places: Mapping[str, str]) -> tuple[str, ...]:
    """Return each difference in a line; none where all is right."""
    faults = [*_judge_end(wanted, outcome, places)]
    if outcome.end == wanted.sees:
        faults += [*_judge_files(wanted, outcome, places)]
    if outcome.end == IMPORTS:
        faults += [*_judge_claims(wanted, outcome), *_judge_modules(wanted, outcome)]
    return tuple(faults)


def describe_wanted(wanted: Wanted, places: Mapping[str, str]) -> str:
    """Return in a line what must be seen."""
    parts: list[str] = [wanted.sees]
    parts += [f"says {fill(text, places)!r}" for text in wanted.says]
    parts += [f"{dll} from {fill(folder, places)}" for dll, folder in wanted.answers.items()]
    parts += [f"nothing from {fill(folder, places)}" for folder in wanted.silent]
    return "; ".join(parts)


def _judge_end(wanted: Wanted, outcome: Outcome, places: Mapping[str, str]) -> Iterator[str]:
    if outcome.end != wanted.sees:
        yield f"it {outcome.end}, and should not: {outcome.line}"
    for text in wanted.says:
        if fill(text, places) not in f"{outcome.message}\n{outcome.printed}":
            yield f"it does not say {fill(text, places)!r}"


def _judge_files(wanted: Wanted, outcome: Outcome, places: Mapping[str, str]) -> Iterator[str]:
    """Yield where another file answered for a DLL than the one that should, or none."""
    for pattern, folder in wanted.answers.items():
        place = PureWindowsPath(fill(folder, places))
        files = [dll.file for dll in outcome.loaded if fnmatchcase(dll.name, pattern.lower())]
        if not files:
            yield f"no {pattern} was loaded"
        for file in files:
            if file.parent != place:
                yield f"{file.name} came from {file.parent}, not from {place}"
    for folder in wanted.silent:
        for dll in outcome.loaded:
            if dll.file.is_relative_to(PureWindowsPath(fill(folder, places))):
                yield f"{dll.file} was loaded, and nothing of its directory should be"


def _judge_claims(wanted: Wanted, outcome: Outcome) -> Iterator[str]:
    """Yield where cv2's module says it chose a directory, and the loader took another's file.

    What was loaded before cv2 was, nobody chose.
    """
    foreign = {classify(name).family for name in wanted.foreign}
    for family in sorted(outcome.claims.keys() - foreign):
        folder = outcome.claims[family]
        files = [dll.file for dll in outcome.loaded if classify(dll.name).family == family]
        for file in files:
            if file.parent != PureWindowsPath(folder):
                yield f"cv2 says that it took {family} from {folder}; the loader took {file}"
        if not files:
            yield f"cv2 says that it took {family} from {folder}; the loader took none of it"


def _judge_modules(wanted: Wanted, outcome: Outcome) -> Iterator[str]:
    """Yield the DLLs that were loaded twice, or though cv2, by its own word, needs none of them."""
    needed = {*outcome.claims, *(classify(name).family for name in wanted.foreign)}
    for dll in outcome.loaded:
        if not dll.concerns_cuda:
            continue
        if dll.is_second:
            yield f"{dll.file.name} was loaded twice, the second time from {dll.file.parent}"
        kind, family = classify(dll.name).kind, classify(dll.name).family
        if outcome.claims and kind is not Kind.DRIVER and family not in needed:
            yield f"{dll.file} was loaded, and cv2 needs no {family}"
