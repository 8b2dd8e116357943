"""What machines are made of: wheels as pip installs them, untouched and fixed; NVIDIA's DLLs.

All is fetched or made once, kept in the cache, and linked from there.
"""

import hashlib
import shutil
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from dllmaking import make_dll
from driving import repack
from genuine import CUDA_10, CUDA_11, CUDA_12, CUDA_13, Genuine, genuine_wheel, unpacked_artifact

from proof.scenarios import UNTOUCHED, Dlls
from repack.console import SILENT
from repack.dlls.pe import read_image
from repack.fetch import Supply
from repack.files import sha256_of, workspace, write
from repack.process import run
from repack.pythons import Interpreter
from repack.sample import make_sample
from repack.smoke.trial import unpack_dlls
from repack.wheel.archive import open_archive

_TIMEOUT = 600.0
_LONGEST_RUN = 2 * 3600.0
#: Raise one when packages are installed, or DLLs made, in another way.
_PACKAGE_FORMAT, _DLL_FORMAT = "1", "2"
_PIP_OPTIONS = (
    *("--isolated", "--no-index", "--no-deps", "--no-compile", "--no-cache-dir", "--quiet"),
    *("--disable-pip-version-check", "--no-input", "--root-user-action=ignore"),
    *("--only-binary=:all:", "--implementation=cp", "--platform=win_amd64"),
)

Made = TypeVar("Made")


class Parts:
    """What machines are made of, fetched or made once. Safe for several threads."""

    def __init__(self, supply: Supply) -> None:
        self.supply = supply
        #: Where all of it is kept.
        self.folder = supply.cache.folder("tests") / "proof"
        self._turns: defaultdict[object, threading.Lock] = defaultdict(threading.Lock)
        self._made: dict[object, Any] = {}

    def once(self, key: object, make: Callable[[], Made]) -> Made:
        """Return what `make` returned when it was first called for this key."""
        with self._turns[key]:
            if key not in self._made:
                self._made[key] = make()
            made: Made = self._made[key]
            return made

    def sweep(self) -> None:
        """Remove what is kept and was not used: after each change of repack wheels are others.

        What another run may have made is left alone.
        """
        paths = [made for made in self._made.values() if isinstance(made, Path)]
        used = {folder for path in paths for folder in (path, *path.parents)}
        for kind in ("built", "packages", "samples"):
            for folder in (self.folder / kind).glob("*"):
                if folder not in used and folder.stat().st_mtime < time.time() - _LONGEST_RUN:
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


_CUDNN = ("cudnn64_9.dll", "cudnnGetVersion")
_DNN_12 = (("cublas64_12.dll", "cublasCreate_v2"), ("cufft64_11.dll", "cufftCreate"), _CUDNN)
_DNN_13 = (("cublas64_13.dll", "cublasCreate_v2"), ("cufft64_12.dll", "cufftCreate"), _CUDNN)
WHEELS: Mapping[str, Sample | Genuine] = {
    "sample-11": Sample(cuda=11),
    "sample-12": Sample(cuda=12),
    "sample-12-dnn": Sample(cuda=12, more=_DNN_12),
    "sample-12-driver": Sample(cuda=12, driver=True),
    "sample-13": Sample(cuda=13),
    "sample-13-dnn": Sample(cuda=13, more=_DNN_13),
    "genuine-10.2": CUDA_10,
    "genuine-11.2": CUDA_11,
    "genuine-12.3": CUDA_12,
    "genuine-13.1": CUDA_13,
}


def pythons_of(name: str) -> tuple[str, ...]:
    """Return the Pythons that a wheel of the table is tried on where a scenario names none."""
    wheel = WHEELS[name]
    return SUPPORTED if isinstance(wheel, Sample) else (wheel.python,)


def cuda_of(name: str) -> int:
    """Return the CUDA major that a wheel of the table is built for."""
    return int(str(WHEELS[name].cuda).partition(".")[0])


def get_wheel(parts: Parts, name: str, mode: str, python: str) -> Path:
    """Return a wheel of the table as it is, or what `repack build` makes of it.

    `mode` is "untouched", "patch", "vendor", "patch+driver-stub". Raises AssertionError with
    repack's own words where it makes none.
    """
    wheel = WHEELS[name]
    if isinstance(wheel, Sample):
        source = parts.once(wheel, lambda: _make_sample(parts, wheel))
    else:
        source = parts.once(wheel, lambda: genuine_wheel(wheel))
    if mode == UNTOUCHED:
        return source
    out = parts.folder / "built" / sha256_of(source)[:16] / mode / python
    return parts.once(out, lambda: _build(source, mode, python, out))


def _make_sample(parts: Parts, wheel: Sample) -> Path:
    base = parts.supply.wheel(BASE, ANY_PYTHON)
    recipe = files("repack").joinpath("sample.py").read_bytes()
    key = hashlib.sha256(f"{base.sha256} {wheel!r}".encode() + recipe).hexdigest()[:16]
    folder = parts.folder / "samples" / key
    made = next(folder.glob("*.whl"), None)
    more = {dll: (symbol,) for dll, symbol in wheel.more}
    return made or make_sample(
        base.path, cuda=wheel.cuda, driver=wheel.driver, folder=folder, more=more
    )


def _build(source: Path, mode: str, python: str, out: Path) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    word, *switches = mode.split("+")
    options = ["--mode", word, *(f"--{switch}" for switch in switches), "--no-smoke"]
    options += ["--source", str(source), "--python", python, "-w", str(out)]
    return Path(repack("build", *options, cwd=out)["wheels"][0]["path"])


