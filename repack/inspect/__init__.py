"""Looks through a wheel: which DLLs it needs, of which CUDA, and what its texts say of that."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from repack import __version__
from repack.console import Task
from repack.dlls.families import (
    Dll,
    Kind,
    classify,
    companions,
    index_requirement,
    key_of,
    list_cures,
    possible_majors,
)
from repack.dlls.pe import Image, read_image
from repack.errors import InputError
from repack.files import Memory, sha256_of
from repack.inspect.binaries import Need, find_needs
from repack.inspect.pythons import correct_requirements
from repack.patching import BUILD_MODULE, CONFIG, read_build
from repack.record import Cargo
from repack.wheel.archive import Member
from repack.wheel.names import WheelName
from repack.wheel.reader import Wheel, read_member, read_wheel

# "cv2/cv2.pyd", "cv2/python-3.9/cv2.cp39-win_amd64.pyd", "cv2.pyd"
_CV2 = re.compile(r"(cv2/(.+/)?)?cv2([.\-_][^/]*)?\.pyd", re.IGNORECASE)
_TOOLKIT = re.compile(rb"CUDA[/\\]+v(\d+)\.(\d+)", re.IGNORECASE)
# "cu126", "cu1210", "cuda12", "opencv-cu92": majors below 10 had one digit.
_LABEL = re.compile(r"(?<![a-z0-9])cu(?:da)?-?([6-9]|\d\d)(\d{0,2})(?![a-z0-9])")


class Claim(NamedTuple):
    """A CUDA version that a text names: (12, 9), or (12,) where only the major is said."""

    place: str
    version: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.place} says CUDA {'.'.join(map(str, self.version))}"


@dataclass(frozen=True, kw_only=True)
class Binaries:
    """The binaries of a cv2, in a wheel or installed, and what its texts say of them.

    `images` are all .pyd and .dll members, `needs` every DLL that the modules and the DLLs here
    that they reach ask for, sorted. `configs` are the files of OpenCV's loader that name
    directories. `cuda` is the version that the DLLs' names tell, (12,), and with its minor,
    (12, 9), where a text says more and does not contradict them; () for a build without CUDA.
    `claims` are the CUDA versions that the texts name, surest first.
    """

    images: Mapping[str, Image]
    needs: tuple[Need, ...]
    configs: Mapping[str, bytes]
    claims: tuple[Claim, ...]
    cuda: tuple[int, ...]

    @property
    def native(self) -> tuple[str, ...]:
        """The extension modules."""
        return tuple(filter(_is_module, self.images))

    @property
    def numpy(self) -> str:
        """The ABI of NumPy that the modules are built for, "1" or "2", "" where none uses it."""
        return max((self.images[module].numpy for module in self.native), default="")

    @property
    def cuda_major(self) -> int:
        """CUDA's major, 0 for none."""
        return self.cuda[0] if self.cuda else 0

    @property
    def toolkit_needs(self) -> tuple[Need, ...]:
        """The needs that a CUDA toolkit or cuDNN on the machine has to meet."""
        return tuple(need for need in self.needs if need.dll.is_cuda and need.in_wheel is None)


@dataclass(frozen=True, kw_only=True)
class Analysis(Binaries):
    """A wheel, and what its binaries say."""

    wheel: Wheel

    @property
    def requires(self) -> tuple[str, ...]:
        """Its Requires-Dist lines, as its binary needs them."""
        return correct_requirements(self.wheel.requires, self.numpy)


def analyse(
    path: Path,
    *,
    sha256: str = "",
    allow_startup_hook: bool = False,
    task: Task | None = None,
    memory: Memory | None = None,
) -> Analysis:
    """Return what the wheel at `path` is, whose every byte is checked.

    `sha256` is the file's where it is known; `task` advances by its bytes. The content of a wheel
    that `memory` knows by its hash is not compared with RECORD once more. Raises InputError as
    `read_wheel` does, and "not-pe" for a .pyd or .dll that is no PE file.
    """
    sha256 = sha256 or sha256_of(path)
    key = f"{sha256}-{__version__}"
    known = memory.recall(key, dict[str, Image]) if memory else None
    images: dict[str, Image] = {}
    # A binary's tables point to and fro, so each lies in a temporary file until it is read.
    with TemporaryDirectory(prefix="repack-") as folder:
        binary = Path(folder, "binary")

        def look_into(member: Member, pieces: Iterator[bytes]) -> None:
            if not member.name.lower().endswith((".pyd", ".dll")):
                return
            with binary.open("wb") as file:
                file.writelines(pieces)
            images[member.name] = read_image(binary, name=member.name, file=path)

        wheel = read_wheel(
            path,
            collect=look_into,
            checked=known is not None,
            allow_startup_hook=allow_startup_hook,
            task=task,
            sha256=sha256,
        )
    if known is None:
        known = dict(sorted(images.items()))
        if memory:
            memory.keep(key, known)
    read = partial(read_member, wheel.archive)
    binaries = describe_binaries(wheel.filename, wheel.names, read, known)
    return Analysis(wheel=wheel, **vars(binaries))


def describe_binaries(
    name: WheelName,
    members: Iterable[str],
    read: Callable[[str], bytes],
    images: Mapping[str, Image],
) -> Binaries:
    """Return what is known of the binaries of the wheel called `name`, installed or not.

    `members` are its files, and `read` returns the content of one.
    """
    needs = find_needs(filter(_is_module, images), images)
    configs = {member: read(member) for member in sorted(filter(CONFIG.fullmatch, members))}
    claims = tuple(dict.fromkeys(_find_claims(name, configs)))
    return Binaries(
        images=images,
        needs=needs,
        configs=configs,
        claims=claims,
        cuda=_find_cuda(needs, claims),
    )


