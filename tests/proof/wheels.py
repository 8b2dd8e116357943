"""The wheels under test: samples and genuine CUDA builds, untouched and as `repack` makes them."""

import hashlib
import json
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from genuine import CUDA_10, CUDA_11, CUDA_12, CUDA_13, Genuine, genuine_wheel

from proof.packages import Parts
from repack.files import sha256_of
from repack.sample import make_sample

BASE = "opencv-contrib-python==4.14.0.94"
_BASE_PYTHON = "3.12"
_REPACK = Path(sysconfig.get_path("scripts")) / (
    "repack.exe" if sys.platform == "win32" else "repack"
)
_TIMEOUT = 900
SUPPORTED = ("3.10", "3.11", "3.12", "3.13", "3.14")
#: Where the bug is not (3.7) and where it is since (3.9): before those that are supported.
CONTROLS = ("3.7", "3.9")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """opencv-contrib-python's own wheel with the load-time imports of a CUDA build."""

    cuda: int
    driver: bool = False
    more: tuple[tuple[str, str], ...] = ()


_DNN = ("cudnn64_9.dll", "cudnnGetVersion")
_DNN_12 = (("cublas64_12.dll", "cublasCreate_v2"), ("cufft64_11.dll", "cufftCreate"), _DNN)
_DNN_13 = (("cublas64_13.dll", "cublasCreate_v2"), ("cufft64_12.dll", "cufftCreate"), _DNN)
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
    wheel = WHEELS[name]
    return wheel.cuda if isinstance(wheel, Sample) else int(wheel.cuda.partition(".")[0])


class NotMadeError(Exception):
    """`repack` does not make such a wheel; its own words say why."""


def untouched_wheel(parts: Parts, name: str) -> Path:
    """Return a wheel of the table as it was."""
    wheel = WHEELS[name]
    if isinstance(wheel, Sample):
        return parts.once(wheel, lambda: _make_sample(parts, wheel))
    return parts.once(wheel, lambda: genuine_wheel(wheel))


def fixed_wheel(parts: Parts, name: str, mode: str, python: str) -> Path:
    """Return what `repack build` makes of it; `mode` is "patch", "vendor", "patch+driver-stub".

    Raises NotMadeError where it makes none.
    """
    source = untouched_wheel(parts, name)
    out = parts.folder / "built" / sha256_of(source)[:16] / mode / python
    made = parts.once(out, lambda: _build(source, mode, python, out))
    if isinstance(made, str):
        raise NotMadeError(made)
    return made


def _make_sample(parts: Parts, wheel: Sample) -> Path:
    base = parts.supply.wheel(BASE, _BASE_PYTHON)
    recipe = files("repack").joinpath("sample.py").read_bytes()
    key = hashlib.sha256(f"{base.sha256} {wheel!r}".encode() + recipe).hexdigest()[:16]
    folder = parts.folder / "samples" / key
    made = next(folder.glob("*.whl"), None)
    more = {dll: (symbol,) for dll, symbol in wheel.more}
    return made or make_sample(
        base.path, cuda=wheel.cuda, driver=wheel.driver, folder=folder, more=more
    )


def _build(source: Path, modes: str, python: str, out: Path) -> Path | str:
    """Return the wheel, or why there is none."""
    out.mkdir(parents=True, exist_ok=True)
    mode, *switches = modes.split("+")
    done = subprocess.run(
        [
            *(_REPACK, "build", "--source", source, "--python", python, "-w", out),
            *("--mode", mode, *(f"--{switch}" for switch in switches), "--no-smoke", "--json"),
        ],
        cwd=out,
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIMEOUT,
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        return lines[-1] if lines else "repack said nothing"
    return Path(json.loads(done.stdout)["wheels"][0]["path"])
