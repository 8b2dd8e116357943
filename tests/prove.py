"""`nox -s proof`: every scenario and random machines, a figure, `proof.json` and a page."""

import argparse
import os
import platform
import sys
import tempfile
from fnmatch import fnmatch
from functools import partial
from importlib.metadata import version
from pathlib import Path

from proof.on_windows import prove_on_windows
from proof.parts import sweep
from proof.proving import LOCK, do_all, fill_cell, list_runs, tell_stories
from proof.results import Proof, Story, render_json, render_page
from proof.scenarios import read_scenarios
from random_machines.trying import draw_machines, try_machine
from windowslab import open_windows

from repack.console import Console, Progress, log_to
from repack.fetch import Supply
from repack.fetch.cache import Cache
from repack.files import write
from repack.process import run
from repack.pythons import Pythons

MACHINES = 200
ITSELF = "repack-on-windows"


def main() -> int:
    """Return 0 where everything was seen that must be seen, else 1."""
    options = parse_options()
    console = Console(sys.stderr)
    log_to(console, 0)
    progress = Progress(console)
    settings = {"offline": options.offline, "update": options.update_lock}
    supply = Supply(Cache.default(progress), LOCK, **settings)
    with Pythons(supply) as pythons:
        system = describe_system(pythons)
        stories = prove_scenarios(options, supply, pythons, progress)
    supply.keep()
    is_whole = not (options.only or options.python or options.random)
    if is_whole or options.random:
        count = options.random or MACHINES
        stories.append(prove_machines(options.seed, count, progress))
    if is_whole or any(fnmatch(ITSELF, name) for name in options.only):
        with tempfile.TemporaryDirectory() as folder:
            stories.append(prove_on_windows(ITSELF, Path(folder), progress))
    proof = Proof(repack=version("cv2-repack"), system=system, stories=tuple(stories))
    options.out.mkdir(parents=True, exist_ok=True)
    write(options.out / "proof.json", render_json(proof))
    write(options.out / "index.html", render_page(proof))
    for story in proof.stories:
        for cell in story.cells:
            for fault in cell.faults:
                sys.stdout.write(f"{story.name}, Python {cell.python}, {cell.wheel}: {fault}\n")
    sys.stdout.write(f"{proof.figure}\n")
    return 0 if all(cell.right for cell in proof.cells) else 1


def prove_scenarios(
    options: argparse.Namespace, supply: Supply, pythons: Pythons, progress: Progress
) -> list[Story]:
    """Return the scenarios that were asked for, with what was seen of them."""
    patterns = options.only or ([] if options.random else ["*"])
    runs = [
        run
        for run in list_runs(read_scenarios())
        if any(fnmatch(run.scenario.name, pattern) for pattern in patterns)
        and run.python in (options.python or [run.python])
    ]
    fill = partial(fill_cell, supply, pythons)
    cells = do_all("Scenarios", runs, fill, options.jobs, progress)
    if not (options.only or options.python or options.random):
        sweep(supply)
    return tell_stories(runs, cells)


def prove_machines(seed: int, count: int, progress: Progress) -> Story:
    """Return what was seen of so many random machines, each after the other."""
    folder = Cache.default().folder("tests") / "proof" / "machines"
    folder.mkdir(parents=True, exist_ok=True)
    with open_windows(folder) as bench:
        machines = draw_machines(seed, count)
        cells = do_all("Random machines", machines, lambda m: try_machine(bench, *m), 1, progress)
    why = "Each does what a short specification says of it."
    text = f"nox -s proof -- --random {count} --seed {seed}"
    return Story(name="random", title="Random machines", why=why, text=text, cells=tuple(cells))


def parse_options() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(
        prog="nox -s proof --",
        description="Run every claim about Windows on genuine Windows binaries.",
        epilog="example: nox -s proof -- --only 'cuda-path*' --python 3.12",
    )
    add = parser.add_argument
    add("--only", action="append", default=[], metavar="NAME", help="scenarios, by name or glob")
    add("--python", action="append", metavar="3.12", help="on these Pythons only")
    add("--jobs", type=int, default=os.cpu_count() or 1, help="machines at a time")
    add("--offline", action="store_true", help="only what is cached")
    add("--update-lock", action="store_true", help="take the index's newest parts")
    more = f"N random machines only; with all scenarios: {MACHINES}"
    add("--random", type=int, default=0, metavar="N", help=more)
    add("--seed", type=int, default=0, help="of the first of them, default: 0")
    add("-o", "--out", type=Path, default=Path("proof"), help="default: proof")
    return parser.parse_args()


def describe_system(pythons: Pythons) -> str:
    """Return what the Windows binaries ran on."""
    launchers = sorted({python.launcher for python in pythons.candidates})
    names = [run([*launcher, "--version"], timeout=60).output.strip() for launcher in launchers]
    return f"{', '.join(names)} on {platform.system()} {platform.machine()}"


if __name__ == "__main__":
    sys.exit(main())
