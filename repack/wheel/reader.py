"""Reads a wheel and believes nothing: names, METADATA, WHEEL, RECORD and contents must agree."""

import csv
import hashlib
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from configparser import ConfigParser
from configparser import Error as ConfigError
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, TypeAlias

from packaging.metadata import RawMetadata
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version
from zlib_ng import zlib_ng

from repack import files
from repack.console import Task
from repack.wheel.archive import DEFLATED, Archive, Member, open_archive, read_packed
from repack.wheel.metadata import (
    RecordEntry,
    lists_licenses,
    make_entry,
    parse_metadata,
    parse_wheel_file,
)
from repack.wheel.names import WheelName, check_names, parse_filename, refuse

#: Is given each member, as they lie, and its content in pieces, of which it takes what it wants;
#: the checksum is right once the last has come.
Collect: TypeAlias = Callable[[Member, Iterator[bytes]], object]

# The stub calls the class an instance.
_NOT_DEFLATE: type[Exception] = zlib_ng.error  # type: ignore[assignment]
#: The specification asks for SHA-256 or better.
_ALGORITHMS = ("sha256", "sha384", "sha512")
_SCRIPT = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_. -]*[A-Za-z0-9_-])?")
_REFERENCE = re.compile(r"[\w.]+\s*:\s*[\w.]+\s*(\[[\w\s,.-]*\])?")
_DATA = re.compile(r"[^/]+\.data/", re.IGNORECASE)
# What is there comes to lie beside the files of the archive's top.
_BESIDE = re.compile(r"^[^/]+\.data/(purelib|platlib|data/lib/site-packages)/", re.IGNORECASE)
_SCHEMES = ("data", "headers", "platlib", "purelib", "scripts")
# A file of such a name in the folder for scripts, or in that of the Python itself, is run in
# its place, or decides what it imports.
_INTERPRETER = re.compile(
    r"python(w|\d[\d.]*t?)?(\.exe|\.dll|\.com|\.bat|\.cmd|\._pth)?|pyvenv\.cfg", re.IGNORECASE
)
# On Windows the folder of the Python itself is on sys.path, and its .pth files are run.
_HOOK = re.compile(
    r"([^/]+\.data/(purelib/|platlib/|data/(lib/|dlls/|(.*/)?site-packages/)?))?"
    r"([^/]+\.(pth|start)|(site|user)customize(\.[^/]+|/__init__\.[^/]+))",
    re.IGNORECASE,
)


def read_member(archive: Archive, name: str, *, limit: int = 16 << 20) -> bytes:
    """Return the content of the member `name`, at most `limit` bytes; raises InputError."""
    member = archive.members.get(name)
    if member is None:
        refuse(archive.path, "is not in the archive", "no-member", name)
    if member.size > limit:
        what = f"has {member.size:,} bytes, more than the {limit:,} that are read"
        refuse(archive.path, what, "too-large", name)
    with archive.open() as file:
        return b"".join(_read_content(file, archive.path, member))


def _read_content(
    file: BinaryIO, path: Path, member: Member, update: Callable[[bytes], object] = lambda _: None
) -> Iterator[bytes]:
    """Yield the member's content, never more than it announces, each piece after `update` had it.

    Raises InputError: bad-data, size-lie, crc.
    """
    inflater = zlib_ng.decompressobj(-15) if member.method == DEFLATED else None
    crc, left = 0, member.size
    for packed in read_packed(file, path, member):
        try:
            # One byte more than announced is enough to know; a bomb makes 1,032 of each byte.
            piece = inflater.decompress(packed, left + 1) if inflater else packed
        except _NOT_DEFLATE:
            refuse(path, "is not DEFLATE data", "bad-data", member.name)
        left -= len(piece)
        if left < 0 or (inflater and inflater.unused_data):
            break
        crc = zlib_ng.crc32(piece, crc)
        update(piece)
        yield piece
    if left or (inflater and (inflater.unused_data or not inflater.eof)):
        what = f"its data is not the {member.size:,} bytes that its header announces"
        refuse(path, what, "size-lie", member.name)
    if crc != member.crc:
        what = f"its checksum is {crc:08x}, not {member.crc:08x}: damaged"
        refuse(path, what, "crc", member.name)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wheel:
    """A wheel whose every byte has been checked against its own RECORD.

    `metadata` and `wheel_file` are the bytes of METADATA and WHEEL, `fields` what METADATA says;
    `record` has a row for each file but RECORD and its signatures; `sha256`, hexadecimal, is the
    file's; `requires_python` is "" where there is none, or one that nobody understands.
    """

    path: Path
    filename: WheelName
    archive: Archive
    dist_info: str
    metadata: bytes
    wheel_file: bytes
    record: Mapping[str, RecordEntry]
    sha256: str
    requires_python: str
    requires: tuple[str, ...]
    fields: RawMetadata
    root_is_purelib: bool

    @property
    def names(self) -> tuple[str, ...]:
        """The files in the wheel, folders left out, in their order."""
        return self.archive.files

    @property
    def size(self) -> int:
        """How large the file is, in bytes."""
        return self.archive.size


