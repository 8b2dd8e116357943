"""Measures what the run-time module costs an import, beside the untouched wheel; under Wine too.

CUDA_PATH is right, so both find the DLLs, and PATH has forty entries that hold nothing. Each figure
is the median of whole processes run in turn. Run by `nox -s bench`.
"""

import re
import statistics
import sys

from msgspec.structs import replace
from proof.proving import LOCK, Prover, Run
from proof.scenarios import UNTOUCHED, read_scenarios

from repack.console import SILENT
from repack.fetch import Supply
from repack.fetch.cache import Cache
from repack.pythons import Pythons

ROUNDS = 10
#: Of the untouched import: what the search may cost, and the whole fixed import more.
SEARCH_LIMIT, IMPORT_LIMIT = 0.01, 0.05
FIXED = "patch"
IMPORT = r"""
import time

begin = time.perf_counter()
import cv2
print("import took", round((time.perf_counter() - begin) * 1e3, 2), "ms")
import sys
assert "cv2._cuda_report" not in sys.modules
"""
# The module by itself, in a process that has loaded none of the DLLs yet.
SEARCH = r"""
import importlib.util
import time

def run_file(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

(folder,) = importlib.util.find_spec("cv2").submodule_search_locations
build = run_file("build", folder + r"\_cuda_build.py").BUILD
module = run_file("cuda_dlls", folder + r"\cuda_dlls.py")
import ctypes  # which NumPy imports in any case
begin = time.perf_counter()
search = module.Search(folder, build, module.Windows())
print("search took", round((time.perf_counter() - begin) * 1e3, 2), "ms")
assert search.choices and not search.missing
"""


def main() -> int:
    """Measure, print the shares, and return 1 where a limit is passed."""
    supply = Supply(Cache.default(), LOCK, offline=False, update=False, progress=SILENT)
    good = True
    with Pythons(supply) as pythons:
        prover = Prover(supply, pythons)
        for name in ("cuda-path", "genuine-12.3-by-cuda-path"):
            good &= report(name, measure(prover, name))
    return 0 if good else 1


def measure(prover: Prover, name: str) -> dict[str, list[float]]:
    """Return the milliseconds of each round: both imports, and the search alone."""
    (scenario,) = (scenario for scenario in read_scenarios("wine") if scenario.name == name)
    path = tuple(rf"C:\tools\{number}\bin" for number in range(40))
    machine = replace(scenario.machine, path=path)
    figures: dict[str, list[float]] = {}
    programs = [
        ("untouched import", UNTOUCHED, IMPORT),
        ("fixed import", FIXED, IMPORT),
        ("search", FIXED, SEARCH),
    ]
    for _ in range(ROUNDS):
        # What runs first finds another machine than what runs after it: each is first in turn.
        programs.reverse()
        for what, wheel, program in programs:
            changed = replace(scenario, program=program, machine=machine)
            log = prover.fill_cell(Run(scenario=changed, python="3.12", wheel=wheel)).log
            (figure,) = re.findall(r"took ([\d.]+) ms", log)
            figures.setdefault(what, []).append(float(figure))
    return figures


def report(name: str, figures: dict[str, list[float]]) -> bool:
    """Print one wheel's figures; return whether search and import keep to their shares."""
    untouched, fixed = figures["untouched import"], figures["fixed import"]
    search = statistics.median(figures["search"]) / statistics.median(untouched)
    more = statistics.median(b / a for a, b in zip(untouched, fixed, strict=True)) - 1
    lines = [f"{name}, medians of {ROUNDS}"]
    lines += [f"  {what:18} {statistics.median(times):9.2f} ms" for what, times in figures.items()]
    for what, share, limit in (
        ("the search", search, SEARCH_LIMIT),
        ("the fixed import more, by pairs", more, IMPORT_LIMIT),
    ):
        verdict = "within" if share <= limit else "BEYOND"
        lines.append(f"  {what}: {share:.2%} of the untouched import, {verdict} {limit:.0%}")
    sys.stdout.write("\n".join(lines) + "\n")
    return search <= SEARCH_LIMIT and more <= IMPORT_LIMIT


if __name__ == "__main__":
    sys.exit(main())
