"""A project of a static index: its JSON page (PEP 691, 700, 714, 592) is its state as well.

What is known of the files and stands nowhere else - upload times, yanking, what a build saw - is
in that page; keys with a leading underscore are the index's own (PEP 691).
"""

import re
from collections.abc import Iterable
from urllib.parse import quote

import msgspec
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    NormalizedName,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from repack.errors import InputError

HTML, JSON, METADATA = "index.html", "index.json", ".metadata"
API_VERSION = "1.1"
_SHA256 = re.compile("[0-9a-f]{64}")


def _meta() -> dict[str, str]:
    return {"api-version": API_VERSION}


class Facts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="kebab"):
    """What a person wants to know of a file, and no installer: from METADATA and `build.json`.

    `mode` and `cuda` are "" where no build is known; `seen` is, for each Python, "passed",
    "failed" or "not-run".
    """

    summary: str = ""
    requires: tuple[str, ...] = ()
    mode: str = ""
    cuda: str = ""
    driver_stub: bool = False
    seen: tuple[tuple[str, str], ...] = ()


class File(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="kebab"):
    """One file of a project, as PEP 691 has it; the two names of metadata are PEP 714's."""

    filename: str
    url: str
    hashes: dict[str, str]
    size: int
    upload_time: str
    requires_python: str = ""
    yanked: bool | str = False
    core_metadata: bool | dict[str, str] = False
    dist_info_metadata: bool | dict[str, str] = False
    facts: Facts = msgspec.field(default=Facts(), name="_repack")

    @property
    def version(self) -> Version:
        """The version that the file name says."""
        return parse_filename(self.filename)[1]

    @property
    def sha256(self) -> str:
        """The SHA-256 of the file."""
        return self.hashes.get("sha256", "")

    @property
    def metadata_sha256(self) -> str:
        """The SHA-256 of the `.metadata` file beside it, "" where there is none (PEP 658)."""
        return self.core_metadata["sha256"] if isinstance(self.core_metadata, dict) else ""

    @property
    def yank_reason(self) -> str | None:
        """The reason why the file is yanked, "" where none is given; None for not yanked."""
        return self.yanked if isinstance(self.yanked, str) else "" if self.yanked else None


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """A project by its normalised name, and its files, sorted by version and name."""

    name: str
    files: tuple[File, ...] = ()
    versions: tuple[str, ...] = ()
    meta: dict[str, str] = msgspec.field(default_factory=_meta)

    def file(self, filename: str) -> File | None:
        """Return the file of that name."""
        return next((file for file in self.files if file.filename == filename), None)


class Root(msgspec.Struct, frozen=True, kw_only=True):
    """The page of all projects; `meta` may hold the URL that the index is served at."""

    projects: tuple[dict[str, str], ...]
    meta: dict[str, str] = msgspec.field(default_factory=_meta)

    @property
    def index_url(self) -> str:
        """The URL that the index is served at, "" where it is not known."""
        return self.meta.get("_index-url", "")


def make_project(name: str, files: Iterable[File]) -> Project:
    """Return the project of these files, sorted."""
    ordered = tuple(sorted(files, key=lambda file: (file.version, file.filename)))
    versions = sorted({file.version for file in ordered})
    return Project(name=name, files=ordered, versions=tuple(map(str, versions)))


def make_root(names: Iterable[str], index_url: str) -> Root:
    """Return the page of all projects."""
    meta = {**_meta(), **({"_index-url": index_url} if index_url else {})}
    return Root(meta=meta, projects=tuple({"name": name} for name in sorted(names)))


def format_page(page: Project | Root) -> bytes:
    """Return the JSON page, the same for the same content."""
    return msgspec.json.format(msgspec.json.encode(page, order="sorted"), indent=1) + b"\n"


def read_project(content: bytes, name: str, place: str) -> Project:
    """Return the project whose page this is; InputError where its files do not lie beside it."""
    try:
        project = msgspec.json.decode(content, type=Project)
        for file in project.files:
            _check_file(file, name)
    except (ValueError, RecursionError) as error:
        raise _foreign_error(place, str(error)) from None
    if project.name != name or not project.meta.get("api-version", "").startswith("1."):
        raise _foreign_error(place, f"it is not of {name} in version 1.x of the API")
    return project


def read_root(content: bytes, place: str) -> Root:
    """Return the page of all projects; InputError where this is none."""
    try:
        return msgspec.json.decode(content, type=Root)
    except (ValueError, RecursionError) as error:
        raise _foreign_error(place, str(error)) from None


def link_to(filename: str) -> str:
    """Return the relative URL of a file beside the page; some servers take a bare "+" for " "."""
    return quote(filename)


def project_of(key: str) -> str:
    """Return the project in whose folder the file lies, "" for one that lies elsewhere."""
    folder, _, rest = key.partition("/")
    return folder if rest and "/" not in rest and canonicalize_name(folder) == folder else ""


def parse_filename(filename: str) -> tuple[NormalizedName, Version]:
    """Return the normalised name and version of a wheel or sdist; raises ValueError for others."""
    try:
        if filename.endswith(".whl"):
            return parse_wheel_filename(filename)[:2]
        return parse_sdist_filename(filename)
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion) as error:
        raise ValueError(str(error)) from error


def is_distribution(filename: str) -> bool:
    """Return whether that is the name of a wheel or an sdist."""
    try:
        parse_filename(filename)
    except ValueError:
        return False
    return True


def _check_file(file: File, name: str) -> None:
    is_plain = file.url == link_to(file.filename) and not {"/", "\\"} & set(file.filename)
    if not is_plain or parse_filename(file.filename)[0] != name:
        raise ValueError(f"{file.filename} is no file of {name} that lies beside it")
    if not _SHA256.fullmatch(file.sha256):
        raise ValueError(f"{file.filename} has no SHA-256")


def _foreign_error(place: str, why: str) -> InputError:
    return InputError(
        f"is not what publish leaves: {why}",
        code="foreign-index",
        file=place,
        hint="name another folder, or move that page away",
    )
