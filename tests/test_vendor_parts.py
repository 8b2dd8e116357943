"""The parts that modes are made of: stand-ins, requirements, delvewheel's answer, the SBOM."""

from __future__ import annotations

import ctypes
import json
import mmap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import lief
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from nvidia import CUBLAS, CUBLAS_LT, DRIVER, NPPC, NPPIF, NPPS, Pretended
from wheelmaking import make_pyd, make_wheel

from repack.dlls import (
    Cuda,
    Image,
    classify,
    may_be_shipped,
    partners,
    read_exports,
    read_image,
    required,
)
from repack.errors import InputError, ToolError
from repack.inspect import Analysis, analyse
from repack.vendor import dependencies, stand_ins
from repack.vendor.delvewheel import decide
from repack.vendor.sbom import Content, File, make_sbom
from repack.vendor.standins import stand_in

NAME = "opencv_contrib_python-4.13.0.90+cu123-cp37-abi3-win_amd64.whl"
NEEDS = {
    "nppif64_12.dll": ["nppiFilter_8u_C1R"],
    "cublas64_12.dll": ["cublasCreate_v2"],
    "cudart64_12.dll": ["cudaGetDeviceCount"],
}


@pytest.fixture
def analysed(tmp_path: Path) -> Callable[..., Analysis]:
    def make(
        needs: Mapping[str, Sequence[str]],
        delayed: Mapping[str, Sequence[str]] | None = None,
        files: Mapping[str, bytes] | None = None,
        machine: str = "x86-64",
    ) -> Analysis:
        pyd = make_pyd(needs, delay_imports=delayed, machine=machine)
        content = {"cv2/__init__.py": b"", "cv2/cv2.pyd": pyd, **(files or {})}
        tag = {"x86-64": "win_amd64", "arm64": "win_arm64"}[machine]
        return analyse(make_wheel(tmp_path / NAME.replace("win_amd64", tag), content))

    return make


class TestStandIns:
    @pytest.mark.parametrize(
        ("dll", "symbol", "answer"),
        [
            pytest.param("nvcuda.dll", "cuInit", 100, id="CUDA_ERROR_NO_DEVICE"),
            pytest.param("nvcuvid.dll", "cuvidCreateDecoder", 100, id="a decoder"),
            pytest.param("nvcuvid.dll", "cuvidGetVideoSourceState", -1, id="a state"),
            pytest.param(
                "nvEncodeAPI64.dll", "NvEncodeAPICreateInstance", 1, id="NO_ENCODE_DEVICE"
            ),
            pytest.param("nvml.dll", "nvmlInit_v2", 9, id="NVML_ERROR_DRIVER_NOT_LOADED"),
            pytest.param("nvapi64.dll", "nvapi_QueryInterface", 0, id="no such function"),
        ],
    )
    def test_each_function_says_in_its_own_way_that_there_is_no_device(
        self, dll: str, symbol: str, answer: int
    ) -> None:
        assert called(code_of(dll, symbol), ctypes.c_int) == answer

    def test_a_function_that_returns_a_text_returns_one(self) -> None:
        said = called(code_of("nvml.dll", "nvmlErrorString"), ctypes.c_char_p)
        assert said == b"Driver Not Loaded"

    @pytest.mark.parametrize(
        ("symbol", "text"),
        [
            ("cuGetErrorName", b"CUDA_ERROR_NO_DEVICE"),
            ("cuGetErrorString", b"no CUDA-capable device is detected"),
        ],
    )
    def test_a_function_that_puts_a_text_somewhere_succeeds(self, symbol: str, text: bytes) -> None:
        place = ctypes.c_char_p()
        assert called(code_of("nvcuda.dll", symbol), ctypes.c_int, ctypes.byref(place)) == 0
        assert place.value == text

    def test_what_is_imported_is_exported_and_nothing_else(self, tmp_path: Path) -> None:
        content = stand_in("nvcuda.dll", ["cuInit", "#7", "cuDeviceGet"])
        assert content is not None
        path = tmp_path / "nvcuda.dll"
        path.write_bytes(content)
        assert read_exports(path) == ("cuDeviceGet", "cuInit")
        binary = lief.PE.parse(str(path))
        assert isinstance(binary, lief.PE.Binary)
        exports = binary.get_export()
        assert exports is not None
        by_number = {entry.ordinal: str(entry.name) for entry in exports.entries if entry.address}
        assert by_number == {1: "cuDeviceGet", 2: "cuInit", 7: ""}

    def test_each_dll_of_the_driver_gets_one_in_a_folder_of_its_own(
        self, analysed: Callable[..., Analysis]
    ) -> None:
        analysis = analysed(
            {**NEEDS, "nvcuda.dll": ["cuInit"], "nvEncodeAPI64.dll": ["NvEncodeAPICreateInstance"]}
        )
        made = stand_ins(analysis)
        assert made.stand_ins == {
            "nvcuda.dll": "cv2/stand-ins/nvcuda",
            "nvencodeapi64.dll": "cv2/stand-ins/nvencodeapi64",
        }
        assert [each.path for each in made.carried] == [
            "cv2/stand-ins/nvcuda/nvcuda.dll",
            "cv2/stand-ins/nvencodeapi64/nvencodeapi64.dll",
        ]

    def test_what_is_delay_loaded_gets_one_too(self, analysed: Callable[..., Analysis]) -> None:
        made = stand_ins(analysed(NEEDS, delayed={"nvcuda.dll": ["cuInit"]}))
        assert list(made.stand_ins) == ["nvcuda.dll"]

    def test_a_dll_whose_answers_are_not_known_gets_none(
        self, analysed: Callable[..., Analysis]
    ) -> None:
        made = stand_ins(analysed({**NEEDS, "nvoptix.dll": ["optixQueryFunctionTable"]}))
        assert made.carried == ()
        assert [each.code for each in made.findings] == ["no-stand-in"]

    def test_another_processor_gets_none(self, analysed: Callable[..., Analysis]) -> None:
        made = stand_ins(analysed({"nvcuda.dll": ["cuInit"]}, machine="arm64"))
        assert [each.code for each in made.findings] == ["no-stand-in"]


