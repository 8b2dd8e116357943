"""One member's two headers: the directory's and its own (APPNOTE 4.3.7, 4.3.12, 4.5)."""

from __future__ import annotations

import stat
import struct
import zlib
from dataclasses import dataclass

from repack.wheel.ends import (
    CENTRAL_SIGNATURE,
    LOCAL_SIGNATURE,
    MAX32,
    ZIP64_VERSION,
)
from repack.wheel.faults import Fault
from repack.wheel.members import DEFLATED, STORED
from repack.wheel.names import check_name, decoded

LOCAL = struct.Struct("<4s5H3L2H")
CENTRAL = struct.Struct("<4s6H3L5H2L")

UTF8_FLAG, DESCRIPTOR_FLAG = 0x800, 0x8
#: Bits 1 and 2 tell how hard the deflater tried; 0, 5, 6 and 13 announce secrets or patches.
_KNOWN_FLAGS = UTF8_FLAG | DESCRIPTOR_FLAG | 0x6
_SECRET_FLAGS = 0x2061
_METHODS = {
    9: "deflate64",
    12: "bzip2",
    14: "LZMA",
    20: "zstd",
    93: "zstd",
    95: "xz",
    99: "AES",
}
#: DEFLATE packs at best 258 bytes into two bits.
DEFLATE_RATIO = 1032
_DOS_VOLUME, _DOS_FOLDER = 0x08, 0x10
_SET_ID_BITS = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX

ZIP64_EXTRA, _UNICODE_NAME_EXTRA = 0x0001, 0x7075
_REFUSED_EXTRAS = {
    0x0014: ("encrypted", "holds certificates"),
    0x0015: ("encrypted", "holds certificates"),
    0x0016: ("encrypted", "holds certificates"),
    0x0017: ("encrypted", "is encrypted"),
    0x0019: ("encrypted", "holds certificates"),
    0x6375: ("member-comment", "has a comment"),
    0x756E: ("special-file", "may be a link"),
    0x9901: ("encrypted", "is encrypted"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """A member as the directory lists it."""

    name: str
    raw_name: bytes
    needed: int
    flags: int
    method: int
    #: MS-DOS time and date.
    stamp: tuple[int, int]
    crc: int
    compressed_size: int
    size: int
    #: Where its own header begins.
    offset: int
    mode: int
    #: Whether a ZIP64 extra field gave sizes or offset.
    wide: bool

    @property
    def directory(self) -> bool:
        """Whether it is a folder."""
        return self.name.endswith("/")


@dataclass(frozen=True, kw_only=True, slots=True)
class Local:
    """What a member's own header tells beside what the directory does."""

    #: In bytes, of the whole header.
    length: int
    #: Whether a ZIP64 extra field is there, so that a data descriptor has 64-bit sizes.
    wide: bool


def read_listed(raw: bytes, at: int) -> tuple[Listed, int]:
    """Return the directory's entry at `at` and where the next one begins; raises Fault."""
    if len(raw) - at < CENTRAL.size or not raw.startswith(CENTRAL_SIGNATURE, at):
        raise Fault("end-record", "the directory does not hold what the end record says")
    values = CENTRAL.unpack_from(raw, at)
    name_end = at + CENTRAL.size + values[10]
    end = name_end + values[11] + values[12]
    if end > len(raw):
        raise Fault("end-record", "the directory ends within an entry")
    raw_name = raw[at + CENTRAL.size : name_end]
    name = decoded(raw_name, utf8=bool(values[3] & UTF8_FLAG))
    try:
        listed = _listed(values, raw_name, name, raw[name_end : name_end + values[11]])
        check_name(name)
        _check_kind(listed, external=values[15])
        _check_packing(listed)
    except Fault as fault:
        raise Fault(fault.code, fault.what, name) from None
    return listed, end


def _listed(values: tuple[int, ...], raw_name: bytes, name: str, raw_extras: bytes) -> Listed:
    """Return the entry of the fields `values` (of CENTRAL); raises Fault."""
    _, _, needed, flags, method, time, date, crc, csize, size = values[:10]
    _, _, comment_length, disk, _, external, offset = values[10:]
    if comment_length:
        raise Fault("member-comment", "has a comment")
    if disk:
        raise Fault("end-record", "is said to lie on another disk")
    extras = read_extras(raw_extras, raw_name)
    size, csize, offset = _widened((size, csize, offset), extras.get(ZIP64_EXTRA))
    return Listed(
        name=name,
        raw_name=raw_name,
        needed=needed,
        flags=flags,
        method=method,
        stamp=(time, date),
        crc=crc,
        compressed_size=csize,
        size=size,
        offset=offset,
        mode=external >> 16,
        wide=ZIP64_EXTRA in extras,
    )


def read_local(raw: bytes, listed: Listed) -> Local:
    """Return what the member's own header `raw` adds; raises Fault where it contradicts."""
    if len(raw) < LOCAL.size or not raw.startswith(LOCAL_SIGNATURE):
        raise Fault("missing-member", "is listed, but not in the archive")
    values = LOCAL.unpack_from(raw)
    _, needed, flags, method, time, date, crc, csize, size, name_length, extra_length = values
    length = LOCAL.size + name_length + extra_length
    for what, own, listing in (
        ("flags", flags, listed.flags),
        ("method", method, listed.method),
        ("time", (time, date), listed.stamp),
        ("name", raw[LOCAL.size : LOCAL.size + name_length], listed.raw_name),
    ):
        if own != listing:
            raise _mismatch(what)
    extras = read_extras(raw[LOCAL.size + name_length : length], listed.raw_name)
    wide = ZIP64_EXTRA in extras
    field = extras.get(ZIP64_EXTRA)
    if flags & DESCRIPTOR_FLAG and not field:
        # Some streaming writers only announce by it that the sizes behind the data are wide.
        field = None
    size, csize, _ = _widened((size, csize, None), field)
    _check_sizes(listed, (crc, csize, size))
    if needed != listed.needed and not _needs_more(needed, listed, wide=wide):
        raise _mismatch("version needed")
    return Local(length=length, wide=wide)


def read_extras(raw: bytes, raw_name: bytes) -> dict[int, bytes]:
    """Return the extra fields by their number; raises Fault."""
    fields: dict[int, bytes] = {}
    at = 0
    while at < len(raw):
        if len(raw) - at < 4:  # noqa: PLR2004 - a field's number and length
            raise Fault("bad-extra", "its extra fields do not fit their space")
        kind, length = struct.unpack_from("<HH", raw, at)
        at += 4 + length
        if at > len(raw):
            raise Fault("bad-extra", "its extra fields do not fit their space")
        if kind in fields:
            code = "zip64" if kind == ZIP64_EXTRA else "bad-extra"
            raise Fault(code, f"has the extra field {kind:#06x} twice")
        fields[kind] = raw[at - length : at]
    for kind in fields.keys() & _REFUSED_EXTRAS.keys():
        code, what = _REFUSED_EXTRAS[kind]
        raise Fault(code, f"{what}, says the extra field {kind:#06x}")
    _check_unicode_name(fields.get(_UNICODE_NAME_EXTRA), raw_name)
    return fields


def _check_unicode_name(field: bytes | None, raw_name: bytes) -> None:
    """Raise Fault unless the Info-ZIP field gives the same name (APPNOTE 4.6.9)."""
    if field is None:
        return
    expected = struct.pack("<BL", 1, zlib.crc32(raw_name)) + raw_name
    if field != expected:
        raise Fault("name-mismatch", "has another name in the extra field 0x7075")


def _widened(narrow: tuple[int, int, int | None], field: bytes | None) -> tuple[int, int, int]:
    """Return the values with those that say "see the ZIP64 field" replaced (APPNOTE 4.5.3).

    `narrow` is size, compressed size and, in the directory, the header's offset.
    """
    size, csize, offset = narrow
    wanted = [index for index, value in enumerate(narrow) if value == MAX32]
    if field is None:
        if wanted:
            raise Fault("zip64", "lacks the ZIP64 sizes that it announces")
        return size, csize, offset or 0
    numbers = _numbers(field, len(narrow))
    if not wanted:
        # Some writers give the field where it is not needed: harmless as long as it agrees.
        if list(numbers) != [size, csize, offset][: len(numbers)]:
            raise Fault("zip64", "its ZIP64 sizes contradict the others")
        return size, csize, offset or 0
    if len(numbers) != len(wanted):
        raise Fault("zip64", "its ZIP64 field is too short or too long")
    values = [size, csize, offset or 0]
    for index, number in zip(wanted, numbers, strict=True):
        values[index] = number
    return values[0], values[1], values[2]


def _numbers(field: bytes, most: int) -> tuple[int, ...]:
    count, rest = divmod(len(field), 8)
    if rest or not 0 < count <= most:
        raise Fault("zip64", "its ZIP64 field is too short or too long")
    return struct.unpack(f"<{count}Q", field)


def _check_kind(listed: Listed, external: int) -> None:
    """Raise Fault unless the member is a plain file, or a folder without content."""
    expected = stat.S_IFDIR if listed.directory else stat.S_IFREG
    if stat.S_IFMT(listed.mode) not in (0, expected):
        raise Fault("special-file", f"has the file mode {listed.mode:#o}: a link or device?")
    if listed.directory:
        if listed.size:
            raise Fault("special-file", "is a folder with content")
    elif listed.mode & _SET_ID_BITS:
        raise Fault("special-file", f"has the file mode {listed.mode:#o}, a privileged program's")
    elif external & (_DOS_VOLUME | _DOS_FOLDER):
        raise Fault("special-file", "has the attributes of a folder")


def _check_packing(listed: Listed) -> None:
    """Raise Fault unless flags, method and sizes are such as every reader understands."""
    if listed.flags & _SECRET_FLAGS:
        raise Fault("encrypted", "is encrypted or a patch")
    if listed.flags & ~_KNOWN_FLAGS:
        raise Fault("unknown-flags", f"has flags without a meaning ({listed.flags:#06x})")
    if listed.method not in (STORED, DEFLATED):
        known = _METHODS.get(listed.method, f"number {listed.method}")
        raise Fault("compression", f"is packed by {known}, which not every installer knows")
    if listed.needed > ZIP64_VERSION:
        raise Fault("version-needed", f"needs version {listed.needed / 10} of the ZIP format")
    code = "zip64" if listed.wide else "size-lie"
    if listed.method == STORED and listed.size != listed.compressed_size:
        raise Fault(code, f"is stored in {listed.compressed_size:,} bytes, but has {listed.size:,}")
    if listed.method == DEFLATED and listed.size > listed.compressed_size * DEFLATE_RATIO:
        raise Fault(
            code, f"cannot inflate from {listed.compressed_size:,} bytes to {listed.size:,}"
        )


def _check_sizes(listed: Listed, own: tuple[int, int, int]) -> None:
    """Raise Fault unless the member's own checksum and sizes are those of the directory."""
    if listed.flags & DESCRIPTOR_FLAG and own == (0, 0, 0):
        return
    listing = (listed.crc, listed.compressed_size, listed.size)
    for what, one, other in zip(("checksum", "compressed size", "size"), own, listing, strict=True):
        if one != other:
            raise _mismatch(what)


def _needs_more(needed: int, listed: Listed, *, wide: bool) -> bool:
    """Say whether just one header needs ZIP64, and for that the version that it asks for."""
    return (needed == ZIP64_VERSION and wide) or (listed.needed == ZIP64_VERSION and listed.wide)


def _mismatch(what: str) -> Fault:
    return Fault("header-mismatch", f"its own header and the directory disagree on its {what}")
