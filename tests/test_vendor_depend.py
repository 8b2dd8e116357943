"""`repack build --mode depend`: which of NVIDIA's wheels the wheel requires, in which versions."""

import os
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import pytest
from driving import Ran, Repack
from faultserver import FaultServer
from machines import table
from nvidia import nvidia_wheels
from packaging.requirements import Requirement
from wheelmaking import cuda_wheel, make_analysis, make_pyd, make_wheel

from repack.errors import FetchError, InputError
from repack.fetch import Listing, Supply
from repack.fetch.cache import Cache
from repack.vendor import require_distributions

#: DLL -> symbols that are imported.
Needs = Mapping[str, Sequence[str]]
#: What an index holds: by project, the DLLs of each version.
Index = Mapping[str, Mapping[str, Sequence[str]]]

NPP_WHEEL = "nvidia_npp_cu12-12.4.1.87-py3-none-win_amd64.whl"
NEEDS: Needs = {dll: ["f"] for dll in ("nppif64_12.dll", "cublas64_12.dll", "cudart64_12.dll")}
NVIDIAS = ["nvidia-cublas-cu12>=12.3", "nvidia-cuda-runtime-cu12>=12.3", "nvidia-npp-cu12"]
CUDNN_NEEDS, CUDNN = {"cudnn64_9.dll": ["f"]}, "nvidia-cudnn-cu12==9.*"
OF_PYTHON = {"VCRUNTIME140.dll": ["g"], "VCRUNTIME140_1.dll": ["h"], "nvcuda.dll": ["cuInit"]}
PUBLISHED: Index = {
    "nvidia-cublas-cu12": {"12.9.2.10": ["cublas64_12.dll"]},
    "nvidia-cuda-runtime-cu12": {"12.9.79": ["cudart64_12.dll"]},
    "nvidia-npp-cu12": {"12.4.1.87": ["nppc64_12.dll", "nppif64_12.dll"]},
    "nvidia-cudnn-cu12": {"9.28.0.42": ["cudnn64_9.dll"]},
    "msvc-runtime": {"14.51": ["MSVCP140.dll"]},
}


def list_published(index: Index, requirement: str, platform: str) -> Listing:
    wanted = Requirement(requirement)
    versions = list(wanted.specifier.filter(index.get(wanted.name, {})))
    if not versions:
        raise FetchError("no such wheel", code="no-such-version", file=requirement)
    filename = f"{wanted.name.replace('-', '_')}-{versions[-1]}-py3-none-{platform}.whl"
    members = [f"nvidia/bin/{name}" for name in index[wanted.name][versions[-1]]]
    return Listing(filename, frozenset(members))


@table(
    "needs, delayed, requires",
    {
        "cuDNN late": (NEEDS, CUDNN_NEEDS, [*NVIDIAS, f'{CUDNN}; extra == "dnn"']),
        "cuDNN at load time": ({**NEEDS, **CUDNN_NEEDS}, {}, [*NVIDIAS, CUDNN]),
        "the VC run-time": (
            {**NEEDS, "MSVCP140.dll": ["f"]},
            {},
            ["msvc-runtime<15,>=14", *NVIDIAS],
        ),
        "not what Python or the driver brings": ({**NEEDS, **OF_PYTHON}, {}, NVIDIAS),
    },
)
def test_exactly_the_distributions_of_what_is_asked_for_are_required(
    needs: Needs, delayed: Needs, requires: list[str], tmp_path: Path
) -> None:
    pyd = make_pyd(needs, delay_imports=delayed)
    analysis = make_analysis(tmp_path, pyd, version="4.13+cu123")
    added = require_distributions(analysis, partial(list_published, PUBLISHED))
    assert sorted(added.requires) == sorted(requires)
    assert added.extras == (("dnn",) if delayed else ())


NPPC, NPPIF = "nppc64_13.dll", "nppif64_13.dll"
OLD, NEW = [NPPC.upper(), NPPIF], ["nppc64_132_0.dll", "nppif64_132_0.dll"]


