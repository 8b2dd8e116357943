"""What machines are made of: wheels as pip installs them, untouched and fixed; NVIDIA's DLLs.

All is fetched or made once, kept in the cache, and linked from there. Safe for several threads.
"""

import functools
import hashlib
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from dllmaking import make_dll
from driving import repack
from genuine import CUDA_10, CUDA_11, CUDA_12, CUDA_13, Genuine, genuine_wheel, unpacked_artifact

from proof.scenarios import UNTOUCHED, Dlls
from repack.dlls.pe import read_image
from repack.fetch import Supply
from repack.files import sha256_of, write
from repack.process import run
from repack.pythons import Interpreter
from repack.sample import make_sample
from repack.smoke.trial import unpack_dlls
from repack.wheel.archive import open_archive

_TIMEOUT = 600.0
_KEPT = 14 * 24 * 3600.0
#: Raise one when packages are installed, or DLLs made, in another way.
_PACKAGE_FORMAT, _DLL_FORMAT = "1", "2"
_PIP_OPTIONS = (
    *("--isolated", "--no-index", "--no-deps", "--no-compile", "--no-cache-dir", "--quiet"),
    *("--disable-pip-version-check", "--no-input", "--root-user-action=ignore"),
    *("--only-binary=:all:", "--implementation=cp", "--platform=win_amd64"),
)


def folder_of(supply: Supply, name: str) -> Path:
    """Return where what is fetched or made for the proof is kept."""
    return supply.cache.folder("tests") / "proof" / name


def sweep(supply: Supply) -> None:
    """Remove what is old: after each change of repack wheels are others."""
    for kind in ("built", "packages", "samples"):
        for folder in folder_of(supply, kind).glob("*"):
            if folder.stat().st_mtime < time.time() - _KEPT:
                shutil.rmtree(folder, ignore_errors=True)


# The wheels under test

BASE = "opencv-contrib-python==4.14.0.94"
ANY_PYTHON = "3.12"
SUPPORTED = ("3.10", "3.11", "3.12", "3.13", "3.14")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """opencv-contrib-python's own wheel with the load-time imports of a CUDA build."""

    cuda: int
    driver: bool = False
    more: tuple[tuple[str, str], ...] = ()


class Release(NamedTuple):
    """A wheel of the index, and the Python that it is tried on."""

    requirement: str
    python: str


_CUDNN = ("cudnn64_9.dll", "cudnnGetVersion")
_DNN_12 = (("cublas64_12.dll", "cublasCreate_v2"), ("cufft64_11.dll", "cufftCreate"), _CUDNN)
_DNN_13 = (("cublas64_13.dll", "cublasCreate_v2"), ("cufft64_12.dll", "cufftCreate"), _CUDNN)
#: Each text that cv2/__init__.py has had on the index (tests/data/loaders), by a release with a
#: wheel for a Python that is here.
GENERATIONS = {
    "3.4.0.14": Release("opencv-python==3.4.8.29", "3.7"),
    "3.4.9.33": Release("opencv-python==3.4.9.33", "3.7"),
    "3.4.10.37": Release("opencv-python==3.4.10.37", "3.7"),
    "3.4.11.45": Release("opencv-python==3.4.11.45", "3.9"),
    "3.4.13.47": Release("opencv-python==3.4.13.47", "3.9"),
    "3.4.14.53": Release("opencv-python==3.4.14.53", "3.9"),
    "3.4.16.57": Release("opencv-python==3.4.16.57", "3.9"),
    "3.4.16.59": Release("opencv-python==3.4.16.59", "3.9"),
    "3.4.17.61": Release("opencv-contrib-python==3.4.17.61", "3.9"),
    "4.5.4.58": Release("opencv-contrib-python==4.5.4.58", "3.9"),
    "4.5.4.60": Release("opencv-python==4.5.4.60", "3.10"),
    "4.5.5.62": Release("opencv-contrib-python==4.5.5.62", "3.10"),
    "4.6.0.66": Release("opencv-contrib-python==4.6.0.66", "3.11"),
    "4.6.0.20221015": Release("opencv-python-rolling==4.6.0.20221015", "3.11"),
    "4.10.0.84": Release("opencv-python-headless==4.10.0.84", "3.12"),
    "4.14.0.94": Release("opencv-python-headless==4.14.0.94", "3.13"),
    "5.1.0.95": Release("opencv-contrib-python==5.1.0.95", "3.14"),
}
WHEELS: Mapping[str, Sample | Genuine | Release] = {
    "sample-12": Sample(cuda=12),
    "sample-12-dnn": Sample(cuda=12, more=_DNN_12),
    "sample-12-driver": Sample(cuda=12, driver=True),
    "sample-13": Sample(cuda=13),
    "sample-13-dnn": Sample(cuda=13, more=_DNN_13),
    "genuine-10.2": CUDA_10,
    "genuine-11.2": CUDA_11,
    "genuine-12.3": CUDA_12,
    "genuine-13.1": CUDA_13,
    **{f"loader-of-{name}": release for name, release in GENERATIONS.items()},
}


def pythons_of(name: str) -> tuple[str, ...]:
    """Return the Pythons that a wheel of the table is tried on where a scenario names none."""
    wheel = WHEELS[name]
    return SUPPORTED if isinstance(wheel, Sample) else (wheel.python,)


