"""The configurations in `examples/`: parsed, fetched from a loopback copy of GitHub, and planned.

The wheels there have the layout and the imports of the published ones, and nothing else of them.
"""

from pathlib import Path
from typing import Any

import pytest
from dllmaking import make_dll
from driving import Ran, Repack, everything
from fetching import sha256
from releases import GitHub
from wheelmaking import make_pyd, make_wheel

from repack.config import ReleaseSource, load

EXAMPLES = Path(__file__).parent.parent / "examples"
PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]
LOADER = b"""\
import importlib, os, sys
__all__ = []
def bootstrap():
    if hasattr(sys, "OpenCV_LOADER"):
        raise ImportError("recursion is detected")
    sys.OpenCV_LOADER = True
    native_module = importlib.import_module("cv2")
    del sys.OpenCV_LOADER
bootstrap()
"""
CONFIG = b"""\
import os
BINARIES_PATHS = [
    os.path.join(os.getenv('CUDA_PATH', 'C:/Program Files/CUDA/v13.1'), 'bin')
] + BINARIES_PATHS
"""


def cudawarped(folder: Path) -> Path:
    """Return a wheel as cudawarped's 4.13.0.90 is: CUDA 13 and cuDNN outside."""
    needs = ["cudart64_13.dll", "nppc64_13.dll", "cufft64_12.dll", "cudnn64_9.dll", "nvcuda.dll"]
    files = {
        "cv2/__init__.py": LOADER,
        "cv2/config.py": CONFIG,
        "cv2/cv2.pyd": make_pyd(
            {**{name: ["f"] for name in needs}, "nvcuvid.dll": ["g"], "MF.dll": ["h"]}
        ),
    }
    path = folder / "opencv_contrib_python-4.13.0.90-cp37-abi3-win_amd64.whl"
    return make_wheel(path, files, requires=["numpy>=2"])


def breakthrough(folder: Path) -> Path:
    """Return a wheel as Breakthrough's 4.12.0-dev2 is: the toolkit's DLLs beside the module."""
    inside = ["cudart64_12.dll", "nppc64_12.dll", "cudnn64_9.dll"]
    files = {
        "cv2/__init__.py": LOADER,
        "cv2/config.py": CONFIG.replace(b"v13.1", b"v12.9"),
        "cv2/cv2.pyd": make_pyd({name: ["f"] for name in (*inside, "nvcuvid.dll")}),
        **{f"cv2/{name}": make_dll(name) for name in inside},
    }
    path = folder / "opencv_python_cuda-4.12.0+f2c1edd-cp37-abi3-win_amd64.whl"
    return make_wheel(path, files, requires=["numpy>=2"])


VERSIONS = {
    "cudawarped.toml": ("13.1", "4.13.0.90+cu131.patched"),
    "breakthrough.toml": ("12.9", "4.12.0+f2c1edd.cu129.patched"),
}
MAKERS = {"cudawarped.toml": cudawarped, "breakthrough.toml": breakthrough}


class Example:
    """One example beside which its release stands on loopback."""

    def __init__(self, name: str, repack: Repack, github: GitHub) -> None:
        self.repack = repack
        self.github = github
        self.path = repack.folder / "examples" / name
        self.path.parent.mkdir()
        text = (EXAMPLES / name).read_text(encoding="utf-8")
        api = f"[source]\napi = {github.api.url('')!r}\n"
        self.path.write_text(text.replace("[source]\n", api), encoding="utf-8")
        folder = repack.folder.parent / "release"
        folder.mkdir()
        self.wheel = MAKERS[name](folder)
        source = load(self.path).source
        assert isinstance(source, ReleaseSource)
        self.source = source
        linux = self.wheel.name.replace("win_amd64", "linux_x86_64")
        assets = {self.wheel.name: self.wheel.read_bytes(), linux: b"PK", "NOTICE.txt": b"notes"}
        github.release(source.tag or "", assets, repository=source.repository)

    def run(self, command: str, *options: object) -> Ran:
        return self.repack(command, "-q", "--config", self.path, *options)


@pytest.fixture(params=MAKERS)
def example(request: pytest.FixtureRequest, repack: Repack, github: GitHub) -> Example:
    return Example(request.param, repack, github)


def test_all_of_them_are_tested_here() -> None:
    assert {path.name for path in EXAMPLES.glob("*.toml")} == {*MAKERS, "team.toml"}


