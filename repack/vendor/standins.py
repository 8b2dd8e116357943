"""Stand-ins for the driver's DLLs: whatever is asked of one, it answers that there is no device.

cv2.pyd imports them at load time, so that without a driver it does not load at all. A stand-in is
made for one binary: it exports what that imports and nothing else.
"""

from collections.abc import Iterable

from repack.dlls.families import Kind
from repack.dlls.writing import make_dll
from repack.inspect.analysis import Analysis
from repack.inspect.findings import STAND_INS, make_finding
from repack.plan import Supplement
from repack.vendor.members import describe_cargo
from repack.wheel.metadata import entry_of
from repack.wheel.writer import Added, Carried

_ORIGIN = "a stand-in that repack wrote"
#: DLL -> what its functions return: CUDA_ERROR_NO_DEVICE; NV_ENC_ERR_NO_ENCODE_DEVICE;
#: NVML_ERROR_DRIVER_NOT_LOADED; NV_OF_ERR_OF_NOT_AVAILABLE; no function of that number (NVAPI).
_ANSWERS = {
    "nvcuda.dll": 100,
    "nvcuvid.dll": 100,
    "nvencodeapi64.dll": 1,
    "nvml.dll": 9,
    "nvofapi64.dll": 1,
    "nvapi64.dll": 0,
}
#: Functions that return something else: a state (cudaVideoState_Error), ...
_NUMBERS = {"cuvidGetVideoSourceState": -1}
#: ... a text, ...
_TEXTS = {"nvmlErrorString": "Driver Not Loaded"}
#: ... or success, with a text where their second argument points to.
_TEXTS_BY_POINTER = {
    "cuGetErrorName": "CUDA_ERROR_NO_DEVICE",
    "cuGetErrorString": "no CUDA-capable device is detected",
}


def stand_ins(analysis: Analysis) -> Supplement:
    """Return the stand-ins that the wheel needs, and a finding for each DLL that can have none."""
    carried, findings = [], []
    for need in analysis.needs:
        if need.dll.kind is not Kind.DRIVER or need.in_wheel is not None:
            continue
        key, asker = need.dll.key, need.needed_by[0]
        if key not in _ANSWERS or analysis.images[asker].machine != "x86-64":
            findings.append(make_finding("no-stand-in", asker, need.dll.name))
            continue
        content = make_stand_in(key, analysis.symbols(need))
        path = f"{STAND_INS}/{key.removesuffix('.dll')}/{key}"
        added = Added(name=path, content=content)
        carried.append(Carried(added, entry_of(content)))
    return Supplement(
        label="stub",
        carried=tuple(carried),
        cargo=tuple(describe_cargo(dll, "driver", _ORIGIN) for dll in carried),
        findings=tuple(findings),
    )


def make_stand_in(key: str, symbols: Iterable[str]) -> bytes:
    """Return a DLL that exports `symbols`, by name or "#12"."""
    return make_dll(key, code={symbol: _code(symbol, _ANSWERS[key]) for symbol in symbols})


def _code(symbol: str, answer: int) -> bytes:
    """Return the machine code of one function; it takes any arguments."""
    if symbol in _TEXTS:
        # lea rax, [the text behind]; ret
        return bytes.fromhex("488D0501000000 C3") + _TEXTS[symbol].encode() + b"\0"
    if symbol in _TEXTS_BY_POINTER:
        # lea rax, [the text behind]; mov [rdx], rax; xor eax, eax; ret
        code = bytes.fromhex("488D0506000000 488902 31C0 C3")
        return code + _TEXTS_BY_POINTER[symbol].encode() + b"\0"
    # mov eax, number; ret
    return b"\xb8" + _NUMBERS.get(symbol, answer).to_bytes(4, "little", signed=True) + b"\xc3"
