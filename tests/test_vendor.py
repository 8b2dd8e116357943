"""`repack build --mode vendor`: which DLLs are in the wheel, and which are not; stand-ins."""

import ast
import ctypes
import json
import mmap
import os
import zipfile
from collections.abc import Mapping, Sequence
from email.parser import BytesParser
from pathlib import Path
from typing import Any, NamedTuple

import nvidia
import pefile
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from driving import Ran, Repack, everything
from faultserver import FaultServer
from packaging.licenses import canonicalize_license_expression
from wheelmaking import make_analysis, make_pyd, opencv_wheel

from repack.config import load
from repack.dlls.writing import make_stand_in
from repack.fetch import Supply
from repack.fetch.cache import Cache
from repack.vendor import make_supplement
from repack.wheel.reader import read_wheel

LIBS = "opencv_contrib_python.libs"
SOURCE = "opencv_contrib_python-4.13.0.90-cp37-abi3-win_amd64.whl"
INFO = "opencv_contrib_python-4.13.0.90.dist-info"
NPP_WHEEL = "nvidia_npp_cu12-12.4.1.87-py3-none-win_amd64.whl"
#: DLL -> symbols that are imported.
Needs = Mapping[str, Sequence[str]]
NEEDS: Needs = {
    "nppif64_12.dll": ["nppiFilter_8u_C1R"],
    "cudart64_12.dll": ["cudaGetDeviceCount"],
    "KERNEL32.dll": ["GetProcAddress"],
}
DNN = {**NEEDS, "cudnn64_9.dll": ["cudnnGetVersion"], "cublas64_12.dll": ["cublasCreate_v2"]}
SPARSE = {**NEEDS, "cusparse64_12.dll": ["cusparseCreate"]}


