"""What becomes of a project when files are offered, or a version is yanked: decided, not done."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from repack.errors import InputError, UsageError, shown
from repack.index.values import Done, Project, in_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from repack.index.values import File, Offer

ADDED, THERE, RESTORED, ADOPTED = "added", "there already", "restored", "adopted"
YANKED, UNYANKED, REMOVED, UNCHANGED = "yanked", "no longer yanked", "removed", "unchanged"


def with_offers(project: Project, offers: Sequence[Offer]) -> Project:
    """Return the project with what is offered; what it has keeps its time and its yanking."""
    for offer in offers:
        known = project.file(offer.file.filename)
        if known is None:
            project = project.replaced(offer.file)
            continue
        check_same(offer, known.sha256)
        file = replace(offer.file, upload_time=known.upload_time, yanked=known.yanked)
        # A folder of wheels alone, published once more, knows nothing of what a build saw.
        if not file.remarks.mode:
            file = replace(file, remarks=known.remarks)
        project = project.replaced(file)
    return project


def check_same(offer: Offer, sha256: str) -> None:
    """Refuse an offer whose name the index has with other bytes."""
    if offer.file.sha256 != sha256:
        raise InputError(
            f"the index has a file of that name with other bytes, SHA-256 {sha256}",
            code="other-bytes",
            file=offer.content,
            hint="pins and caches know the old one: give the new one another version with "
            "build.local",
        )


def done(project: str, file: File, what: str) -> Done:
    """Return that this was done to the file."""
    return Done(
        project=project,
        filename=file.filename,
        version=str(file.version),
        sha256=file.sha256,
        size=file.size,
        what=what,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """A version that is spoken of, and its project's normalised name, None where there is one."""

    version: Version
    project: str | None = None


def chosen(projects: Mapping[str, Project], subject: Subject) -> Project:
    """Return the project that is spoken of: the one named, or the only one with that version."""
    name, version = subject.project, subject.version
    if name is not None:
        if name not in projects:
            raise InputError(
                f"the index has no project {shown(name)}",
                code="no-project",
                hint=f"it has {_listed(projects)}",
            )
        return projects[name]
    found = [each for each in projects.values() if any(f.version == version for f in each.files)]
    if len(found) > 1:
        raise UsageError(
            f"several projects have {version}: {_listed([each.name for each in found])}",
            hint="name one with --project",
        )
    if not found:
        raise InputError(
            f"the index has no version {version}",
            code="no-version",
            hint=f"it has {_listed(_versions(projects.values()))}",
        )
    return found[0]


def of_version(project: Project, version: Version) -> tuple[File, ...]:
    """Return the project's files of that version, of which there must be some."""
    files = tuple(file for file in project.files if file.version == version)
    if not files:
        raise InputError(
            f"{project.name} has no version {version}",
            code="no-version",
            hint=f"it has {_listed(_versions([project]))}",
        )
    return files


def yanked(project: Project, version: Version, reason: str | None) -> Project:
    """Return the project with the version yanked for that reason, or, for None, no longer so."""
    files = of_version(project, version)
    return project.replaced(*(replace(file, yanked=reason) for file in files))


def without(project: Project, version: Version) -> Project:
    """Return the project without that version."""
    return in_order(project.name, tuple(f for f in project.files if f.version != version))


def parse_subject(version: str, project: str | None) -> Subject:
    """Return the version that a command line speaks of."""
    try:
        return Subject(
            version=Version(version),
            project=None if project is None else canonicalize_name(project),
        )
    except InvalidVersion:
        raise UsageError(f"{shown(version)} is not a version") from None


def parse_reason(text: str) -> str:
    """Return a reason for yanking on one line."""
    line = " ".join(text.split())
    if not line.isprintable():
        raise UsageError(f"--reason holds a character that no page can show: {shown(text)}")
    return line


def _versions(projects: Iterable[Project]) -> list[str]:
    files = [file for project in projects for file in project.files]
    return [str(version) for version in sorted({file.version for file in files})]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
