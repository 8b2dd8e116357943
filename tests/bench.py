"""Measures `repack` beside its peers on one real wheel, in one run, and prints ratios.

Every figure is the median of whole processes run in turn, A B C A B C, so that a machine that
slows down slows all of them. Run by `nox -s bench`; needs the package index for the wheel.
"""

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest.mock import patch

from genuine import CUDA_12, genuine_wheel
from wheelmaking import make_pyd, make_wheel

from repack.fetch.cache import Cache
from repack.wheel.archive import open_archive
from repack.wheel.writer import Copied, splice

REQUIREMENT = "opencv-contrib-python==4.11.0.86"
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
ROUNDS = 5
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


def main() -> int:
    """Measure, print a table of ratios, and return 1 where a limit is passed."""
    parser = argparse.ArgumentParser(prog="nox -s bench --", description=main.__doc__)
    parser.add_argument("--beside", type=Path, metavar="REPACK", help="another repack to measure")
    beside = parser.parse_args().beside
    with (
        tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder,
        contextlib.chdir(folder),
    ):  # away from the repack.lock of the project
        place = Path(folder)
        wheel = fetch(place)
        runs: dict[str, Callable[[], float]] = {
            "one": lambda: timed(build(wheel, place, PYTHONS[2:3])),
            "one, not fetched": lambda: unseen(wheel, place),
            "unpack + pack": lambda: unpack_and_pack(wheel, place),
            "five": lambda: timed(build(wheel, place, PYTHONS)),
            "five wheel tags": lambda: sum(wheel_tags(wheel, place, python) for python in PYTHONS),
            "engine": lambda: splice_members(wheel, place / "spliced.whl"),
            "cp": lambda: copy(wheel, place / "copied.whl"),
        }
        if beside:
            runs |= {
                "one, beside": lambda: timed(build(wheel, place, PYTHONS[2:3], beside)),
                "one, not fetched, beside": lambda: unseen(wheel, place, beside),
                "five, beside": lambda: timed(build(wheel, place, PYTHONS, beside)),
            }
        taken: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(ROUNDS):
            for name, run in runs.items():
                shutil.rmtree(place / "out", ignore_errors=True)
                taken[name].append(run())
        medians = {name: statistics.median(times) for name, times in taken.items()}
        vendored, peaks = vendoring(place)
        peaks["building from a wheel of 1 GB"] = peak_memory(place)
    return report(wheel.name, medians | vendored, peaks)