def test_the_builds_of_a_team_are_made_by_one_command_and_lie_in_one_folder(
    repack: Repack, github: GitHub
) -> None:
    path = repack.folder / "team.toml"
    text = (EXAMPLES / "team.toml").read_text(encoding="utf-8")
    text = text.replace("[source]\n", f"[source]\napi = {github.api.url('')!r}\n", 1)
    path.write_text(text.replace("../dist", "dist"), encoding="utf-8")
    for tag, cuda in (("4.13.0.90", 13), ("4.12.0.88", 12), ("4.10.0.84", 12)):
        name = f"opencv_contrib_python-{tag}-cp37-abi3-win_amd64.whl"
        needs = {f"cudnn64_{9 if cuda == 13 else 8}.dll": ["f"], f"nppc64_{cuda}.dll": ["g"]}
        files = {
            "cv2/__init__.py": LOADER,
            "cv2/config.py": CONFIG.replace(b"v13.1", b"v13.1" if cuda == 13 else b"v12.9"),
            "cv2/cv2.pyd": make_pyd(needs),
        }
        wheel = make_wheel(repack.folder / name, files, requires=["numpy>=2"])
        github.release(tag, {name: wheel.read_bytes()})
    # Nothing is fetched of NVIDIA's here: the toolkit is a folder with one small DLL.
    toolkit = repack.folder / "toolkit"
    toolkit.mkdir()
    (toolkit / "nppc64_13.dll").write_bytes(make_dll("nppc64_13.dll", code={"g": b"\xc3"}))
    (toolkit / "EULA.txt").write_text("licence", encoding="utf-8")
    words = ("--config", path, "--set", f'vendor.dll-dirs=["{toolkit.as_posix()}"]')
    ran = repack("build", "-q", "--no-smoke", "--json", *words)
    assert ran.code == 0, ran.err
    paths = [Path(wheel["path"]).relative_to(repack.folder) for wheel in ran.json["wheels"]]
    versions = {path.parent.as_posix(): path.name.split("-")[1] for path in paths}
    assert versions == {
        "dist/team/cu13": "4.13.0.90+cu131.vendored.cu13",
        "dist/team/cu12": "4.12.0.88+cu129.patched.cu12",
        "dist/team/field-4-10": "4.10.0.84+cu129.patched.field410",
    }


def test_an_example_is_fetched_verified_and_planned_and_only_its_lock_is_written(
    example: Example,
) -> None:
    before = everything(example.repack.folder)
    ran = example.run("build", "--dry-run", "--json")
    assert ran.code == 0, ran.err
    told: dict[str, Any] = ran.json
    name, digest = example.wheel.name, sha256(example.wheel.read_bytes())
    release = f"https://github.com/{example.source.repository}/releases/download"
    assert told["source"]["sha256"] == digest
    assert told["source"]["url"] == f"{release}/{example.source.tag}/{name}"
    cuda, version = VERSIONS[example.path.name]
    assert told["source"]["cuda"] == cuda
    assert told["plan"][0]["filename"].split("-")[1] == version
    assert [plan["pythons"] for plan in told["plan"]] == [[python] for python in PYTHONS]
    assert told["refused"] == []
    written = {entry["member"] for entry in told["plan"][0]["written"]}
    assert {"cv2/__init__.py", "cv2/cuda_dlls.py"} <= written
    after = everything(example.repack.folder)
    lock = example.path.with_suffix(".lock").relative_to(example.repack.folder).as_posix()
    assert set(after) - set(before) == {lock}
    assert digest.encode() in (after[lock] or b"")


def test_what_was_pinned_is_had_again_offline(example: Example) -> None:
    assert example.run("fetch").code == 0
    example.github.api.seen.clear()
    assert example.run("build", "--dry-run", "--offline").code == 0
    assert example.github.api.seen == []


def test_built_the_wheels_go_where_the_example_says(example: Example) -> None:
    ran = example.run("build", "--no-smoke", "--json")
    assert ran.code == 0, ran.err
    out = example.repack.folder / "dist" / example.path.stem
    assert {str(Path(wheel["path"]).parent) for wheel in ran.json["wheels"]} == {str(out)}
    assert len(list(out.glob("*.whl"))) == len(PYTHONS)
