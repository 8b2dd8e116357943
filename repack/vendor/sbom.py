"""What a wheel carries of others, as an SBOM of CycloneDX 1.6 in JSON (PEP 770)."""

import datetime as dt
import hashlib
import json
import uuid
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from repack import __version__
from repack.dlls import Kind
from repack.errors import shown_url
from repack.fetch import Fetched
from repack.record import Cargo
from repack.vendor.selection import Choice
from repack.wheel import Wheel

#: The name under .dist-info/sboms/: the tool's, so that those of others can stand beside it.
FILENAME = "repack.cdx.json"
_EULA = "NVIDIA CUDA Toolkit End User License Agreement"
_CUDNN_LICENCE = "NVIDIA cuDNN Software License Agreement"


def make_sbom(
    source: Wheel,
    version: str,
    url: str,
    parts: Sequence[tuple[Cargo, Choice]],
    timestamp: int,
) -> bytes:
    """Return the SBOM of `version`, made of the wheel `source` from `url`.

    `timestamp` is in seconds since 1970. The same parts give the same bytes.
    """
    name = source.filename.name
    product = {
        "type": "library",
        "bom-ref": "product",
        "name": name,
        "version": version,
        "purl": _package_url(name, version),
        "pedigree": {
            "ancestors": [
                {
                    "type": "library",
                    "bom-ref": "source",
                    "name": name,
                    "version": str(source.filename.version),
                    "purl": _package_url(name, str(source.filename.version), source.path.name),
                    **_hashes(source.sha256),
                    **_references(url, source.sha256),
                }
            ]
        },
    }
    components = [_component(cargo, choice) for cargo, choice in parts]
    content = {
        "metadata": {
            "timestamp": dt.datetime.fromtimestamp(timestamp, tz=dt.UTC).isoformat(),
            "tools": {
                "components": [{"type": "application", "name": "repack", "version": __version__}]
            },
            "component": product,
        },
        "components": components,
        "dependencies": [{"ref": "product", "dependsOn": [part["bom-ref"] for part in components]}],
    }
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid.uuid5(uuid.NAMESPACE_URL, f"sha256:{digest}").urn,
        "version": 1,
        **content,
    }
    return json.dumps(document, indent=2).encode() + b"\n"


def _component(cargo: Cargo, choice: Choice) -> dict[str, Any]:
    wheel = choice.supplier.wheel
    return {
        "type": "library",
        "bom-ref": cargo.member,
        "supplier": {"name": "NVIDIA Corporation"},
        "name": choice.file.name,
        **({} if wheel is None else _of_wheel(choice.supplier.origin, wheel)),
        **_hashes(cargo.sha256),
        "licenses": [
            {"license": {"name": _CUDNN_LICENCE if choice.dll.kind is Kind.CUDNN else _EULA}}
        ],
        "properties": [
            {"name": "repack:member", "value": cargo.member},
            {"name": "repack:family", "value": cargo.family},
        ],
    }


def _of_wheel(origin: str, wheel: Fetched) -> dict[str, Any]:
    name, _, version = origin.partition(" ")
    return {
        "version": version,
        "purl": _package_url(name, version, wheel.filename),
        **_references(wheel.url, wheel.sha256),
    }


def _package_url(name: str, version: str, filename: str = "") -> str:
    """Return the package URL; a `+` in a version has to be escaped in it."""
    qualifier = f"?file_name={quote(filename, safe='')}" if filename else ""
    return f"pkg:pypi/{name}@{quote(version, safe='')}{qualifier}"


def _hashes(sha256: str) -> dict[str, Any]:
    return {"hashes": [{"alg": "SHA-256", "content": sha256}]}


def _references(url: str, sha256: str) -> dict[str, Any]:
    """Return where a wheel is to be had; the query of a web address may hold a signature."""
    public = shown_url(url) if "://" in url else url
    return {"externalReferences": [{"type": "distribution", "url": public, **_hashes(sha256)}]}