def read_wheel(  # noqa: PLR0913 - what is known of the file, and who takes its content
    path: Path,
    *,
    collect: Collect = lambda *_: None,
    allow_startup_hook: bool = False,
    task: Task | None = None,
    sha256: str = "",
    checked: bool = False,
) -> Wheel:
    """Return the wheel at `path`, checked wholly, in one pass over its content.

    `task` advances by bytes of the file. `sha256` is the file's where it is known. Where the
    content was `checked` against RECORD before, all is checked but that. Raises InputError, whose
    code says which rule is broken; "startup-hook", a file that Python would run at each start,
    only if not `allow_startup_hook`.
    """
    filename, archive = parse_filename(path), open_archive(path)
    dist_info = _find_dist_info(archive, filename)
    metadata = read_member(archive, member := f"{dist_info}/METADATA")
    own = parse_metadata(metadata, filename, path, member)
    for name in own.get("license_files", []) if lists_licenses(own) else ():
        # Since PEP 639 under licenses/; setuptools put them beside METADATA before that.
        if archive.members.keys().isdisjoint(
            {f"{dist_info}/licenses/{name}", f"{dist_info}/{name}"}
        ):
            refuse(path, f"there is no {name!r}", "metadata", member)
    wheel_file = read_member(archive, member := f"{dist_info}/WHEEL")
    root_is_purelib = parse_wheel_file(wheel_file, filename, path, member)
    _check_entry_points(archive, f"{dist_info}/entry_points.txt")
    _check_places(archive, dist_info, allow_startup_hook=allow_startup_hook)
    rows = _read_record(archive, f"{dist_info}/RECORD")
    if not checked:
        _check_content(archive, rows, collect, task)
    return Wheel(
        path=path,
        filename=filename,
        archive=archive,
        dist_info=dist_info,
        metadata=metadata,
        wheel_file=wheel_file,
        record={file: RecordEntry(digest, int(size)) for file, (digest, size) in rows.items()},
        sha256=sha256 or files.sha256_of(path),
        requires_python=own.get("requires_python", ""),
        requires=tuple(own.get("requires_dist", [])),
        fields=own,
        root_is_purelib=root_is_purelib,
    )


def startup_hooks(names: Iterable[str]) -> Iterator[str]:
    """Yield the members that Python would run at each start, imported or not."""
    return (name for name in names if _HOOK.fullmatch(name))


def _find_dist_info(archive: Archive, filename: WheelName) -> str:
    """Return the name of the one .dist-info folder, which must be this wheel's."""
    places = (_BESIDE.sub("", name) for name in archive.members)
    tops = {place.partition("/")[0] for place in places if "/" in place}
    folders = sorted(top for top in tops if top.lower().endswith(".dist-info"))
    name, _, version = "".join(folders).removesuffix(".dist-info").rpartition("-")
    try:
        own = canonicalize_name(name), Version(version)
    except InvalidVersion:
        own = None
    if own != (filename.name, filename.version):
        right = f"{filename.distribution}-{filename.version}.dist-info"
        what = f"at its top is {', '.join(folders) or 'no .dist-info folder'}, not {right} alone"
        is_renamed = own and own[0] == filename.name
        hint = f"call it {replace(filename, version=own[1])}" if own and is_renamed else ""
        refuse(archive.path, what, "dist-info", hint=hint)
    return folders[0]


