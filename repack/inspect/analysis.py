"""What is known of a wheel once it has been looked through."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from repack.dlls import Dll, Image, Kind, key_of
from repack.errors import InputError
from repack.inspect.claims import read_build
from repack.inspect.needs import Need
from repack.record import Finding
from repack.wheel import Wheel, WheelName

# "cv2/cv2.pyd", "cv2/python-3.9/cv2.cp39-win_amd64.pyd", "cv2.pyd"
_CV2 = re.compile(r"(cv2/(.+/)?)?cv2([.\-_][^/]*)?\.pyd", re.IGNORECASE)
_TOOLKIT = {Kind.CUDA, Kind.CUDNN}


@dataclass(frozen=True, kw_only=True, slots=True)
class Analysis:
    """A wheel, and what its binaries say.

    `native` are the extension modules, `images` all .pyd and .dll members, `needs` every DLL that
    the modules and the DLLs in the wheel they reach ask for, sorted. `cuda_major` is told by the
    DLLs' names, `cuda_version` (major, minor) where the wheel says more and does not contradict
    them; both None for a build without CUDA. `numpy` is the NumPy ABI, "1" or "2", None where no
    module uses it; `abi3` whether the modules use Python's stable ABI.
    """

    wheel: Wheel
    native: tuple[str, ...]
    images: Mapping[str, Image]
    needs: tuple[Need, ...]
    cuda_major: int | None = None
    cuda_version: tuple[int, int] | None = None
    numpy: str | None = None
    abi3: bool = False
    findings: tuple[Finding, ...] = ()

    @property
    def cv2(self) -> tuple[str, ...]:
        """Those of the modules that are imported as cv2."""
        return tuple(member for member in self.native if _CV2.fullmatch(member))

    @property
    def cuda_dlls(self) -> tuple[Dll, ...]:
        """The DLLs of the toolkit and of cuDNN that the modules lead to."""
        return tuple(need.dll for need in self.needs if need.dll.kind in _TOOLKIT)

    @property
    def toolkit_needs(self) -> tuple[Need, ...]:
        """The needs that a CUDA toolkit or cuDNN on the machine has to meet."""
        return tuple(
            need for need in self.needs if need.in_wheel is None and need.dll.kind in _TOOLKIT
        )

    @property
    def is_cuda(self) -> bool:
        """Whether the modules lead to anything of NVIDIA's."""
        return bool(self.cuda_dlls) or any(need.dll.family == "driver" for need in self.needs)

    def symbols(self, need: Need) -> tuple[str, ...]:
        """Return what the members that need the DLL ask of it, sorted."""
        images = [self.images[member] for member in need.needed_by]
        symbols = {
            symbol
            for image in images
            for imported in (*image.imports, *image.delay_imports)
            if key_of(imported.dll) == need.dll.key
            for symbol in imported.symbols
        }
        return tuple(sorted(symbols))


def require_windows(name: WheelName) -> None:
    """Raise InputError "not-windows" for a wheel that no Windows Python would install."""
    platforms = sorted({tag.platform for tag in name.tags})
    if not any(platform.startswith("win") for platform in platforms):
        raise InputError(
            f"it is for {', '.join(platforms)}, not for Windows",
            code="not-windows",
            file=str(name),
            hint="take the file that ends in win_amd64.whl",
        )


def require_cv2(analysis: Analysis) -> None:
    """Raise InputError "no-cv2" for a wheel that has no module cv2 of OpenCV's."""
    if not analysis.cv2:
        raise InputError(
            "there is no cv2*.pyd in it, so it is no OpenCV for Python",
            code="no-cv2",
            file=analysis.wheel.path,
            hint="take a wheel of opencv-python or opencv-contrib-python",
        )


def require_original(analysis: Analysis) -> None:
    """Raise InputError "repacked" for a wheel that repack has emitted."""
    build = read_build(analysis.wheel)
    if build is not None:
        original = build.get("original") or {}
        name, sha256 = original.get("filename", "wheel"), original.get("sha256", "not known")
        raise InputError(
            "repack has made it",
            code="repacked",
            file=analysis.wheel.path,
            hint=f"build from the original {name} (sha256 {sha256})",
        )
