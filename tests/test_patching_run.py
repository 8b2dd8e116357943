"""Every loader that OpenCV has had, patched and at work: its native module fails, then is cured."""

import sys
from pathlib import Path

import pytest
from loading import CONFIGS, INIT, LOADERS, patch_texts, run

MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"
LATE = "opencv-python-headless-4.10.0.84"


def texts(loader: bytes, release: str) -> dict[str, bytes]:
    """Return the loader with its configuration, if it reads one, as if made for this Python."""
    if b"config.py" not in loader:
        return {INIT: loader}
    configs = CONFIGS["opencv-python-3.4.16.57"] | CONFIGS[release]
    return {INIT: loader} | {
        name.replace("config-3.9", f"config-{MINOR}"): content for name, content in configs.items()
    }


@pytest.mark.parametrize(
    ("loader", "release"),
    [
        *(
            pytest.param(content, "opencv-python-3.4.16.57", id=name)
            for name, content in LOADERS.items()
        ),
        *(pytest.param(LOADERS[LATE], release, id=f"{LATE} with {release}") for release in CONFIGS),
    ],
)
def test_a_patched_loader_repeats_its_error_and_works_after_the_cure(
    loader: bytes, release: str, tmp_path: Path
) -> None:
    outcome = run(tmp_path / "site", patch_texts(texts(loader, release)))
    assert outcome["first"] == outcome["second"]
    assert outcome["first"].startswith("ImportError: DLL load failed while importing cv2: ")
    assert "nppc64_12.dll" in outcome["first"]
    assert outcome["path"] == "C:/before"
    assert outcome["sys.path kept"]
    assert not outcome["flag left"]
    assert outcome["cured"] == outcome["again"] == "resized"
    # OpenCV 3.4.16 to 3.4.18 puts the native module in the place of the package.
    assert outcome["from the package"] == (b"del sys.modules['cv2']" not in loader)
