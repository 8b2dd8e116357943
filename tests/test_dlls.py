"""DLLs: what a name tells, by the table and beyond it, and what a PE file holds."""

import struct
from contextlib import suppress
from pathlib import Path

import dllmaking
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repack.dlls.families import Dll, Kind, classify, index_requirement
from repack.dlls.pe import Image, Import, read_image
from repack.errors import InputError

HASH = "0123456789abcdef0123456789abcdef"

#: By name: the family, and the first and last of the CUDA majors that the DLL can be of.
TOOLKIT = {
    "nppc64_80.dll": ("npp", 8, 8),
    "cublasLt64_12.dll": ("cublas", 12, 12),
    "cufftw64_12.dll": ("cufft", 13, 13),
    "curand64_10.dll": ("curand", 10, 39),
    "nvrtc64_120_0.alt.dll": ("nvrtc", 12, 12),
    "nvrtc-builtins64_1210.dll": ("nvrtc", 12, 12),
    "cupti64_2025.1.0.dll": ("cupti", 0, 0),
    "cudss64_0.dll": ("cuda-other", 0, 0),
    "cudnn64_7.dll": ("cudnn", 8, 10),
    "cudnn_engines_runtime_compiled64_9.dll": ("cudnn", 11, 39),
}


@pytest.mark.parametrize("name", TOOLKIT)
def test_a_toolkit_dll_is_known_by_its_name_also_as_delvewheel_writes_it(name: str) -> None:
    for ending in (".dll", f"-{HASH}.dll", "-0123ABCD.dll"):
        dll = classify(name.replace(".dll", ending))
        assert (dll.family, min(dll.majors, default=0), max(dll.majors, default=0)) == TOOLKIT[name]
        assert dll.kind is (Kind.CUDNN if dll.family == "cudnn" else Kind.CUDA)


#: Names by family and kind.
OTHERS = {
    ("driver", Kind.DRIVER): ("nvcuda.dll", "nvcuvid.dll", "nvEncodeAPI64.dll", "nvofapi64.dll"),
    ("opencl", Kind.DRIVER): ("OpenCL.dll",),
    ("windows", Kind.WINDOWS): ("KERNEL32.dll", "WINSPOOL.DRV", "ucrtbase.dll", "d3d11.dll"),
    ("media-foundation", Kind.WINDOWS): ("MFPlat.DLL", "MF.dll"),
    ("api-set", Kind.API_SET): ("api-ms-win-crt-heap-l1-1-0.dll", "ext-ms-win-gdi-l1-1-0.dll"),
    ("python", Kind.PYTHON): ("python3.dll", "python312.dll", "python314t.dll", "python3t.dll"),
    # mfc140u.dll is MFC, not Media Foundation.
    ("vc-runtime", Kind.VC_RUNTIME): ("MSVCP140_1.dll", "CONCRT140.dll", "mfc140u.dll"),
    # cublas.dll without a number is not NVIDIA's, d3dx9_43.dll is a redistributable of DirectX.
    ("unknown", Kind.UNKNOWN): ("opencv_core490.dll", "cublas.dll", "d3dx9_43.dll"),
}


@pytest.mark.parametrize(("family", "kind"), OTHERS)
def test_other_dlls_are_told_apart(family: str, kind: Kind) -> None:
    for name in OTHERS[family, kind]:
        assert classify(name) == Dll(name=name, family=family, kind=kind)


#: NVIDIA's wheels begin with CUDA 11; 13 dropped the suffix, and most names then tell no major.
WHEELS = {
    ("nppc64_11.dll", 11): "nvidia-npp-cu11",
    ("nppc64_14.dll", 14): "nvidia-npp==14.*",
    ("nvrtc64_130_0.dll", 13): "nvidia-cuda-nvrtc==13.*",
    ("cudnn64_9.dll", 13): "nvidia-cudnn-cu13==9.*",
    ("nvcuda.dll", 12): "",
}


@pytest.mark.parametrize(("name", "major"), WHEELS)
def test_nvidias_wheel_is_known_for_each_dll(name: str, major: int) -> None:
    assert index_requirement(classify(name), major) == WHEELS[name, major]


# PE files: read as other tools read them, refused as the loader refuses, written for both

