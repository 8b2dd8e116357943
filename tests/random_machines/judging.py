"""Compares what a machine did with what it had to do."""

from __future__ import annotations

import re
from collections.abc import Iterator

from random_machines.drawing import DRIVER, Machine, folder_of, name_of
from random_machines.expecting import Expectation
from random_machines.running import Seen

# DLLs, and the directory that a variable names.
NAMES = re.compile(r"[\w.-]+\.dll|override(?=\")", re.IGNORECASE)


def find_faults(machine: Machine, expected: Expectation, seen: Seen) -> list[str]:
    """Return each difference in a line; none where all is right."""
    works = not seen.message
    if works != expected.works:
        return [f"works: {works}, expected: {expected.works} ({seen.message or 'imports'})"]
    faults = [*_judge_exit(machine, expected, seen)]
    faults += [f"{name} was loaded twice" for name in seen.twice]
    if seen.message:
        return [*faults, *_judge_message(expected, seen), *_judge_causes(expected, seen)]
    return [*faults, *_judge_choice(expected, seen), *_judge_files(machine, expected, seen)]


def _judge_exit(machine: Machine, expected: Expectation, seen: Seen) -> Iterator[str]:
    if (seen.exit_code == 0) != expected.works and not machine.loaded and not machine.has_added:
        yield f"python -m cv2.cuda_dlls ends with {seen.exit_code}: {seen.output[-1000:]}"


def _judge_message(expected: Expectation, seen: Seen) -> Iterator[str]:
    """Compare the names in the first line of the error with the root causes."""
    head = seen.message.partition(" To fix it:")[0].partition("\n")[0]
    named = {name.lower() for name in NAMES.findall(head)}
    wanted = {name_of(what).lower() for _, what in expected.causes}
    if named != wanted:
        yield f"the message names {sorted(named)}, not {sorted(wanted)}: {head}"


def _judge_causes(expected: Expectation, seen: Seen) -> Iterator[str]:
    """Compare the causes of the report."""
    causes = {
        (cause["code"], "\\".join(filter(None, (cause["file"], name))))
        for cause in seen.report.get("causes", ())
        for name in cause["names"] or [""]
    }
    if causes != expected.causes:
        yield f"the report's causes are {sorted(causes)}, not {sorted(expected.causes)}"


def _judge_choice(expected: Expectation, seen: Seen) -> Iterator[str]:
    chosen = {
        name: (choice["directory"], choice["source"])
        for choice in seen.report.get("chosen", ())
        for name in choice["files"]
        if choice["source"] != "found by Windows"
    }
    if chosen != expected.chosen:
        yield f"chosen is {chosen}, not {expected.chosen}"


def _judge_files(machine: Machine, expected: Expectation, seen: Seen) -> Iterator[str]:
    """Compare what the loader took with what the report says."""
    for choice in seen.report.get("chosen", ()):
        for name in choice["files"]:
            path = seen.files.get(name.lower(), "")
            if folder_of(path) != choice["directory"]:
                yield f"{name} came from {path}; the report says {choice['directory']}"
    path = seen.files.get(DRIVER, "")
    if DRIVER in machine.imports and path != expected.driver:
        yield f"{DRIVER} came from {path}, not from {expected.driver}"
