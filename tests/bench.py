"""Measures `repack` beside its peers on one real wheel, in one run, and prints ratios.

And what the run-time module costs an import, beside the untouched wheel (under Wine too). Every
figure is the median of whole processes run in turn, A B C A B C, so that a machine that slows down
slows all of them. Run by `nox -s bench`; needs the package index for the wheels.
"""

import argparse
import contextlib
import os
import re
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from unittest.mock import patch

from genuine import CUDA_12, fetch_index, genuine_wheel
from msgspec.structs import replace
from proof.proving import LOCK, Run, fill_cell
from proof.results import Cell
from proof.scenarios import UNTOUCHED, read_scenarios

from repack.console import SILENT
from repack.fetch import Supply
from repack.fetch.cache import Cache
from repack.pythons import Pythons
from repack.wheel.archive import open_archive
from repack.wheel.writer import Part, splice

PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
ROUNDS = 5
PEAK_LIMIT = 150_000_000
REPACK = Path(sysconfig.get_path("scripts")) / "repack"
#: What is compared, ours, theirs: ours may take at most so many times as long.
CONTESTS = (
    ("whole command, one Python", "one", "unpack + pack", 1 / 10),
    ("whole command, five Pythons", "five", "five wheel tags", 1 / 25),
    ("the same of a file never seen before", "one, not fetched", "unpack + pack", 1 / 6),
    ("the engine", "engine", "cp", 3),
    ("a genuine wheel with all of CUDA 12 in it", "vendor", "delvewheel repair", 1 / 15),
    ("the same, first look", "vendor, first look", "delvewheel repair", 1 / 6),
)

#: Of the untouched import: what the search may cost, and the whole fixed import more. CUDA_PATH is
#: right, so that both find the DLLs, and PATH has forty entries that hold nothing.
SEARCH_LIMIT, IMPORT_LIMIT, IMPORT_ROUNDS = 0.01, 0.05, 10
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

Command = Sequence[str | Path]


def main() -> int:
    """Measure, print a table of ratios, and return 1 where a limit is passed."""
    parser = argparse.ArgumentParser(prog="nox -s bench --", description=main.__doc__)
    parser.add_argument("--beside", type=Path, metavar="REPACK", help="another repack to measure")
    beside = parser.parse_args().beside
    wheel = fetch_index("opencv-contrib-python==4.11.0.86", python="3.12").path
    with (
        tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder,
        contextlib.chdir(folder),
    ):  # away from the repack.lock of the project
        runs = {
            **list_ours(wheel, REPACK, ""),
            "unpack + pack": lambda: unpack_and_pack(wheel),
            "five wheel tags": lambda: sum(retag(wheel, python) for python in PYTHONS),
            "engine": lambda: splice_members(wheel),
            "cp": lambda: timed(["cp", wheel, fresh("copied.whl")]),
            **(list_ours(wheel, beside, ", beside") if beside else {}),
        }
        taken: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(ROUNDS):
            for name, run in runs.items():
                taken[name].append(run())
        medians = {name: statistics.median(times) for name, times in taken.items()}
        vendored, peak = vendoring()
    lines = [f"{wheel.name}, medians of {ROUNDS}"]
    medians |= vendored
    lines += [f"  {name:20} {seconds:7.3f} s" for name, seconds in medians.items()]
    good = peak <= PEAK_LIMIT
    for what, ours, theirs, limit in CONTESTS:
        ratio = medians[ours] / medians[theirs]
        good &= ratio <= limit
        verdict = "within" if ratio <= limit else "BEYOND"
        lines.append(f"{what}: {ratio:.3f} of {theirs} (1/{1 / ratio:.1f}), {verdict} {limit:.3f}")
    lines.append(f"peak memory, vendoring 1.9 GB, first look: {peak / 1e6:.0f} MB, limit 150 MB")
    sys.stdout.write("\n".join(lines) + "\n")
    supply = Supply(Cache.default(), LOCK, progress=SILENT)
    with Pythons(supply) as pythons:
        for name in ("cuda-path", "genuine-12.3-by-cuda-path"):
            good &= compare_imports(name, partial(fill_cell, supply, pythons))
    return 0 if good else 1


def fresh(name: str) -> Path:
    """Return a path at which nothing lies; its folder is there."""
    path = Path(name).absolute()
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    return path


def timed(command: Command, **env: str) -> float:
    """Return the seconds that a whole process takes."""
    words, environ = list(map(str, command)), {**os.environ, **env}
    start = time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, env=environ)
    return time.perf_counter() - start


def peak_of(command: Command, **env: str) -> int:
    """Return the peak resident bytes of a process, or of the largest that it ran."""
    script = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    words = [sys.executable, "-c", script, *map(str, command)]
    answer = subprocess.run(words, check=True, stdout=subprocess.PIPE, env={**os.environ, **env})
    return int(answer.stdout.split()[-1]) * 1024


# Ours


def list_ours(wheel: Path, repack: Path, suffix: str) -> dict[str, Callable[[], float]]:
    """Return what is measured of a repack: the whole of it but the smoke test."""

    def build(pythons: Sequence[str], **env: str) -> float:
        return timed(build_command(wheel, pythons, repack), **env)

    return {
        f"one{suffix}": lambda: build(PYTHONS[2:3]),
        f"one, not fetched{suffix}": lambda: build(PYTHONS[2:3], REPACK_CACHE=str(fresh("empty"))),
        f"five{suffix}": lambda: build(PYTHONS),
    }


def build_command(wheel: Path, pythons: Sequence[str], repack: Path = REPACK) -> Command:
    """Return the command that builds into a folder in which nothing lies."""
    command: list[str | Path] = [repack, "build", "--quiet", "--no-smoke", "--source", wheel]
    return [*command, "-w", fresh("out"), "--python", *pythons]


