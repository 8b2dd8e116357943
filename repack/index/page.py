"""The pages that browsers, and installers without JSON, are shown (PEP 503, 592, 658, 714).

One page for both: an installer looks at its links alone, of which each is a file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from packaging.utils import parse_wheel_filename

from repack.index.simple import API_VERSION, link_to
from repack.pages import rendered

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from packaging.tags import Tag
    from packaging.version import Version

    from repack.index.values import File, Project

#: Stands for an address that is not known.
_SOME_URL = "https://index.example.com/simple/"
#: What a shell may be given between double quotes, and does nothing with.
_QUOTABLE = re.compile(r"[\w.,<>=!~\[\] ;()'+*-]+", re.ASCII)
_MODES = {
    "patch": "finds the CUDA DLLs on the machine",
    "depend": "requires NVIDIA's wheels",
    "vendor": "carries the CUDA DLLs",
}
_VERDICTS = {"passed": "imports", "failed": "does not import", "not-run": "not run"}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Version:
    """One version as the page shows it: facts, and its files."""

    version: Version
    yanked: str | None
    facts: tuple[str, ...]
    files: tuple[File, ...]


def project_page(project: Project, index_url: str) -> bytes:
    """Return the page of a project; `index_url` goes into its commands, "" where unknown."""
    versions = _versions(project)
    newest = next((each for each in versions if each.yanked is None), None)
    values = {
        "api_version": API_VERSION,
        "project": project,
        "versions": versions,
        "newest": newest,
        "summary": newest.files[-1].remarks.summary if newest else "",
        "url": _with_slash(index_url or _SOME_URL),
        "url_is_known": bool(index_url),
        "requires": _quotable(newest.files[-1].remarks.requires) if newest else (),
    }
    return rendered("index/project.html.jinja", values, filters=_FILTERS).encode()


def root_page(names: Sequence[str]) -> bytes:
    """Return the page of all projects."""
    values: dict[str, object] = {"api_version": API_VERSION, "names": sorted(names)}
    return rendered("index/root.html.jinja", values, filters=_FILTERS).encode()


def _versions(project: Project) -> tuple[_Version, ...]:
    """Return the versions, the newest first."""
    grouped = groupby(project.files, key=lambda file: file.version)
    return tuple(
        _Version(version=version, yanked=_yanked(files), facts=_facts(files), files=files)
        for version, group in reversed([(version, tuple(found)) for version, found in grouped])
        for files in [group]
    )


def _yanked(files: tuple[File, ...]) -> str | None:
    """Return why the version is yanked, None where a file of it is not."""
    reasons = [file.yanked for file in files]
    return None if None in reasons else reasons[0]


def _facts(files: tuple[File, ...]) -> tuple[str, ...]:
    """Return what is said of all files of a version at once."""
    remarks = [file.remarks for file in files]
    cuda = sorted({each.cuda for each in remarks if each.cuda})
    modes = sorted({each.mode for each in remarks if each.mode})
    facts = [f"CUDA {version}" for version in cuda]
    facts += [_MODES.get(mode, mode) for mode in modes]
    if any(each.driver_stub for each in remarks):
        facts.append("has stand-ins for the driver")
    return tuple(facts)


def pythons_of(filename: str) -> str:
    """Return for which Pythons, and on what, a file is: "3.12", "3.7 and later", "3, any"."""
    if not filename.endswith(".whl"):
        return "source"
    tags = sorted(parse_wheel_filename(filename)[3], key=str)
    pythons = dict.fromkeys(_python(tag) for tag in tags)
    systems = dict.fromkeys(tag.platform for tag in tags)
    shown = [_SYSTEMS.get(each, each) for each in systems]
    return f"{', '.join(pythons)} on {', '.join(shown)}"


_SYSTEMS = {"win_amd64": "Windows", "any": "any system"}


def _python(tag: Tag) -> str:
    found = re.fullmatch(r"(?:cp|py)(\d)(\d*)", tag.interpreter)
    if not found:
        return str(tag)
    version = ".".join(part for part in found.groups() if part)
    if tag.abi == "abi3" or (tag.abi == "none" and found[2]):
        return f"{version} and later"
    return f"{version}t" if tag.abi.endswith("t") else version


def tested(file: File) -> str:
    """Return on which Pythons the file was tried, and what it did."""
    seen = file.remarks.seen
    by_status = {
        status: [python for python, known in seen if known == status] for status in _VERDICTS
    }
    said = [
        f"{_VERDICTS[status]} on {', '.join(pythons)}"
        for status, pythons in by_status.items()
        if pythons
    ]
    return "; ".join(said) or "not known"


def readable_size(size: int) -> str:
    """Return a size as people read it; `data-` attributes and JSON have the bytes."""
    if size < 10**6:
        return f"{max(size / 1000, 0.1):.1f} kB"
    return f"{size / 10**6:.1f} MB"


def _quotable(requires: tuple[str, ...]) -> tuple[str, ...]:
    """Return the requirements that a command may name; what a shell could take otherwise is not.

    METADATA is whoever's, and the command is copied by people who trust the page.
    """
    plain = [line.replace('"', "'") for line in requires if "extra ==" not in line]
    return tuple(line for line in plain if _QUOTABLE.fullmatch(line))


def _with_slash(url: str) -> str:
    return url.rstrip("/") + "/"


_FILTERS: dict[str, Callable[..., object]] = {
    "link": link_to,
    "pythons": pythons_of,
    "size": readable_size,
    "tested": tested,
}