def _is_module(member: str) -> bool:
    return member.lower().endswith(".pyd")


def _find_claims(name: WheelName, configs: Mapping[str, bytes]) -> Iterator[Claim]:
    for member, content in configs.items():
        for toolkit in _TOOLKIT.finditer(content):
            yield Claim(member, (int(toolkit[1]), int(toolkit[2])))
    for place, text in {"its version": name.version.local or "", "its name": name.name}.items():
        for label in _LABEL.finditer(text):
            yield Claim(place, tuple(map(int, filter(None, label.groups()))))


def _find_cuda(needs: Sequence[Need], claims: Sequence[Claim]) -> tuple[int, ...]:
    """Return CUDA's version: the binary decides, the texts may say more."""
    if not any(need.dll.is_nvidia for need in needs):
        return ()
    majors = possible_majors(need.dll for need in needs if need.dll.is_cuda)
    versions = [claim.version for claim in claims if majors is None or claim.version[0] in majors]
    if majors and len(majors) == 1:
        versions.append(tuple(majors))
    of_one_major = [version for version in versions if version[0] == versions[0][0]]
    # The surest comes first, and one with a minor says more.
    return max(of_one_major, key=len, default=())


# What is refused


def require_original_cv2(analysis: Analysis) -> None:
    """Raise InputError for a wheel without a cv2 for Windows, "no-cv2", or of ours, "repacked"."""
    wheel = analysis.wheel
    if not any(map(_CV2.fullmatch, analysis.native)):
        platforms = ", ".join(sorted({tag.platform for tag in wheel.filename.tags}))
        raise InputError(
            f"there is no cv2*.pyd in it, as OpenCV for Windows has; it is for {platforms}",
            code="no-cv2",
            file=wheel.path,
            hint="take a wheel of opencv-python or opencv-contrib-python for win_amd64",
        )
    if BUILD_MODULE in wheel.names:
        facts = read_build(read_member(wheel.archive, BUILD_MODULE))
        original = {"filename": "wheel", "sha256": "not known", **facts.get("original", {})}
        raise InputError(
            "repack has made it",
            code="repacked",
            file=wheel.path,
            hint="build from the original {filename} (sha256 {sha256})".format_map(original),
        )


# What the run-time module has to know: its `BUILD`


def build_facts(
    binaries: Binaries,
    name: WheelName,
    carried: Collection[Cargo] = (),
    left: Iterable[str] = (),
    help_url: str = "",
) -> dict[str, object]:
    """Return the facts of a build of the wheel called `name`.

    `carried` are the DLLs that are put into it, `left` those that these need of the machine;
    `help_url` is where the pages on the module's messages are served, "" for nowhere.
    """
    major = binaries.cuda_major
    outside = [need for need in binaries.needs if need.in_wheel is None]
    files = _list_toolkit_files(binaries, left)
    toolkit: dict[str, list[Dll]] = {}
    for dll in map(classify, files):
        toolkit.setdefault(dll.family, []).append(dll)
    dlls = [*(need.dll for need in outside), *map(classify, files)]
    machines = (binaries.images[module].machine for module in binaries.native)
    places = [(dll.family, *dll.member.rpartition("/")[::2]) for dll in carried]
    return {
        "cuda": (*binaries.cuda, None)[:2] if binaries.cuda else None,
        "cures": list_cures(dlls, binaries.cuda),
        "delayed": tuple(file for file, is_delayed in files.items() if is_delayed),
        "families": {
            family: tuple(sorted(dll.name for dll in group)) for family, group in toolkit.items()
        },
        "help_url": f"{help_url.rstrip('/')}/" if help_url else "",
        "kinds": {dll.key: dll.family for dll in dlls},
        "machine": next(machines, "x86-64"),
        "numpy": {"": None, "1": "numpy<2"}.get(binaries.numpy, "numpy"),
        "opencv": name.version.public,
        "original": {"filename": str(name)},
        "others": tuple(
            need.dll.name for need in outside if need.dll.kind is Kind.UNKNOWN and not need.delayed
        ),
        "requires": {
            family: tuple(sorted({index_requirement(dll, major) for dll in group} - {""}))
            for family, group in toolkit.items()
        },
        "stand_ins": {file: folder for family, folder, file in places if family == "driver"},
        "vendored": tuple(sorted({folder for family, folder, _ in places if family != "driver"})),
    }


def _list_toolkit_files(binaries: Binaries, left: Iterable[str]) -> dict[str, bool]:
    """Return the DLLs of CUDA and cuDNN outside the wheel, True for those only delay-loaded.

    They are those that the binaries name, those that are `left` to the machine, and what these
    import in their turn.
    """
    inside = {key_of(member.rpartition("/")[2]) for member in binaries.images}
    wanted = [(need.dll.name, need.delayed) for need in binaries.toolkit_needs]
    wanted += [(name, False) for name in left]
    files: dict[str, tuple[str, bool]] = {}
    for name, is_delayed in sorted(wanted, key=itemgetter(1)):
        for file in (name, *companions(classify(name))):
            if key_of(file) not in inside:
                files.setdefault(key_of(file), (file, is_delayed))
    return dict(files[key] for key in sorted(files))
