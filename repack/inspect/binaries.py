"""What a wheel's binaries say, read while its content is verified, in constant memory."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from repack.console import Task
from repack.dlls import Image, read_image
from repack.errors import InputError
from repack.wheel import Member, Sink, Wheel, read_wheel

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
    path: Path, *, sha256: str = "", allow_startup_hook: bool = False, task: Task | None = None
) -> tuple[Wheel, Binaries]:
    """Return the wheel at `path`, checked wholly, and its binaries.

    `sha256` is the file's where it is known; `task` advances by bytes of the file. Raises
    InputError as `read_wheel` does, and "not-pe" for a .pyd or .dll that is no PE file.
    """
    images: dict[str, Image] = {}
    numpy: set[str] = set()
    errors: dict[str, InputError] = {}

    def take(member: Member, binary: Path) -> None:
        try:
            images[member.name] = read_image(binary, name=member.name, file=path)
        except InputError as error:
            # What RECORD says of the member comes first: the file may simply be damaged.
            errors[member.name] = error
        if member.name.lower().endswith(".pyd"):
            numpy.update(_numpy_abi(binary))
        binary.unlink()

    # A binary's tables point to and fro, so each lies in a temporary file until it is read.
    with TemporaryDirectory(prefix="repack-") as folder, ExitStack() as streams:

        def sink(member: Member) -> Sink | None:
            if not member.name.lower().endswith(_SUFFIXES):
                return None
            binary = Path(folder, f"{member.offset}.bin")
            stream = streams.enter_context(binary.open("wb"))

            def receive(piece: bytes) -> None:
                stream.write(piece)
                if stream.tell() == member.size:
                    stream.close()
                    take(member, binary)

            if not member.size:
                stream.close()
                take(member, binary)
            return receive

        wheel = read_wheel(
            path, sink=sink, sha256=sha256, allow_startup_hook=allow_startup_hook, task=task
        )
    if errors:
        raise errors[min(errors)]
    return wheel, Binaries(images=dict(sorted(images.items())), numpy=max(numpy, default=None))


def _numpy_abi(binary: Path) -> set[str]:
    """Return the ABIs of NumPy that a module names."""
    abis = set()
    tail = b""
    with binary.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            # A mark may lie across the edge of two chunks.
            window = tail + chunk
            tail = window[-len(_NUMPY_2) :]
            if _ALL_MARKS not in window:
                continue
            if _NUMPY_2 in window:
                return {"2"}
            if any(mark in window for mark in _NUMPY_1):
                abis.add("1")
    return abis
