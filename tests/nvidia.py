"""Pretends to be NVIDIA: wheels and toolkit directories with small DLLs of the genuine names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dllmaking import make_dll
from wheelmaking import make_wheel

#: Authenticode lies behind all sections, and any rewriting would lose it.
SIGNATURE = b"a signature that must not be lost"
_RETURN_42 = bytes.fromhex("B82A000000C3")


@dataclass(frozen=True, kw_only=True)
class Pretended:
    """One DLL: its name, what it exports, and what it imports of which other."""

    name: str
    exports: Sequence[str] = ("function",)
    imports: Mapping[str, Sequence[str]] = field(default_factory=dict)
    machine: str = "x86-64"

    @property
    def content(self) -> bytes:
        """Return the file."""
        code = dict.fromkeys(self.exports, _RETURN_42)
        made = make_dll(self.name, code=code, imports=self.imports, machine=self.machine)
        return made + SIGNATURE


NPPC = Pretended(name="nppc64_12.dll", exports=["nppGetLibVersion"])
NPPIF = Pretended(
    name="nppif64_12.dll",
    exports=["nppiFilter_8u_C1R"],
    imports={"nppc64_12.dll": ["nppGetLibVersion"]},
)
#: Nothing asks for it.
NPPS = Pretended(name="npps64_12.dll")
CUDART = Pretended(name="cudart64_12.dll", exports=["cudaGetDeviceCount"])
CUBLAS = Pretended(
    name="cublas64_12.dll", exports=["cublasCreate_v2"], imports={"cublasLt64_12.dll": ["function"]}
)
CUBLAS_LT = Pretended(name="cublasLt64_12.dll")
CUDNN = Pretended(name="cudnn64_9.dll", exports=["cudnnGetVersion"])
CUDNN_PARTS = (
    Pretended(name="cudnn_graph64_9.dll"),
    Pretended(name="cudnn_ops64_9.dll", imports={"cudnn_graph64_9.dll": ["function"]}),
    Pretended(name="cudnn_cnn64_9.dll", imports={"cudnn_ops64_9.dll": ["function"]}),
    *(Pretended(name=f"cudnn_{part}64_9.dll") for part in ("adv", "heuristic", "ext")),
    *(Pretended(name=f"cudnn_engines_{part}compiled64_9.dll") for part in ("pre", "runtime_")),
)
NVRTC = Pretended(name="nvrtc64_120_0.dll")
NVRTC_BUILTINS = Pretended(name="nvrtc-builtins64_129.dll")
NVJPEG = Pretended(name="nvjpeg64_12.dll", exports=["nvjpegCreate"])
CUSPARSE = Pretended(
    name="cusparse64_12.dll",
    exports=["cusparseCreate"],
    imports={"nvJitLink_120_0.dll": ["function"]},
)
NVJITLINK = Pretended(name="nvJitLink_120_0.dll")
DRIVER = Pretended(name="nvcuda.dll", exports=["cuInit"])
#: Distribution, version -> folder, DLLs: the wheels that there are.
WHEELS = {
    ("nvidia_npp_cu12", "12.4.1.87"): ("nvidia/npp/bin", (NPPC, NPPIF, NPPS)),
    ("nvidia_cuda_runtime_cu12", "12.9.79"): ("nvidia/cuda_runtime/bin", (CUDART,)),
    ("nvidia_cublas_cu12", "12.9.2.10"): ("nvidia/cublas/bin", (CUBLAS, CUBLAS_LT)),
    ("nvidia_cudnn_cu12", "9.28.0.42"): ("nvidia/cudnn/bin", (CUDNN, *CUDNN_PARTS)),
    ("nvidia_cuda_nvrtc_cu12", "12.9.86"): ("nvidia/cuda_nvrtc/bin", (NVRTC, NVRTC_BUILTINS)),
}
LICENCE = b"The terms of NVIDIA, pretended.\n"


def nvidia_wheels(folder: Path) -> Path:
    """Write all of `WHEELS` into `folder`, which pip can be pointed to, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for (name, version), (place, dlls) in WHEELS.items():
        files = {f"{place}/{dll.name}": dll.content for dll in dlls}
        files[f"{name}-{version}.dist-info/licenses/License.txt"] = LICENCE
        make_wheel(folder / f"{name}-{version}-py3-none-win_amd64.whl", files)
    return folder


def toolkit(folder: Path, *dlls: Pretended, licence: bool = True) -> Path:
    """Lay a toolkit with these DLLs out in `folder` and return its `bin`."""
    (folder / "bin").mkdir(parents=True)
    for dll in dlls:
        (folder / "bin" / dll.name).write_bytes(dll.content)
    if licence:
        (folder / "EULA.txt").write_bytes(LICENCE)
    return folder / "bin"