CUDNN_NEEDS = {"cudnn64_9.dll": ["cudnnCreate"]}
NVIDIAS = (
    *("nvidia-cublas-cu12>=12.3,<13", "nvidia-cuda-runtime-cu12>=12.3,<13"),
    "nvidia-npp-cu12>=12.2.2,<13",
)
CUDNN, NPP = "nvidia-cudnn-cu12>=9,<10", "nvidia-npp-cu12>=12.2.2,<13"


@pytest.mark.parametrize(
    ("needs", "delayed", "requires", "extras"),
    [
        pytest.param({**NEEDS, "nvcuda.dll": ["cuInit"]}, {}, {*NVIDIAS}, (), id="what is asked"),
        pytest.param(
            NEEDS, CUDNN_NEEDS, {*NVIDIAS, f'{CUDNN}; extra == "dnn"'}, ("dnn",), id="cuDNN late"
        ),
        pytest.param({**NEEDS, **CUDNN_NEEDS}, {}, {*NVIDIAS, CUDNN}, (), id="cuDNN at load time"),
        pytest.param({}, {"nppif64_12.dll": ["nppiFilter_8u_C1R"]}, {NPP}, (), id="NPP late"),
        pytest.param(
            {**NEEDS, "MSVCP140.dll": ["f"], "VCRUNTIME140.dll": ["g"]},
            {},
            {*NVIDIAS, "msvc-runtime>=14,<15"},
            (),
            id="the VC run-time, where no administrator is needed",
        ),
        pytest.param(
            {**NEEDS, "VCRUNTIME140.dll": ["g"], "VCRUNTIME140_1.dll": ["h"]},
            {},
            {*NVIDIAS},
            (),
            id="Python's own part of it",
        ),
    ],
)
def test_exactly_the_distributions_of_what_is_asked_for_are_required(
    needs: Mapping[str, Sequence[str]],
    delayed: Mapping[str, Sequence[str]],
    requires: set[str],
    extras: tuple[str, ...],
    analysed: Callable[..., Analysis],
) -> None:
    added = dependencies(analysed(needs, delayed=delayed))
    assert (set(added.requires), added.extras) == (requires, extras)


def test_a_cuda_of_which_nvidia_has_no_wheels_is_refused(
    analysed: Callable[..., Analysis],
) -> None:
    with pytest.raises(InputError, match="NVIDIA has no wheels") as caught:
        dependencies(analysed({"nppif64_10.dll": ["f"], "cudart64_101.dll": ["g"]}))
    assert caught.value.code == "no-distribution"


