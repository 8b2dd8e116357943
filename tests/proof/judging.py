"""Compares what was seen with what was to be seen."""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import PureWindowsPath

from proof.running import Seen
from proof.scenarios import IMPORTS, Wanted, filled
from repack.dlls.families import Kind, classify


def faults(wanted: Wanted, seen: Seen, places: Mapping[str, str]) -> tuple[str, ...]:
    """Return each difference in a line; none where all is right."""
    found = [*_end(wanted, seen), *_words(wanted, seen, places)]
    if seen.sees == wanted.sees:
        found += [*_answers(wanted, seen, places), *_silence(wanted, seen, places)]
    if seen.sees == IMPORTS:
        found += [*_claims(wanted, seen), *_strangers(wanted, seen), *_twice(seen)]
    return tuple(found)


def wanted_line(wanted: Wanted, places: Mapping[str, str]) -> str:
    """Return in a line what must be seen."""
    parts: list[str] = [wanted.sees]
    parts += [f"says {filled(text, places)!r}" for text in wanted.says]
    parts += [f"{dll} from {filled(folder, places)}" for dll, folder in wanted.answers.items()]
    parts += [f"nothing from {filled(folder, places)}" for folder in wanted.silent]
    return "; ".join(parts)


def _end(wanted: Wanted, seen: Seen) -> Iterator[str]:
    if seen.sees != wanted.sees:
        yield f"it {seen.sees}, and should not: {seen.line}"


def _words(wanted: Wanted, seen: Seen, places: Mapping[str, str]) -> Iterator[str]:
    said = f"{seen.message}\n{seen.printed}"
    for text in wanted.says:
        if filled(text, places) not in said:
            yield f"it does not say {filled(text, places)!r}"


def _answers(wanted: Wanted, seen: Seen, places: Mapping[str, str]) -> Iterator[str]:
    """Yield where another file answered for a DLL than the one that should, or none."""
    for pattern, folder in wanted.answers.items():
        place = PureWindowsPath(filled(folder, places))
        loaded = [each for each in seen.loaded if fnmatchcase(each.name, pattern.lower())]
        if not loaded:
            yield f"no {pattern} was loaded"
        for each in loaded:
            if each.file.parent != place:
                yield f"{each.file.name} came from {each.file.parent}, not from {place}"


def _silence(wanted: Wanted, seen: Seen, places: Mapping[str, str]) -> Iterator[str]:
    for folder in wanted.silent:
        place = PureWindowsPath(filled(folder, places))
        for each in seen.loaded:
            if each.file.is_relative_to(place):
                yield f"{each.file} was loaded, and nothing of its directory should be"


def _claims(wanted: Wanted, seen: Seen) -> Iterator[str]:
    """Yield where cv2's module says it chose a directory, and the loader took another's file.

    What was loaded before cv2 was, nobody chose.
    """
    foreign = {classify(name).family for name in wanted.foreign}
    for family, folder in seen.claims.items():
        if family in foreign:
            continue
        files = [each.file for each in seen.loaded if classify(each.name).family == family]
        yield from (
            f"cv2 says that it took {family} from {folder}; the loader took {file}"
            for file in files
            if file.parent != PureWindowsPath(folder)
        )
        if not files:
            yield f"cv2 says that it took {family} from {folder}; the loader took none of it"


def _strangers(wanted: Wanted, seen: Seen) -> Iterator[str]:
    """Yield the CUDA DLLs that were loaded though cv2, by its own word, needs none of them."""
    needed = {*seen.claims, *(classify(name).family for name in wanted.foreign)}
    for each in seen.loaded if seen.claims else ():
        dll = classify(each.name)
        if each.concerns_cuda and dll.kind is not Kind.DRIVER and dll.family not in needed:
            yield f"{each.file} was loaded, and cv2 needs no {dll.family}"


def _twice(seen: Seen) -> Iterator[str]:
    for each in seen.loaded:
        if each.twice and each.concerns_cuda:
            yield f"{each.file.name} was loaded twice, the second time from {each.file.parent}"
