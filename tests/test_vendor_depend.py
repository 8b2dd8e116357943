"""`repack build --mode depend`: which of NVIDIA's wheels the wheel requires, in which versions."""

import os
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import pytest
from driving import Ran, Repack
from faultserver import FaultServer, listening
from nvidia import nvidia_wheels
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename
from wheelmaking import make_pyd, make_wheel

from repack.config import IndexSource
from repack.console import SILENT
from repack.errors import FetchError, InputError
from repack.fetch import Cache, Listing, list_wheel
from repack.inspect import analyse
from repack.lock import Lock
from repack.vendor import require_distributions

NEEDS = {
    "nppif64_12.dll": ["nppiFilter_8u_C1R"],
    "cublas64_12.dll": ["cublasCreate_v2"],
    "cudart64_12.dll": ["cudaGetDeviceCount"],
}
CUDNN_NEEDS = {"cudnn64_9.dll": ["cudnnCreate"]}
NVIDIAS = (
    *("nvidia-cublas-cu12>=12.3", "nvidia-cuda-runtime-cu12>=12.3"),
    "nvidia-npp-cu12",
)
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
    return Listing(filename, frozenset(members), None)


@pytest.mark.parametrize(
    ("needs", "delayed", "requires"),
    [
        pytest.param({**NEEDS, "nvcuda.dll": ["cuInit"]}, {}, NVIDIAS, id="not the driver"),
        pytest.param(NEEDS, CUDNN_NEEDS, (*NVIDIAS, f'{CUDNN}; extra == "dnn"'), id="cuDNN late"),
        pytest.param({**NEEDS, **CUDNN_NEEDS}, {}, (*NVIDIAS, CUDNN), id="cuDNN at load time"),
        pytest.param({}, {"nppif64_12.dll": ["nppiFilter_8u_C1R"]}, (NPP,), id="NPP late"),
        pytest.param(
            {**NEEDS, "MSVCP140.dll": ["f"]}, {}, (*NVIDIAS, VC_RUNTIME), id="the VC run-time"
        ),
        pytest.param(
            {**NEEDS, "VCRUNTIME140.dll": ["g"], "VCRUNTIME140_1.dll": ["h"]},
            *({}, NVIDIAS),
            id="not the part of it that Python brings",
        ),
    ],
)
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


@pytest.mark.parametrize(
    ("needs", "versions", "requirement"),
    [
        pytest.param(BOTH, {"13.1": OLD, "13.2": OLD}, "==13.*", id="the newest has them"),
        pytest.param(BOTH, {"13.1": OLD, "13.2": NEW}, "<13.2,==13.*", id="the newest lacks them"),
        pytest.param(
            BOTH, {"13.0": OLD, "13.1": NEW, "13.2": NEW}, "<13.1,==13.*", id="two lack them"
        ),
        pytest.param(
            BOTH, {"13.1": OLD, "13.2": [NPPC]}, "<13.2,==13.*", id="it lacks one of them"
        ),
        pytest.param({NPPC: ["f"]}, {"13.1": OLD, "13.2": [NPPC]}, "==13.*", id="it lacks another"),
        pytest.param(BOTH, {"13.1": ["NPPC64_13.DLL", NPPIF]}, "==13.*", id="in capitals"),
        pytest.param(BOTH, {"13.1": NEW, "14.0": OLD}, None, id="none has them"),
    ],
)
@pytest.mark.parametrize("machine", ["x86-64", "arm64"])
def test_the_newest_wheel_of_a_range_holds_what_is_needed(
    needs: Mapping[str, Sequence[str]],
    versions: Mapping[str, Sequence[str]],
    requirement: str | None,
    machine: str,
    tmp_path: Path,
) -> None:
    analysis = analyse(source(tmp_path, needs, machine=machine))
    find = partial(list_published, {"nvidia-npp": versions})
    if requirement is None:
        with pytest.raises(InputError, match="NVIDIA has no wheels with nppc64_13"):
            require_distributions(analysis, find)
    else:
        assert require_distributions(analysis, find).requires == (f"nvidia-npp{requirement}",)


def test_a_cuda_of_which_nvidia_has_no_wheels_is_refused(tmp_path: Path) -> None:
    needs = {"nppif64_10.dll": ["f"], "cudart64_101.dll": ["g"]}
    analysis = analyse(source(tmp_path, needs))
    with pytest.raises(InputError, match="NVIDIA has no wheels with cudart64_101") as caught:
        require_distributions(analysis, partial(list_published, PUBLISHED))
    assert caught.value.code == "no-distribution"


def build(repack: Repack, *options: str) -> Ran:
    wheel = source(repack.folder.parent, {"nppif64_12.dll": ["nppiFilter_8u_C1R"]})
    return repack(
        *("build", "--source", wheel, "--mode", "depend", "--no-smoke", "--json", "-q"),
        *("--python", "3.12", *options),
    )


def test_the_lock_keeps_what_the_index_was_asked(
    repack: Repack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_offline_a_range_that_nobody_has_looked_into_is_the_plain_one(repack: Repack) -> None:
    assert build(repack, "--offline").json["requires"] == [NPP]


def test_of_a_large_wheel_the_directory_alone_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = make_wheel(
        tmp_path / NPP_WHEEL,
        {"nvidia/npp/bin/nppc64_12.dll": os.urandom(1 << 20), "nvidia/LICENSE": b"terms"},
    )
    with listening() as server:
        serve(server, wheel)
        monkeypatch.setenv("PIP_INDEX_URL", server.url("/simple/"))
        found = list_wheel(
            IndexSource(requirement="nvidia-npp-cu12", python="3.12"),
            lock=Lock(),
            cache=Cache(tmp_path / "cache"),
            offline=False,
            progress=SILENT,
        )
        asked = [seen.headers.get("range") for seen in server.seen if seen.path.endswith(".whl")]
    assert found is not None
    assert "nvidia/npp/bin/nppc64_12.dll" in found.members
    assert found.pin is not None
    assert found.pin.size == wheel.stat().st_size
    assert all(asked)


def serve(server: FaultServer, wheel: Path) -> None:
    """Serve an index with one wheel and its METADATA."""
    name, version, _, _ = parse_wheel_filename(wheel.name)
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    page = f'<a href="/{wheel.name}#sha256={"0" * 64}" data-core-metadata="true">{wheel.name}</a>'
    server.add(f"/simple/{canonicalize_name(name)}/", page.encode(), kind="text/html")
    server.add(f"/{wheel.name}", wheel.read_bytes())
    server.add(f"/{wheel.name}.metadata", metadata.encode())


@pytest.mark.network
def test_for_arm64_npp_13_is_taken_from_before_its_dlls_were_renamed(tmp_path: Path) -> None:
    analysis = analyse(source(tmp_path, {"nppc64_13.dll": ["f"]}, machine="arm64"))

    def find(requirement: str, platform: str) -> Listing | None:
        index = IndexSource(requirement=requirement, python="3.12", platform=platform)
        cache = Cache(tmp_path / "cache")
        return list_wheel(index, lock=Lock(), cache=cache, offline=False, progress=SILENT)

    (requirement,) = require_distributions(analysis, find).requires
    bound = Requirement(requirement).specifier
    assert not bound.contains("13.2.0.93")
    assert bound.contains("13.2.0.58")
