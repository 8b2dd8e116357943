"""`repack build` without its smoke test: what stands in the output folder, and what does not."""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from driving import REPACK, Repack, everything, trials
from indexing import served, simple_index
from installer.sources import WheelFile
from packaging.tags import Tag
from packaging.utils import parse_wheel_filename
from wheelmaking import cuda_wheel, make_wheel

Build = Callable[..., dict[str, Any]]


@pytest.fixture
def build(source: Path, repack: Repack) -> Build:
    """What builds the source, and returns what the command told."""

    def build(*options: str, source: Path = source) -> dict[str, Any]:
        ran = repack("build", "--source", source, "--no-smoke", "--json", "-q", *options)
        assert ran.code == 0, ran.err
        told: dict[str, Any] = ran.json
        return told

    return build


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_one_wheel_is_planned_and_emitted_for_each_python(build: Build, repack: Repack) -> None:
    planned = build("--dry-run")
    assert everything(repack.folder) == {}
    made = build()
    assert planned["plan"] == made["plan"]
    assert list(trials(made)) == ["3.10", "3.11", "3.12", "3.13", "3.14"]
    paths = [Path(wheel["path"]) for wheel in made["wheels"]]
    assert [wheel["filename"] for wheel in planned["plan"]] == [path.name for path in paths]
    assert sorted((repack.folder / "dist").glob("*.whl")) == paths
    for wheel, path in zip(made["wheels"], paths, strict=True):
        name, version, _, tags = parse_wheel_filename(path.name)
        tag = f"cp{wheel['seen'][0]['python'].replace('.', '')}"
        assert (name, str(version)) == ("opencv-contrib-python", "4.13.0.90+cu12.patched")
        assert tags == {Tag(tag, tag, "win_amd64")}
        assert wheel["sha256"] == sha256(path)


def test_another_installer_reads_the_wheel_and_its_time_is_that_of_the_epoch(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000001")
    path = build("--python", "3.12")["wheels"][0]["path"]
    with WheelFile.open(path) as opened:
        opened.validate_record(validate_contents=True)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert {info.date_time for info in archive.infolist()} == {(2023, 11, 14, 22, 13, 20)}


def test_a_wheel_that_repack_made_is_known_and_refused_and_the_original_named(
    source: Path, build: Build, repack: Repack
) -> None:
    made = build("--python", "3.12")["wheels"][0]["path"]
    ran = repack("build", "--source", made, "--no-smoke", "-w", "again")
    assert ran.code == 1
    original = f"{source.name} (sha256 {sha256(source)})"
    assert f"repack has made it [repacked]; build from the original {original}" in ran.error
    assert not (repack.folder / "again").exists()


def test_the_bytes_depend_on_nothing_but_the_input(source: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "in another folder"
    elsewhere.mkdir()
    moved = shutil.copy(source, elsewhere)
    other = {"TZ": "Pacific/Kiritimati", "LC_ALL": "C", "REPACK_CACHE": str(elsewhere / "cache")}
    env = {**os.environ, **other}
    command: list[str | Path] = [
        REPACK,
        *("build", "--no-smoke", "-q", "--python", "3.12", "-w", "out", "--source"),
    ]
    subprocess.run([*command, moved], check=True, cwd=elsewhere, env=env, umask=0o077)
    subprocess.run([*command, source], check=True, cwd=tmp_path)
    wheels = [*elsewhere.glob("out/*.whl"), *tmp_path.glob("out/*.whl")]
    assert len(wheels) == 2
    assert wheels[0].name == wheels[1].name
    assert wheels[0].read_bytes() == wheels[1].read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX's")
def test_killed_at_random_moments_it_leaves_no_half_wheel_and_the_next_run_finishes(
    tmp_path: Path,
) -> None:
    source, out = cuda_wheel(tmp_path, ballast=20_000_000), tmp_path / "out"
    command: list[str | Path] = [REPACK, "build", "--source", source, "--no-smoke", "-q", "-w", out]
    started = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    whole = time.monotonic() - started
    expected = {path: sha256(path) for path in out.glob("*.whl")}
    for moment in range(20):
        for wheel in out.glob("*.whl"):
            wheel.unlink()
        killed = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        time.sleep(random.Random(moment).uniform(0, whole))  # noqa: S311 - not a secret
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert {path: sha256(path) for path in out.glob("*.whl")}.items() <= expected.items()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert {path: sha256(path) for path in out.glob("*.whl")} == expected
    assert not list(out.glob("*.tmp"))


@pytest.mark.parametrize("requires", ["numpy>=2.4", "moon>=1"])
def test_a_python_on_which_nobody_could_install_the_wheel_is_refused(
    requires: str, tmp_path: Path, repack: Repack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dry run asks the index too: what it prints is what is written."""
    has = {"numpy-2.2.6": ["cp312"], "numpy-2.3.5": ["cp312", "cp313"], "moon-1": ["cp312"]}
    wheels = [
        make_wheel(tmp_path / f"{name}-{python}-{python}-win_amd64.whl", {"x.py": b""})
        for name, pythons in has.items()
        for python in pythons
    ]
    simple_index(tmp_path, wheels)
    source = cuda_wheel(tmp_path, requires=[f"{requires}; python_version >= '3.13'"])
    with served(tmp_path) as url:
        monkeypatch.setenv("PIP_INDEX_URL", url)
        words = ("--dry-run", "--json", "--python", "3.12,3.13")
        told = repack("build", "--source", source, *words).json
    assert [wheel["pythons"] for wheel in told["plan"]] == [["3.12"]]
    (refused,) = told["refused"]
    assert refused["python"] == "3.13"
    assert f"it requires {requires}, and the index" in refused["reason"]


def unchanged(build: Build) -> list[bool]:
    """Return for each wheel of a build whether that of an earlier build stands."""
    made = build("--python", "3.12,3.13")
    return [Path(wheel["path"]).name in made["unchanged"] for wheel in made["wheels"]]


#: Which wheels of the earlier build stand.
CHANGES = {
    "nothing": [True, True],
    "damage": [False, True],
    "record": [False, False],
    "time": [False, False],
    "source": [False, False],
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_an_earlier_build_left_from_the_same_is_not_written_again(
    change: str, build: Build, repack: Repack, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert unchanged(build) == [False, False]
    dist = repack.folder / "dist"
    before = everything(dist)
    first, *_ = sorted(dist.glob("*.whl"))
    if change == "damage":
        first.write_bytes(first.read_bytes()[:-1] + b"?")
    elif change == "record":
        (dist / "build.json").write_text("what?")
    elif change == "time":
        monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000001")
    elif change == "source":
        cuda_wheel(source.parent, ballast=1)
    assert unchanged(build) == CHANGES[change]
    assert (everything(dist) == before) == (change not in {"time", "source"})
    assert unchanged(build) == [True, True]


def test_a_build_sweeps_away_what_a_killed_one_left_and_nothing_else(
    build: Build, repack: Repack
) -> None:
    dist = repack.folder / "dist"
    half = dist / f".repack-1-{'0' * 16}.tmp" / "half.whl"
    mine = dist / "failed" / "notes.txt"
    for path in (half, mine):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"PK")
    os.utime(half.parent, (0, 0))
    build()
    assert not half.parent.exists()
    assert mine.read_bytes() == b"PK"
