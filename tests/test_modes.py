"""What the modes are for: genuine wheels and Pythons, on machines that lack something."""

import shutil
from pathlib import Path

import pytest
from indexing import served, simple_index
from running import repack, smokes
from test_pins_installed import windows

from repack.fetch import Cache, fetch_index
from repack.smoke import Machine

pytestmark = [pytest.mark.network, pytest.mark.wine, pytest.mark.timeout(1800)]
SHIPPED = [Path(__file__).parent.parent / name for name in ("repack.toml", "repack.lock")]
PYTHON = "3.12"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for file in SHIPPED:
        shutil.copy(file, tmp_path)
    return tmp_path


@pytest.mark.parametrize("families", ['"all"', '["cudart"]'])
def test_a_vendored_wheel_takes_from_the_machine_what_it_lacks(families: str, place: Path) -> None:
    vendor = ("--mode", "vendor", "--set", f"vendor.families={families}")
    answer = repack("build", *vendor, "--python", PYTHON, cwd=place)
    assert len(answer["left_out"]) == (2 if "cudart" in families else 0)
    seen = smokes(answer)[PYTHON]
    assert "DLL load failed" in seen["before"]
    assert seen["status"] == "passed", seen


def test_with_a_stand_in_cv2_imports_where_there_is_no_driver(place: Path) -> None:
    driver = ("--set", "source.sample.driver=true")
    answer = repack("build", "--driver-stub", *driver, "--python", PYTHON, cwd=place)
    seen = smokes(answer)[PYTHON]
    assert "DLL load failed" in seen["before"]
    assert seen["status"] == "passed", seen
    assert seen["driver"] == "stand-in in the wheel"
    assert seen["after"] == "works: OpenCV 4.14.0, with its own stand-in for the driver"


def test_windows_own_pip_installs_what_is_pinned_for_a_wheel_that_depends(place: Path) -> None:
    answer = repack("build", "--mode", "depend", "--no-smoke", "--python", PYTHON, cwd=place)
    cache = Cache.default()
    required = [
        fetch_index(line.partition(";")[0], python=PYTHON, lock=None, cache=cache).path
        for line in (*answer["requires"], "numpy>=2")
    ]
    repack("pin", cwd=place)
    simple_index(place / "index", [Path(answer["wheels"][0]["path"]), *required])
    with windows(place, cache, Machine()) as (probe, installer), served(place / "index") as url:
        pins = probe.path(place / "dist" / f"requirements-{PYTHON}.txt")
        words = ("--index-url", url, "--require-hashes", "-r", pins)
        told = probe.run_pip(installer, "install", *words).output
        assert "Successfully installed" in told, told
        used = probe.run_task("use").output
    packages = place / "windows" / "site-packages"
    assert (packages / "nvidia" / "npp" / "bin" / "nppc64_12.dll").is_file()
    assert '"done": true' in used, used
