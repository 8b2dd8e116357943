"""Tries many random machines, some at a time."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from random_machines.drawing import Machine, draw_machine
from random_machines.expecting import Expectation, Undetermined, expect
from random_machines.judging import find_faults
from random_machines.running import Bench, open_bench
from repack.pythons import Interpreter


def draw_machines(seed: int, count: int) -> Iterator[tuple[int, Machine, Expectation]]:
    """Yield (seed, machine, what has to be seen on it), from the first seed on."""
    return itertools.islice(_draw_determined(seed), count)


def try_machines(
    interpreter: Interpreter,
    folder: Path,
    drawn: Iterator[tuple[int, Machine, Expectation]],
    jobs: int,
    advance: Callable[[int], None],
) -> Iterator[str]:
    """Yield a text for each machine that does not do what it has to do."""
    with contextlib.ExitStack() as stack:
        benches: SimpleQueue[Bench] = SimpleQueue()
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


def describe_disagreement(bench: Bench, seed: int, machine: Machine, expected: Expectation) -> str:
    """Return what is wrong with what a machine does, "" where nothing is."""
    seen = bench.try_machine(machine)
    faults = find_faults(machine, expected, seen)
    if not faults:
        return ""
    lines = [f"seed {seed} disagrees; to repeat it: nox -s proof -- --random 1 --seed {seed}"]
    lines += [machine.describe(), *(f"  fault: {fault}" for fault in faults)]
    return "\n".join([*lines, f"  {expected}", f"  error: {seen.message or 'none'}"])


def _draw_determined(seed: int) -> Iterator[tuple[int, Machine, Expectation]]:
    for number in itertools.count(seed):
        machine = draw_machine(number)
        with contextlib.suppress(Undetermined):
            yield number, machine, expect(machine)