@table(
    "versions, requirement",
    {
        "the newest has them": ({"13.1": OLD, "13.2": OLD}, "==13.*"),
        "two lack them": ({"13.0": OLD, "13.1": NEW, "13.2": NEW}, "<13.1,==13.*"),
        "it lacks one of them": ({"13.1": OLD, "13.2": [NPPC]}, "<13.2,==13.*"),
        "none has them": ({"13.1": NEW, "14.0": OLD}, None),
    },
)
def test_the_newest_wheel_of_a_range_holds_what_is_needed(
    versions: Mapping[str, Sequence[str]], requirement: str | None, tmp_path: Path
) -> None:
    analysis = make_analysis(tmp_path, make_pyd({NPPC: ["f"], NPPIF: ["g"]}))
    find = partial(list_published, {"nvidia-npp": versions})
    if requirement is None:
        with pytest.raises(InputError, match="NVIDIA has no wheels with nppc64_13"):
            require_distributions(analysis, find)
    else:
        assert require_distributions(analysis, find).requires == (f"nvidia-npp{requirement}",)


def build(repack: Repack, *options: str) -> Ran:
    wheel = cuda_wheel(repack.folder.parent)
    words = ("--mode", "depend", "--no-smoke", "--json", "-q", "--python", "3.12")
    return repack("build", "--source", wheel, *words, *options)


def test_the_lock_keeps_it(repack: Repack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = ["nvidia-cuda-runtime-cu12", "nvidia-npp-cu12"]
    # Offline a range that nobody has looked into is the plain one.
    assert build(repack, "--offline", "-w", "unknown").json["requires"] == plain
    index = nvidia_wheels(tmp_path / "index")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    make_wheel(index / NPP_WHEEL.replace("12.4", "12.5"), {"nvidia/npp/bin/other.dll": b""})
    first = build(repack)
    assert first.code == 0, first.err
    assert first.json["requires"] == [plain[0], "nvidia-npp-cu12<12.5.1.87"]
    for wheel in index.glob("nvidia_npp*"):
        wheel.unlink()
    second = build(repack, "--offline")
    assert second.json["requires"] == first.json["requires"]
    assert second.json["wheels"][0]["sha256"] == first.json["wheels"][0]["sha256"]
    shutil.rmtree(repack.cache / "listings")
    assert "--offline allows no download" in build(repack, "--offline", "-w", "again").error
    refused = build(repack, "--update-lock", "-w", "again")
    assert "nvidia-npp-cu12 for Python 3.12 on win_amd64: " in refused.error
    assert not (repack.folder / "again").exists()


def look_into(requirement: str, platform: str, folder: Path) -> Listing | None:
    return Supply(Cache(folder / "cache")).list_wheel(requirement, platform)


def test_only_the_directory_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    member = "nvidia/npp/bin/nppc64_12.dll"
    wheel = make_wheel(tmp_path / NPP_WHEEL, {member: os.urandom(1 << 20)})
    metadata = "Metadata-Version: 2.1\nName: nvidia-npp-cu12\nVersion: 12.4.1.87\n"
    page = f'<a href="/{NPP_WHEEL}#sha256={"0" * 64}" data-core-metadata="true">{NPP_WHEEL}</a>'
    with FaultServer() as server:
        server.add("/simple/nvidia-npp-cu12/", page.encode(), kind="text/html")
        server.add(f"/{NPP_WHEEL}", wheel.read_bytes())
        server.add(f"/{NPP_WHEEL}.metadata", metadata.encode())
        monkeypatch.setenv("PIP_INDEX_URL", server.url("/simple/"))
        listing = look_into("nvidia-npp-cu12", "win_amd64", tmp_path)
        asked = [seen.headers.get("range") for seen in server.seen if seen.path.endswith(".whl")]
    assert listing is not None
    assert member in listing.members
    assert all(asked)


@pytest.mark.network
def test_for_arm64_npp_13_is_taken_from_before_its_dlls_were_renamed(tmp_path: Path) -> None:
    pyd = make_pyd({"nppc64_13.dll": ["f"]}, machine="arm64")
    analysis = make_analysis(tmp_path, pyd, platform="win_arm64")
    find = partial(look_into, folder=tmp_path)
    (requirement,) = require_distributions(analysis, find).requires
    bound = Requirement(requirement).specifier
    assert not bound.contains("13.2.0.93")
    assert bound.contains("13.2.0.58")
