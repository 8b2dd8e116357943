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
from repack.errors import redact_url
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
    name, original = source.filename.name, str(source.filename.version)
    ancestor = {
        "type": "library",
        "bom-ref": "source",
        "name": name,
        **_describe_wheel(name, original, source.path.name, url, source.sha256),
        **_hashes(source.sha256),
    }
    product = {
        "type": "library",
        "bom-ref": "product",
        "name": name,
        "version": version,
        "purl": _package_url(name, version),
        "pedigree": {"ancestors": [ancestor]},
    }
    tool = {"type": "application", "name": "repack", "version": __version__}
    content = {
        "metadata": {
            "timestamp": dt.datetime.fromtimestamp(timestamp, tz=dt.UTC).isoformat(),
            "tools": {"components": [tool]},
            "component": product,
        },
        "components": [_component(cargo, choice) for cargo, choice in parts],
        "dependencies": [{"ref": "product", "dependsOn": [cargo.member for cargo, _ in parts]}],
    }
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "serialNumber": uuid.uuid5(uuid.NAMESPACE_URL, f"sha256:{digest}").urn,
        **content,
    }
    return json.dumps(document, indent=2).encode() + b"\n"


def _component(cargo: Cargo, choice: Choice) -> dict[str, Any]:
    """Return a DLL; one out of a directory has no version that is known."""
    component = {
        "type": "library",
        "bom-ref": cargo.member,
        "name": choice.file.name,
        "supplier": {"name": "NVIDIA Corporation"},
        **_hashes(cargo.sha256),
        "licenses": [
            {"license": {"name": _CUDNN_LICENCE if choice.dll.kind is Kind.CUDNN else _EULA}}
        ],
        "properties": [{"name": "repack:family", "value": cargo.family}],
    }
    if wheel := choice.supplier.wheel:
        name, _, version = choice.supplier.origin.partition(" ")
        component |= _describe_wheel(name, version, wheel.filename, wheel.url, wheel.sha256)
    return component


def _describe_wheel(
    name: str, version: str, filename: str, url: str, sha256: str
) -> dict[str, Any]:
    """Return version and addresses of a DLL's wheel; a query may be a signature, and goes."""
    public = redact_url(url) if "://" in url else url
    return {
        "version": version,
        "purl": f"{_package_url(name, version)}?file_name={quote(filename, safe='')}",
        "externalReferences": [{"type": "distribution", "url": public, **_hashes(sha256)}],
    }


def _package_url(name: str, version: str) -> str:
    return f"pkg:pypi/{name}@{quote(version, safe='')}"


def _hashes(sha256: str) -> dict[str, Any]:
    return {"hashes": [{"alg": "SHA-256", "content": sha256}]}
