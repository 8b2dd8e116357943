"""Small DLLs for x86-64, written byte by byte: exports that are code, or lead to another DLL."""

import struct
from collections.abc import Iterable, Mapping

#: Where the one section begins in memory, and in the file.
START = 0x1000
SECTOR = 0x200
#: Nothing here holds an absolute address, but some loaders refuse to move a DLL that has no block.
NO_RELOCATIONS = struct.pack("<IIHH", START, 12, 0, 0)
#: Code, to be read and executed, never to be written.
_SECTION_FLAGS = 0x60000020
#: The DLL may lie anywhere and its data never runs, as every linker says today.
_DLL_FLAGS = 0x160

#: Address and size.
Place = tuple[int, int]


def make_dll(
    name: str,
    *,
    forwards: Mapping[str, str] | None = None,
    code: Mapping[str, bytes] | None = None,
) -> bytes:
    """Return a DLL called `name` that the Windows loader accepts; the same parts, the same bytes.

    `forwards` maps an export to "module.symbol", `code` an export to machine code that must not
    depend on where it lies.
    """
    body = bytearray()
    places = {export: place(body, content, 16) for export, content in (code or {}).items()}
    exports = place_exports(body, name, places, forwards or {})
    relocations = place(body, NO_RELOCATIONS, 4), len(NO_RELOCATIONS)
    return _headers(len(body), exports, relocations) + body + bytes(-len(body) % SECTOR)


def place(body: bytearray, data: bytes, align: int = 1) -> int:
    """Append `data` and return its address."""
    body.extend(bytes(-len(body) % align))
    body.extend(data)
    return START + len(body) - len(data)


def place_text(body: bytearray, text: str) -> int:
    """Append `text` as a C string and return its address."""
    return place(body, text.encode("ascii") + b"\0")


def place_exports(
    body: bytearray, name: str, places: Mapping[str, int], forwards: Mapping[str, str]
) -> Place:
    """Append the export directory and return where it lies.

    `places` are the addresses of code. The loader takes an address for a forwarder because it
    points into this very directory, and looks names up by halves, so they are sorted as bytes.
    """
    exports = sorted({*places, *forwards}, key=str.encode)
    count = len(exports)
    start = place(body, bytes(40), 8)
    targets = [
        places[export] if export in places else place_text(body, forwards[export])
        for export in exports
    ]
    names = [place_text(body, export) for export in exports]
    tables = (
        place(body, struct.pack(f"<{count}I", *targets), 4),
        place(body, struct.pack(f"<{count}I", *names), 4),
        place(body, struct.pack(f"<{count}H", *range(count)), 2),
    )
    own = place_text(body, name)
    header = struct.pack("<12x7I", own, 1, count, count, *tables)
    body[start - START : start - START + 40] = header
    return start, START + len(body) - start


def _headers(size: int, exports: Place, relocations: Place) -> bytes:
    """Return all that lies before the section, which has `size` bytes."""
    raw, memory = size + -size % SECTOR, size + -size % START
    optional = struct.pack("<HBBIIIII", 0x20B, 14, 0, raw, 0, 0, 0, START)
    optional += struct.pack("<QII", 0x180000000, START, SECTOR)
    optional += struct.pack("<HHHHHH", 6, 0, 0, 0, 6, 0)
    optional += struct.pack("<IIIIHH", 0, START + memory, START, 0, 2, _DLL_FLAGS)
    optional += struct.pack("<QQQQII", 0x100000, 0x1000, 0x100000, 0x1000, 0, 16)
    optional += struct.pack("<II32xII80x", *exports, *relocations)
    dos = b"MZ" + bytes(58) + struct.pack("<I", 64)
    coff = struct.pack("<4sHHIIIHH", b"PE\0\0", 0x8664, 1, 0, 0, 0, len(optional), 0x2022)
    section = struct.pack("<8sIIII12xI", b".text", size, START, raw, START, _SECTION_FLAGS)
    return (dos + coff + optional + section).ljust(START, b"\0")


# Stand-ins for the driver's DLLs: whatever is asked of one, it answers that there is no device

#: DLL -> what its functions return: CUDA_ERROR_NO_DEVICE; NV_ENC_ERR_NO_ENCODE_DEVICE;
#: NVML_ERROR_DRIVER_NOT_LOADED; NV_OF_ERR_OF_NOT_AVAILABLE; no function of that number (NVAPI).
ANSWERS: Mapping[str, int] = {
    "nvcuda.dll": 100,
    "nvcuvid.dll": 100,
    "nvencodeapi64.dll": 1,
    "nvml.dll": 9,
    "nvofapi64.dll": 1,
    "nvapi64.dll": 0,
}
#: lea rax, [the text behind]; ret
_RETURN_TEXT = "488D0501000000 C3"
#: lea rax, [the text behind]; mov [rdx], rax; xor eax, eax; ret
_STORE_TEXT = "488D0506000000 488902 31C0 C3"
#: Functions that return a text, or success and the text where their second argument points to.
_TEXTS = {
    "nvmlErrorString": (_RETURN_TEXT, "Driver Not Loaded"),
    "cuGetErrorName": (_STORE_TEXT, "CUDA_ERROR_NO_DEVICE"),
    "cuGetErrorString": (_STORE_TEXT, "no CUDA-capable device is detected"),
}


def make_stand_in(key: str, symbols: Iterable[str]) -> bytes:
    """Return a DLL that exports `symbols` and says, whatever it is asked, that there is no device.

    A DLL that is not one of `ANSWERS` says it in the words of CUDA.
    """
    # mov eax, number; ret
    number = ANSWERS.get(key, ANSWERS["nvcuda.dll"])
    code = dict.fromkeys(symbols, b"\xb8" + number.to_bytes(4, "little") + b"\xc3")
    for symbol in code.keys() & _TEXTS:
        instructions, text = _TEXTS[symbol]
        code[symbol] = bytes.fromhex(instructions) + text.encode() + b"\0"
    return make_dll(key, code=code)
