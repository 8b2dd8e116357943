"""Measures `repack` beside its peers on one real wheel, in one run, and prints ratios.

And what the run-time module costs an import, beside the untouched wheel (under Wine too). Every
ratio is the median of pairs of whole processes, run in turn, so that a machine that slows down
slows both. Run by `nox -s bench`; needs the package index for the wheels.
"""

import argparse
import contextlib
import operator
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
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from unittest.mock import patch

from genuine import CUDA_12, fetch_index, genuine_wheel
from msgspec.structs import replace
from proof.proving import LOCK, Run, fill_cell
from proof.scenarios import UNTOUCHED, Scenario, read_scenarios

from repack.fetch import Supply
from repack.fetch.cache import Cache
from repack.pythons import Pythons
from repack.wheel.archive import open_archive
from repack.wheel.writer import Part, splice

PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
ROUNDS, IMPORT_ROUNDS = 5, 10
PEAK_LIMIT = 150_000_000
REPACK = Path(sysconfig.get_path("scripts")) / "repack"

#: What is compared, ours, theirs: ours may take at most so many times as long.
COMMANDS = (
    ("whole command, one Python", "one", "unpack + pack", 1 / 10),
    ("whole command, five Pythons", "five", "five wheel tags", 1 / 25),
    ("the same of a file never seen before", "one, not fetched", "unpack + pack", 1 / 6),
    ("the engine", "engine", "cp", 3),
)
VENDORING = (
    ("a genuine wheel with all of CUDA 12 in it", "vendor", "delvewheel repair", 1 / 15),
    ("the same, first look", "vendor, first look", "delvewheel repair", 1 / 6),
)
#: CUDA_PATH is right, so that both find the DLLs, and PATH has forty entries that hold nothing.
IMPORTS = (
    ("the search", "search", "untouched import", 0.01),
    ("the whole import", "fixed import", "untouched import", 1.05),
)
IMPORT = r"""
import time

begin = time.perf_counter()
import cv2
print("import took", round((time.perf_counter() - begin) * 1e3, 2), "ms")
"""
# The module by itself, in a process that has loaded none of the DLLs yet.
SEARCH = r"""
import ctypes  # which NumPy imports in any case
import importlib.util
import sys
import time

(folder,) = importlib.util.find_spec("cv2").submodule_search_locations
sys.path.append(folder)
from _cuda_build import BUILD
import cuda_dlls

begin = time.perf_counter()
search = cuda_dlls.Search(folder, BUILD, cuda_dlls.Windows())
print("search took", round((time.perf_counter() - begin) * 1e3, 2), "ms")
assert search.choices and not search.missing
"""

Command = Sequence[str | Path]
Runs = Mapping[str, Callable[[], float]]


def main() -> int:
    """Measure, print figures and ratios, and return 1 where a limit is passed."""
    parser = argparse.ArgumentParser(prog="nox -s bench --", description=main.__doc__)
    parser.add_argument("--beside", type=Path, metavar="REPACK", help="another repack to measure")
    beside = parser.parse_args().beside
    fetched = fetch_index("opencv-contrib-python==4.11.0.86", python="3.12").path
    with (
        tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder,
        contextlib.chdir(folder),
    ):  # away from the repack.lock of the project
        wheel = Path(shutil.copy(fetched, folder))
        runs = {
            **list_ours(wheel),
            "unpack + pack": lambda: unpack_and_pack(wheel),
            "five wheel tags": lambda: retag(wheel),
            "engine": lambda: splice_members(wheel),
            "cp": lambda: timed(["cp", wheel, fresh("copied.whl")]),
        }
        if beside:
            runs |= {f"{name}, beside": run for name, run in list_ours(wheel, beside).items()}
        good = [compare(runs, COMMANDS, ROUNDS), compare(list_vendoring(), VENDORING, 1)]
        peak = peak_of(vendor_command("--offline"), REPACK_CACHE=fetched_only())
    good.append(peak <= PEAK_LIMIT)
    sys.stdout.write(f"peak memory of the first look: {peak / 1e6:.0f} MB, limit 150 MB\n")
    supply = Supply(Cache.default(), LOCK)
    with Pythons(supply) as pythons:
        for scenario in read_scenarios():
            if scenario.name in {"cuda-path", "genuine-12.3-by-cuda-path"}:
                sys.stdout.write(f"{scenario.name}\n")
                imports = list_imports(supply, pythons, scenario)
                good.append(compare(imports, IMPORTS, IMPORT_ROUNDS))
    return 0 if all(good) else 1