@functools.cache
def get_wheel(supply: Supply, name: str, mode: str, python: str) -> Path:
    """Return a wheel of the table as it is, or what `repack build` makes of it.

    `mode` is "untouched", "patch", "vendor", "patch+driver-stub". Raises AssertionError with
    repack's own words where it makes none.
    """
    wheel = WHEELS[name]
    if mode != UNTOUCHED:
        source = get_wheel(supply, name, UNTOUCHED, python)
        out = folder_of(supply, "built") / sha256_of(source)[:16] / mode / python
        out.mkdir(parents=True, exist_ok=True)
        word, *switches = mode.split("+")
        options = ["--mode", word, *(f"--{switch}" for switch in switches), "--no-smoke"]
        options += ["--source", str(source), "--python", python, "-w", str(out)]
        return Path(repack("build", *options, cwd=out)["wheels"][0]["path"])
    if isinstance(wheel, Release):
        return supply.wheel(*wheel).path
    return genuine_wheel(wheel) if isinstance(wheel, Genuine) else _make_sample(supply, wheel)


def _make_sample(supply: Supply, wheel: Sample) -> Path:
    base = supply.wheel(BASE, ANY_PYTHON)
    recipe = files("repack").joinpath("sample.py").read_bytes()
    key = hashlib.sha256(f"{base.sha256} {wheel!r}".encode() + recipe).hexdigest()[:16]
    more = {dll: (symbol,) for dll, symbol in wheel.more}
    facts: dict[str, Any] = {"cuda": wheel.cuda, "driver": wheel.driver, "more": more}
    folder = folder_of(supply, "samples") / key
    supply.cache.make_once(folder, lambda to: make_sample(base.path, folder=to, **facts))
    return next(folder.glob("*.whl"))


# What lies in site-packages


def install_wheel(supply: Supply, wheel: Path, python: Interpreter) -> Path:
    """Return a folder that holds what pip makes of `wheel`, compiled by that Python.

    It is installed as that Python's own pip would; which it would, others test.
    """

    def install(folder: Path) -> None:
        target = [f"--python-version={python.version}", "--target", str(folder)]
        words = ["-m", "pip", "install", *_PIP_OPTIONS, *target, str(wheel)]
        subprocess.run([sys.executable, *words], check=True, timeout=_TIMEOUT)
        # Else each of many processes takes a second or two for it. What does not parse on this
        # Python stays as it is: nobody imports that.
        command = [*python.command, "-I", "-S", "-m", "compileall", "-q", "."]
        run(command, timeout=_TIMEOUT, env=python.env, cwd=folder)

    text = f"{_PACKAGE_FORMAT} {python.identity} {sha256_of(wheel)} {wheel.name}"
    key = hashlib.sha256(text.encode()).hexdigest()[:24]
    return supply.cache.make_once(folder_of(supply, "packages") / key, install)


# NVIDIA's genuine DLLs, by CUDA and family, and what can be wrong with such a file

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
#: A stand-in for the driver's own DLL: every call says that there is no device.
DRIVER, DRIVER_DLL, DRIVER_SYMBOLS = "driver", "nvcuda.dll", ("cuInit", "cuDriverGetVersion")
#: `mov eax, 100; ret`: CUDA_ERROR_NO_DEVICE.
_NO_DEVICE = bytes.fromhex("B864000000C3")


def find_dlls(supply: Supply, wanted: Dlls, wheel: str) -> dict[str, Path]:
    """Return the DLLs that lie in one directory: name there -> file of this machine."""
    cuda = wanted.cuda or int(str(getattr(WHEELS[wheel], "cuda", 0)).partition(".")[0])
    folders = [_find_folder(supply, cuda, family) for family in wanted.families]
    dlls = {
        path.name: path
        for folder in folders
        for path in sorted(folder.glob("*.dll"))
        if any(fnmatchcase(path.name, pattern) for pattern in wanted.only)
        and not any(fnmatchcase(path.name, pattern) for pattern in wanted.without)
    }
    if not dlls:
        raise LookupError(f"no DLL is {wanted}")
    if not wanted.form:
        return dlls
    folder = folder_of(supply, "dlls") / f"{_DLL_FORMAT}-{wanted.form}"
    return {name: _write(folder / name, _make_faulty(dlls[name], wanted.form)) for name in dlls}


def find_members(supply: Supply, requirement: str) -> dict[str, Path]:
    """Return the DLLs of one of NVIDIA's wheels where it puts them: member -> file."""
    wheel, folder = _unpack(supply, requirement)
    names = list(open_archive(wheel).members)
    return {
        name: folder / name.rpartition("/")[2] for name in names if name.lower().endswith(".dll")
    }


def _find_folder(supply: Supply, cuda: int, family: str) -> Path:
    """Return the folder of a family's DLLs."""
    if family == DRIVER:
        content = make_dll(DRIVER_DLL, code=dict.fromkeys(DRIVER_SYMBOLS, _NO_DEVICE))
        return _write(folder_of(supply, "dlls") / DRIVER / DRIVER_DLL, content).parent
    if family == WHOLE:
        return unpacked_artifact(CUDA_10.dll_artifact)
    return _unpack(supply, REQUIREMENTS[cuda][family])[1]


@functools.cache
def _unpack(supply: Supply, requirement: str) -> tuple[Path, Path]:
    """Return one of NVIDIA's wheels, and the folder of its DLLs."""
    wheel = supply.wheel(requirement, ANY_PYTHON)
    return wheel.path, unpack_dlls(wheel, supply.cache)


def _make_faulty(genuine: Path, form: str) -> bytes:
    """Return what lies there in place of a genuine DLL."""
    if form == "truncated":
        with genuine.open("rb") as stream:
            return stream.read(min(1 << 20, genuine.stat().st_size // 2))
    exports = read_image(genuine).exports
    return make_dll(genuine.name, code=dict.fromkeys(exports, _NO_DEVICE), machine=form)


def _write(path: Path, content: bytes) -> Path:
    """Return a file of that content; another thread may read it already."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, content)
    return path
