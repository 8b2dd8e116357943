"""Builds wheels for tests: from a dict of files, or field by field where one must lie."""

import base64
import csv
import hashlib
import io
import random
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dllmaking import make_dll
from packaging.tags import parse_tag

from repack.inspect import Analysis, analyse

Files = Mapping[str, bytes]
Fields = Mapping[str, int | bytes]

STORED, DEFLATED = 0, 8
UTF8, DESCRIPTOR = 0x800, 0x8
MAX32 = 0xFFFFFFFF

#: The form of each record, and its fields.
_BOTH = "needed flags method time date crc csize usize name_length extra_length"
_DISKS = "disk directory_disk disk_count count size offset"
LOCAL = "<4s5H3L2H", f"signature {_BOTH}"
CENTRAL = "<4s6H3L5H2L", f"signature made_by {_BOTH} comment_length disk internal external offset"
END = "<4s4H2LH", f"signature {_DISKS} comment_length"
END64 = "<4sQ2H2L4Q", f"signature length made_by needed {_DISKS}"
LOCATOR = "<4sLQL", "signature disk offset disks"


def deflated(content: bytes) -> bytes:
    """Return the raw DEFLATE stream of `content`."""
    return zlib.compress(content, wbits=-15)


def extra(kind: int, payload: bytes) -> bytes:
    """Return one extra field."""
    return struct.pack("<HH", kind, len(payload)) + payload


def zip64(*values: int) -> bytes:
    """Return the ZIP64 extra field that holds `values`."""
    return extra(1, struct.pack(f"<{len(values)}Q", *values))


def descriptor(content: bytes, csize: int, *, signed: bool = True, wide: bool = False) -> bytes:
    """Return the data descriptor that stands behind `content`."""
    sizes = struct.pack("<2Q" if wide else "<2L", csize, len(content))
    return (b"PK\7\x08" if signed else b"") + struct.pack("<L", zlib.crc32(content)) + sizes


def packed(kind: tuple[str, str], values: Fields) -> bytes:
    """Return a record of these values; what is not among them is 0."""
    form, names = kind
    return struct.pack(form, *(values.get(name, 0) for name in names.split()))


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One member of an archive; what is not said is right."""

    name: str | bytes
    content: bytes = b""
    method: int = STORED
    #: The content as it lies in the archive; None packs it.
    data: bytes | None = None
    mode: int = 0o100644
    #: Other values of both headers, then of one alone: `flags`, `crc`, `usize`, `needed`, ...
    both: Mapping[str, int] = field(default_factory=dict)
    local: Fields = field(default_factory=dict)
    central: Fields = field(default_factory=dict)
    local_extra: bytes = b""
    central_extra: bytes = b""
    #: What stands behind the content.
    after: bytes = b""

    @property
    def raw_name(self) -> bytes:
        return self.name if isinstance(self.name, bytes) else self.name.encode()

    @property
    def packed(self) -> bytes:
        if self.data is not None:
            return self.data
        return deflated(self.content) if self.method == DEFLATED else self.content

    def records(self, offset: int) -> tuple[bytes, bytes]:
        """Return what lies at `offset`, content and all, and the directory's entry."""
        data = self.packed
        values: dict[str, int | bytes] = {
            "needed": 20,
            "flags": 0 if self.raw_name.isascii() else UTF8,
            "method": self.method,
            "date": 0x21,
            "crc": zlib.crc32(self.content),
            "csize": len(data),
            "usize": len(self.content),
            "name": self.raw_name,
            "name_length": len(self.raw_name),
            **self.both,
        }
        lengths = {"extra_length": len(self.local_extra)}
        header = {"signature": b"PK\3\4", **values, **lengths, **self.local}
        local = packed(LOCAL, header) + bytes(header["name"]) + self.local_extra
        own = {"made_by": 3 << 8 | 20, "external": self.mode << 16, "offset": offset}
        lengths = {"extra_length": len(self.central_extra)}
        header = {"signature": b"PK\1\2", **values, **own, **lengths, **self.central}
        central = packed(CENTRAL, header) + self.raw_name + self.central_extra
        return local + data + self.after, central


def make_zip(
    entries: Sequence[Entry],
    *,
    comment: bytes = b"",
    end: Fields | None = None,
    end64: Fields | None = None,
    locator: Fields | None = None,
) -> bytes:
    """Return the archive of `entries`, with every lie that they tell.

    `end`, `end64` and `locator` have other values of the end records: `count`, `size`, `offset`...
    Those of ZIP64 are there where `end64` is not None.
    """
    body, listing = bytearray(), b""
    for entry in entries:
        local, central = entry.records(len(body))
        body += local
        listing += central
    extent = {"size": len(listing), "offset": len(body)}
    own: Fields = {"disk_count": len(entries), "count": len(entries), **extent}
    narrow = {"signature": b"PK\5\6", **own, "comment_length": len(comment), **(end or {})}
    records = packed(END, narrow) + comment
    if end64 is not None:
        versions = {"length": 44, "made_by": 3 << 8 | 45, "needed": 45}
        wide = packed(END64, {"signature": b"PK\6\6", **versions, **own, **end64})
        place = {"offset": len(body) + len(listing), "disks": 1}
        records = (
            wide + packed(LOCATOR, {"signature": b"PK\6\7", **place, **(locator or {})}) + records
        )
    return bytes(body) + listing + records


