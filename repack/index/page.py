"""The pages that browsers, and installers without JSON, are shown (PEP 503, 592, 658, 714).

One page for both: an installer looks at its links alone, of which each is a file.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from packaging.tags import Tag
from packaging.utils import parse_wheel_filename
from packaging.version import Version

from repack.index.project import API_VERSION, Facts, File, Project, link_to
from repack.pages import render_template

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


class Release(NamedTuple):
    """One version as the page shows it; `yanked` is the reason, None where a file of it is not."""

    version: Version
    yanked: str | None
    files: tuple[File, ...]


def format_project_page(project: Project, index_url: str) -> bytes:
    """Return the page of a project; `index_url` goes into its commands, "" where unknown."""
    releases = _releases(project)
    newest = _newest(releases)
    facts = newest.files[-1].facts if newest else Facts()
    values = {
        "project": project,
        "versions": releases,
        "newest": newest,
        "summary": facts.summary,
        "url": (index_url or _SOME_URL).rstrip("/") + "/",
        "url_is_known": bool(index_url),
        "requires": _quotable(facts.requires),
    }
    return _render("project", values)


def format_root_page(projects: Iterable[Project]) -> bytes:
    """Return the page of all projects, each with the version that one installs by its name."""
    rows = []
    for project in projects:
        releases = _releases(project)
        rows.append((project.name, _newest(releases) or releases[0]))
    return _render("root", {"projects": rows})


def join_pythons(pythons: Iterable[str]) -> str:
    """Return Pythons in order, three and more that follow one another as "3.9 to 3.14"."""
    runs: list[list[str]] = []
    for python in sorted(set(pythons), key=_natural):
        if runs and python == _next(runs[-1][-1]):
            runs[-1].append(python)
        else:
            runs.append([python])
    return ", ".join(
        f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(run)  # noqa: PLR2004 - "3.9, 3.10"
        for run in runs
    )


def _render(name: str, values: Mapping[str, object]) -> bytes:
    values = {"api_version": API_VERSION, **values}
    return render_template(f"index/{name}.html.jinja", values, filters=_FILTERS).encode()


def _releases(project: Project) -> tuple[Release, ...]:
    """Return the versions, the newest first, each with its files in the order of the Pythons."""
    releases = []
    for version, group in groupby(project.files, key=lambda file: file.version):
        files = tuple(sorted(group, key=lambda file: _natural(file.filename)))
        reasons = [file.yank_reason for file in files]
        releases.append(Release(version, None if None in reasons else reasons[0], files))
    return tuple(reversed(releases))


def _newest(releases: Sequence[Release]) -> Release | None:
    """Return what an installer would choose: no yanked one, and a final one before any other."""
    usable = [release for release in releases if release.yanked is None]
    final = [release for release in usable if not release.version.is_prerelease]
    return next(iter([*final, *usable]), None)


def _quotable(requires: Iterable[str]) -> tuple[str, ...]:
    """Return the requirements that a command may name; what a shell could take otherwise is not.

    Anybody writes METADATA, and people who trust the page copy the command.
    """
    plain = [line.replace('"', "'") for line in requires if "extra ==" not in line]
    return tuple(line for line in plain if _QUOTABLE.fullmatch(line))


def _dlls(files: Sequence[File]) -> str:
    """Return where files have the CUDA DLLs from, "" where no build says so."""
    modes = sorted({file.facts.mode for file in files if file.facts.mode})
    words = [_MODES.get(mode, mode) for mode in modes]
    if any(file.facts.driver_stub for file in files):
        words.append("has stand-ins for the driver")
    return ", ".join(words)


def _pythons(files: Sequence[File]) -> str:
    """Return for which Pythons files are: "3.12", "3.9 to 3.14", "3.7 and later"."""
    tags = [
        tag
        for file in files
        if file.filename.endswith(".whl")
        for tag in parse_wheel_filename(file.filename)[3]
    ]
    return join_pythons(map(_python, tags)) or "source"


def _describe_tests(files: Sequence[File]) -> str:
    """Return on which Pythons files were tried, and what they did."""
    results = [pair for file in files for pair in file.facts.seen]
    words = [
        f"{verdict} on {join_pythons(python for python, outcome in results if outcome == status)}"
        for status, verdict in _VERDICTS.items()
        if any(outcome == status for _, outcome in results)
    ]
    if any(not file.facts.seen for file in files):
        words.append("some files: not known" if words else "not known")
    return "; ".join(words)


def _verdict(files: Sequence[File]) -> str:
    """Return "passed" where every file was tried and worked, "failed" where one did not."""
    statuses = {status for file in files for _, status in file.facts.seen}
    if "failed" in statuses:
        return "failed"
    tried = all(file.facts.seen for file in files)
    return "passed" if statuses == {"passed"} and tried else "open"


def _size(size: int) -> str:
    """Return a size as people read it; JSON has the bytes."""
    if size < 10**6:
        return f"{max(size / 1000, 0.1):.1f} kB"
    return f"{size / 10**6:.1f} MB" if size < 10**9 else f"{size / 10**9:.2f} GB"


def _python(tag: Tag) -> str:
    match = re.fullmatch(r"(?:cp|py)(\d)(\d*)", tag.interpreter)
    if not match:
        return str(tag)
    version = ".".join(part for part in match.groups() if part)
    if tag.abi == "abi3" or (tag.abi == "none" and match[2]):
        return f"{version} and later"
    return f"{version}t" if tag.abi.endswith("t") else version


def _natural(text: str) -> list[int | str]:
    """Return what sorts "cp39" before "cp310"."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", text)]


def _next(python: str) -> str:
    """Return the Python that follows: "3.10" on "3.9"; what has no number stays as it is."""
    match = re.fullmatch(r"3\.(\d+)(t?)", python)
    return f"3.{int(match[1]) + 1}{match[2]}" if match else python


_FILTERS: dict[str, Callable[..., object]] = {
    "dlls": _dlls,
    "link": link_to,
    "pythons": _pythons,
    "size": _size,
    "tested": _describe_tests,
    "verdict": _verdict,
}
