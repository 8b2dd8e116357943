"""What a wheel's binaries say, read while its content is verified, in constant memory."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from repack import __version__
from repack.console import Task
from repack.dlls import Image, read_image
from repack.files import Memory, sha256_of
from repack.wheel import Member, Sink, Wheel, read_wheel

#: Raise it when something else is remembered of a wheel.
_FORMAT = 2
_SUFFIXES = (".pyd", ".dll")
# What NumPy's headers import at run time: those of 2.x look for numpy._core first, and for 1.x's
# place after it; before 1.16 the module was called multiarray.
_NUMPY_2 = b"numpy._core._multiarray_umath\0"
_NUMPY_1 = (b"numpy.core._multiarray_umath\0", b"numpy.core.multiarray\0")
#: Of every mark a part: one search of the binary in place of three.
_ALL_MARKS = b"multiarray"
_CHUNK = 1 << 18


@dataclass(frozen=True, kw_only=True, slots=True)
class Binaries:
    """The .pyd and .dll members of a wheel as PE files, by name.

    `numpy` is the ABI, "1" or "2", of the NumPy that the modules are built for, None where no
    module uses it.
    """

    images: Mapping[str, Image]
    numpy: str | None = None


def read_binaries(
    path: Path,
    *,
    sha256: str = "",
    allow_startup_hook: bool = False,
    task: Task | None = None,
    memory: Memory | None = None,
) -> tuple[Wheel, Binaries]:
    """Return the wheel at `path`, checked wholly, and its binaries.

    `sha256` is the file's where it is known; `task` advances by its bytes. The content of a wheel
    that `memory` knows by its hash is not compared with RECORD once more. Raises InputError as
    `read_wheel` does, and "not-pe" for a .pyd or .dll that is no PE file.
    """
    if memory and not sha256:
        sha256 = sha256_of(path)
    key = f"{sha256}-{_FORMAT}-{__version__}"
    known = memory.recall(key, lambda value: msgspec.convert(value, Binaries)) if memory else None
    read = partial(read_wheel, path, sha256=sha256, allow_startup_hook=allow_startup_hook)
    if known:
        return read(checked=True), known
    wheel, binaries = _look_into(path, partial(read, task=task))
    if memory:
        memory.keep(key, msgspec.to_builtins(binaries))
    return wheel, binaries


def _look_into(path: Path, read: Callable[..., Wheel]) -> tuple[Wheel, Binaries]:
    """Return the wheel that `read` gives, and its binaries, collected while it reads."""
    images: dict[str, Image] = {}
    numpy: set[str] = set()
    waiting: list[Member] = []
    # A binary's tables point to and fro, so each lies in a temporary file until it is read.
    with (
        TemporaryDirectory(prefix="repack-") as folder,
        Path(folder, "binary").open("wb") as stream,
    ):

        def look_into_waiting() -> None:
            stream.flush()
            for member in waiting:
                images[member.name] = read_image(Path(stream.name), name=member.name, file=path)
                if member.name.lower().endswith(".pyd"):
                    numpy.update(find_numpy_abi(Path(stream.name)))
            waiting.clear()

        def collect(member: Member) -> Sink | None:
            # The one before is whole now, and its checksum is right.
            look_into_waiting()
            if not member.name.lower().endswith(_SUFFIXES):
                return None
            waiting.append(member)
            stream.seek(0)
            stream.truncate()
            return stream.write

        wheel = read(sink=collect)
        look_into_waiting()
    return wheel, Binaries(images=dict(sorted(images.items())), numpy=max(numpy, default=None))


def find_numpy_abi(binary: Path) -> set[str]:
    """Return the ABIs of NumPy that a module names."""
    abis = set()
    window = b""
    with binary.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            # A mark may lie across the edge of two chunks.
            window = window[-len(_NUMPY_2) :] + chunk
            if _ALL_MARKS not in window:
                continue
            if _NUMPY_2 in window:
                return {"2"}
            if any(mark in window for mark in _NUMPY_1):
                abis.add("1")
    return abis
