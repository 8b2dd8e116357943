"""`repack doctor` and `repack fix` on genuine CUDA builds, installed by Windows' own pip."""

from pathlib import Path

import pytest
from driving import everything, repack
from genuine import (
    CUDA_10,
    CUDA_11,
    CUDA_12,
    CUDA_13,
    Genuine,
    genuine_dlls,
    genuine_wheel,
    unpacked_artifact,
)
from installing import installation
from proof.disks import Layout, layout_of

from repack.fetch.cache import Cache
from repack.pythons.wine import windows_path
from repack.smoke.trial import unpack_dlls

pytestmark = [pytest.mark.network, pytest.mark.wine, pytest.mark.timeout(1800)]

SPACES = Layout(
    python=r"C:\Users\Jörg Müller\Programme\Python 3.12 (64 Bit)",
    site=r"C:\Users\Jörg Müller\Programme\Python 3.12 (64 Bit)\Lib\site-packages",
)
#: A build, where it is installed, and a DLL that it needs; all but one are run by the proof.
BUILDS: dict[str, tuple[Genuine, Layout, str]] = {
    "10.2, in a user site": (CUDA_10, layout_of("user-site", "3.7"), "nppc64_10.dll"),
    "11.2, in a virtual environment": (CUDA_11, layout_of("venv", "3.9"), "cudnn64_8.dll"),
    "12.3, in conda": (CUDA_12, layout_of("conda", "3.12"), "cublas64_12.dll"),
    "12.3, below spaces and umlauts": (CUDA_12, SPACES, "cublas64_12.dll"),
    "13.1, in the Store's Python": (CUDA_13, layout_of("store", "3.14"), "cudnn64_9.dll"),
}


def path_of(build: Genuine) -> str:
    """Return a PATH with all DLLs of the build's CUDA."""
    cache = Cache.default()
    folders = [unpack_dlls(wheel, cache) for wheel in genuine_dlls(build)]
    if build.dll_artifact:
        folders.append(unpacked_artifact(build.dll_artifact))
    return ";".join(str(windows_path(folder)) for folder in folders)


QUICK = "12.3, below spaces and umlauts"
ROWS = [
    pytest.param(*row, id=name, marks=[] if name == QUICK else pytest.mark.proof)
    for name, row in BUILDS.items()
]


@pytest.mark.parametrize(("build", "layout", "dll"), ROWS)
def test_a_genuine_build_is_cured_in_place_and_taken_away_again(
    build: Genuine, layout: Layout, dll: str, tmp_path: Path
) -> None:
    env = {"PATH": path_of(build)}
    with installation(tmp_path, build.python, layout) as windows:
        windows.install(genuine_wheel(build), numpy=build.numpy)
        before = everything(windows.site)
        seen = repack("doctor", *windows.words(), cwd=tmp_path, codes=(1,))
        assert dll in seen["verdict"]
        if layout is SPACES:
            quoted = r'\"Jörg Müller"\Programme\"Python 3.12 (64 Bit)"\python.exe -m pip '
            assert quoted in seen["cure"]
        # Python 3.7 searches PATH itself.
        codes = (0,) if build is CUDA_10 else (1,)
        seen = repack("doctor", *windows.words(**env), cwd=tmp_path, codes=codes)
        assert f"repack fix: {'not needed' if build is CUDA_10 else 'cures it'}" in seen["lines"], (
            seen
        )
        repack("fix", *windows.words(**env), cwd=tmp_path)
        words = [*windows.words(**env), "--dry-run"]
        assert repack("fix", *words, cwd=tmp_path)["changed"] == []
        assert repack("doctor", *windows.words(**env), cwd=tmp_path)["works"]
        repack("fix", *windows.words(), "--undo", cwd=tmp_path)
        assert everything(windows.site) == before
        repack("fix", *windows.words(**env), cwd=tmp_path)
        windows.pip("uninstall", "-y", "opencv-contrib-python")
        assert [path for path in windows.site.iterdir() if "cv" in path.name] == []
