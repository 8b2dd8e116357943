"""Tries machines, and compares what each did with what it had to do."""

import contextlib
import itertools
import pprint
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from ntpath import basename, dirname
from pathlib import Path
from queue import SimpleQueue

from windowslab import Windows

from random_machines.drawing import DRIVER, Machine, draw_machine
from random_machines.expecting import Expectation, Undetermined, expect
from random_machines.running import Outcome, open_bench, try_machine
from repack.pythons.interpreter import Interpreter

# DLLs, and the directory that a variable names.
NAMES = re.compile(r"[\w.-]+\.dll|override(?=\")", re.IGNORECASE)


def draw_machines(seed: int, count: int) -> Iterator[tuple[int, Machine, Expectation]]:
    """Yield (seed, machine, what has to be seen on it), from the first seed on."""
    return itertools.islice(_draw_determined(seed), count)


def _draw_determined(seed: int) -> Iterator[tuple[int, Machine, Expectation]]:
    for number in itertools.count(seed):
        machine = draw_machine(number)
        with contextlib.suppress(Undetermined):
            yield number, machine, expect(machine)


def try_machines(
    interpreter: Interpreter,
    folder: Path,
    drawn: Iterator[tuple[int, Machine, Expectation]],
    jobs: int,
    advance: Callable[[int], None],
) -> Iterator[str]:
    """Yield a text for each machine that does not do what it has to do; some run at a time."""
    with contextlib.ExitStack() as stack:
        benches: SimpleQueue[Windows] = SimpleQueue()
        for _ in range(jobs):
            benches.put(stack.enter_context(open_bench(interpreter, folder)))

        def try_one(machine: tuple[int, Machine, Expectation]) -> str:
            bench = benches.get()
            try:
                return describe_disagreement(bench, *machine)
            finally:
                benches.put(bench)
                advance(1)

        pool = stack.enter_context(ThreadPoolExecutor(max_workers=jobs))
        yield from filter(None, pool.map(try_one, drawn))


def describe_disagreement(
    bench: Windows, seed: int, machine: Machine, expected: Expectation
) -> str:
    """Return what is wrong with what a machine does, "" where nothing is."""
    outcome = try_machine(bench, machine)
    faults = find_faults(machine, expected, outcome)
    if not faults:
        return ""
    first = f"seed {seed} disagrees; to repeat it: nox -s proof -- --random 1 --seed {seed}"
    return "\n".join([first, *faults, pprint.pformat(machine), f"{expected}", f"{outcome}"])


def find_faults(machine: Machine, expected: Expectation, outcome: Outcome) -> list[str]:
    """Return each difference in a line; none where all is right."""
    if (not outcome.message) != expected.works:
        return [f"works: {not outcome.message}, expected: {expected.works} ({outcome.message})"]
    faults = [f"{name} was loaded twice" for name in outcome.twice]
    is_plain = not machine.loaded and not machine.has_added
    if is_plain and (outcome.exit_code == 0) != expected.works:
        faults.append(f"python -m cv2.cuda_dlls ends with {outcome.exit_code}")
    judge = _judge_choice if expected.works else _judge_error
    return faults + list(judge(machine, expected, outcome))


def _judge_error(_: Machine, expected: Expectation, outcome: Outcome) -> Iterator[str]:
    """Compare the names in the first line of the error, and the report, with the root causes."""
    head = outcome.message.partition(" To fix it:")[0].partition("\n")[0]
    named = {name.lower() for name in NAMES.findall(head)}
    to_be_named = {basename(what).lower() for _, what in expected.causes}
    if named != to_be_named:
        yield f"the message names {sorted(named)}, not {sorted(to_be_named)}: {head}"
    causes = {
        (cause["code"], "\\".join(filter(None, (cause["file"], name))))
        for cause in outcome.report.get("causes", ())
        for name in cause["names"] or [""]
    }
    if causes != expected.causes:
        yield f"the report's causes are {sorted(causes)}, not {sorted(expected.causes)}"


def _judge_choice(machine: Machine, expected: Expectation, outcome: Outcome) -> Iterator[str]:
    """Compare what the loader took with what the report says, and both with the specification."""
    choices = outcome.report.get("chosen", ())
    chosen = {
        name: (choice["directory"], choice["source"])
        for choice in choices
        for name in choice["files"]
        if choice["source"] != "found by Windows"
    }
    if chosen != expected.chosen:
        yield f"chosen is {chosen}, not {expected.chosen}"
    for choice in choices:
        for name in choice["files"]:
            path = outcome.files.get(name.lower(), "")
            if dirname(path) != choice["directory"]:
                yield f"{name} came from {path}; the report says {choice['directory']}"
    path = outcome.files.get(DRIVER, "")
    if DRIVER in machine.imports and path != expected.driver:
        yield f"{DRIVER} came from {path}, not from {expected.driver}"