RETURN_42 = b"\xb8\x2a\x00\x00\x00\xc3"
IMPORTS = (
    Import(dll="KERNEL32.dll", symbols=("Sleep", "#12")),
    Import(dll="nppc64_12.dll", symbols=("nppGetLibVersion",)),
)
DELAYED = (Import(dll="cublas64_12.dll", symbols=("cublasCreate_v2", "cublasDestroy_v2")),)


def asked(imports: tuple[Import, ...]) -> dict[str, tuple[str, ...]]:
    return {imported.dll: imported.symbols for imported in imports}


def whole_dll(machine: str = "x86-64") -> bytes:
    """Return a DLL that has every kind of table."""
    return dllmaking.make_dll(
        "whole.dll",
        forwards={"Sleepy": "KERNEL32.Sleep", "another": "python312.PyObject_Repr"},
        code={"answer": RETURN_42, "Zero": b"\x31\xc0\xc3"},
        imports=asked(IMPORTS),
        delay_imports=asked(DELAYED),
        machine=machine,
    )


def endless_dll() -> bytes:
    """Return a DLL whose descriptors all point to one long list: few bytes, many symbols."""
    imports = {f"x{number}.dll": ["s"] * (8000 if number == 0 else 1) for number in range(20)}
    content = bytearray(dllmaking.make_dll("a.dll", imports=imports))
    (table,) = struct.unpack_from("<I", content, 208)
    content[table : table + 400] = content[table : table + 20] * 20
    return bytes(content)


def read(folder: Path, content: bytes) -> Image:
    """Return what a file of this content is, as a member of a wheel."""
    path = folder / "some.dll"
    path.write_bytes(content)
    return read_image(path, name="cv2/cv2.pyd", file="some.whl")


@pytest.mark.parametrize("machine", ["x86-64", "arm64", "x86"])
def test_all_tables_of_a_dll_are_read(machine: str, tmp_path: Path) -> None:
    image = read(tmp_path, whole_dll(machine))
    assert (image.machine, image.imports, image.delay_imports) == (machine, IMPORTS, DELAYED)
    assert image.exports == ("Sleepy", "Zero", "another", "answer")


def test_all_symbols_are_read_where_pefile_stops_and_a_dll_without_any_is_left_out(
    tmp_path: Path,
) -> None:
    many = [f"symbol_{number}" for number in range(10_000)]
    imports = {"unused.dll": [], "big.dll": many, "last.dll": ["x"]}
    image = read(tmp_path, dllmaking.make_dll("a.dll", imports=imports))
    assert asked(image.imports) == {"big.dll": (*many,), "last.dll": ("x",)}


def test_what_old_linkers_wrote_is_read_as_the_loader_does(tmp_path: Path) -> None:
    content = bytearray(whole_dll())
    # A section that ends within a sector.
    content[content.index(b".text") + 20] += 1
    (table,) = struct.unpack_from("<I", content, 208)
    # An import without the first list, and one without the second, which ends the table.
    content[table : table + 4] = bytes(4)
    content[table + 36 : table + 40] = bytes(4)
    assert read(tmp_path, bytes(content) + bytes(512)).imports == IMPORTS[:1]


REFUSED = {
    "empty": (b"", "empty file"),
    "cut at the end": (whole_dll()[:-600], "it is cut short: section"),
    "no file's name": (whole_dll().replace(b"KERNEL32", b"KERNEL|2"), r"called 'KERNEL\|2.dll'"),
    "a name that a terminal obeys": (whole_dll().replace(b"KERNEL32", b"KERNEL\x1b2"), "called"),
    "a table without end": (endless_dll(), "its import table has no end"),
}


@pytest.mark.parametrize(("content", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_the_loader_would_not_take_is_refused_in_one_line(
    content: bytes, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        read(tmp_path, content)
    assert str(caught.value).startswith("some.whl: 'cv2/cv2.pyd': not a Windows program or DLL: ")


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    flips=st.lists(st.tuples(st.integers(0, 2**16), st.integers(1, 255)), max_size=6),
    size=st.integers(0, 2**13),
)
def test_flipped_and_lost_bytes_are_read_or_refused_and_nothing_else(
    flips: list[tuple[int, int]], size: int, tmp_path: Path
) -> None:
    content = bytearray(whole_dll())
    for place, change in flips:
        content[place % len(content)] ^= change
    with suppress(InputError):
        read(tmp_path, bytes(content[:size]))
