"""Every loader that OpenCV has had, patched and at work: its native module fails, then is cured."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from loading import CONFIGS, INIT, LOADERS, patched, run

MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"
GENUINE = [pytest.param(content, id=name) for name, content in LOADERS.items()]


def texts(loader: bytes, release: str = "opencv-python-3.4.16.57") -> dict[str, bytes]:
    """Return the loader with its configuration, if it reads one, as if made for this Python."""
    if b"config.py" not in loader:
        return {INIT: loader}
    configs = CONFIGS["opencv-python-3.4.16.57"] | CONFIGS[release]
    return {INIT: loader} | {
        name.replace("config-3.9", f"config-{MINOR}"): content for name, content in configs.items()
    }


def check(said: dict[str, object]) -> None:
    assert said["first"] == said["second"]
    assert str(said["first"]).startswith("ImportError: DLL load failed while importing cv2: ")
    assert "nppc64_12.dll" in str(said["first"])
    assert said["path"] == "C:/before"
    assert said["sys.path kept"]
    assert not said["flag left"]
    assert said["cured"] == said["again"] == "resized"


@pytest.mark.parametrize("loader", GENUINE)
def test_a_patched_loader_repeats_its_error_and_works_after_the_cure(
    loader: bytes, tmp_path: Path
) -> None:
    said = run(tmp_path / "site", patched(texts(loader)))
    check(said)
    # OpenCV 3.4.16 to 3.4.18 puts the native module in the place of the package.
    assert said["from the package"] == (b"del sys.modules['cv2']" not in loader)


@pytest.mark.parametrize("release", CONFIGS)
def test_it_does_so_with_every_configuration(release: str, tmp_path: Path) -> None:
    loader = LOADERS["opencv-python-headless-4.10.0.84"]
    check(run(tmp_path / "site", patched(texts(loader, release))))


def test_an_unpatched_loader_hides_its_error_which_is_what_the_patch_mends(tmp_path: Path) -> None:
    said = run(tmp_path / "site", texts(LOADERS["opencv-python-headless-4.10.0.84"]))
    assert said["flag left"]
    assert not said["sys.path kept"]
    assert not said["from the package"]
