"""The main job as a newcomer runs it: genuine parts, genuine Windows Pythons, nothing stubbed."""

import shutil
from pathlib import Path

import pytest
from driving import repack, trials
from genuine import fetch_index
from publishing import served, simple_index

from repack.fetch import Supply
from repack.fetch.cache import Cache
from repack.files import sha256_of
from repack.lock import read_lock
from repack.pythons import Pythons
from repack.smoke.trial import Machine, Outfit, Probe, unpack_pip

pytestmark = [pytest.mark.network, pytest.mark.wine, pytest.mark.timeout(1800)]
SHIPPED = [Path(__file__).parent.parent / name for name in ("repack.toml", "repack.lock")]
PYTHON = "3.12"
PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]


def shipped(folder: Path) -> Path:
    for file in SHIPPED:
        shutil.copy(file, folder)
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the shipped configuration, in which the main job has been done."""
    folder = shipped(tmp_path_factory.mktemp("main job"))
    assert list(trials(repack("build", cwd=folder))) == PYTHONS
    return folder


def test_the_untouched_wheel_fails_the_fixed_one_works_and_run_again_nothing_is_rebuilt(
    place: Path,
) -> None:
    stamps = {path: path.stat().st_mtime_ns for path in (place / "dist").iterdir()}
    answer = repack("build", "--offline", cwd=place)
    for seen in trials(answer).values():
        assert "DLL load failed while importing cv2" in seen["before"]["reason"]
        assert (seen["after"]["status"], seen["after"]["version"]) == ("passed", "4.14.0"), seen
    assert len(answer["unchanged"]) == len(PYTHONS)
    assert answer["lock_changes"] == []
    assert {path: path.stat().st_mtime_ns for path in (place / "dist").iterdir()} == stamps


def test_what_each_wheel_was_tried_with_is_pinned(place: Path) -> None:
    pins = repack("pin", "--offline", cwd=place)["pins"]
    lock = read_lock(place / "repack.lock")
    numpys = {pin["python"]: pin["filename"] for pin in pins if pin["name"] == "numpy"}
    asked = {python: f"numpy>=2 for Python {python} on win_amd64" for python in PYTHONS}
    assert numpys == {python: lock[key].filename for python, key in asked.items() if key in lock}
    for pin in pins:
        if pin["name"] != "numpy":
            assert pin["sha256"] == sha256_of(place / "dist" / pin["filename"])


#: Options, and how many DLLs the machine has to have.
MODES = {
    "vendor": (["--mode", "vendor", "--set", 'vendor.families=["cudart"]'], 2),
    "stub": (["--driver-stub", "--set", "source.sample.driver=true"], 0),
}


@pytest.mark.parametrize("mode", MODES)
def test_what_a_wheel_lacks_is_taken_from_the_machine_and_a_stand_in_from_the_wheel(
    mode: str, place: Path
) -> None:
    options, left = MODES[mode]
    answer = repack("build", *options, "--python", PYTHON, "-w", mode, cwd=place)
    assert len(answer["left_out"]) == left
    seen = trials(answer)[PYTHON]
    assert "DLL load failed" in seen["before"]["reason"]
    assert (seen["after"]["status"], seen["after"]["driver"]) == ("passed", ""), seen


def test_windows_own_pip_installs_what_is_pinned(tmp_path: Path) -> None:
    place = shipped(tmp_path)
    answer = repack("build", "--mode", "depend", "--no-smoke", "--python", PYTHON, cwd=place)
    required = [
        fetch_index(line.partition(";")[0], python=PYTHON).path
        for line in (*answer["requires"], "numpy>=2")
    ]
    wheel = Path(answer["wheels"][0]["path"])
    simple_index(place / "index", [wheel, *required])
    supply = Supply(Cache.default())
    with Pythons(supply) as pythons, served(place / "index") as url:
        outfit = Outfit(pythons.provide(PYTHON), unpack_pip(PYTHON, supply), (), Machine())
        probe = Probe(outfit, place / "windows", 600)
        repack("pin", "--index-url", url, cwd=place)
        pins, lock = (
            probe.outfit.interpreter.name(place / "dist" / name)
            for name in (f"requirements-{PYTHON}.txt", "pylock.toml")
        )
        told = probe.run_pip("install", "--require-hashes", "-r", pins).output
        assert "Successfully installed" in told, told
        told = probe.run_pip("install", "--dry-run", "-r", lock).output
        assert "Would install" in told, told
        used = probe.run("use").output
        assert '"done": true' in used, used
    packages = place / "windows" / "site-packages"
    assert (packages / "nvidia" / "npp" / "bin" / "nppc64_12.dll").is_file()
