"""Reads a wheel and believes nothing: names, METADATA, WHEEL, RECORD and contents must agree."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from repack import files
from repack.errors import InputError
from repack.wheel.archive import open_archive
from repack.wheel.contents import read_member
from repack.wheel.filenames import WheelName, parse_filename
from repack.wheel.manners import (
    BUILD_AGAIN,
    check_data_schemes,
    check_entry_points,
    startup_hooks,
)
from repack.wheel.metadata import (
    BrokenMetadataError,
    Metadata,
    WheelFile,
    parse_metadata,
    parse_wheel_file,
)
from repack.wheel.record import BrokenRecordError, RecordEntry, exempt, parse_record
from repack.wheel.verifying import SHARES, Work, check_limits, verifying

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from packaging.tags import Tag

    from repack.console import Task
    from repack.wheel.members import Archive, Member
    from repack.wheel.verifying import Sink

_DIST_INFO = ".dist-info"


@dataclass(frozen=True, kw_only=True, slots=True)
class Wheel:
    """A wheel whose every byte has been checked against its own RECORD.

    `metadata` and `wheel_file` are the bytes of METADATA and WHEEL; `record` has a row for each
    file but RECORD and its signatures; `size` is in bytes, `sha256` hexadecimal, of the file.
    """

    path: Path
    filename: WheelName
    archive: Archive
    dist_info: str
    metadata: bytes
    wheel_file: bytes
    record: Mapping[str, RecordEntry]
    size: int
    sha256: str
    requires_python: str = ""
    requires: tuple[str, ...] = ()
    summary: str = ""
    root_is_purelib: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The files in the wheel, folders left out, in their order."""
        return tuple(member.name for member in self.archive.members if not member.directory)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Content:
    """What is compared with RECORD, and who else receives it."""

    archive: Archive
    record: Mapping[str, RecordEntry]
    sink: Callable[[Member], Sink | None]
    task: Task | None


def read_wheel(
    path: Path,
    *,
    sink: Callable[[Member], Sink | None] | None = None,
    allow_startup_hook: bool = False,
    task: Task | None = None,
    checked: str | None = None,
) -> Wheel:
    """Return the wheel at `path`, checked wholly, in one pass over its content.

    `sink` may give, for a member, who is to receive its content meanwhile; `task` advances by bytes
    of the file. Where `checked`, the file's SHA-256, says that its content was compared with RECORD
    before, all is checked but that. Raises InputError, whose code says which rule is broken;
    "startup-hook", a file that Python would run at each start, only if not `allow_startup_hook`.
    """
    filename, archive = parse_filename(path), open_archive(path)
    names = [member.name for member in archive.members if not member.directory]
    dist_info = _dist_info(path, names, filename)
    metadata, wheel_file = (_required(archive, dist_info, name) for name in ("METADATA", "WHEEL"))
    record = _checked_record(archive, names, dist_info)
    content = _Content(archive=archive, record=record, sink=sink or _nobody, task=task)
    with _compared(content) if checked is None else _trusted(checked) as outcome:
        said = _checked_metadata(path, names, dist_info, metadata, filename)
        wheel_says = _checked_wheel_file(path, f"{dist_info}/WHEEL", wheel_file, filename)
        _check_manners(archive, names, dist_info, allow_startup_hook=allow_startup_hook)
        return Wheel(
            path=path,
            filename=filename,
            archive=archive,
            dist_info=dist_info,
            metadata=metadata,
            wheel_file=wheel_file,
            record=record,
            size=archive.size,
            sha256=outcome(),
            requires_python=said.requires_python,
            requires=said.requires,
            summary=said.summary,
            root_is_purelib=wheel_says.root_is_purelib,
        )


@contextmanager
def _trusted(sha256: str) -> Iterator[Callable[[], str]]:
    """Give the block what it waits for: the SHA-256 of a wheel whose content is known."""
    yield lambda: sha256


@contextmanager
def _compared(content: _Content) -> Iterator[Callable[[], str]]:
    """Compare every file with its row beside the block, which is given what waits for that.

    What it is given returns the SHA-256 of the wheel.
    """
    archive, record = content.archive, content.record
    check_limits(archive)
    algorithms = {name: entry.algorithm for name, entry in record.items()}
    work = Work(archive=archive, algorithms=algorithms, sink=content.sink, task=content.task)
    with (
        ThreadPoolExecutor(SHARES, thread_name_prefix="verifying") as pool,
        verifying(work, pool) as outcome,
    ):
        # By the thread that has the least to inflate.
        sha256 = pool.submit(files.sha256_of, archive.path)

        def checked() -> str:
            _check_contents(archive, record, outcome())
            return sha256.result()

        yield checked


def _refuse(
    what: str, code: str, path: Path, member: str = "", hint: str = BUILD_AGAIN
) -> NoReturn:
    raise InputError(what, code=code, file=path, member=member, hint=hint) from None


