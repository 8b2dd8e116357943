"""The Simple API as JSON (PEP 691, 700, 714, 592): written, and read back, for it is the state.

What is known of the files and stands nowhere else - upload times, yanking, what a build saw - is
in these documents; keys with a leading underscore are the index's own (PEP 691). `tracks` (PEP
708) is not said: no file here stands for one of another index.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from packaging.utils import canonicalize_name

from repack.errors import InputError
from repack.index.values import File, Project, Remarks, in_order, named

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

API_VERSION = "1.1"
_REMARKS = "_repack"
_INDEX_URL = "_index-url"
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")
_SHA256 = re.compile("[0-9a-f]{64}")


def link_to(filename: str) -> str:
    """Return the relative URL of a file beside the page, "+" escaped: some servers take it for " ".

    A name with a colon would be read as one with a scheme; no distribution has one.
    """
    return quote(filename)


def project_json(project: Project) -> bytes:
    """Return the project's page."""
    return _document(
        {
            "meta": {"api-version": API_VERSION},
            "name": project.name,
            "versions": [str(each) for each in sorted({file.version for file in project.files})],
            "files": [_file_json(file) for file in project.files],
        }
    )


def root_json(names: Sequence[str], index_url: str) -> bytes:
    """Return the page of all projects; `index_url` is kept for the pages, "" where unknown."""
    own = {_INDEX_URL: index_url} if index_url else {}
    return _document(
        {
            "meta": {"api-version": API_VERSION, **own},
            "projects": [{"name": name} for name in sorted(names)],
        }
    )


def parse_index_url(content: bytes, place: str) -> str:
    """Return the URL that a page of all projects keeps, "" for none; refuses what is no such page.

    The names of projects are not asked for: what has a page is a project.
    """
    document = _parsed(content, place)
    if not isinstance(document.get("projects"), list):
        raise _foreign(place, "it has no projects")
    url = document["meta"].get(_INDEX_URL, "")
    return url if isinstance(url, str) else ""


def parse_project(content: bytes, name: str, place: str) -> Project:
    """Return the project whose page this is; refuses one whose files do not lie beside it."""
    document = _parsed(content, place)
    try:
        if document["name"] != name:
            raise _foreign(place, f"it is of {document['name']!r}, not of {name}")
        files = tuple(_parsed_file(each) for each in document["files"])
        strangers = [file.filename for file in files if named(file.filename)[0] != name]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _foreign(place, f"it lacks, or has too much: {error}") from error
    if strangers:
        raise _foreign(place, f"{strangers[0]} is no file of {name}")
    return in_order(name, files)


def is_normalised(name: str) -> bool:
    """Return whether a project's pages are looked for under that name (PEP 503)."""
    return bool(name) and canonicalize_name(name) == name


def _document(values: Mapping[str, object]) -> bytes:
    # Plain ASCII: whatever charset a server announces, it is read the same.
    return json.dumps(values, indent=1, sort_keys=True).encode() + b"\n"


def _file_json(file: File) -> dict[str, object]:
    fields: dict[str, object] = {
        "filename": file.filename,
        "url": link_to(file.filename),
        "hashes": {"sha256": file.sha256},
        "size": file.size,
        "upload-time": file.upload_time,
        "yanked": (file.yanked or True) if file.yanked is not None else False,
        _REMARKS: asdict(file.remarks),
    }
    if file.requires_python:
        fields["requires-python"] = file.requires_python
    if file.filename.endswith(".whl"):
        told = {"sha256": file.metadata_sha256} if file.metadata_sha256 else False
        # The second is what the first was called before PEP 714.
        fields |= {"core-metadata": told, "dist-info-metadata": told}
    return fields


def _parsed(content: bytes, place: str) -> dict[str, Any]:
    try:
        document = json.loads(content)
        version = document["meta"]["api-version"]
    except (KeyError, TypeError, ValueError):
        raise _foreign(place, "it is no page of the Simple API") from None
    if not isinstance(version, str) or version.partition(".")[0] != "1":
        raise _foreign(place, f"its version is {version}, and 1.x is known here")
    return dict(document)


def _parsed_file(fields: Mapping[str, Any]) -> File:
    filename, sha256, size = fields["filename"], fields["hashes"]["sha256"], fields["size"]
    place = unquote(fields["url"].partition("#")[0]).removeprefix("./")
    time = fields["upload-time"]
    if place != filename:
        raise ValueError(f"{filename} does not lie beside it")
    if not (_SHA256.fullmatch(sha256) and _TIME.fullmatch(time) and type(size) is int):
        raise ValueError(f"{filename} has no SHA-256, size or upload time")
    yanked = fields.get("yanked", False)
    metadata = fields.get("core-metadata", fields.get("dist-info-metadata", False))
    return File(
        filename=filename,
        size=size,
        sha256=sha256,
        upload_time=time,
        requires_python=str(fields.get("requires-python") or ""),
        metadata_sha256=str(metadata.get("sha256", "")) if isinstance(metadata, dict) else "",
        yanked=None if yanked is False else yanked if isinstance(yanked, str) else "",
        remarks=_remarks(fields.get(_REMARKS, {})),
    )


def _remarks(fields: Mapping[str, Any]) -> Remarks:
    lists = {
        "requires": tuple(fields.get("requires", ())),
        "seen": tuple((python, status) for python, status in fields.get("seen", ())),
    }
    return Remarks(**{**fields, **lists})


def _foreign(place: str, why: str) -> InputError:
    return InputError(
        f"is not what publish leaves: {why}",
        code="foreign-index",
        file=place,
        hint="name another folder, or move that page away: the files beside it are then taken over",
    )