def report(wheel: str, medians: dict[str, float], peaks: dict[str, int]) -> int:
    """Print the figures; return 1 where a limit is passed."""
    lines = [f"{wheel}, medians of {ROUNDS}"]
    lines += [f"  {name:20} {seconds:7.3f} s" for name, seconds in medians.items()]
    good = all(peak < 150_000_000 for peak in peaks.values())
    for what, ours, theirs, limit in CONTESTS:
        ratio = medians[ours] / medians[theirs]
        good &= ratio <= limit
        verdict = "within" if ratio <= limit else "BEYOND"
        lines.append(f"{what}: {ratio:.3f} of {theirs} (1/{1 / ratio:.1f}), {verdict} {limit:.3f}")
    lines += [
        f"peak memory, {what}: {peak / 1e6:.0f} MB, limit 150 MB" for what, peak in peaks.items()
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0 if good else 1


def fetch(place: Path) -> Path:
    """Return the real wheel that everything is measured on."""
    answer = subprocess.run(
        [REPACK, "fetch", "--json", "--set", f"source.requirement={REQUIREMENT}"],
        check=True,
        cwd=place,
        stdout=subprocess.PIPE,
    )
    return Path(json.loads(answer.stdout)["path"])


def build(
    wheel: Path, place: Path, pythons: tuple[str, ...], repack: Path = REPACK
) -> list[str | Path]:
    """Return our command: the whole of it but the smoke test."""
    options: list[str | Path] = ["--source", wheel, "-w", place / "out", "--python", *pythons]
    return [repack, "build", "--quiet", "--no-smoke", *options]


def unseen(wheel: Path, place: Path, repack: Path = REPACK) -> float:
    """Return the seconds that our command takes where no wheel has been seen before."""
    cache = place / "empty"
    shutil.rmtree(cache, ignore_errors=True)
    return timed(build(wheel, place, PYTHONS[2:3], repack), REPACK_CACHE=str(cache))


def unpack_and_pack(wheel: Path, place: Path) -> float:
    """Return the seconds that the reference tool takes to take the wheel apart and back."""
    tree = place / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    seconds = timed([sys.executable, "-m", "wheel", "unpack", wheel, "-d", tree])
    (folder,) = tree.iterdir()
    (place / "out").mkdir()
    return seconds + timed([sys.executable, "-m", "wheel", "pack", folder, "-d", place / "out"])


def wheel_tags(wheel: Path, place: Path, python: str) -> float:
    """Return the seconds that the reference tool takes to retag the wheel for one Python."""
    folder = place / "tags"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.copy(wheel, folder)
    tag = f"cp{python.replace('.', '')}"
    options = ["--python-tag", tag, "--abi-tag", tag]
    return timed([sys.executable, "-m", "wheel", "tags", *options, folder / wheel.name])


def vendoring(place: Path) -> tuple[dict[str, float], dict[str, int]]:
    """Return the seconds that it takes to put the same DLLs into the same genuine wheel, once.

    And the peak resident bytes of ours.
    """
    wheel, out = genuine_wheel(CUDA_12), place / "vendored"
    command: list[str | Path] = [REPACK, "build", "--quiet", "--no-smoke"]
    ours = [*command, "--mode", "vendor", "--source", wheel, "--python", CUDA_12.python, "-w", out]
    # Whatever has to be downloaded is downloaded now.
    answer = subprocess.run([*ours, "--dry-run", "--json"], check=True, stdout=subprocess.PIPE)
    dlls = [Path(dll["member"]).name for dll in json.loads(answer.stdout)["carried"]]
    ours += ["--offline"]
    seconds = {"vendor": timed(ours)}
    shutil.rmtree(out)
    cache = str(fetched_only(place))
    seconds["vendor, first look"] = timed(ours, REPACK_CACHE=cache)
    shutil.rmtree(out)
    shutil.rmtree(cache)
    peaks = {"vendoring 1.9 GB, first look": peak_of(ours, REPACK_CACHE=str(fetched_only(place)))}
    shutil.rmtree(out)
    seconds["delvewheel repair"] = delvewheel(wheel, unpacked(answer.stdout, place), dlls, out)
    shutil.rmtree(out)
    return seconds, peaks


def fetched_only(place: Path) -> Path:
    """Return a cache with what was fetched, by links, and nothing that was found out about it."""
    cache = place / "fetched"
    for name in ("files", "answers", "pins"):
        shutil.copytree(Cache.default().root / name, cache / name, copy_function=os.link)
    return cache


def unpacked(answer: bytes, place: Path) -> Path:
    """Return a folder with all DLLs of the wheels that ours took them from."""
    folder = place / "dlls"
    folder.mkdir()
    origins = {tuple(dll["origin"].split()) for dll in json.loads(answer)["carried"]}
    for name, version in sorted(origins):
        filename = f"{name.replace('-', '_')}-{version}-py3-none-win_amd64.whl"
        (wheel,) = (Cache.default().root / "files").glob(f"*/{filename}")
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.infolist():
                if member.filename.endswith(".dll"):
                    with archive.open(member) as source:
                        target = folder / Path(member.filename).name
                        with target.open("wb") as file:
                            shutil.copyfileobj(source, file, 1 << 20)
    return folder


def delvewheel(wheel: Path, folder: Path, dlls: Sequence[str], out: Path) -> float:
    """Return the seconds that delvewheel takes to put the DLLs in, as they are called."""
    excluded = ("nvcuda.dll", "msvcp140*", "vcruntime140*", "concrt140.dll", "vcomp140.dll")
    options = ["--exclude", os.pathsep.join(excluded), "--include", os.pathsep.join(dlls)]
    options += ["--no-mangle-all", "--analyze-existing", "--ignore-existing"]
    program = [sys.executable, "-m", "delvewheel", "repair", *options]
    return timed([*program, "--add-path", folder, "-w", out, wheel])


def timed(command: Sequence[str | Path], **env: str) -> float:
    """Return the seconds that a whole process takes."""
    environ = {**os.environ, **env}
    start = time.perf_counter()
    subprocess.run(
        [str(part) for part in command], check=True, stdout=subprocess.DEVNULL, env=environ
    )
    return time.perf_counter() - start


def splice_members(source: Path, target: Path) -> float:
    """Return the seconds that the engine takes to write a wheel's members again.

    cp leaves it to the system when the bytes come to the disk; then so does the engine here.
    """
    archive = open_archive(source)
    members = archive.members
    entries = [Copied(name=name, member=members[name], archive=archive) for name in members]
    target.unlink(missing_ok=True)
    with patch("os.fsync"):
        start = time.perf_counter()
        splice(entries, target, timestamp=1_600_000_000)
        return time.perf_counter() - start


def copy(source: Path, target: Path) -> float:
    """Return the seconds that cp takes for a new file: over an old one it takes longer."""
    target.unlink(missing_ok=True)
    return timed(["cp", source, target])


def peak_memory(place: Path) -> int:
    """Return the peak resident bytes of building from a wheel of 1 GB."""
    huge = place / "huge"
    huge.mkdir()
    noise = os.urandom(1 << 20)
    payload = place / "payload"
    with payload.open("wb") as stream:
        for _ in range(1000):
            stream.write(noise)
    wheel = make_wheel(
        huge / "opencv_contrib_python-4.99.0-cp37-abi3-win_amd64.whl",
        {
            "cv2/__init__.py": b"from .cv2 import *\n",
            "cv2/cv2.pyd": make_pyd(),
            "cv2/big.bin": payload,
        },
    )
    return peak_of(build(wheel, place, ("3.12",)))


def peak_of(command: Sequence[str | Path], **env: str) -> int:
    """Return the peak resident bytes of a process, or of the largest that it ran."""
    script = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script, *map(str, command)],
        check=True,
        stdout=subprocess.PIPE,
        env={**os.environ, **env},
    )
    return int(answer.stdout.split()[-1]) * 1024


if __name__ == "__main__":
    sys.exit(main())