@pytest.mark.parametrize(
    ("dll", "cuda", "requirement"),
    [
        ("nppc64_12.dll", (12, 9), "nvidia-npp-cu12>=12.4.0,<13"),
        ("nppc64_12.dll", (12, 7), "nvidia-npp-cu12>=12.3.1,<13"),
        ("nppc64_12.dll", (12, None), "nvidia-npp-cu12>=12,<13"),
        ("nppc64_11.dll", (11, 8), "nvidia-npp-cu11>=11,<12"),
        ("nppc64_13.dll", (13, 1), "nvidia-npp>=13.0.0,<14"),
        ("cublas64_11.dll", (11, 8), "nvidia-cublas-cu11>=11.8,<12"),
        ("cublasLt64_13.dll", (13, 1), "nvidia-cublas>=13.1,<14"),
        ("cufft64_10.dll", (11, 8), "nvidia-cufft-cu11>=10,<11"),
        ("cufft64_11.dll", (12, 4), "nvidia-cufft-cu12>=11.2.0,<12"),
        ("cufft64_12.dll", (13, 1), "nvidia-cufft>=12.1.0,<13"),
        ("cudart64_110.dll", (11, 8), "nvidia-cuda-runtime-cu11>=11.8,<12"),
        ("cudart64_13.dll", (13, None), "nvidia-cuda-runtime>=13,<14"),
        ("nvrtc64_120_0.dll", (12, 9), "nvidia-cuda-nvrtc-cu12>=12.9,<13"),
        ("curand64_10.dll", (13, 0), "nvidia-curand>=10,<11"),
        ("cudnn64_9.dll", (12, 9), "nvidia-cudnn-cu12>=9,<10"),
        ("cudnn64_8.dll", (11, 8), "nvidia-cudnn-cu11>=8,<9"),
        ("nvJitLink_130_0.dll", (13, 0), "nvidia-nvjitlink>=13.0,<14"),
        ("nvcuda.dll", (12, 9), ""),
        ("nppc64_10.dll", (10, 2), ""),
        ("MSVCP140_1.dll", (12, 9), "msvc-runtime>=14,<15"),
        ("VCRUNTIME140_1.dll", (12, 9), ""),
        ("MSVCP120.dll", (12, 9), ""),
    ],
)
def test_a_dll_is_brought_by_a_range_of_versions(dll: str, cuda: Cuda, requirement: str) -> None:
    assert required(classify(dll), cuda) == requirement


@pytest.mark.parametrize(
    ("dll", "may"),
    [
        *((name, True) for name in ("nppc64_12.dll", "cublasLt64_13.dll", "cudart64_110.dll")),
        *((name, True) for name in ("cufftw64_11.dll", "nvblas64_12.dll", "cudnn_ops64_9.dll")),
        *((name, True) for name in ("nvrtc64_120_0.dll", "nvrtc-builtins64_129.dll")),
        *((name, False) for name in ("nvjpeg64_12.dll", "nvJitLink_120_0.dll", "nvcuda.dll")),
        *((name, False) for name in ("nvcuvid.dll", "nvEncodeAPI64.dll", "nvml.dll")),
        *((name, False) for name in ("cuobjclient64_1.dll", "KERNEL32.dll", "MSVCP140.dll")),
    ],
)
def test_the_licence_lists_what_may_be_passed_on(dll: str, *, may: bool) -> None:
    assert may_be_shipped(classify(dll)) is may


@pytest.mark.parametrize(
    ("dll", "major", "name", "beside"),
    [
        ("cudnn64_9.dll", 12, "cudnn_ext64_9.dll", True),
        ("cudnn64_8.dll", 11, "cudnn_cnn_infer64_8.dll", True),
        ("cudnn64_9.dll", 12, "cublaslt64_12.dll", False),
        ("cudnn64_9.dll", 13, "nvrtc64_130_0.dll", False),
        ("nvrtc64_120_0.dll", 12, "nvrtc-builtins64_129.dll", True),
    ],
)
def test_what_is_loaded_by_name_is_known(dll: str, major: int, name: str, *, beside: bool) -> None:
    fitting = [each for each in partners(classify(dll), major) if each.names.fullmatch(name)]
    assert [each.beside for each in fitting] == [beside]


@pytest.mark.parametrize(
    ("dll", "name"),
    [
        ("cudnn64_9.dll", "cudnn_ops64_8.dll"),
        ("cudnn64_9.dll", "cublaslt64_13.dll"),
        ("cudnn64_9.dll", "nvrtc64_120_0.alt.dll"),
        ("nppif64_12.dll", "nppc64_12.dll"),
    ],
)
def test_what_is_of_another_version_is_no_partner(dll: str, name: str) -> None:
    assert not any(each.names.fullmatch(name) for each in partners(classify(dll), 12))