def splice_members(source: Path) -> float:
    """Return the seconds that the engine takes to write a wheel's members again.

    cp leaves it to the system when the bytes come to the disk; then so does the engine here.
    """
    archive = open_archive(source)
    entries = [Part(name=name, content=archive, source=name) for name in archive.members]
    target = fresh("spliced.whl")
    with patch("os.fsync"):
        start = time.perf_counter()
        splice(entries, target, timestamp=1_600_000_000)
        return time.perf_counter() - start


# The peers


def unpack_and_pack(wheel: Path) -> float:
    """Return the seconds that the reference tool takes to take the wheel apart and back."""
    tree, out = fresh("tree"), fresh("out")
    seconds = timed([sys.executable, "-m", "wheel", "unpack", wheel, "-d", tree])
    (folder,) = tree.iterdir()
    out.mkdir()
    return seconds + timed([sys.executable, "-m", "wheel", "pack", folder, "-d", out])


def retag(wheel: Path, python: str) -> float:
    """Return the seconds that the reference tool takes to retag the wheel for one Python."""
    folder, tag = fresh("tags"), f"cp{python.replace('.', '')}"
    folder.mkdir()
    shutil.copy(wheel, folder)
    options = ["--python-tag", tag, "--abi-tag", tag]
    return timed([sys.executable, "-m", "wheel", "tags", *options, folder / wheel.name])


def vendoring() -> tuple[dict[str, float], int]:
    """Return the seconds that it takes to put the same DLLs into the same genuine wheel, once.

    And the peak resident bytes of ours.
    """
    wheel = genuine_wheel(CUDA_12)

    def command(*more: str) -> Command:
        options = ["--mode", "vendor", *more]
        return [*build_command(wheel, (CUDA_12.python,)), *options]

    def fetched_only() -> str:
        """Return a cache with what was fetched, by links, and nothing that was found out."""
        cache = fresh("fetched")
        for name in ("files", "answers", "pins"):
            shutil.copytree(Cache.default().root / name, cache / name, copy_function=os.link)
        return str(cache)

    # Whatever has to be downloaded is downloaded now.
    timed(command())
    seconds = {"vendor": timed(command("--offline"))}
    seconds["vendor, first look"] = timed(command("--offline"), REPACK_CACHE=fetched_only())
    (ours,) = Path("out").glob("*.whl")
    dlls = unpack_dlls(ours, wheel)
    peak = peak_of(command("--offline"), REPACK_CACHE=fetched_only())
    excluded = ("nvcuda.dll", "msvcp140*", "vcruntime140*", "concrt140.dll", "vcomp140.dll")
    names = [path.name for path in dlls.iterdir()]
    options = ["--exclude", os.pathsep.join(excluded), "--include", os.pathsep.join(names)]
    options += ["--no-mangle-all", "--analyze-existing", "--ignore-existing"]
    program = [sys.executable, "-m", "delvewheel", "repair", *options]
    peer = timed([*program, "--add-path", dlls, "-w", fresh("out"), wheel])
    return seconds | {"delvewheel repair": peer}, peak


def unpack_dlls(wheel: Path, source: Path) -> Path:
    """Return a folder of the DLLs that a wheel has and its source has not."""
    folder = fresh("dlls")
    folder.mkdir()
    with zipfile.ZipFile(wheel) as archive, zipfile.ZipFile(source) as before:
        for name in set(archive.namelist()) - set(before.namelist()):
            if name.endswith(".dll"):
                with archive.open(name) as member, (folder / Path(name).name).open("wb") as file:
                    shutil.copyfileobj(member, file, 1 << 20)
    return folder


# Imports


def compare_imports(name: str, fill: Callable[[Run], Cell]) -> bool:
    """Print what an import costs in a scenario; return whether search and import keep to limits."""
    (scenario,) = (scenario for scenario in read_scenarios("wine") if scenario.name == name)
    path = tuple(rf"C:\tools\{number}\bin" for number in range(40))
    scenario = replace(scenario, machine=replace(scenario.machine, path=path))
    programs = {"untouched import": IMPORT, "fixed import": IMPORT, "search": SEARCH}
    taken: dict[str, list[float]] = {what: [] for what in programs}
    for number in range(IMPORT_ROUNDS):
        # What runs first finds another machine than what runs after it: each is first in turn.
        for what in sorted(programs, reverse=bool(number % 2)):
            mode = UNTOUCHED if what.startswith(UNTOUCHED) else "patch"
            changed = replace(scenario, program=programs[what])
            run = Run(scenario=changed, wheel=changed.wheel, python="3.12", mode=mode)
            (figure,) = re.findall(r"took ([\d.]+) ms", fill(run).log)
            taken[what].append(float(figure))
    medians = {what: statistics.median(times) for what, times in taken.items()}
    pairs = zip(taken["untouched import"], taken["fixed import"], strict=True)
    shares = {
        "the search": (medians["search"] / medians["untouched import"], SEARCH_LIMIT),
        "the import more, by pairs": (statistics.median(b / a for a, b in pairs) - 1, IMPORT_LIMIT),
    }
    lines = [f"{name}, medians of {IMPORT_ROUNDS}"]
    lines += [f"  {what:18} {median:9.2f} ms" for what, median in medians.items()]
    for what, (share, limit) in shares.items():
        verdict = "within" if share <= limit else "BEYOND"
        lines.append(f"  {what}: {share:.2%} of the untouched import, {verdict} {limit:.0%}")
    sys.stdout.write("\n".join(lines) + "\n")
    return all(share <= limit for share, limit in shares.values())


if __name__ == "__main__":
    sys.exit(main())
