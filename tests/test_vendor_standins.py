"""`--driver-stub`: what stand-ins for the driver's DLLs answer, and which there are."""

import ctypes
import mmap
from collections.abc import Mapping
from pathlib import Path

import pefile
import pytest
from wheelmaking import make_pyd, make_wheel

from repack.dlls.writing import make_stand_in
from repack.inspect import analyse
from repack.plan import Supplement
from repack.vendor import add_stand_ins

NVCUDA = {"nvcuda.dll": ["cuInit"]}
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


ANSWERS = {
    "CUDA_ERROR_NO_DEVICE": ("nvcuda.dll", "cuInit", 100),
    "no such function": ("nvapi64.dll", "nvapi_QueryInterface", 0),
    "a text": ("nvml.dll", "nvmlErrorString", b"Driver Not Loaded"),
}


@pytest.mark.parametrize(("dll", "symbol", "answer"), ANSWERS.values(), ids=ANSWERS)
def test_each_function_says_that_there_is_no_device(dll: str, symbol: str, answer: object) -> None:
    kind = ctypes.c_char_p if isinstance(answer, bytes) else ctypes.c_int
    assert called(dll, symbol, kind) == answer


def test_a_function_that_puts_a_text_somewhere_succeeds() -> None:
    place = ctypes.c_char_p()
    assert called("nvcuda.dll", "cuGetErrorName", ctypes.c_int, ctypes.byref(place)) == 0
    assert place.value == b"CUDA_ERROR_NO_DEVICE"


TWO = {**NVCUDA, "nvEncodeAPI64.dll": ["NvEncodeAPICreateInstance"]}
#: What is needed, how, on which processor, and for what there are stand-ins.
NEEDS = {
    "a folder for each": (TWO, "imports", "x86-64", ["nvcuda", "nvencodeapi64"]),
    "by delay-load": (NVCUDA, "delay_imports", "x86-64", ["nvcuda"]),
    "no known answers": ({"nvoptix.dll": ["f"]}, "imports", "x86-64", []),
    "another processor": (NVCUDA, "imports", "arm64", []),
}


@pytest.mark.parametrize(("needs", "table", "machine", "folders"), NEEDS.values(), ids=NEEDS)
def test_a_wheel_gets_the_stand_ins_that_there_can_be(
    needs: Mapping[str, list[str]], table: str, machine: str, folders: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "opencv_contrib_python-4.13.0.90-cp37-abi3-win_amd64.whl"
    pyd = make_pyd(**{table: needs}, machine=machine)
    analysis = analyse(make_wheel(path, {"cv2/__init__.py": b"", "cv2/cv2.pyd": pyd}))
    made = add_stand_ins(Supplement(), analysis)
    members = [f"cv2/stand-ins/{name}/{name}.dll" for name in folders]
    assert [it.member for it in made.cargo] == members
    assert [member.entry.name for member in made.carried] == members
    assert [finding.code for finding in made.findings] == ([] if folders else ["no-stand-in"])
