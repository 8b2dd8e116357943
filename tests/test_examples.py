"""The configurations in `examples/`, built from a loopback copy of GitHub's releases."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from dllmaking import make_dll
from driving import Repack, everything
from fetching import GitHub, sha256
from wheelmaking import make_pyd, make_wheel

from repack.config import ReleaseSource, load

EXAMPLES = Path(__file__).parent.parent / "examples"
CONFIG = "BINARIES_PATHS = ['C:/CUDA/v{}/bin'] + BINARIES_PATHS\n".format
#: Each example of one build: the published wheel, the DLLs in it and those outside, and what it is.
WHEELS: dict[str, tuple[str, list[str], list[str], str, str]] = {
    "cudawarped.toml": (
        "opencv_contrib_python-4.13.0.90-cp37-abi3-win_amd64.whl",
        [],
        ["nppc64_13.dll", "cudnn64_9.dll", "nvcuda.dll", "MF.dll"],
        "13.1",
        "4.13.0.90+cu131.patched",
    ),
    "breakthrough.toml": (
        "opencv_python_cuda-4.12.0+f2c1edd-cp37-abi3-win_amd64.whl",
        ["cudart64_12.dll", "nppc64_12.dll", "cudnn64_9.dll"],
        ["nvcuvid.dll"],
        "12.9",
        "4.12.0+f2c1edd.cu129.patched",
    ),
}


def make_source(path: Path, cuda: str, inside: Sequence[str], outside: Sequence[str]) -> bytes:
    """Return a wheel whose module needs these DLLs, and has some of them beside it."""
    files = {
        "cv2/__init__.py": b"from .cv2 import *\n",
        "cv2/config.py": CONFIG(cuda).encode(),
        "cv2/cv2.pyd": make_pyd({name: ["f"] for name in (*inside, *outside)}),
        **{f"cv2/{name}": make_dll(name) for name in inside},
    }
    return make_wheel(path, files, requires=["numpy>=2"]).read_bytes()


def copy_example(name: str, repack: Repack, github: GitHub) -> Path:
    """Return a copy of an example whose releases are those on loopback."""
    path = repack.folder / name
    text = (EXAMPLES / name).read_text(encoding="utf-8").replace("../dist", "dist")
    api = f"[source]\napi = {github.api.url('')!r}\n"
    path.write_text(text.replace("[source]\n", api, 1), encoding="utf-8")
    return path


def test_the_builds_of_a_team_are_made_by_one_command_and_lie_in_one_folder(
    repack: Repack, github: GitHub, tmp_path: Path
) -> None:
    path = copy_example("team.toml", repack, github)
    for tag, cuda in (("4.13.0.90", 13), ("4.12.0.88", 12), ("4.10.0.84", 12)):
        name = f"opencv_contrib_python-{tag}-cp37-abi3-win_amd64.whl"
        needs = [f"cudnn64_{9 if cuda == 13 else 8}.dll", f"nppc64_{cuda}.dll"]
        version = "13.1" if cuda == 13 else "12.9"
        github.release(tag, {name: make_source(tmp_path / name, version, [], needs)})
    # Nothing is fetched of NVIDIA's here: the toolkit is a folder with one small DLL.
    toolkit = repack.folder / "toolkit"
    toolkit.mkdir()
    (toolkit / "nppc64_13.dll").write_bytes(make_dll("nppc64_13.dll", code={"f": b"\xc3"}))
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


@pytest.mark.parametrize("name", WHEELS)
def test_an_example_is_fetched_verified_and_planned_and_only_its_lock_is_written(
    name: str, repack: Repack, github: GitHub, tmp_path: Path
) -> None:
    path = copy_example(name, repack, github)
    source = load(path).source
    assert isinstance(source, ReleaseSource)
    filename, inside, outside, cuda, version = WHEELS[name]
    wheel = make_source(tmp_path / filename, cuda, inside, outside)
    assets = {filename: wheel, filename.replace("win_amd64", "linux_x86_64"): b"PK"}
    github.release(source.tag or "", assets, repository=source.repository)
    ran = repack("build", "-q", "--no-smoke", "--config", path, "--dry-run", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["source"]["sha256"] == sha256(wheel)
    release = f"https://github.com/{source.repository}/releases/download/{source.tag}"
    assert ran.json["source"]["url"] == f"{release}/{filename}"
    assert ran.json["source"]["cuda"] == cuda
    assert ran.json["plan"][0]["filename"].split("-")[1] == version
    assert len(ran.json["plan"]) == 5
    assert set(everything(repack.folder)) == {name, path.with_suffix(".lock").name}
