"""Measures what the run-time module costs an import, beside the untouched wheel; under Wine too.

CUDA_PATH is right, and PATH has forty entries that hold nothing. Each figure is the median of whole
processes run in turn. Run by `nox -s bench`.
"""

from __future__ import annotations

import re
import statistics
import sys
from dataclasses import replace

from proof.proving import Prover, Run
from proof.scenarios import UNTOUCHED, read_scenarios
from prove import LOCK

from repack.building import Supply
from repack.interpreters import Pythons
from repack.progress import SILENT
from repack.sources import Cache

ROUNDS = 5
LIMIT = 0.01
FIXED = "patch"
PROGRAM = r"""
import sys
import time

clock = time.perf_counter
begin = clock()
import cv2
print("import took", round((clock() - begin) * 1e3, 2), "ms")
module = sys.modules.get("cv2.cuda_dlls")
if module:
    begin = clock()
    search = module.Search()
    module._Loading()._register(search)
    print("search took", round((clock() - begin) * 1e3, 2), "ms")
"""


def main() -> int:
    """Measure, print the shares, and return 1 where the limit is passed."""
    supply = Supply(Cache.default(), LOCK, offline=False, update=False, progress=SILENT)
    good = True
    with Pythons(cache=supply.cache, progress=SILENT) as pythons:
        prover = Prover(supply, pythons)
        for name in ("cuda-path", "genuine-12.3-by-cuda-path"):
            good &= report(name, measured(prover, name))
    return 0 if good else 1


def measured(prover: Prover, name: str) -> dict[str, float]:
    """Return the medians in milliseconds: both imports, and the search alone."""
    (scenario,) = (each for each in read_scenarios("wine") if each.name == name)
    path = tuple(rf"C:\tools\{number}\bin" for number in range(40))
    scenario = replace(scenario, program=PROGRAM, machine=replace(scenario.machine, path=path))
    taken: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for wheel in (UNTOUCHED, FIXED):
            log = prover.cell(Run(scenario=scenario, python="3.12", wheel=wheel)).log
            for what, figure in re.findall(r"(import|search) took ([\d.]+) ms", log):
                taken.setdefault(f"{what}, {wheel}", []).append(float(figure))
    return {what: statistics.median(figures) for what, figures in taken.items()}


def report(name: str, medians: dict[str, float]) -> bool:
    """Print one wheel's figures; return whether the search keeps to its share."""
    share = medians[f"search, {FIXED}"] / medians[f"import, {UNTOUCHED}"]
    lines = [f"{name}, medians of {ROUNDS}"]
    lines += [f"  {what:18} {figure:9.2f} ms" for what, figure in medians.items()]
    verdict = "within" if share <= LIMIT else "BEYOND"
    lines.append(f"the search: {share:.2%} of the untouched import, {verdict} {LIMIT:.0%}")
    sys.stdout.write("\n".join(lines) + "\n")
    return share <= LIMIT


if __name__ == "__main__":
    sys.exit(main())
