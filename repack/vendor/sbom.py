"""Adapter of CycloneDX: what a wheel carries of others, as an SBOM (PEP 770)."""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cyclonedx.model import (
    ExternalReference,
    ExternalReferenceType,
    HashAlgorithm,
    HashType,
    Property,
    XsUri,
)
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType, Pedigree
from cyclonedx.model.contact import OrganizationalEntity
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.model.tool import ToolRepository
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from repack import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The name under .dist-info/sboms/: the tool's, so that those of others can stand beside it.
FILENAME = "repack.cdx.json"
_REPOSITORY_LICENCE = "Apache-2.0"


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """A wheel: of which project and version, its own name, hash and place, as far as known."""

    name: str
    version: str
    filename: str = ""
    url: str = ""
    sha256: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """A DLL that the wheel carries; `wheel` is the one it was taken from, if it was one."""

    member: str
    family: str
    version: str
    sha256: str
    licence: str
    wheel: File | None = None


def make_sbom(product: File, source: File, contents: Sequence[Content], *, timestamp: int) -> bytes:
    """Return the SBOM of the wheel `product`, made of the wheel `source`: JSON of CycloneDX 1.6.

    The same parts give the same bytes.
    """
    wheel = _component(product, ComponentType.LIBRARY, "product")
    wheel.pedigree = Pedigree(ancestors=[_component(source, ComponentType.LIBRARY, "source")])
    parts = [_part(content) for content in contents]
    bom = Bom(
        serial_number=_serial_number(product, source, contents),
        components=parts,
        metadata=BomMetaData(
            component=wheel,
            timestamp=dt.datetime.fromtimestamp(timestamp, tz=dt.UTC),
            tools=ToolRepository(components=_tools()),
        ),
    )
    bom.register_dependency(wheel, parts)
    text: str = JsonV1Dot6(bom).output_as_string(indent=2)
    return text.encode() + b"\n"


def _component(file: File, kind: ComponentType, ref: str) -> Component:
    qualifiers = {"file_name": file.filename} if file.filename else None
    return Component(
        name=file.name,
        version=file.version,
        type=kind,
        bom_ref=ref,
        hashes=_hashes(file.sha256),
        purl=PackageURL("pypi", None, file.name, file.version, qualifiers),
        external_references=_references(file),
    )


def _part(content: Content) -> Component:
    wheel = content.wheel
    return Component(
        name=content.member.rpartition("/")[2],
        version=content.version or None,
        type=ComponentType.LIBRARY,
        bom_ref=content.member,
        supplier=OrganizationalEntity(name="NVIDIA Corporation"),
        hashes=_hashes(content.sha256),
        licenses=[DisjunctiveLicense(name=content.licence)],
        purl=None if wheel is None else _component(wheel, ComponentType.LIBRARY, "").purl,
        external_references=[] if wheel is None else _references(wheel),
        properties=[
            Property(name="repack:member", value=content.member),
            Property(name="repack:family", value=content.family),
        ],
    )


def _tools() -> list[Component]:
    return [Component(name="repack", version=__version__, type=ComponentType.APPLICATION)]


def _hashes(sha256: str) -> list[HashType]:
    return [HashType(alg=HashAlgorithm.SHA_256, content=sha256)] if sha256 else []


def _references(file: File) -> list[ExternalReference]:
    """Return where a wheel is to be had, with its digest."""
    if not file.url:
        return []
    return [
        ExternalReference(
            type=ExternalReferenceType.DISTRIBUTION,
            url=XsUri(file.url),
            hashes=_hashes(file.sha256),
        )
    ]


def _serial_number(product: File, source: File, contents: Sequence[Content]) -> uuid.UUID:
    """Return a number that says no more than its parts do: the same for the same wheel."""
    digest = hashlib.sha256(repr((__version__, product, source, tuple(contents))).encode())
    return uuid.uuid5(uuid.NAMESPACE_URL, f"sha256:{digest.hexdigest()}")
