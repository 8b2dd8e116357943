"""`repack build --mode depend`: which of NVIDIA's wheels the wheel requires, in which versions."""

import os
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import pytest
from driving import Ran, Repack
from faultserver import FaultServer
from nvidia import nvidia_wheels
from packaging.requirements import Requirement
from wheelmaking import make_pyd, make_wheel

from repack.errors import FetchError, InputError
from repack.fetch import Listing, Supply
from repack.fetch.cache import Cache
from repack.inspect import analyse
from repack.vendor import require_distributions

NEEDS = {
    "nppif64_12.dll": ["nppiFilter_8u_C1R"],
    "cublas64_12.dll": ["cublasCreate_v2"],
    "cudart64_12.dll": ["cudaGetDeviceCount"],
}
CUDNN_NEEDS = {"cudnn64_9.dll": ["cudnnCreate"]}
NVIDIAS = ("nvidia-cublas-cu12>=12.3", "nvidia-cuda-runtime-cu12>=12.3", "nvidia-npp-cu12")
CUDNN, NPP, VC_RUNTIME = "nvidia-cudnn-cu12==9.*", NVIDIAS[2], "msvc-runtime<15,>=14"
NPP_WHEEL = "nvidia_npp_cu12-12.4.1.87-py3-none-win_amd64.whl"
#: What an index holds: by project, the DLLs of each version.
Index = Mapping[str, Mapping[str, Sequence[str]]]
PUBLISHED: Index = {
    "nvidia-cublas-cu12": {"12.9.2.10": ["cublas64_12.dll"]},
    "nvidia-cuda-runtime-cu12": {"12.9.79": ["cudart64_12.dll"]},
    "nvidia-npp-cu12": {"12.4.1.87": ["nppc64_12.dll", "nppif64_12.dll"]},
    "nvidia-cudnn-cu12": {"9.28.0.42": ["cudnn64_9.dll"]},
    "msvc-runtime": {"14.51": ["MSVCP140.dll"]},
}


def source(
    folder: Path,
    needs: Mapping[str, Sequence[str]],
    delayed: Mapping[str, Sequence[str]] | None = None,
    machine: str = "x86-64",
) -> Path:
    platform = {"x86-64": "win_amd64", "arm64": "win_arm64"}[machine]
    label = "" if "nppc64_13.dll" in needs else "+cu123"
    pyd = make_pyd(needs, delay_imports=delayed, machine=machine)
    files = {"cv2/__init__.py": b"from .cv2 import *\n", "cv2/cv2.pyd": pyd}
    name = f"opencv_contrib_python-4.13.0.90{label}-cp37-abi3-{platform}.whl"
    return make_wheel(folder / name, files)


def list_published(index: Index, requirement: str, platform: str) -> Listing:
    wanted = Requirement(requirement)
    versions = list(wanted.specifier.filter(index.get(wanted.name, {})))
    if not versions:
        raise FetchError("no such wheel", code="no-such-version", file=requirement)
    newest = versions[-1]
    filename = f"{wanted.name.replace('-', '_')}-{newest}-py3-none-{platform}.whl"
    members = [f"nvidia/bin/{name}" for name in index[wanted.name][newest]]
    return Listing(filename, frozenset(members))


VC = {"MSVCP140.dll": ["f"]}
OF_PYTHON = {"VCRUNTIME140.dll": ["g"], "VCRUNTIME140_1.dll": ["h"]}
#: What is imported, what is delay-loaded, and what is required.
REQUIRED = {
    "not the driver": ({**NEEDS, "nvcuda.dll": ["cuInit"]}, {}, NVIDIAS),
    "cuDNN late": (NEEDS, CUDNN_NEEDS, (*NVIDIAS, f'{CUDNN}; extra == "dnn"')),
    "cuDNN at load time": ({**NEEDS, **CUDNN_NEEDS}, {}, (*NVIDIAS, CUDNN)),
    "the VC run-time": ({**NEEDS, **VC}, {}, (*NVIDIAS, VC_RUNTIME)),
    "not the part of it that Python brings": ({**NEEDS, **OF_PYTHON}, {}, NVIDIAS),
}


