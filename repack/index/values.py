"""What a static index holds: projects, their files, and what is said of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Remarks:
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


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """One file of a project, as the Simple API tells of it.

    `yanked` is the reason, None where it is not yanked (PEP 592); `metadata_sha256` is of the
    `.metadata` file beside it, "" where there is none (PEP 658); `upload_time` is UTC (PEP 700).
    """

    filename: str
    size: int
    sha256: str
    upload_time: str
    requires_python: str = ""
    metadata_sha256: str = ""
    yanked: str | None = None
    remarks: Remarks = Remarks()

    @property
    def version(self) -> Version:
        """The version that the file name says."""
        return named(self.filename)[1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Project:
    """A project by its normalised name, and its files, sorted by version and name."""

    name: str
    files: tuple[File, ...]

    def file(self, filename: str) -> File | None:
        """Return the file of that name."""
        return next((file for file in self.files if file.filename == filename), None)

    def replaced(self, *changed: File) -> Project:
        """Return the project with these files in place of those of their names, or added."""
        names = {file.filename for file in changed}
        return in_order(
            self.name, (*(file for file in self.files if file.filename not in names), *changed)
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    """A file that is to be in the index, and where its content lies; `metadata` is METADATA."""

    project: str
    file: File
    content: Path
    metadata: bytes | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """What was done to one file: "added", "there already", "adopted", "yanked", "removed", ..."""

    project: str
    filename: str
    version: str
    sha256: str
    size: int
    what: str


def in_order(name: str, files: tuple[File, ...]) -> Project:
    """Return the project of these files, sorted."""
    return Project(
        name=name, files=tuple(sorted(files, key=lambda file: (file.version, file.filename)))
    )


def named(filename: str) -> tuple[str, Version]:
    """Return the normalised name and version of a wheel or sdist; raises ValueError for others."""
    try:
        if filename.endswith(".whl"):
            name, version, _, _ = parse_wheel_filename(filename)
        else:
            name, version = parse_sdist_filename(filename)
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion) as error:
        raise ValueError(str(error)) from error
    return str(name), version


def is_distribution(filename: str) -> bool:
    """Return whether that is the name of a wheel or an sdist."""
    try:
        named(filename)
    except ValueError:
        return False
    return True
