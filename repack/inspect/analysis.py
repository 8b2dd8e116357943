"""What is known of a wheel: its binaries, the CUDA they need, and what its texts say of that."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from repack.console import Task
from repack.dlls.families import Kind, key_of, possible_majors
from repack.dlls.pe import Image
from repack.errors import InputError
from repack.files import Memory
from repack.inspect.binaries import Binaries, Need, find_needs, read_binaries
from repack.patching import BUILD_MODULE, read_build
from repack.wheel.names import WheelName
from repack.wheel.reader import Wheel, read_member

# "cv2/cv2.pyd", "cv2/python-3.9/cv2.cp39-win_amd64.pyd", "cv2.pyd"
_CV2 = re.compile(r"(cv2/(.+/)?)?cv2([.\-_][^/]*)?\.pyd", re.IGNORECASE)
_CONFIG = re.compile(r"cv2/config(-[^/]*)?\.py")
_TOOLKIT = re.compile(rb"CUDA[/\\]+v(\d+)\.(\d+)", re.IGNORECASE)
# "cu126", "cu1210", "cuda12", "opencv-cu92": majors below 10 had one digit.
_LABEL = re.compile(r"(?<![a-z0-9])cu(?:da)?-?([6-9]|\d\d)(\d{0,2})(?![a-z0-9])")
#: What the stable ABI is linked to; the other is free-threaded Python's.
STABLE_DLLS = frozenset({"python3.dll", "python3t.dll"})


class Claim(NamedTuple):
    """A CUDA version that a wheel's texts name; `minor` is None where only the major is said."""

    place: str
    major: int
    minor: int | None

    def __str__(self) -> str:
        minor = "" if self.minor is None else f".{self.minor}"
        return f"{self.place} says CUDA {self.major}{minor}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Analysis:
    """A wheel, and what its binaries say.

    `images` are all .pyd and .dll members, `needs` every DLL that the modules and the DLLs in the
    wheel they reach ask for, sorted. `cuda_major` is told by the DLLs' names, `cuda_version`
    (major, minor) where the wheel says more and does not contradict them; both None for a build
    without CUDA. `claims` are the CUDA versions that its texts name, surest first. `numpy` is the
    NumPy ABI, "1" or "2", None where no module uses it.
    """

    wheel: Wheel
    images: Mapping[str, Image]
    needs: tuple[Need, ...]
    claims: tuple[Claim, ...]
    cuda_major: int | None
    cuda_version: tuple[int, int] | None
    numpy: str | None

    @property
    def native(self) -> tuple[str, ...]:
        """The extension modules."""
        return tuple(filter(_is_module, self.images))

    @property
    def cv2(self) -> tuple[str, ...]:
        """Those of the modules that are imported as cv2."""
        return tuple(filter(_CV2.fullmatch, self.native))

    @property
    def python_dlls(self) -> frozenset[str]:
        """The keys of the DLLs of Python's that the modules are linked to."""
        return frozenset(need.dll.key for need in self.needs if need.dll.kind is Kind.PYTHON)

    @property
    def abi3(self) -> bool:
        """Whether the modules are linked to the stable ABI alone."""
        return bool(self.python_dlls) and self.python_dlls <= STABLE_DLLS

    @property
    def toolkit_needs(self) -> tuple[Need, ...]:
        """The needs that a CUDA toolkit or cuDNN on the machine has to meet."""
        return tuple(need for need in self.needs if need.dll.is_cuda and need.in_wheel is None)

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


def analyse(
    path: Path,
    *,
    sha256: str = "",
    allow_startup_hook: bool = False,
    task: Task | None = None,
    memory: Memory | None = None,
) -> Analysis:
    """Return what the wheel at `path` is; the arguments and errors are those of `read_binaries`."""
    wheel, binaries = read_binaries(
        path, sha256=sha256, allow_startup_hook=allow_startup_hook, task=task, memory=memory
    )
    return conclude(wheel, binaries)


def conclude(wheel: Wheel, binaries: Binaries) -> Analysis:
    """Return what a wheel is whose binaries are these."""
    images, numpy = binaries
    needs = find_needs(filter(_is_module, images), images)
    claims = tuple(dict.fromkeys(_find_claims(wheel)))
    major, version = _find_cuda(needs, claims)
    return Analysis(
        wheel=wheel,
        images=images,
        needs=needs,
        claims=claims,
        cuda_major=major,
        cuda_version=version,
        numpy=numpy,
    )


def read_configs(wheel: Wheel) -> dict[str, bytes]:
    """Return the configuration files of OpenCV's loader, by member."""
    names = sorted(filter(_CONFIG.fullmatch, wheel.names))
    return {name: read_member(wheel.archive, name) for name in names}


def _read_facts(wheel: Wheel) -> dict[str, Any] | None:
    """Return what repack has written into a wheel that it emitted, None for any other."""
    if BUILD_MODULE not in wheel.names:
        return None
    return read_build(read_member(wheel.archive, BUILD_MODULE))


def _is_module(member: str) -> bool:
    return member.lower().endswith(".pyd")


def _find_claims(wheel: Wheel) -> Iterator[Claim]:
    match (_read_facts(wheel) or {}).get("cuda"):
        case (int(major), int() | None as minor):
            yield Claim(BUILD_MODULE, major, minor)
    for member, content in read_configs(wheel).items():
        for toolkit in _TOOLKIT.finditer(content):
            yield Claim(member, int(toolkit[1]), int(toolkit[2]))
    name = wheel.filename
    for place, text in {"its version": name.version.local or "", "its name": name.name}.items():
        for label in _LABEL.finditer(text):
            yield Claim(place, int(label[1]), int(label[2]) if label[2] else None)


def _find_cuda(
    needs: Sequence[Need], claims: Sequence[Claim]
) -> tuple[int | None, tuple[int, int] | None]:
    """Return CUDA's major, and its version: the binary decides, the texts may say more."""
    if not any(need.dll.is_nvidia for need in needs):
        return None, None
    majors = possible_majors(need.dll for need in needs if need.dll.is_cuda)
    fitting = [claim for claim in claims if majors is None or claim.major in majors]
    major = next((claim.major for claim in fitting), None)
    if majors and len(majors) == 1:
        (major,) = majors
    minors = [claim.minor for claim in fitting if claim.major == major and claim.minor is not None]
    return major, (major, minors[0]) if major and minors else None


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
    facts = _read_facts(analysis.wheel)
    if facts is not None:
        original = facts.get("original", {})
        name, sha256 = original.get("filename", "wheel"), original.get("sha256", "not known")
        raise InputError(
            "repack has made it",
            code="repacked",
            file=analysis.wheel.path,
            hint=f"build from the original {name} (sha256 {sha256})",
        )
