"""`nox -s proof`: every scenario, a figure, `proof.json` and a page to look at."""

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from fnmatch import fnmatch
from importlib.metadata import version
from pathlib import Path

import msgspec
from proof.proving import LOCK, ON_WINDOWS, Prover, prove, runs_of, stories
from proof.results import Proof, render_page
from proof.scenarios import read_scenarios
from random_machines.judging import draw_machines, try_machines

from repack.console import Console, Progress, log_to
from repack.fetch import Supply
from repack.fetch.cache import Cache
from repack.files import replacing
from repack.process import run
from repack.pythons import Pythons
from repack.pythons.interpreter import Interpreter


def main(argv: Sequence[str] | None = None) -> int:
    """Return 0 where everything was seen that must be seen, else 1."""
    options = _parser().parse_args(argv)
    console = Console(sys.stderr)
    log_to(console, 0)
    progress = Progress(console)
    if options.random:
        return _try_random(options, progress)
    scenarios = [
        scenario
        for scenario in read_scenarios("windows" if ON_WINDOWS else "wine")
        if any(fnmatch(scenario.name, pattern) for pattern in options.only or ["*"])
    ]
    runs = [
        run
        for run in runs_of(scenarios, quick=options.quick)
        if not options.python or run.python in options.python
    ]
    cache, settings = Cache.default(), {"offline": options.offline, "update": options.update_lock}
    supply = Supply(cache, LOCK, progress=progress, **settings)
    with Pythons(supply) as pythons:
        cells = prove(Prover(supply, pythons, options.limit), runs, options.jobs, progress)
        supply.keep()
        proof = Proof(
            repack=version("cv2-repack"), system=_system(pythons), stories=stories(scenarios, cells)
        )
    _write(proof, options.out)
    _tell(proof)
    return 0 if all(cell.right for cell in proof.cells) else 1


def _try_random(options: argparse.Namespace, progress: Progress) -> int:
    """Try random machines; return 0 where each does what it has to do, else 1."""
    version = (options.python or ["3.12"])[0]
    cache = Cache.default()
    supply = Supply(cache, offline=options.offline, progress=progress)
    with Pythons(supply) as pythons:
        interpreter = pythons.provide(version)
        if ON_WINDOWS:
            sys.stderr.write("random machines need Wine\n")
            return 1
        folder = cache.folder("tests") / "proof" / "machines"
        drawn = draw_machines(options.seed, options.random)
        disagreements = 0
        with progress.task("Random machines", total=options.random, unit="steps") as task:
            for text in try_machines(interpreter, folder, drawn, options.jobs, task.advance):
                disagreements += 1
                sys.stdout.write(f"{text}\n")
    sys.stdout.write(f"{options.random - disagreements} of {options.random} agree\n")
    return 1 if disagreements else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nox -s proof --",
        description="Run every claim about Windows on genuine Windows binaries.",
        epilog="example: nox -s proof -- --only 'cuda-path*' --python 3.12",
    )
    add = parser.add_argument
    add("--only", action="append", metavar="NAME", help="scenarios, by name or glob")
    add("--python", action="append", metavar="3.12", help="on these Pythons only")
    add("--quick", action="store_true", help="the part that the tests run")
    add("--jobs", type=int, default=_default_jobs(), help="machines at a time")
    add("--limit", type=float, default=150.0, help="seconds for each program")
    add("--offline", action="store_true", help="only what is cached")
    add("--update-lock", action="store_true", help="take the index's newest parts")
    add("--random", type=int, default=0, metavar="N", help="N random machines only")
    add("--seed", type=int, default=0, help="of the first of them, default: 0")
    add("-o", "--out", type=Path, default=Path("proof"), help="default: proof")
    return parser


def _default_jobs() -> int:
    """Return how many machines are run at a time; on Windows they share one drive C:."""
    return 1 if ON_WINDOWS else os.cpu_count() or 1


def _system(pythons: Pythons) -> str:
    """Return what the Windows binaries ran on."""
    if ON_WINDOWS:
        return platform.platform()
    found = [each for each in pythons.at_hand() if isinstance(each, Interpreter)]
    launchers = sorted({each.launcher for each in found})
    names = [run([*each, "--version"], timeout=60).output.strip() for each in launchers]
    return f"{', '.join(names)} on {platform.system()} {platform.machine()}"


def _write(proof: Proof, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    figures = {"right": sum(cell.right for cell in proof.cells), "of": len(proof.cells)}
    document = {"version": 1, **figures, **msgspec.to_builtins(proof)}
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    for name, content in {"proof.json": text, "index.html": render_page(proof)}.items():
        with replacing(folder / name) as stream:
            stream.write(content.encode(errors="replace"))


def _tell(proof: Proof) -> None:
    """Print what is not right, and the figure."""
    for story in proof.stories:
        for cell in story.cells:
            for fault in cell.faults:
                sys.stdout.write(f"{story.name}, Python {cell.python}, {cell.wheel}: {fault}\n")
    sys.stdout.write(f"{proof.figure}\n")


if __name__ == "__main__":
    sys.exit(main())