def metadata(name: str, version: str, *more: str) -> bytes:
    """Return a METADATA file; `more` are further header lines."""
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *more]
    return "\n".join([*lines, "", "A wheel made by a test.", ""]).encode()


def wheel_file(tags: Sequence[str], *, purelib: bool = False) -> bytes:
    """Return a WHEEL file."""
    lines = ["Wheel-Version: 1.0", "Generator: tests", f"Root-Is-Purelib: {str(purelib).lower()}"]
    return "\n".join([*lines, *(f"Tag: {tag}" for tag in tags), ""]).encode()


def record_row(name: str, content: bytes, algorithm: str = "sha256") -> tuple[str, str, str]:
    """Return the RECORD row of a member."""
    digest = hashlib.new(algorithm, content).digest()
    encoded = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    return name, f"{algorithm}={encoded}", str(len(content))


def record(files: Files, path: str) -> bytes:
    """Return the RECORD, itself at `path`, of `files`."""
    rows = [record_row(name, files[name]) for name in sorted(files) if not name.endswith("/")]
    return written_rows([*rows, (path, "", "")])


def written_rows(rows: Sequence[Sequence[str]], newline: str = "\n") -> bytes:
    """Return rows as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator=newline).writerows(rows)
    return text.getvalue().encode()


def expanded_tags(tag: str) -> list[str]:
    """Return the tags that a compressed tag set stands for, sorted."""
    return sorted(map(str, parse_tag(tag)))


def make_wheel(path: Path, files: Files, *, requires: Sequence[str] = ()) -> Path:
    """Write a wheel of `files` and return its path.

    `path` is the wheel's, whose name then says name, version and tag, or a folder for an example.
    `files` may hold .dist-info files of its own; those it lacks are made.
    """
    if path.suffix != ".whl":
        path = path / "example-1.0-cp37-abi3-win_amd64.whl"
    name, version, *_, python, abi, platform = path.stem.split("-")
    info = f"{name}-{version}.dist-info"
    lines = [f"Requires-Dist: {requirement}" for requirement in requires]
    added = {
        f"{info}/METADATA": metadata(name.replace("_", "-"), version, *lines),
        f"{info}/WHEEL": wheel_file(expanded_tags(f"{python}-{abi}-{platform}")),
    }
    missing = {member: text for member, text in added.items() if member not in files}
    members = {**files, **missing}
    members.setdefault(f"{info}/RECORD", record(members, f"{info}/RECORD"))
    entries = [
        Entry(name=member, content=content, method=DEFLATED) for member, content in members.items()
    ]
    path.write_bytes(make_zip(entries))
    return path


def make_pyd(
    imports: Mapping[str, Sequence[str]] | None = None,
    *,
    delay_imports: Mapping[str, Sequence[str]] | None = None,
    machine: str = "x86-64",
) -> bytes:
    """Return a Windows extension module that imports python3.dll and `imports`."""
    wanted = {"python3.dll": ["PyModule_Create2"], **(imports or {})}
    return make_dll("cv2.pyd", imports=wanted, delay_imports=delay_imports, machine=machine)


def opencv_wheel(  # noqa: PLR0913 - a wheel's parts
    folder: Path,
    pyd: bytes,
    files: Files | None = None,
    *,
    name: str = "opencv_contrib_python",
    version: str = "4.13.0.90",
    tag: str = "cp37-abi3",
    platform: str = "win_amd64",
    lines: Sequence[str] = ("Requires-Dist: numpy>=2",),
) -> Path:
    """Write a wheel in opencv-python's layout and return its path; `lines` stand in METADATA."""
    members = {
        "cv2/__init__.py": b"from .cv2 import *\n",
        "cv2/cv2.pyd": pyd,
        f"{name}-{version}.dist-info/METADATA": metadata(name.replace("_", "-"), version, *lines),
        **(files or {}),
    }
    return make_wheel(folder / f"{name}-{version}-{tag}-{platform}.whl", members)


def cuda_wheel(
    folder: Path,
    *,
    tag: str = "cp37-abi3",
    requires: Sequence[str] = ("numpy>=2",),
    numpy: bytes = b"",
    ballast: int = 0,
) -> Path:
    """Write such a wheel that needs CUDA 12 and return its path.

    `numpy` is the mark that NumPy's headers leave in a module ("numpy.core.multiarray"); `ballast`
    bytes that do not deflate make the wheel as heavy as a test wants it.
    """
    needs = {
        "nppc64_12.dll": ["nppGetLibVersion"],
        "nppif64_12.dll": ["nppiFilter_8u_C1R"],
        "cudart64_12.dll": ["cudaGetDeviceCount"],
        "KERNEL32.dll": ["GetProcAddress"],
    }
    pyd = make_pyd(needs) + (b"\0" + numpy + b"\0" if numpy else b"")
    content = random.Random(0).randbytes(ballast)  # noqa: S311 - no secret
    files = {"cv2/data/ballast.bin": content} if ballast else {}
    lines = [f"Requires-Dist: {requirement}" for requirement in requires]
    return opencv_wheel(folder, pyd, files, tag=tag, lines=lines)


def make_analysis(folder: Path, pyd: bytes, **parts: Any) -> Analysis:  # noqa: ANN401 - a wheel's parts
    """Return what is known of such a wheel, which has these `parts`."""
    return analyse(opencv_wheel(folder, pyd, **parts), allow_startup_hook=True)