class Shop:
    """Builds wheels in vendor mode, from a toolkit, or the folder that is the index."""

    def __init__(self, repack: Repack, folder: Path) -> None:
        self.repack = repack
        self.folder = folder
        self.index = nvidia.nvidia_wheels(folder / "index")

    def source(
        self,
        needs: Needs = NEEDS,
        delayed: Needs | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> Path:
        """Return a wheel whose cv2.pyd imports what `needs` says."""
        return opencv_wheel(self.folder, make_pyd(needs, delay_imports=delayed), files)

    def toolkit(self, *dlls: nvidia.Pretended, licence: bool = True) -> tuple[str, str]:
        """Return the option that takes DLLs from a toolkit made of these."""
        folder = nvidia.toolkit(self.folder / "toolkit", *dlls, licence=licence)
        return option("vendor.dll-dirs", [str(folder)])

    def run(self, source: Path | str, *options: object) -> Ran:
        return self.repack(
            *("build", "--source", source, "--mode", "vendor", "--no-smoke", "--json", "-q"),
            *("--python", "3.12", *options),
        )

    def build(self, source: Path | str, *options: object) -> dict[str, Any]:
        """Return what `repack build` tells of a wheel that it made."""
        ran = self.run(source, *options)
        assert ran.code == 0, ran.err
        answer: dict[str, Any] = ran.json
        return answer

    def refused(self, source: Path, *options: object) -> str:
        """Return the one line that says why there is no wheel; nothing was written."""
        ran = self.run(source, *options)
        assert ran.code == 1
        assert not (self.repack.folder / "dist").exists()
        return ran.error


@pytest.fixture
def shop(tmp_path: Path, repack: Repack, monkeypatch: pytest.MonkeyPatch) -> Shop:
    made = Shop(repack, tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(made.index))
    return made


def members(answer: Mapping[str, Any], part: str) -> dict[str, bytes]:
    """Return the wheel's members whose path has that part."""
    with zipfile.ZipFile(answer["wheels"][0]["path"]) as wheel:
        return {name: wheel.read(name) for name in sorted(wheel.namelist()) if part in name}


def vendored(answer: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the DLLs that lie in the wheel's own folder for them, by name."""
    dlls = members(answer, f"{LIBS}/")
    return {name.removeprefix(f"{LIBS}/"): content for name, content in dlls.items()}


def codes(answer: Mapping[str, Any]) -> list[str]:
    return [finding["code"] for finding in answer["findings"]]


def contents(*dlls: nvidia.Pretended) -> dict[str, bytes]:
    return {dll.name: dll.content for dll in sorted(dlls, key=lambda dll: dll.name)}


def option(key: str, value: object) -> tuple[str, str]:
    return "--set", f"{key}={json.dumps(value)}"


class Case(NamedTuple):
    """The DLLs in the wheel; what the source needs, how it is built; what is told and left out."""

    dlls: tuple[nvidia.Pretended, ...]
    needs: Needs = NEEDS
    delayed: Needs | None = None
    options: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    left: tuple[nvidia.Pretended, ...] = ()
    #: All of a toolkit where nothing is said.
    toolkit: tuple[nvidia.Pretended, ...] = ()
    licence: bool = True


PLAIN = (nvidia.CUDART, nvidia.NPPC, nvidia.NPPIF)
WITH_BLAS = (*PLAIN, nvidia.CUBLAS, nvidia.CUBLAS_LT)
WITH_DNN = (*WITH_BLAS, nvidia.CUDNN, *nvidia.CUDNN_PARTS, nvidia.NVRTC, nvidia.NVRTC_BUILTINS)
#: Nothing asks for the last two.
TOOLKIT = (*WITH_DNN, nvidia.NVJPEG, nvidia.CUSPARSE, nvidia.NVJITLINK, nvidia.NPPS)
JPEG = {**NEEDS, "nvjpeg64_12.dll": ["nvjpegCreate"]}
LATE = {"cublas64_12.dll": ["cublasCreate_v2"]}
UNLISTED, SHIPPED = ("not-listed",), ("unlisted-shipped",)
ALLOWED = option("allow.unlisted-dlls", ["NVJPEG64_12.dll"])
JITLINK = option("allow.unlisted-dlls", [nvidia.NVJITLINK.name])
NPP_ALONE = option("vendor.families", ["npp", "cudart"])
WINDOWS, NOTHING = {"KERNEL32.dll": ["Sleep"]}, ("not-cuda", "nothing-to-vendor")
DELVEWHEEL = option("vendor.engine", "delvewheel")
DRIVEN = {**NEEDS, "nvcuda.dll": ["cuInit"]}
DRIVERS = (*PLAIN, nvidia.DRIVER)
IN_PARTS = (*WITH_BLAS, nvidia.CUDNN, nvidia.NVRTC, nvidia.NVRTC_BUILTINS)
CASES = {
    "what is delay-loaded": Case(WITH_BLAS, delayed=LATE),
    "what the licence does not list": Case(PLAIN, JPEG, findings=UNLISTED, left=(nvidia.NVJPEG,)),
    "that, allowed by name": Case((*PLAIN, nvidia.NVJPEG), JPEG, options=ALLOWED, findings=SHIPPED),
    "what a chosen DLL imports and the licence does not list": Case(
        (*PLAIN, nvidia.CUSPARSE), SPARSE, findings=UNLISTED, left=(nvidia.NVJITLINK,)
    ),
    "chosen families": Case(PLAIN, DNN, options=NPP_ALONE, left=(nvidia.CUBLAS, nvidia.CUDNN)),
    "nothing": Case((), WINDOWS, findings=NOTHING),
    # What cuDNN loads by name fits its own release alone: no other's parts are taken.
    "not all of cuDNN": Case(
        *(IN_PARTS, DNN, None, option("vendor.dlls", ["nvidia-cudnn-cu12"])),
        findings=("vendored-incomplete",),
        toolkit=IN_PARTS,
    ),
    "no licence text": Case(PLAIN, licence=False, findings=("licence-missing",)),
    "a driver": Case(
        *(PLAIN, DRIVEN), options=DELVEWHEEL, toolkit=DRIVERS, findings=("driver-not-shipped",)
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_asked_for_is_in_the_wheel_as_nvidia_made_it(name: str, shop: Shop) -> None:
    case = CASES[name]
    source = shop.source(case.needs, case.delayed)
    toolkit = shop.toolkit(*(case.toolkit or TOOLKIT), licence=case.licence)
    answer = shop.build(source, *case.options, *toolkit)
    assert vendored(answer) == contents(*case.dlls)
    assert codes(answer) == list(case.findings)
    assert answer["left_out"] == list(contents(*case.left))
    (text,) = members(answer, "cv2/_cuda_build.py").values()
    facts = ast.literal_eval(text.decode().partition("BUILD = ")[2])
    assert facts["vendored"] == ((LIBS,) if case.dlls else ())
    left_to_machine = {dll for dlls in facts["families"].values() for dll in dlls}
    assert {dll.name for dll in case.left} <= left_to_machine


@pytest.mark.parametrize("options", [(), DELVEWHEEL], ids=["splice", "delvewheel"])
def test_nvidias_wheels_are_fetched_for_cudnns_parts_and_what_it_loads_by_name(
    options: tuple[str, ...], shop: Shop
) -> None:
    assert vendored(shop.build(shop.source(DNN), *options)) == contents(*WITH_DNN)
    assert not list((shop.repack.cache / "repaired").glob("*"))


def test_what_delvewheel_cannot_repair_is_told_in_one_line(shop: Shop) -> None:
    toolkit = shop.toolkit(*PLAIN)
    for files in ({"cv2/__init__.py": b"print 'Python 2'\n"}, {f"{INFO}/DELVEWHEEL": b""}):
        line = shop.refused(shop.source(files=files), *DELVEWHEEL, *toolkit)
        assert "delvewheel cannot repair it: " in line


#: A delvewheel that puts nothing in.
FAKE = """
import os, shutil, sys
folder = sys.argv[sys.argv.index("-w") + 1]
os.mkdir(folder)
shutil.copy(sys.argv[-1], folder)
"""


def test_what_delvewheel_does_otherwise_is_told(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shop.folder / "delvewheel.py").write_text(FAKE)
    monkeypatch.setenv("PYTHONPATH", str(shop.folder), prepend=os.pathsep)
    line = shop.refused(shop.source(), *DELVEWHEEL, *shop.toolkit(*PLAIN))
    assert "of them: cudart64_12.dll, nppc64_12.dll, nppif64_12.dll [delvewheel]" in line


ARM = nvidia.Pretended(name=nvidia.NVJITLINK.name, machine="arm64")
NOWHERE = {**NEEDS, "cufft64_11.dll": ["cufftPlan1d"]}
TOO_NEW = {**NEEDS, "nppif64_12.dll": ["nppiFilter_8u_C1R", "nppiNewer"]}
#: What is needed, the options, and a part of the line that says why not.
IMPOSSIBLE = {
    "a DLL is for another processor": (
        SPARSE,
        (*option("vendor.dlls", []), *JITLINK),
        "cusparse64_12.dll needs, was not found for x86-64; looked into: ",
    ),
    "a DLL is too old": (TOO_NEW, (), "has no nppiNewer, which cv2/cv2.pyd asks for"),
    "it would be too large": (NEEDS, option("publish.max-size", "4 kB"), "[too-large]"),
}


@pytest.mark.parametrize(("needs", "options", "line"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_what_cannot_be_vendored_is_told_in_one_line_and_nothing_is_written(
    needs: Needs, options: tuple[str, ...], line: str, shop: Shop
) -> None:
    assert line in shop.refused(
        shop.source(needs), *shop.toolkit(*PLAIN, nvidia.CUSPARSE, ARM), *options
    )


def test_a_broken_dll_stops_nothing_that_does_without_it(shop: Shop) -> None:
    toolkit = shop.toolkit(*PLAIN)
    for name in ("cufft64_11.dll", "libcurl.dll"):
        (shop.folder / "toolkit" / "bin" / name).write_bytes(b"version https://git-lfs\n")
    (shop.folder / "toolkit" / "bin" / "nvjpeg64_12.dll").mkdir()
    assert vendored(shop.build(shop.source(), *toolkit)) == contents(*PLAIN)
    ran = shop.run(shop.source(NOWHERE), *toolkit, *option("vendor.dlls", []))
    assert "cufft64_11.dll: not a Windows program or DLL" in ran.err
    assert "cufft64_11.dll, which cv2/cv2.pyd needs, was not found" in ran.err


NVIDIAS = "LicenseRef-NVIDIA-Proprietary"


def test_metadata_says_whose_licences_hold(shop: Shop) -> None:
    lines = ["Metadata-Version: 2.4", "Name: opencv-contrib-python", "Version: 4.13.0.90"]
    lines += ["License-Expression: MIT OR Apache-2.0", "License-File: LICENSE", "", ""]
    files = {f"{INFO}/METADATA": "\n".join(lines).encode(), f"{INFO}/licenses/LICENSE": b"x"}
    answer = shop.build(shop.source(files=files))
    (content,) = members(answer, "/METADATA").values()
    metadata = BytesParser().parsebytes(content)
    expression = f"(MIT OR Apache-2.0) AND {NVIDIAS}"
    assert metadata["License-Expression"] == canonicalize_license_expression(expression)
    wheels = ("nvidia-cuda-runtime-cu12-12.9.79", "nvidia-npp-cu12-12.4.1.87")
    names = ["LICENSE", *(f"{wheel}/License.txt" for wheel in wheels)]
    assert metadata.get_all("License-File") == names
    licences = members(answer, "/licenses/")
    assert [path.split("/licenses/")[1] for path in licences] == names
    assert [*licences.values()] == [b"x", nvidia.LICENCE, nvidia.LICENCE]


def test_the_sbom_names_each_dll_and_its_origin(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1600000000")
    with FaultServer() as server:
        server.add(f"/{SOURCE}", shop.source().read_bytes())
        place = server.url(f"/{SOURCE}")
        answer = shop.build(place, *shop.toolkit(nvidia.CUDART))
    (text,) = members(answer, "/sboms/").values()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text.decode()) is None
    sbom = json.loads(text)
    assert sbom["metadata"]["timestamp"] == "2020-09-13T12:26:40+00:00"
    parts = {part["name"]: part for part in sbom["components"]}
    carried = {cargo["member"]: cargo["sha256"] for cargo in answer["carried"]}
    assert {part["bom-ref"]: part["hashes"][0]["content"] for part in parts.values()} == carried
    npp = parts[nvidia.NPPC.name]
    purl = f"pkg:pypi/nvidia-npp-cu12@12.4.1.87?file_name={NPP_WHEEL}"
    assert (npp["purl"], npp["version"]) == (purl, "12.4.1.87")
    assert npp["externalReferences"][0]["url"].endswith(NPP_WHEEL)
    assert not {"purl", "version"} & parts[nvidia.CUDART.name].keys()
    (ancestor,) = sbom["metadata"]["component"]["pedigree"]["ancestors"]
    assert ancestor["hashes"][0]["content"] == answer["source"]["sha256"]
    assert ancestor["externalReferences"][0]["url"] == place
    assert sbom["metadata"]["component"]["version"].endswith("+cu12.vendored")


def test_the_plan_is_what_is_made_each_time_to_the_byte(shop: Shop) -> None:
    source = shop.source()
    before = everything(shop.repack.folder)
    dry = shop.build(source, "--dry-run")
    assert everything(shop.repack.folder) == before
    first, second = (shop.build(source, "-w", out) for out in ("one", "two"))
    for key in ("carried", "left_out", "requires"):
        assert dry[key] == first[key]
    assert dry["plan"][0]["size"] == first["wheels"][0]["size"]
    assert first["wheels"][0]["sha256"] == second["wheels"][0]["sha256"]
    # RECORD has the rows of what was carried; of this form METADATA lists no licence's file.
    assert b"License-File" not in read_wheel(Path(first["wheels"][0]["path"])).metadata


def test_a_wheel_that_delvewheel_has_repaired_keeps_what_it_has(shop: Shop) -> None:
    mangled, plain = "nppc64_12-0123abcd.dll", "cudart64_12.dll"
    dlls = {
        f"{LIBS}/{mangled}": nvidia.NPPC.content,
        f"{LIBS}/{plain}": nvidia.Pretended(name=plain).content,
        f"{INFO}/DELVEWHEEL": b"Version: 1.13.2\n",
    }
    needs = {mangled: ["nppGetLibVersion"], plain: ["function"]}
    answer = shop.build(shop.source(needs, files=dlls))
    assert codes(answer) == ["already-vendored", "nothing-to-vendor", "vendored-without-licence"]
    assert list(vendored(answer)) == [plain, mangled]


# Stand-ins for the driver's DLLs

#: Code that was called: texts lie behind it.
KEPT: list[mmap.mmap] = []


def called(dll: str, symbol: str, result: type, second: object = None) -> object:
    """Return what a stand-in's function returns; Windows hands its arguments over."""
    image = pefile.PE(data=make_stand_in(dll.lower(), [symbol]))
    (export,) = image.DIRECTORY_ENTRY_EXPORT.symbols
    memory = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(image.get_data(export.address, 100))
    KEPT.append(memory)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    function = ctypes.CFUNCTYPE(result, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)(address)
    # The register of Windows' second argument is that of Linux's third.
    return function(None, None, second)


def test_each_function_says_that_there_is_no_device() -> None:
    assert called("nvcuda.dll", "cuInit", ctypes.c_int) == 100  # CUDA_ERROR_NO_DEVICE
    assert called("nvapi64.dll", "nvapi_QueryInterface", ctypes.c_int) == 0
    assert called("nvml.dll", "nvmlErrorString", ctypes.c_char_p) == b"Driver Not Loaded"
    place = ctypes.c_char_p()
    assert called("nvcuda.dll", "cuGetErrorName", ctypes.c_int, ctypes.byref(place)) == 0
    assert place.value == b"CUDA_ERROR_NO_DEVICE"


LOADED = {"nvcuda.dll": ["cuInit"], "nvEncodeAPI64.dll": ["NvEncodeAPICreateInstance"]}


@pytest.mark.parametrize(
    ("needs", "machine", "folders"),
    [
        (LOADED, "x86-64", ["nvcuda", "nvencodeapi64"]),
        ({"nvoptix.dll": ["f"]}, "x86-64", []),
        (LOADED, "arm64", []),
    ],
)
def test_a_wheel_gets_the_stand_ins_that_there_can_be(
    needs: Needs, machine: str, folders: list[str], tmp_path: Path
) -> None:
    pyd = make_pyd(delay_imports=needs, machine=machine)
    config = load(None, [("build", {"driver-stub": True})])
    supply = Supply(Cache(tmp_path / "cache"))
    made = make_supplement(config, make_analysis(tmp_path, pyd), supply, url="", timestamp=0)
    members = [f"cv2/stand-ins/{name}/{name}.dll" for name in folders]
    assert [cargo.member for cargo in made.cargo] == members
    assert [member.name for member in made.carried] == members
    assert made.label == ("patched.stub" if folders else "patched")
    without = [] if folders else ["no-stand-in"] * len(needs)
    assert [finding.code for finding in made.findings] == without