# What lies in site-packages


def install_required(parts: Parts, requirement: str, python: Interpreter) -> Path:
    """Return a folder that holds what pip makes of the index's wheel for `requirement`."""

    def install() -> Path:
        return install_wheel(parts, parts.supply.wheel(requirement, python.version).path, python)

    return parts.once((requirement, python.version), install)


def install_wheel(parts: Parts, wheel: Path, python: Interpreter) -> Path:
    """Return a folder that holds what pip makes of `wheel`, compiled by that Python.

    It is installed as that Python's own pip would; which it would, others test.
    """
    text = f"{_PACKAGE_FORMAT} {python.identity} {sha256_of(wheel)} {wheel.name}"
    key = hashlib.sha256(text.encode()).hexdigest()[:24]
    folder = parts.folder / "packages" / key

    def install() -> Path:
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            with workspace(folder.parent) as place:
                target = [f"--python-version={python.version}", "--target", str(place / "site")]
                words = ["-m", "pip", "install", *_PIP_OPTIONS, *target, str(wheel)]
                subprocess.run([sys.executable, *words], check=True, timeout=_TIMEOUT)
                _compile(place / "site", python)
                (place / "site").rename(folder)
        return folder

    return parts.once(key, install)


def _compile(folder: Path, python: Interpreter) -> None:
    """Compile the modules, which otherwise takes each of many processes a second or two."""
    # What does not parse on this Python stays as it is: nobody imports that.
    command = [*python.command, "-I", "-S", "-m", "compileall", "-q", "."]
    run(command, timeout=_TIMEOUT, env=python.env, cwd=folder)


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
_MACHINES = ("x86", "arm64")
#: Of a truncated DLL that much is left at most.
_HEAD = 1 << 20


def find_dlls(parts: Parts, wanted: Dlls, cuda: int) -> dict[str, Path]:
    """Return the DLLs that lie in one directory: name there -> file of this machine."""
    dlls = {
        path.name: path
        for family in wanted.families
        for path in sorted(_find_folder(parts, wanted.cuda or cuda, family).glob("*.dll"))
        if _is_wanted(path.name, wanted)
    }
    if not dlls:
        raise LookupError(f"no DLL is {wanted}")
    if not wanted.form:
        return dlls
    folder = parts.folder / "dlls" / "-".join([_DLL_FORMAT, wanted.form, *wanted.lacks])
    folder.mkdir(parents=True, exist_ok=True)
    faulty = (_make_faulty(path, wanted, folder / path.name) for path in dlls.values())
    return {name: path for made in faulty for name, path in made.items()}


def find_members(parts: Parts, requirement: str) -> dict[str, Path]:
    """Return the DLLs of one of NVIDIA's wheels where it puts them: member -> file."""
    wheel, folder = _unpack(parts, requirement)
    names = list(open_archive(wheel).members)
    return {
        name: folder / name.rpartition("/")[2] for name in names if name.lower().endswith(".dll")
    }


def _find_folder(parts: Parts, cuda: int, family: str) -> Path:
    """Return the folder of a family's DLLs."""
    if family == DRIVER:
        file = parts.folder / "dlls" / DRIVER / DRIVER_DLL
        content = make_dll(DRIVER_DLL, code=dict.fromkeys(DRIVER_SYMBOLS, _NO_DEVICE))
        return parts.once(DRIVER, lambda: _write(file, content)).parent
    if family == WHOLE:
        return parts.once(WHOLE, lambda: unpacked_artifact(CUDA_10.dll_artifact))
    return _unpack(parts, REQUIREMENTS[cuda][family])[1]


def _unpack(parts: Parts, requirement: str) -> tuple[Path, Path]:
    """Return one of NVIDIA's wheels, and the folder of its DLLs."""

    def unpack() -> tuple[Path, Path]:
        wheel = parts.supply.wheel(requirement, ANY_PYTHON)
        return wheel.path, unpack_dlls(wheel, parts.supply.cache, SILENT)

    return parts.once(requirement, unpack)


def _is_wanted(name: str, wanted: Dlls) -> bool:
    only = not wanted.only or any(fnmatchcase(name, pattern) for pattern in wanted.only)
    return only and not any(fnmatchcase(name, pattern) for pattern in wanted.without)


def _make_faulty(genuine: Path, wanted: Dlls, file: Path) -> dict[str, Path]:
    """Return what lies there in place of a genuine DLL."""
    if wanted.form in _MACHINES:
        code = dict.fromkeys(read_image(genuine).exports, _NO_DEVICE)
        return {file.name: _write(file, make_dll(file.name, code=code, machine=wanted.form))}
    if wanted.form == "truncated":
        with genuine.open("rb") as stream:
            head = stream.read(min(_HEAD, genuine.stat().st_size // 2))
        return {file.name: _write(file, head)}
    behind = f"genuine_{genuine.name}"
    return {file.name: _write(file, _older(genuine, behind, wanted.lacks)), behind: genuine}


def _older(genuine: Path, behind: str, lacks: Sequence[str]) -> bytes:
    """Return a DLL that passes every call on to the genuine one, but lacks some symbols."""
    stem = behind.removesuffix(".dll")
    exports = [name for name in read_image(genuine).exports if name not in lacks]
    return make_dll(genuine.name, forwards={name: f"{stem}.{name}" for name in exports})


def _write(path: Path, content: bytes) -> Path:
    """Return a file of that content; another thread may read it already."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, content)
    return path