class TestDelvewheel:
    """The program itself is asked, as it is installed."""

    def test_it_takes_what_import_tables_lead_to(
        self, analysed: Callable[..., Analysis], tmp_path: Path
    ) -> None:
        analysis = analysed(NEEDS)
        at_hand = images(tmp_path, NPPC, NPPIF, NPPS, CUBLAS, CUBLAS_LT)
        decided = decide(
            *(analysis.wheel, analysis.images, at_hand),
            exclude=["cudart64_12.dll"],
            folder=tmp_path,
        )
        assert decided == {
            "nppc64_12.dll",
            "nppif64_12.dll",
            "cublas64_12.dll",
            "cublaslt64_12.dll",
        }

    def test_it_never_takes_the_drivers_dlls_though_they_be_at_hand(
        self, analysed: Callable[..., Analysis], tmp_path: Path
    ) -> None:
        analysis = analysed({"nppc64_12.dll": ["nppGetLibVersion"], "nvcuda.dll": ["cuInit"]})
        at_hand = images(tmp_path, NPPC, DRIVER)
        decided = decide(*(analysis.wheel, analysis.images, at_hand), exclude=[], folder=tmp_path)
        assert decided == {"nppc64_12.dll"}

    def test_what_it_does_not_find_is_said_in_one_line(
        self, analysed: Callable[..., Analysis], tmp_path: Path
    ) -> None:
        analysis = analysed(NEEDS)
        with pytest.raises(ToolError) as caught:
            decide(
                *(analysis.wheel, analysis.images, images(tmp_path, NPPC, NPPIF)),
                exclude=["cudart64_12.dll"],
                folder=tmp_path,
            )
        assert "Unable to find library: cublas64_12.dll" in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_nothing_is_left_of_its_work(
        self, analysed: Callable[..., Analysis], tmp_path: Path
    ) -> None:
        analysis = analysed({"nppc64_12.dll": ["nppGetLibVersion"]})
        folder = tmp_path / "work"
        folder.mkdir()
        decide(
            *(analysis.wheel, analysis.images, images(tmp_path, NPPC)), exclude=[], folder=folder
        )
        assert list(folder.iterdir()) == []


SOURCE = File(
    name="opencv-contrib-python",
    version="4.13.0.90",
    filename="opencv_contrib_python-4.13.0.90-cp37-abi3-win_amd64.whl",
    url="https://example.com/opencv_contrib_python-4.13.0.90-cp37-abi3-win_amd64.whl",
    sha256="ab" * 32,
)
CONTENTS = (
    Content(
        member="opencv_contrib_python.libs/nppc64_12.dll",
        family="npp",
        version="12.4.1.87",
        sha256="cd" * 32,
        licence="NVIDIA's",
        wheel=File(
            name="nvidia-npp-cu12",
            version="12.4.1.87",
            filename="nvidia_npp_cu12-12.4.1.87-py3-none-win_amd64.whl",
            url="pkg:pypi/nvidia-npp-cu12@12.4.1.87",
            sha256="ef" * 32,
        ),
    ),
    Content(
        member="opencv_contrib_python.libs/cudart64_12.dll",
        family="cudart",
        version="",
        sha256="01" * 32,
        licence="NVIDIA's",
    ),
)


class TestSbom:
    def made(self, timestamp: int = 315_532_800) -> bytes:
        product = File(name="opencv-contrib-python", version="4.13.0.90+cu129.vendored")
        return make_sbom(product, SOURCE, CONTENTS, timestamp=timestamp)

    def test_cyclonedx_own_schema_finds_nothing(self) -> None:
        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(self.made().decode()) is None

    def test_its_time_is_that_of_the_members(self) -> None:
        sbom = json.loads(self.made(1_600_000_000))
        assert sbom["metadata"]["timestamp"] == "2020-09-13T12:26:40+00:00"

    def test_it_names_the_tool_and_the_source_with_its_digest(self) -> None:
        metadata = json.loads(self.made())["metadata"]
        assert [tool["name"] for tool in metadata["tools"]["components"]] == ["repack"]
        (source,) = metadata["component"]["pedigree"]["ancestors"]
        assert source["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]
        assert source["externalReferences"][0]["url"] == SOURCE.url

    def test_a_dll_of_a_directory_comes_from_no_wheel(self) -> None:
        parts = {part["name"]: part for part in json.loads(self.made())["components"]}
        assert "purl" not in parts["cudart64_12.dll"]
        assert "version" not in parts["cudart64_12.dll"]


def images(folder: Path, *dlls: Pretended) -> dict[str, Image]:
    """Return what DLLs say of themselves, by name."""
    found = {}
    for dll in dlls:
        path = folder / dll.name
        path.write_bytes(dll.content)
        found[path.name] = read_image(path, name=path.name)
    return found


def code_of(dll: str, symbol: str) -> bytes:
    """Return the machine code of a stand-in's function, with the text behind it."""
    content = stand_in(dll, [symbol])
    assert content is not None
    binary = lief.PE.parse(list(content))
    assert isinstance(binary, lief.PE.Binary)
    (function,) = binary.exported_functions
    return bytes(binary.get_content_from_virtual_address(function.address, 100))


def called(code: bytes, result: type, second: object = None) -> object:
    """Return what the code returns, which takes its arguments as Windows hands them over."""
    memory = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(code)
    KEPT.append(memory)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    function = ctypes.CFUNCTYPE(result, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)(address)
    # The register of Windows' second argument is that of Linux's third.
    return function(None, None, second)


#: Code that was called: texts lie behind it.
KEPT: list[mmap.mmap] = []
