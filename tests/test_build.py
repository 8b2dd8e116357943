"""`repack build` without its smoke test: what stands in the output folder, and what does not."""

import hashlib
import os
import random
import shutil
import signal
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from driving import Repack, ended, everything, start
from installer.sources import WheelFile
from publishing import served, simple_index
from wheelmaking import cuda_wheel, make_wheel

Build = Callable[..., dict[str, Any]]


@pytest.fixture
def build(source: Path, repack: Repack) -> Build:
    """What builds the source, and returns what the command told."""

    def build(*options: str) -> dict[str, Any]:
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
    paths = [Path(wheel["path"]) for wheel in made["wheels"]]
    assert [wheel["filename"] for wheel in planned["plan"]] == [path.name for path in paths]
    assert sorted((repack.folder / "dist").glob("*.whl")) == paths
    for wheel, minor in zip(made["wheels"], range(10, 15), strict=True):
        tag = f"cp3{minor}-cp3{minor}-win_amd64"
        name = f"opencv_contrib_python-4.13.0.90+cu12.patched-{tag}.whl"
        assert Path(wheel["path"]) == repack.folder / "dist" / name
        assert wheel["sha256"] == sha256(Path(wheel["path"]))


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
    shutil.copy(source, elsewhere)
    other = {"TZ": "Pacific/Kiritimati", "LC_ALL": "C", "REPACK_CACHE": str(elsewhere / "cache")}
    words = ["build", "--no-smoke", "-q", "--python", "3.12", "-w", "out", "--source"]
    there = start([*words, elsewhere / source.name], cwd=elsewhere, env=other, umask=0o077)
    assert ended(there).code == ended(start([*words, source], cwd=tmp_path)).code == 0
    first, second = (*elsewhere.glob("out/*.whl"), *tmp_path.glob("out/*.whl"))
    assert (first.name, first.read_bytes()) == (second.name, second.read_bytes())


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX's")
def test_killed_at_random_moments_it_leaves_no_half_wheel_and_the_next_run_finishes(
    tmp_path: Path,
) -> None:
    source, out = cuda_wheel(tmp_path, ballast=20_000_000), tmp_path / "out"
    words = ["build", "--source", source, "--no-smoke", "-q", "-w", out]
    started = time.monotonic()
    assert ended(start(words)).code == 0
    whole = time.monotonic() - started
    expected = {path: sha256(path) for path in out.glob("*.whl")}
    for moment in range(20):
        for wheel in out.glob("*.whl"):
            wheel.unlink()
        killed = start(words)
        time.sleep(random.Random(moment).uniform(0, whole))  # noqa: S311 - not a secret
        killed.send_signal(signal.SIGKILL)
        ended(killed)
        assert {path: sha256(path) for path in out.glob("*.whl")}.items() <= expected.items()
    # What an earlier day's kill left is swept away, and nothing of anybody else's.
    half, mine = out / f".repack-1-{'0' * 16}.tmp" / "half.whl", out / "failed" / "notes.txt"
    for path in (half, mine):
        path.parent.mkdir()
        path.write_bytes(b"PK")
    os.utime(half.parent, (0, 0))
    assert ended(start(words)).code == 0
    assert {path: sha256(path) for path in out.glob("*.whl")} == expected
    assert not list(out.glob(".*.tmp"))
    assert mine.read_bytes() == b"PK"


def test_a_python_on_which_nobody_could_install_the_wheel_is_refused(
    tmp_path: Path, repack: Repack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dry run asks the index too: what it prints is what is written."""
    has = {"numpy-2.2.6": "cp312", "numpy-2.3.5": "cp313"}
    wheels = [
        make_wheel(tmp_path / f"{name}-{python}-{python}-win_amd64.whl", {"x.py": b""})
        for name, python in has.items()
    ]
    simple_index(tmp_path, wheels)
    source = cuda_wheel(tmp_path, requires=["numpy>=2.4; python_version >= '3.13'"])
    with served(tmp_path) as url:
        monkeypatch.setenv("PIP_INDEX_URL", url)
        words = ("--dry-run", "--json", "--python", "3.12,3.13")
        told = repack("build", "--source", source, *words).json
    assert [wheel["pythons"] for wheel in told["plan"]] == [["3.12"]]
    (refused,) = told["refused"]
    assert refused["python"] == "3.13"
    assert "it requires numpy>=2.4, and the index" in refused["reason"]


#: Which wheels of the earlier build stand.
CHANGES = {
    "nothing": [True, True],
    "damage": [False, True],
    "record": [False, False],
    "time": [False, False],
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_an_earlier_build_left_from_the_same_is_not_written_again(
    change: str, build: Build, repack: Repack, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert build("--python", "3.12,3.13")["unchanged"] == []
    dist = repack.folder / "dist"
    before = everything(dist)
    wheels = sorted(dist.glob("*.whl"))
    if change == "damage":
        wheels[0].write_bytes(wheels[0].read_bytes()[:-1] + b"?")
    elif change == "record":
        (dist / "build.json").write_text("what?")
    elif change == "time":
        monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000001")
    stood = set(build("--python", "3.12,3.13")["unchanged"])
    assert [wheel.name in stood for wheel in wheels] == CHANGES[change]
    assert (everything(dist) == before) == (change != "time")
