"""NVIDIA's genuine DLLs, by family and CUDA, and what can be wrong with such a file."""

import shutil
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from dllmaking import make_dll
from genuine import CUDA_10, unpacked_artifact

from proof.packages import Parts
from proof.scenarios import Dlls
from repack.console import SILENT
from repack.dlls.pe import read_exports
from repack.smoke.outfit import unpack_dlls
from repack.wheel.archive import open_archive

#: CUDA -> family -> what the index has its DLLs in. Of cuDNN there are two majors for CUDA 12.
_FAMILIES = {"npp": "npp", "cudart": "cuda-runtime", "cublas": "cublas", "cufft": "cufft"}
REQUIREMENTS: Mapping[int, Mapping[str, str]] = {
    11: {family: f"nvidia-{name}-cu11" for family, name in _FAMILIES.items()}
    | {"cudnn": "nvidia-cudnn-cu11==8.9.4.19"},
    12: {family: f"nvidia-{name}-cu12" for family, name in _FAMILIES.items()}
    | {"cudnn": "nvidia-cudnn-cu12==9.*", "cudnn8": "nvidia-cudnn-cu12==8.9.7.29"},
    13: {family: f"nvidia-{name}==13.*" for family, name in _FAMILIES.items()}
    | {"cufft": "nvidia-cufft==12.*", "cudnn": "nvidia-cudnn-cu13==9.*"},
}
#: The one toolkit that is no wheel of NVIDIA's: all of CUDA 10.2 and cuDNN 7.
WHOLE = "toolkit"
#: A stand-in for the driver's own DLLs: every call says that there is no device.
DRIVER = "driver"
DRIVER_DLLS: Mapping[str, Sequence[str]] = {"nvcuda.dll": ("cuInit", "cuDriverGetVersion")}

#: `mov eax, 100; ret`: CUDA_ERROR_NO_DEVICE.
_NO_DEVICE = bytes.fromhex("B864000000C3")
_MACHINES = ("x86", "arm64")
#: Of a truncated DLL that much is left at most.
_HEAD = 1 << 20
#: Raise it when one of them is made in another way.
_FORMAT = "2"
_ANY_PYTHON = "3.12"


def find_dlls(parts: Parts, wanted: Dlls, cuda: int) -> dict[str, Path]:
    """Return the DLLs that lie in one directory: name there -> file of this machine."""
    found = {
        path.name: path
        for family in wanted.families
        for path in sorted(_find_folder(parts, wanted.cuda or cuda, family).glob("*.dll"))
        if _is_wanted(path.name, wanted)
    }
    if not found:
        raise LookupError(f"no DLL is {wanted}")
    if not wanted.form:
        return found
    folder = parts.folder / "dlls" / "-".join([_FORMAT, wanted.form, *wanted.lacks])
    folder.mkdir(parents=True, exist_ok=True)
    made = (_make_faulty(path, wanted, folder / path.name) for path in found.values())
    return {name: path for files in made for name, path in files.items()}


def find_members(parts: Parts, requirement: str) -> dict[str, Path]:
    """Return the DLLs of one of NVIDIA's wheels where it puts them: member -> file."""
    wheel, folder = _unpack(parts, requirement)
    names = [member.name for member in open_archive(wheel).members]
    return {
        name: folder / name.rpartition("/")[2] for name in names if name.lower().endswith(".dll")
    }


def _find_folder(parts: Parts, cuda: int, family: str) -> Path:
    """Return the folder of a family's DLLs."""
    if family == DRIVER:
        return parts.once(DRIVER, lambda: _make_driver(parts.folder / "dlls" / DRIVER))
    if family == WHOLE:
        return parts.once(WHOLE, lambda: unpacked_artifact(CUDA_10.dll_artifact))
    return _unpack(parts, REQUIREMENTS[cuda][family])[1]


def _unpack(parts: Parts, requirement: str) -> tuple[Path, Path]:
    """Return one of NVIDIA's wheels, and the folder of its DLLs."""

    def unpack() -> tuple[Path, Path]:
        wheel = parts.supply.wheel(requirement, _ANY_PYTHON)
        return wheel.path, unpack_dlls(wheel, parts.supply.cache, SILENT)

    return parts.once(requirement, unpack)


def _make_driver(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, symbols in DRIVER_DLLS.items():
        _write(folder / name, make_dll(name, code=dict.fromkeys(symbols, _NO_DEVICE)))
    return folder


def _make_faulty(genuine: Path, wanted: Dlls, file: Path) -> dict[str, Path]:
    """Return what lies there in place of a genuine DLL."""
    if wanted.form in _MACHINES:
        code = dict.fromkeys(read_exports(genuine), _NO_DEVICE)
        _write(file, make_dll(genuine.name, code=code, machine=wanted.form))
    elif wanted.form == "truncated":
        with genuine.open("rb") as stream:
            _write(file, stream.read(min(_HEAD, genuine.stat().st_size // 2)))
    else:
        behind = f"genuine_{genuine.name}"
        _write(file, _older(genuine, behind, wanted.lacks))
        return {genuine.name: file, behind: genuine}
    return {genuine.name: file}


def _is_wanted(name: str, wanted: Dlls) -> bool:
    only = not wanted.only or any(fnmatchcase(name, pattern) for pattern in wanted.only)
    return only and not any(fnmatchcase(name, pattern) for pattern in wanted.without)


def _older(genuine: Path, behind: str, lacks: Sequence[str]) -> bytes:
    """Return a DLL that passes every call on to the genuine one, but lacks some symbols."""
    stem = behind.removesuffix(".dll")
    exports = [name for name in read_exports(genuine) if name not in lacks]
    return make_dll(genuine.name, forwards={name: f"{stem}.{name}" for name in exports})


def _write(path: Path, content: bytes) -> None:
    """Write a file beside its place and rename it: another thread may read it already."""
    if path.exists():
        return
    unfinished = path.with_name(f"{path.name}.{id(content)}")
    unfinished.write_bytes(content)
    shutil.move(unfinished, path)
