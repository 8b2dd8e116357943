"""`repack build` without its smoke test: what stands in the output folder, and what does not."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from indexing import served, simple_index
from packaging.tags import Tag
from packaging.utils import parse_wheel_filename
from wheelmaking import cuda_wheel, make_wheel

from repack.cli import main
from repack.patching import builtin_folder

REPACK = Path(sysconfig.get_path("scripts")) / "repack"


@pytest.fixture(autouse=True)
def quiet_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPACK_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return cuda_wheel(tmp_path / "in")


def build(source: Path, *options: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    code = main(["build", "--source", str(source), "--no-smoke", "--json", "-q", *options])
    out, err = capsys.readouterr()
    assert code == 0, err
    result: dict[str, Any] = json.loads(out)
    return result


def digests(folder: Path, pattern: str = "*.whl") -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob(pattern)
    }


def test_one_wheel_is_emitted_for_each_python(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = build(source, capsys=capsys)
    assert [wheel["python"] for wheel in result["wheels"]] == [
        "3.10",
        "3.11",
        "3.12",
        "3.13",
        "3.14",
    ]
    for wheel in result["wheels"]:
        name, version, _, tags = parse_wheel_filename(Path(wheel["path"]).name)
        tag = f"cp{wheel['python'].replace('.', '')}"
        assert name == "opencv-contrib-python"
        assert str(version) == "4.13.0.90+cu12.patched"
        assert tags == {Tag(tag, tag, "win_amd64")}
        assert wheel["sha256"] == digests(tmp_path / "dist")[Path(wheel["path"]).name]
    assert sorted(digests(tmp_path / "dist")) == sorted(
        Path(wheel["path"]).name for wheel in result["wheels"]
    )


def test_file_name_metadata_wheel_and_record_agree(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = build(source, "--python", "3.12", capsys=capsys)
    with zipfile.ZipFile(result["wheels"][0]["path"]) as archive:
        assert archive.testzip() is None
        dist_info = "opencv_contrib_python-4.13.0.90+cu12.patched.dist-info"
        metadata = archive.read(f"{dist_info}/METADATA").decode()
        assert "\nVersion: 4.13.0.90+cu12.patched\n" in metadata
        assert "\nTag: cp312-cp312-win_amd64\n" in archive.read(f"{dist_info}/WHEEL").decode()
        assert archive.namelist()[-1] == f"{dist_info}/RECORD"
        assert "cv2/cuda_dlls.py" in archive.namelist()


def test_an_installers_record_check_finds_nothing(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from installer.sources import WheelFile  # noqa: PLC0415 - a judge for this test alone

    for wheel in build(source, capsys=capsys)["wheels"]:
        with WheelFile.open(wheel["path"]) as opened:
            opened.validate_record(validate_contents=True)


def test_dry_run_prints_the_plan_and_writes_nothing(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planned = build(source, "--dry-run", capsys=capsys)
    assert not (tmp_path / "dist").exists()
    made = build(source, capsys=capsys)
    assert [wheel["filename"] for wheel in planned["plan"]] == [
        Path(wheel["path"]).name for wheel in made["wheels"]
    ]
    assert planned["plan"] == made["plan"]


def test_a_wheel_that_repack_made_is_refused_and_the_original_named(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = build(source, "--python", "3.12", capsys=capsys)["wheels"][0]["path"]
    again = tmp_path / "again"
    assert main(["build", "--source", made, "--no-smoke", "-w", str(again)]) == 1
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    assert capsys.readouterr().err.endswith(
        f"{Path(made).name}: repack has made it [repacked]; build from the original "
        f"{source.name} (sha256 {digest})\n"
    )
    assert not again.exists()


def test_inspecting_it_tells_the_hash_of_our_modules(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = build(source, "--python", "3.12", capsys=capsys)["wheels"][0]["path"]
    assert main(["inspect", made, "--json"]) == 0
    (wheel,) = json.loads(capsys.readouterr().out)["wheels"]
    for name in ("_cuda_report.py", "cuda_dlls.py"):
        digest = hashlib.sha256((builtin_folder() / "cv2" / name).read_bytes()).hexdigest()
        row = {"member": f"cv2/{name}", "sha256": digest, "same": True}
        assert row in wheel["modules"]
        assert main(["inspect", made]) == 0
        line = f"  cv2/{name} has SHA-256 {digest}, as this repack has it"
        assert line in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("zone", "locale", "mask"),
    [
        pytest.param("UTC", "C.UTF-8", 0o022, id="a server"),
        pytest.param("Pacific/Kiritimati", "C", 0o077, id="a far zone and a private umask"),
        pytest.param("America/New_York", "POSIX", 0o000, id="a wide umask"),
    ],
)
def test_the_bytes_depend_on_nothing_but_the_input(
    zone: str, locale: str, mask: int, source: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / f"in another {zone.replace('/', ' ')} folder"
    elsewhere.mkdir()
    moved = shutil.copy(source, elsewhere)
    env = {**os.environ, "TZ": zone, "LC_ALL": locale, "REPACK_CACHE": str(elsewhere / "cache")}
    command = ["build", "--source", moved, "--no-smoke", "-q", "--python", "3.12", "-w", "out"]
    subprocess.run([REPACK, *command], check=True, cwd=elsewhere, env=env, umask=mask)
    command[command.index(moved)] = str(source)
    subprocess.run([REPACK, *command], check=True, cwd=tmp_path)
    assert digests(elsewhere / "out") == digests(tmp_path / "out")


def test_source_date_epoch_is_the_time_of_every_member(
    source: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000001")
    result = build(source, "--python", "3.12", capsys=capsys)
    with zipfile.ZipFile(result["wheels"][0]["path"]) as archive:
        assert {info.date_time for info in archive.infolist()} == {(2023, 11, 14, 22, 13, 20)}


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX's")
def test_killed_at_random_moments_it_leaves_no_half_wheel_and_the_next_run_finishes(
    tmp_path: Path,
) -> None:
    source = cuda_wheel(tmp_path, ballast=20_000_000)
    options = ["--source", str(source), "--no-smoke", "-q", "-w", str(tmp_path / "out")]
    command = [str(REPACK), "build", *options]
    started = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    whole = time.monotonic() - started
    out = tmp_path / "out"
    expected = digests(out)
    for moment in range(50):
        for wheel in out.glob("*.whl"):
            wheel.unlink()
        killed = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        time.sleep(random.Random(moment).uniform(0, whole))  # noqa: S311 - not a secret
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert digests(out, "*.whl").items() <= expected.items()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert digests(out) == expected


def test_a_numpy_that_the_binary_cannot_use_is_ruled_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = cuda_wheel(tmp_path, numpy=b"numpy.core.multiarray", requires=["numpy>=1.19"])
    result = build(source, "--python", "3.12", capsys=capsys)
    assert "numpy-contradicted" in {finding["code"] for finding in result["findings"]}
    with zipfile.ZipFile(result["wheels"][0]["path"]) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        lines = archive.read(metadata).decode().splitlines()
    assert [line for line in lines if line.startswith("Requires-Dist")] == [
        "Requires-Dist: numpy>=1.19",
        "Requires-Dist: numpy<2",
    ]


@pytest.mark.parametrize(
    ("requires", "reason"),
    [
        pytest.param("numpy>=2.4", "it requires numpy>=2.4, and the index", id="too new a NumPy"),
        pytest.param("numpy==2.2.6", "it requires numpy==2.2.6, and the index", id="no wheel"),
        pytest.param("moon>=1", "it requires moon>=1, and the index", id="another distribution"),
    ],
)
def test_a_python_on_which_nobody_could_install_the_wheel_is_refused(
    requires: str,
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
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
    options = ["--source", str(source), "--dry-run", "--json", "-q", "--python", "3.12", "3.13"]
    with served(tmp_path) as url:
        monkeypatch.setenv("PIP_INDEX_URL", url)
        assert main(["build", *options]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [wheel["pythons"] for wheel in result["plan"]] == [["3.12"]]
    ((python, text),) = [(it["python"], it["reason"]) for it in result["refused"]]
    assert (python, reason in text) == ("3.13", True)
