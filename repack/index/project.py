"""The pages of a static index: JSON (PEP 691, 700, 714, 592), and HTML for pip and people.

A project's JSON page is its state: upload times and yanking stand nowhere else. All other pages
follow from those. Keys with a leading underscore are the index's own (PEP 691).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, TypeVar
from urllib.parse import quote

import msgspec
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

from repack.errors import InputError
from repack.index.place import Place
from repack.pages import render_template
from repack.plan import format_megabytes

HTML, JSON, METADATA = "index.html", "index.json", ".metadata"
_META = {"api-version": "1.1"}
_Page = TypeVar("_Page", bound=msgspec.Struct)


class Hashes(msgspec.Struct, frozen=True):
    """The hashes of a file, by algorithm."""

    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]


class File(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="kebab"):
    """One wheel, as PEP 691 has it; the two names of its metadata's hash are PEP 714's.

    `note` tells people what its build was and saw.
    """

    filename: Annotated[str, msgspec.Meta(pattern=r"^[^/\\]+\.whl\Z")]
    url: str
    hashes: Hashes
    size: int
    upload_time: str
    core_metadata: Hashes
    dist_info_metadata: Hashes
    requires_python: str = ""
    yanked: bool | str = False
    note: str = msgspec.field(default="", name="_note")

    @property
    def project(self) -> str:
        """The normalised name that the file name says."""
        return parse_wheel_filename(self.filename)[0]

    @property
    def version(self) -> Version:
        """The version that the file name says."""
        return parse_wheel_filename(self.filename)[1]

    @property
    def key(self) -> str:
        """Where an index has it."""
        return f"{self.project}/{self.filename}"

    @property
    def sha256(self) -> str:
        """The SHA-256 of the file."""
        return self.hashes.sha256


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """A project by its normalised name, and its files, sorted by version and name."""

    name: str
    versions: tuple[str, ...]
    files: tuple[File, ...]
    meta: dict[str, str]


class _Root(msgspec.Struct, frozen=True, kw_only=True):
    """The page of all projects."""

    projects: tuple[dict[str, str], ...]
    meta: dict[str, str]


def read_projects(place: Place) -> dict[str, Project]:
    """Return the projects by name; InputError where pages are somebody else's."""
    keys = place.sizes()
    projects = {}
    for key in keys:
        name, _, filename = key.rpartition("/")
        if "/" in name or name != canonicalize_name(name):
            continue
        if filename == HTML and f"{key.removesuffix(HTML)}{JSON}" not in keys:
            raise _foreign_page(f"{place.name}/{key}", "there is no index.json beside it")
        if filename == JSON and (content := place.read(key)[0]) is not None:
            if name:
                projects[name] = read_project(content, name, f"{place.name}/{key}")
            else:
                _decode(content, _Root, f"{place.name}/{key}")
    return projects


def read_project(content: bytes, name: str, where: str) -> Project:
    """Return the project whose JSON page this is; InputError where publish did not write it."""
    project = _decode(content, Project, where)
    try:
        names = {project.name, *(file.project for file in project.files)}
    except ValueError as error:
        raise _foreign_page(where, str(error)) from None
    if names != {name} or any(file.url != quote(file.filename) for file in project.files):
        raise _foreign_page(where, f"it lists what does not lie beside it, or is not of {name}")
    return project


def _decode(content: bytes, kind: type[_Page], where: str) -> _Page:
    try:
        return msgspec.json.decode(content, type=kind)
    except (ValueError, RecursionError) as error:
        raise _foreign_page(where, str(error)) from None


def _foreign_page(where: str, reason: str) -> InputError:
    hint = "name another folder, or move that page away"
    message = f"is not what publish leaves: {reason}"
    return InputError(message, code="foreign-index", file=where, hint=hint)


def list_files(projects: Mapping[str, Project]) -> dict[str, File]:
    """Return the files that the pages list, by their keys."""
    return {file.key: file for project in projects.values() for file in project.files}


def format_project(name: str, files: Iterable[File]) -> bytes:
    """Return the JSON page of the project of these files."""
    ordered = tuple(sorted(files, key=lambda file: (file.version, file.filename)))
    versions = tuple(map(str, sorted({file.version for file in ordered})))
    return _format_json(Project(name=name, versions=versions, files=ordered, meta=_META))


def derive_pages(projects: Mapping[str, Project]) -> dict[str, bytes]:
    """Return the pages that follow from the projects' own, in the order to write them in."""
    names = [name for name, project in sorted(projects.items()) if project.files]
    root = _Root(projects=tuple({"name": name} for name in names), meta=_META)
    return {
        **{f"{name}/{HTML}": _format_html(name, it.files) for name, it in sorted(projects.items())},
        JSON: _format_json(root),
        HTML: _format_html("Packages", names=names),
    }


def _format_json(page: Project | _Root) -> bytes:
    return msgspec.json.format(msgspec.json.encode(page, order="sorted"), indent=1) + b"\n"


def _format_html(title: str, files: Sequence[File] = (), names: Sequence[str] = ()) -> bytes:
    """Return a page of links for pip, which tells people what there is."""
    values = {"title": title, "files": files[::-1], "names": names, "meta": _META}
    filters = {"megabytes": format_megabytes}
    return render_template("index.html.jinja", values, filters=filters).encode()
