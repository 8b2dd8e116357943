"""Compares what was seen with what was to be seen."""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import PureWindowsPath

from proof.machines import Outcome
from proof.scenarios import IMPORTS, Wanted, fill


def find_faults(wanted: Wanted, outcome: Outcome, places: Mapping[str, str]) -> tuple[str, ...]:
    """Return each difference in a line; none where all is right."""
    texts = [fill(text, places) for text in wanted.says]
    told = f"{outcome.message}\n{outcome.printed}"
    faults = [f"it does not say {text!r}" for text in texts if text not in told]
    if outcome.end != wanted.sees:
        faults.append(f"it {outcome.end}, and should not: {outcome.line}")
    if outcome.end == wanted.sees:
        faults += _judge_files(wanted, outcome, places)
    return tuple(faults)


def _judge_files(wanted: Wanted, outcome: Outcome, places: Mapping[str, str]) -> Iterator[str]:
    """Yield where another file answered for a DLL than the one that should, none, or two."""
    for pattern, name in wanted.answers.items():
        folder = PureWindowsPath(fill(name, places))
        files = [dll.file for dll in outcome.loaded if fnmatchcase(dll.name, pattern.lower())]
        if not files:
            yield f"no {pattern} was loaded"
        for file in files:
            if file.parent != folder:
                yield f"{file.name} came from {file.parent}, not from {folder}"
    for dll in outcome.loaded:
        for name in wanted.silent:
            if dll.file.is_relative_to(PureWindowsPath(fill(name, places))):
                yield f"{dll.file} was loaded, and nothing of its directory should be"
        if dll.concerns_cuda and dll.is_second and outcome.end == IMPORTS:
            yield f"{dll.file.name} was loaded twice, the second time from {dll.file.parent}"