@pytest.mark.parametrize(("needs", "delayed", "requires"), REQUIRED.values(), ids=REQUIRED)
def test_exactly_the_distributions_of_what_is_asked_for_are_required(
    needs: Mapping[str, Sequence[str]],
    delayed: Mapping[str, Sequence[str]],
    requires: Sequence[str],
    tmp_path: Path,
) -> None:
    analysis = analyse(source(tmp_path, needs, delayed))
    added = require_distributions(analysis, partial(list_published, PUBLISHED))
    assert sorted(added.requires) == sorted(requires)
    assert added.extras == (("dnn",) if "extra" in "".join(requires) else ())


NPPC, NPPIF = "nppc64_13.dll", "nppif64_13.dll"
BOTH = {NPPC: ["f"], NPPIF: ["g"]}
OLD, NEW = [NPPC, NPPIF], ["nppc64_132_0.dll", "nppif64_132_0.dll"]


#: What is needed, what the versions hold, and which of them are taken.
RANGES = {
    "the newest has them": (BOTH, {"13.1": OLD, "13.2": OLD}, "==13.*"),
    "two lack them": (BOTH, {"13.0": OLD, "13.1": NEW, "13.2": NEW}, "<13.1,==13.*"),
    "it lacks one of them": (BOTH, {"13.1": OLD, "13.2": [NPPC]}, "<13.2,==13.*"),
    "in capitals": (BOTH, {"13.1": ["NPPC64_13.DLL", NPPIF]}, "==13.*"),
    "none has them": (BOTH, {"13.1": NEW, "14.0": OLD}, None),
}


@pytest.mark.parametrize(("needs", "versions", "requirement"), RANGES.values(), ids=RANGES)
def test_the_newest_wheel_of_a_range_holds_what_is_needed(
    needs: Mapping[str, Sequence[str]],
    versions: Mapping[str, Sequence[str]],
    requirement: str | None,
    tmp_path: Path,
) -> None:
    analysis = analyse(source(tmp_path, needs))
    find = partial(list_published, {"nvidia-npp": versions})
    if requirement is None:
        with pytest.raises(InputError, match="NVIDIA has no wheels with nppc64_13"):
            require_distributions(analysis, find)
    else:
        assert require_distributions(analysis, find).requires == (f"nvidia-npp{requirement}",)


def build(repack: Repack, *options: str) -> Ran:
    wheel = source(repack.folder.parent, {"nppif64_12.dll": ["nppiFilter_8u_C1R"]})
    return repack(
        *("build", "--source", wheel, "--mode", "depend", "--no-smoke", "--json", "-q"),
        *("--python", "3.12", *options),
    )


def test_the_lock_keeps_it(repack: Repack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Offline a range that nobody has looked into is the plain one.
    assert build(repack, "--offline", "-w", "unknown").json["requires"] == [NPP]
    index = nvidia_wheels(tmp_path / "index")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    newest = index / NPP_WHEEL.replace("12.4", "12.5")
    make_wheel(newest, {"nvidia/npp/bin/other.dll": b""})
    first = build(repack)
    assert first.code == 0, first.err
    assert first.json["requires"] == ["nvidia-npp-cu12<12.5.1.87"]
    for wheel in (newest, index / NPP_WHEEL):
        wheel.unlink()
    second = build(repack, "--offline")
    assert second.json["requires"] == first.json["requires"]
    assert second.json["wheels"][0]["sha256"] == first.json["wheels"][0]["sha256"]
    shutil.rmtree(repack.cache / "listings")
    assert "--offline asks nobody [offline]" in build(repack, "--offline", "-w", "again").error
    refused = build(repack, "--update-lock", "-w", "again")
    assert "nvidia-npp-cu12 for Python 3.12 on win_amd64: " in refused.error
    assert not (repack.folder / "again").exists()


def test_only_the_directory_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    member = "nvidia/npp/bin/nppc64_12.dll"
    content = {member: os.urandom(1 << 20), "nvidia/LICENSE": b"terms"}
    wheel = make_wheel(tmp_path / NPP_WHEEL, content)
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


def look_into(requirement: str, platform: str, folder: Path) -> Listing | None:
    return Supply(Cache(folder / "cache")).list_wheel(requirement, platform)


@pytest.mark.network
def test_for_arm64_npp_13_is_taken_from_before_its_dlls_were_renamed(tmp_path: Path) -> None:
    analysis = analyse(source(tmp_path, {"nppc64_13.dll": ["f"]}, machine="arm64"))

    find = partial(look_into, folder=tmp_path)
    (requirement,) = require_distributions(analysis, find).requires
    bound = Requirement(requirement).specifier
    assert not bound.contains("13.2.0.93")
    assert bound.contains("13.2.0.58")
