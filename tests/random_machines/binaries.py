"""The PE files of a machine: DLLs of a few hundred bytes, and a native module that loads."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import cache

import pefile

from random_machines.drawing import ARM64, CUT_OFF, IMPORTS, X86
from repack.pe import make_dll

RETURN_0 = bytes.fromhex("31C0C3")
# PyInit_cv2: returns PyModule_Create2(definition, 3), where the definition is 128 bytes of
# PyMem_Calloc with a name at offset 40. The numbers of four zero bytes are filled in.
INITIALIZE = bytes.fromhex(
    "4883EC28"  # sub rsp, 40
    "B901000000"  # mov ecx, 1
    "BA80000000"  # mov edx, 128
    "FF1500000000"  # call [PyMem_Calloc]
    "488D1500000000"  # lea rdx, [name]
    "48895028"  # mov [rax + 40], rdx
    "4889C1"  # mov rcx, rax
    "BA03000000"  # mov edx, 3
    "4883C428"  # add rsp, 40
    "FF2500000000"  # jmp [PyModule_Create2]
)
NAME = b"cv2\0"
CALLOC_END, NAME_END, CREATE_END = 20, 27, len(INITIALIZE)


@cache
def make_file(name: str, state: str) -> bytes:
    """Return a DLL in that state."""
    imports = {IMPORTS[name]: ["f"]} if name in IMPORTS else None
    machine = state if state in (X86, ARM64) else "x86-64"
    content = make_dll(name, code={"f": RETURN_0}, imports=imports, machine=machine)
    return content[: len(content) // 2] if state == CUT_OFF else content


@cache
def make_native(names: tuple[str, ...]) -> bytes:
    """Return a cv2.pyd that imports these DLLs, and an empty module where they load."""
    imports = {"python3.dll": ["PyMem_Calloc", "PyModule_Create2"]} | {
        name: ["f"] for name in names
    }
    code = INITIALIZE + NAME
    image = pefile.PE(data=_make_pyd(code, imports))
    base = image.OPTIONAL_HEADER.ImageBase
    start = image.DIRECTORY_ENTRY_EXPORT.symbols[0].address
    calloc, create = (entry.address - base for entry in image.DIRECTORY_ENTRY_IMPORT[0].imports)
    targets = {CALLOC_END: calloc, NAME_END: start + len(INITIALIZE), CREATE_END: create}
    for end, target in targets.items():
        code = code[: end - 4] + struct.pack("<i", target - start - end) + code[end:]
    return _make_pyd(code, imports)


def _make_pyd(code: bytes, imports: Mapping[str, list[str]]) -> bytes:
    return make_dll("cv2.pyd", code={"PyInit_cv2": code}, imports=imports)