def compare(runs: Runs, rows: Sequence[tuple[str, str, str, float]], rounds: int) -> bool:
    """Print the seconds that each of `runs` takes; return whether all rows keep to their limits."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds):
        # What runs first finds another machine than what runs after it: each is first in turn.
        for name in sorted(runs, reverse=bool(number % 2)):
            taken[name].append(runs[name]())
    lines = [f"  {name:20} {statistics.median(times):8.4f} s" for name, times in taken.items()]
    good = True
    for what, ours, theirs, limit in rows:
        ratio = statistics.median(map(operator.truediv, taken[ours], taken[theirs]))
        good &= ratio <= limit
        verdict = "within" if ratio <= limit else "BEYOND"
        lines.append(f"{what}: {ratio:.3f} of {theirs} (1/{1 / ratio:.1f}), {verdict} {limit:.3f}")
    sys.stdout.write("\n".join(lines) + "\n")
    return good


def fresh(name: str) -> Path:
    """Return a path at which nothing lies; its folder is there."""
    path = Path(name).absolute()
    shutil.rmtree(path, ignore_errors=True)
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


def list_ours(wheel: Path, repack: Path = REPACK) -> Runs:
    """Return what is measured of a repack: the whole of it but the smoke test."""

    def build(*pythons: str, **env: str) -> float:
        return timed(build_command(wheel, *pythons, repack=repack), **env)

    return {
        "one": lambda: build("3.12"),
        "one, not fetched": lambda: build("3.12", REPACK_CACHE=str(fresh("empty"))),
        "five": lambda: build(*PYTHONS),
    }


def build_command(wheel: Path, *pythons: str, repack: Path = REPACK) -> Command:
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
    program, tree = [sys.executable, "-m", "wheel"], fresh("tree")
    seconds = timed([*program, "unpack", wheel, "-d", tree])
    (folder,) = tree.iterdir()
    return seconds + timed([*program, "pack", folder, "-d", tree])


def retag(wheel: Path) -> float:
    """Return the seconds that the reference tool takes to retag the wheel for each Python."""
    program = [sys.executable, "-m", "wheel", "tags"]
    tags = [f"cp{python.replace('.', '')}" for python in PYTHONS]
    return sum(timed([*program, "--python-tag", tag, "--abi-tag", tag, wheel]) for tag in tags)


# NVIDIA's DLLs, the same into the same genuine wheel


def vendor_command(*options: str) -> Command:
    """Return the command that puts all of CUDA 12 into a genuine wheel."""
    command = build_command(genuine_wheel(CUDA_12), CUDA_12.python)
    return [*command, "--mode", "vendor", *options]


def list_vendoring() -> Runs:
    """Return what is measured; whatever has to be downloaded has been downloaded then."""
    timed(vendor_command())
    (ours,) = Path("out").glob("*.whl")
    wheel, dlls = genuine_wheel(CUDA_12), fresh("dlls")
    with zipfile.ZipFile(ours) as archive, zipfile.ZipFile(wheel) as before:
        added = set(archive.namelist()) - set(before.namelist())
        members = [name for name in added if name.endswith(".dll")]
        archive.extractall(dlls, members)
    names = [Path(name).name for name in members]
    excluded = ("nvcuda.dll", "msvcp140*", "vcruntime140*", "concrt140.dll", "vcomp140.dll")
    options = ["--exclude", os.pathsep.join(excluded), "--include", os.pathsep.join(names)]
    options += ["--no-mangle-all", "--analyze-existing", "--ignore-existing"]
    options += ["--add-path", str((dlls / members[0]).parent)]
    delvewheel = [sys.executable, "-m", "delvewheel", "repair", *options]
    offline = partial(vendor_command, "--offline")
    return {
        "vendor": lambda: timed(offline()),
        "vendor, first look": lambda: timed(offline(), REPACK_CACHE=fetched_only()),
        "delvewheel repair": lambda: timed([*delvewheel, "-w", fresh("repaired"), wheel]),
    }


def fetched_only() -> str:
    """Return a cache with what was fetched, by links, and nothing that was found out."""
    cache = fresh("fetched")
    for name in ("files", "answers", "pins"):
        shutil.copytree(Cache.default().root / name, cache / name, copy_function=os.link)
    return str(cache)


# Imports


def list_imports(supply: Supply, pythons: Pythons, scenario: Scenario) -> Runs:
    """Return what is measured of an import in a scenario."""
    path = tuple(rf"C:\tools\{number}\bin" for number in range(40))
    machine = replace(scenario.machine, path=path)

    def measure(program: str, mode: str) -> float:
        changed = replace(scenario, machine=machine, program=program)
        run = Run(scenario=changed, wheel=changed.wheel, python="3.12", mode=mode)
        (figure,) = re.findall(r"took ([\d.]+) ms", fill_cell(supply, pythons, run).log)
        return float(figure) / 1000

    return {
        "search": lambda: measure(SEARCH, "patch"),
        "fixed import": lambda: measure(IMPORT, "patch"),
        "untouched import": lambda: measure(IMPORT, UNTOUCHED),
    }


if __name__ == "__main__":
    sys.exit(main())
