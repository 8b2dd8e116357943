"""What a wheel's binaries say, read while its content is verified: who needs which DLL."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import msgspec

from repack import __version__
from repack.console import Task
from repack.dlls.families import Dll, classify, key_of, partners
from repack.dlls.pe import Image, read_image
from repack.files import Memory, sha256_of
from repack.wheel.archive import Member
from repack.wheel.reader import Wheel, read_wheel

#: The .pyd and .dll members of a wheel, by name, and the ABI of NumPy, "1" or "2", that its modules
#: are built for, None where none uses it.
Binaries: TypeAlias = tuple[dict[str, Image], str | None]

_SUFFIXES = (".pyd", ".dll")
# What NumPy's headers import at run time: those of 2.x look for numpy._core first, and for 1.x's
# place after it; before 1.16 the module was called multiarray.
_NUMPY_2 = b"numpy._core._multiarray_umath\0"
_NUMPY_1 = (b"numpy.core._multiarray_umath\0", b"numpy.core.multiarray\0")
#: A part of every mark: one search of most of the binary in place of three, 3 % of a first look.
_PART = b"multiarray"
_CHUNK = 1 << 18


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """A DLL that must be found before, or while, the wheel's modules run.

    `needed_by` are the members that ask for it; `delayed` where no chain of load-time imports
    leads to it; `in_wheel` the member that answers, if one does.
    """

    dll: Dll
    needed_by: tuple[str, ...]
    delayed: bool = False
    in_wheel: str | None = None


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
    sha256 = sha256 or sha256_of(path)
    key = f"{sha256}-{__version__}"
    known = memory.recall(key, lambda value: msgspec.convert(value, Binaries)) if memory else None
    images: dict[str, Image] = {}
    abis: set[str] = set()
    # A binary's tables point to and fro, so each lies in a temporary file until it is read.
    with TemporaryDirectory(prefix="repack-") as folder:
        binary = Path(folder, "binary")

        def look_into(member: Member, pieces: Iterator[bytes]) -> None:
            if not member.name.lower().endswith(_SUFFIXES):
                return
            with binary.open("wb") as file:
                file.writelines(pieces)
            images[member.name] = read_image(binary, name=member.name, file=path)
            if member.name.lower().endswith(".pyd"):
                abis.update(find_numpy_abi(binary))

        wheel = read_wheel(
            path,
            collect=look_into,
            checked=known is not None,
            allow_startup_hook=allow_startup_hook,
            task=task,
            sha256=sha256,
        )
    if known:
        return wheel, known
    binaries = dict(sorted(images.items())), max(abis, default=None)
    if memory:
        memory.keep(key, msgspec.to_builtins(binaries))
    return wheel, binaries


def find_numpy_abi(binary: Path) -> set[str]:
    """Return the ABIs of NumPy that a module names."""
    abis = set()
    window = b""
    with binary.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            # A mark may lie across the edge of two chunks.
            window = window[-len(_NUMPY_2) :] + chunk
            if _PART not in window:
                continue
            if _NUMPY_2 in window:
                return {"2"}
            if any(mark in window for mark in _NUMPY_1):
                abis.add("1")
    return abis


def find_needs(modules: Iterable[str], images: Mapping[str, Image]) -> tuple[Need, ...]:
    """Return every DLL that `modules`, and the members of `images` they reach, need, by key.

    Of what NVIDIA's DLLs load by name those are needs that lie in the wheel.
    """
    modules = tuple(modules)
    at_load_time = _walk(modules, images, delayed=False)
    return tuple(
        Need(
            dll=classify(min(name for name, _ in askers.values())),
            needed_by=tuple(sorted(askers)),
            delayed=key not in at_load_time,
            in_wheel=next((answer for _, answer in askers.values() if answer), None),
        )
        for key, askers in sorted(_walk(modules, images, delayed=True).items())
    )


def _walk(
    modules: Sequence[str], images: Mapping[str, Image], *, delayed: bool
) -> dict[str, dict[str, tuple[str, str | None]]]:
    """Return what is asked for along import tables, and where `delayed` also while modules run.

    By the DLL's key and the member that asks: the name as it is written there, and the member that
    answers, None where none does.
    """
    members: dict[str, list[str]] = defaultdict(list)
    for member in sorted(images):
        members[_split(member)[1]].append(member)
    requests: dict[str, dict[str, tuple[str, str | None]]] = defaultdict(dict)
    waiting = [(module, _split(module)[0]) for module in modules]
    seen = set(modules)
    for asker, home in waiting:
        folder, file = _split(asker)
        names = [imported.dll for imported in images[asker].imports]
        if delayed:
            names += [imported.dll for imported in images[asker].delay_imports]
            patterns = partners(classify(file))
            names += [key for key in members if any(rule.fullmatch(key) for rule in patterns)]
        for name in names:
            answer = _find_nearest(members.get(key_of(name), []), home, folder)
            requests[key_of(name)][asker] = name, answer
            if answer and answer not in seen:
                seen.add(answer)
                waiting.append((answer, home))
    return requests


def _find_nearest(members: list[str], *folders: str) -> str | None:
    """Return the member that the loader would take: beside the module, beside who asks, or any."""
    for folder in folders:
        for member in members:
            if _split(member)[0] == folder:
                return member
    return members[0] if members else None


def _split(member: str) -> tuple[str, str]:
    """Return the folder and the name of the member as Windows compares them."""
    folder, _, name = member.lower().rpartition("/")
    return folder, name