def _dist_info(path: Path, names: list[str], filename: WheelName) -> str:
    """Return the name of the one .dist-info folder, which must be this wheel's."""
    tops = {name.split("/", 1)[0] for name in names if "/" in name}
    found = sorted(top for top in tops if top.lower().endswith(_DIST_INFO))
    if not found:
        _refuse("it has no .dist-info folder, so it is no wheel", "no-dist-info", path)
    if len(found) > 1:
        _refuse(f"it has {len(found)} .dist-info folders: {', '.join(found)}", "dist-info", path)
    (folder,) = found
    name, _, version = folder[: -len(_DIST_INFO)].rpartition("-")
    try:
        matches = folder.endswith(_DIST_INFO) and Version(version) == filename.version
    except InvalidVersion:
        matches = False
    if not matches or canonicalize_name(name) != filename.name:
        _refuse(f"it is not of {filename.name} {filename.version}", "dist-info", path, folder)
    return folder


def _required(archive: Archive, dist_info: str, name: str) -> bytes:
    """Return a file that every wheel has."""
    code = {"METADATA": "metadata", "WHEEL": "wheel-file", "RECORD": "record"}[name]
    member = f"{dist_info}/{name}"
    if archive.member(member) is None:
        _refuse(f"it has no {name}", code, archive.path, member)
    return read_member(archive, member)


def _checked_metadata(
    path: Path, names: list[str], dist_info: str, content: bytes, filename: WheelName
) -> Metadata:
    member = f"{dist_info}/METADATA"
    try:
        said = parse_metadata(content)
    except BrokenMetadataError as error:
        _refuse(f"it cannot be understood: {error}", "metadata", path, member)
    if canonicalize_name(said.name) != filename.name:
        _refuse(f"it is of {said.name!r}, not of {filename.name}", "metadata", path, member)
    if said.version != filename.version:
        _refuse(f"its version is {said.version}, not {filename.version}", "metadata", path, member)
    _check_licenses(path, names, dist_info, said)
    return said


def _check_licenses(path: Path, names: list[str], dist_info: str, said: Metadata) -> None:
    # Since PEP 639 under licenses/; setuptools put them beside METADATA before that.
    for name in said.license_files:
        if not {f"{dist_info}/licenses/{name}", f"{dist_info}/{name}"} & set(names):
            _refuse(f"there is no {name!r}", "metadata", path, f"{dist_info}/METADATA")


def _checked_wheel_file(path: Path, member: str, content: bytes, filename: WheelName) -> WheelFile:
    try:
        said = parse_wheel_file(content)
    except BrokenMetadataError as error:
        _refuse(f"it cannot be understood: {error}", "wheel-file", path, member)
    if said.tags != filename.tags:
        _refuse(
            f"it says {_listed(said.tags)}, the file name {_listed(filename.tags)}",
            "tag-mismatch",
            path,
            member,
            hint="give the file the name it had, or retag it with `python -m wheel tags`",
        )
    return said


def _listed(tags: frozenset[Tag]) -> str:
    return ", ".join(sorted(map(str, tags))) or "no tag"


def _check_manners(
    archive: Archive, names: list[str], dist_info: str, *, allow_startup_hook: bool
) -> None:
    member = f"{dist_info}/entry_points.txt"
    if archive.member(member) is not None:
        content = read_member(archive, member)
        check_entry_points(content, file=archive.path, member=member)
    check_data_schemes(names, file=archive.path, dist_info=dist_info)
    hook = next(startup_hooks(names), None)
    if hook is not None and not allow_startup_hook:
        _refuse(
            "Python would run it at each start, whether the package is imported or not",
            "startup-hook",
            archive.path,
            hook,
            hint="read it; a package that is meant to do so can be let through",
        )


def _checked_record(archive: Archive, names: list[str], dist_info: str) -> dict[str, RecordEntry]:
    """Return RECORD's rows: each of a file, and one for each file."""
    member = f"{dist_info}/RECORD"
    try:
        record = parse_record(_required(archive, dist_info, "RECORD"), name=member)
    except BrokenRecordError as error:
        _refuse(str(error), "record", archive.path, error.member or member)
    if strangers := sorted(record.keys() - set(names)):
        _refuse("RECORD lists it, but it is not there", "record", archive.path, strangers[0])
    if unlisted := sorted(set(names) - record.keys() - set(exempt(member))):
        _refuse("RECORD does not list it", "record", archive.path, unlisted[0])
    return record


def _check_contents(
    archive: Archive, record: Mapping[str, RecordEntry], digests: Mapping[str, str]
) -> None:
    """Compare every file with its row."""
    sizes = {member.name: member.size for member in archive.members}
    for name, entry in record.items():
        if sizes[name] != entry.size:
            what = f"it has {sizes[name]} bytes, RECORD says {entry.size}"
            _refuse(what, "record", archive.path, name)
        if digests[name] != entry.hex:
            _refuse(
                f"its {entry.algorithm} is {digests[name]}, RECORD says {entry.hex}",
                "record",
                archive.path,
                name,
            )


def _nobody(member: Member) -> None:
    """Give no member's content to anybody."""
    del member
