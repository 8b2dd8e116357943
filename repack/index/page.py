"""The pages that browsers, and installers without JSON, are shown (PEP 503, 592, 658, 714).

One page for both: an installer looks at its links alone, of which each is a file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from repack.index import facts
from repack.index.simple import API_VERSION, link_to
from repack.pages import rendered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from packaging.version import Version

    from repack.index.values import File, Project

#: Stands for an address that is not known.
_SOME_URL = "https://index.example.com/simple/"
#: What a shell may be given between double quotes, and does nothing with.
_QUOTABLE = re.compile(r"[\w.,<>=!~\[\] ;()'+*-]+", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Version:
    """One version as the page shows it; its project goes with it on the page of all projects."""

    project: str
    version: Version
    yanked: str | None
    files: tuple[File, ...]


def project_page(project: Project, index_url: str) -> bytes:
    """Return the page of a project; `index_url` goes into its commands, "" where unknown."""
    versions = _versions(project)
    newest = _newest(versions)
    last = newest.files[-1].remarks if newest else None
    values = {
        "api_version": API_VERSION,
        "project": project,
        "versions": versions,
        "newest": newest,
        "summary": last.summary if last else "",
        "url": _with_slash(index_url or _SOME_URL),
        "url_is_known": bool(index_url),
        "requires": _quotable(last.requires) if last else (),
    }
    return rendered("index/project.html.jinja", values, filters=_FILTERS).encode()


def root_page(projects: Iterable[Project]) -> bytes:
    """Return the page of all projects, each with the version that one installs by its name."""
    shown = []
    for project in sorted(projects, key=lambda each: each.name):
        versions = _versions(project)
        shown.append((project.name, _newest(versions) or versions[0]))
    values: dict[str, object] = {"api_version": API_VERSION, "projects": shown}
    return rendered("index/root.html.jinja", values, filters=_FILTERS).encode()


def _versions(project: Project) -> tuple[_Version, ...]:
    """Return the versions, the newest first."""
    grouped = groupby(project.files, key=lambda file: file.version)
    found = [
        _Version(
            project=project.name,
            version=version,
            yanked=_yanked(files),
            files=tuple(sorted(files, key=lambda file: facts.natural(file.filename))),
        )
        for version, group in grouped
        for files in [tuple(group)]
    ]
    return tuple(reversed(found))


def _newest(versions: Sequence[_Version]) -> _Version | None:
    """Return what an installer would choose: no yanked one, and a final one before any other."""
    usable = [each for each in versions if each.yanked is None]
    final = [each for each in usable if not each.version.is_prerelease]
    return next(iter([*final, *usable]), None)


def _yanked(files: Sequence[File]) -> str | None:
    """Return why the version is yanked, None where a file of it is not."""
    reasons = [file.yanked for file in files]
    return None if None in reasons else reasons[0]


def _quotable(requires: tuple[str, ...]) -> tuple[str, ...]:
    """Return the requirements that a command may name; what a shell could take otherwise is not.

    METADATA is whoever's, and the command is copied by people who trust the page.
    """
    plain = [line.replace('"', "'") for line in requires if "extra ==" not in line]
    return tuple(line for line in plain if _QUOTABLE.fullmatch(line))


def _with_slash(url: str) -> str:
    return url.rstrip("/") + "/"


_FILTERS: dict[str, Callable[..., object]] = {
    "cuda": facts.cuda_of,
    "dlls": facts.dlls_of,
    "link": link_to,
    "pythons": facts.pythons_of,
    "size": facts.readable_size,
    "systems": facts.systems_of,
    "tested": facts.tested,
    "tested_alone": facts.tested_alone,
    "verdict": facts.verdict,
}
