"""What made-up Windows machines are made of: small genuine DLLs, and what a build of cv2 needs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pefile
import pytest
from dllmaking import make_dll

from repack.dlls.families import classify, list_cures
from repack.patching.overlays import builtin_folder

FILE = builtin_folder() / "cv2" / "cuda_dlls.py"
REPORT = FILE.with_name("_cuda_report.py")
PREFIX = r"C:\Python312"
SITE = rf"{PREFIX}\Lib\site-packages"
RETURN_0 = bytes.fromhex("31C0C3")

Imports = Mapping[str, Sequence[str]]


def dll(
    *exports: str, imports: Imports | None = None, machine: str = "x86-64", starts: bool = True
) -> bytes:
    """Return a DLL whose functions return 0; one that does not start gives error 1114."""
    code = dict.fromkeys(exports, RETURN_0)
    entry_point = b"" if starts else RETURN_0
    return make_dll("any.dll", code=code, imports=imports, machine=machine, entry_point=entry_point)


def arm64_dll(imports: Imports | None = None, metadata: int = 1) -> bytes:
    """Return a DLL for ARM64 that x86-64 processes load too, if it has CHPE metadata."""
    configuration = (208).to_bytes(4, "little") + bytes(196) + metadata.to_bytes(8, "little")
    content = make_dll("any.dll", code={"f": configuration}, imports=imports, machine="arm64")
    image = pefile.PE(data=content, fast_load=True)
    directory = image.OPTIONAL_HEADER.DATA_DIRECTORY[10]
    directory.VirtualAddress = image.get_rva_from_offset(content.index(configuration))
    directory.Size = len(configuration)
    return bytes(image.write())


#: Two DLLs of CUDA, of which one needs the other.
SOUND = {
    "nppc64_12.dll": dll("nppGetLibVersion"),
    "nppif64_12.dll": dll("nppiFilter", imports={"nppc64_12.dll": ["nppGetLibVersion"]}),
}
#: What the native module imports at load time.
IMPORTS = {
    "nppc64_12.dll": ["nppGetLibVersion"],
    "nppif64_12.dll": ["nppiFilter"],
    "KERNEL32.dll": ["Sleep"],
}
DLLS = tuple(
    classify(name)
    for name in (
        *(*SOUND, "cublas64_12.dll", "cudnn64_9.dll", "nvcuda.dll", "MF.dll", "dxgi.dll"),
        *("MSVCP140.dll", "python3.dll", "python39.dll", "python312.dll"),
    )
)
BUILD: dict[str, Any] = {
    "cuda": (12, 9),
    "cures": list_cures(DLLS, (12, 9)),
    "families": {"npp": tuple(SOUND)},
    "kinds": {dll.key: dll.family for dll in DLLS},
    "numpy": "numpy>=1.23,<2",
    "opencv": "4.13.0",
    "original": {"filename": "opencv_contrib_python-4.13.0-cp37-abi3-win_amd64.whl"},
    "requires": {
        "cublas": ("nvidia-cublas-cu12>=12.4,<13",),
        "cudnn": ("nvidia-cudnn-cu12>=9,<10",),
        "npp": ("nvidia-npp-cu12>=12.4.0,<13",),
    },
}


def table(names: str, rows: Mapping[str, tuple[object, ...]]) -> pytest.MarkDecorator:
    """Return the mark that runs a test for each row of a table; its key is the row's id."""
    return pytest.mark.parametrize(names, [pytest.param(*rows[key], id=key) for key in rows])


def execute(file: Path, **names: object) -> Any:  # noqa: ANN401 - its names are made at run time
    """Return a new module made of a file, outside of any package, that has those names before."""
    module = ModuleType(file.stem)
    vars(module).update(names, __file__=str(file))
    exec(compile(file.read_text("utf-8"), file, "exec"), vars(module))  # noqa: S102 - tested
    return module
