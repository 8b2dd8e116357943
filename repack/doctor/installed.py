"""The cv2 that is installed: the distributions that own it, its files, what its binaries need."""

import csv
import io
import tempfile
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from pathlib import Path
from typing import Any, NamedTuple

from repack.dlls.pe import Image, read_image
from repack.errors import InputError
from repack.inspect.analysis import conclude
from repack.inspect.binaries import Binaries, find_numpy_abi
from repack.inspect.facts import build_facts
from repack.patching import BUILD_MODULE, read_build
from repack.wheel.metadata import entry_of, format_record
from repack.wheel.reader import Wheel, read_wheel

#: In the .dist-info of what was fixed: the files as they were. RECORD is the last to get there.
ORIGINALS = "repack-originals"
_BINARIES = (".pyd", ".dll")


class Distribution(NamedTuple):
    """An installed distribution: its .dist-info, and the files that its RECORD lists."""

    folder: Path
    name: str
    version: str
    installer: str
    members: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """The cv2 in the site-packages `root`; `owners` are the distributions that list files of it."""

    root: Path
    owners: tuple[Distribution, ...]

    @property
    def originals(self) -> Path | None:
        """The folder of the files that a fix has changed, as they were; None without a fix."""
        folders = [owner.folder / ORIGINALS for owner in self.owners]
        return next((folder for folder in folders if (folder / "RECORD").is_file()), None)

    @property
    def members(self) -> tuple[str, ...]:
        """The files of cv2 before any fix, and the DLLs of its distribution, sorted."""
        if len(self.owners) == 1:
            names = read_members((self.originals or self.owners[0].folder) / "RECORD")
        else:
            paths = [*self.root.glob("cv2*.pyd"), *self.root.glob("cv2/**/*")]
            names = [path.relative_to(self.root).as_posix() for path in paths if path.is_file()]
        kept = [name for name in names if name.startswith("cv2/") or name.endswith(_BINARIES)]
        return tuple(sorted(kept))

    @property
    def is_built_by_repack(self) -> bool:
        """Whether the wheel that was installed came from repack."""
        return BUILD_MODULE in self.members

    def read(self, member: str) -> bytes:
        """Return the content that a file had before any fix."""
        original = (self.originals or self.root) / member
        return (original if original.is_file() else self.root / member).read_bytes()


def find_package(root: Path) -> Package:
    """Return the cv2 in a site-packages."""
    distributions = map(_read_distribution, sorted(root.glob("*.dist-info")))
    owners = [
        owner
        for owner in distributions
        if any(member.startswith("cv2/") for member in owner.members)
    ]
    return Package(root=root, owners=tuple(owners))


def read_rows(record: Path) -> list[list[str]]:
    """Return the rows of a RECORD as they stand there, none where there is none."""
    text = io.StringIO(_read(record).decode("utf-8"), newline="")
    return [row for row in csv.reader(text) if row]


def read_members(record: Path) -> list[str]:
    """Return the files that a RECORD lists."""
    return [row[0].replace("\\", "/") for row in read_rows(record)]


def read_facts(package: Package) -> dict[str, Any]:
    """Return what the run-time module has to know: as the wheel says, or else its binaries."""
    if package.is_built_by_repack:
        return read_build(package.read(BUILD_MODULE))
    with tempfile.TemporaryDirectory(prefix="repack-") as folder:
        wheel = _pack_texts(package, Path(folder))
        facts = build_facts(conclude(wheel, _read_binaries(package)))
    return {**facts, "original": {"filename": wheel.path.name}}


def _read_distribution(folder: Path) -> Distribution:
    """Return what a .dist-info says; what it does not say is empty."""
    metadata = BytesHeaderParser().parsebytes(_read(folder / "METADATA"))
    return Distribution(
        folder=folder,
        name=metadata.get("Name", folder.name),
        version=metadata.get("Version", ""),
        installer=_read(folder / "INSTALLER").decode("utf-8", "replace").strip(),
        members=tuple(read_members(folder / "RECORD")),
    )


def _read(file: Path) -> bytes:
    with suppress(OSError):
        return file.read_bytes()
    return b""


def _pack_texts(package: Package, folder: Path) -> Wheel:
    """Return the wheel that was installed, without its binaries: what inspect reads texts of."""
    info = package.owners[0].folder if package.owners else Path("opencv_python-0.dist-info")
    tag = BytesHeaderParser().parsebytes(_read(info / "WHEEL")).get("Tag", "py3-none-win_amd64")
    name, _, version = info.stem.rpartition("-")
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    texts = {
        f"{info.name}/METADATA": metadata.encode(),
        f"{info.name}/WHEEL": f"Wheel-Version: 1.0\nTag: {tag}\n".encode(),
    }
    for member in package.members:
        if member.startswith("cv2/config") and (package.root / member).is_file():
            texts[member] = package.read(member)
    record = f"{info.name}/RECORD"
    entries = {member: entry_of(content) for member, content in texts.items()}
    path = folder / f"{info.stem}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in {**texts, record: format_record(entries, record)}.items():
            archive.writestr(member, content)
    return read_wheel(path)


def _read_binaries(package: Package) -> Binaries:
    """Return the binaries that are there; of one that is damaged the report will tell."""
    images: dict[str, Image] = {}
    numpy: set[str] = set()
    for member in package.members:
        path = package.root / member
        if member.lower().endswith(_BINARIES) and path.is_file():
            with suppress(InputError):
                images[member] = read_image(path)
                numpy |= find_numpy_abi(path) if member.lower().endswith(".pyd") else set()
    return images, max(numpy, default=None)