def _check_entry_points(archive: Archive, member: str) -> None:
    """Raise InputError where a script's name is no plain word, or it calls no function."""
    if member not in archive.members:
        return
    parser = ConfigParser(delimiters=("=",), interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign] # names keep their case
    try:
        parser.read_string(read_member(archive, member).decode("utf-8"))
    except (UnicodeDecodeError, ConfigError) as error:
        reason = str(error).splitlines()[0]
        refuse(archive.path, f"cannot be read: {reason}", "entry-points", member)
    for group in filter(parser.has_section, ("console_scripts", "gui_scripts")):
        for name, value in parser.items(group):
            is_name = _SCRIPT.fullmatch(name) and not _INTERPRETER.fullmatch(name)
            if not is_name or not _REFERENCE.fullmatch(value.strip()):
                what = f"{name!r} = {value!r} is not a script name with module:function"
                refuse(archive.path, what, "entry-points", member)


def _check_places(archive: Archive, dist_info: str, *, allow_startup_hook: bool) -> None:
    """Raise InputError for what an installer would put where nobody expects it.

    pip moves the content of any .data folder, uv that of the wheel's own.
    """
    check_names((_BESIDE.sub("", name) for name in archive.files), archive.path)
    own = f"{dist_info.removesuffix('.dist-info')}.data/"
    for name in filter(_DATA.match, archive.files):
        scheme, _, rest = name.removeprefix(own).partition("/")
        if not name.startswith(own) or scheme not in _SCHEMES or not rest:
            what = f"an installer accepts {own} with {', '.join(_SCHEMES)}, and no others"
            refuse(archive.path, what, "data-scheme", name)
        if scheme in {"scripts", "data"} and _INTERPRETER.fullmatch(name.rpartition("/")[2]):
            what = "it would replace the Python interpreter, or change its start"
            refuse(archive.path, what, "data-scheme", name)
    for name in () if allow_startup_hook else startup_hooks(archive.files):
        what = "Python would run it at each start, whether the package is imported or not"
        hint = "read it; if the package is meant to do that, you can allow it"
        refuse(archive.path, what, "startup-hook", name, hint)


def _read_record(archive: Archive, record: str) -> dict[str, list[str]]:
    """Return by file what RECORD has beside its name, which is to be hash and size.

    It has none for itself, and its signatures need none (PEP 427; PEP 815 drops them).
    """
    try:
        table = io.StringIO(read_member(archive, record).decode("utf-8"), newline="")
        lines = [line for line in csv.reader(table, strict=True) if line]
    except (UnicodeDecodeError, csv.Error) as error:
        refuse(archive.path, f"it cannot be read as a table: {error}", "record", record)
    rows: dict[str, list[str]] = {}
    for path, *cells in lines:
        if path in rows:
            refuse(archive.path, "RECORD lists it twice", "record", path)
        rows[path] = cells
    if rows.get(record) != ["", ""]:
        refuse(archive.path, "it does not list itself, without hash and size", "record", record)
    unhashed = {record, f"{record}.jws", f"{record}.p7s"}
    for path in sorted((rows.keys() ^ {*archive.files}) - unhashed):
        what = f"RECORD {'lists it, but it is not there' if path in rows else 'does not list it'}"
        refuse(archive.path, what, "record", path)
    return {path: rows[path] for path in sorted(rows.keys() - unhashed)}


def _check_content(
    archive: Archive, rows: Mapping[str, list[str]], collect: Collect, task: Task | None
) -> None:
    """Raise InputError unless each member can be read, and its row has its hash and size."""
    with archive.open() as file:
        for member in sorted(archive.members.values(), key=lambda member: member.offset):
            row = rows.get(member.name)
            algorithm = row[0].partition("=")[0] if row else ""
            digest = hashlib.new(algorithm if algorithm in _ALGORITHMS else "sha256")
            pieces = _read_content(file, archive.path, member, digest.update)
            collect(member, pieces)
            for _ in pieces:
                pass
            right = [*map(str, make_entry(digest.name, digest.hexdigest(), member.size))]
            if row not in (None, right):
                what = f"it is {right}, RECORD says {row}"
                refuse(archive.path, what, "record", member.name)
            if task is not None:
                task.advance(member.compressed_size)
