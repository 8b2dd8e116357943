"""What a wheel carries of others, as an SBOM of CycloneDX 1.6 in JSON (PEP 770)."""

import datetime as dt
import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from repack import __version__
from repack.dlls.families import Kind
from repack.record import Cargo
from repack.vendor.selection import Choice
from repack.wheel.reader import Wheel

#: The name under .dist-info/sboms/: the tool's, so that those of others can stand beside it.
FILENAME = "repack.cdx.json"
_LICENCES = {
    Kind.CUDA: "NVIDIA CUDA Toolkit End User License Agreement",
    Kind.CUDNN: "NVIDIA cuDNN Software License Agreement",
}


def make_sbom(
    source: Wheel, version: str, url: str, timestamp: int, parts: Iterable[tuple[Choice, Cargo]]
) -> bytes:
    """Return the SBOM of `version`, made of the wheel `source` from `url`.

    `timestamp` is in seconds since 1970. The same parts give the same bytes.
    """
    name = source.filename.name
    components = []
    for choice, cargo in parts:
        # A DLL out of a directory has no version that is known.
        supplier = choice.supplier
        components.append(
            _describe_file(cargo.member, choice.dll.name, cargo.sha256)
            | (_describe_wheel(supplier.wheel, supplier.url) if supplier.wheel else {})
            | {
                "supplier": {"name": "NVIDIA Corporation"},
                "licenses": [{"license": {"name": _LICENCES[choice.dll.kind]}}],
            }
        )
    ancestor = _describe_file("source", name, source.sha256) | _describe_wheel(source, url)
    tool = {"type": "application", "name": "repack", "version": __version__}
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": dt.datetime.fromtimestamp(timestamp, tz=dt.UTC).isoformat(),
            "tools": {"components": [tool]},
            "component": {
                "type": "library",
                "bom-ref": "product",
                "name": name,
                "version": version,
                "purl": f"pkg:pypi/{name}@{quote(version, safe='')}",
                "pedigree": {"ancestors": [ancestor]},
            },
        },
        "components": components,
    }
    return json.dumps(document, indent=2).encode() + b"\n"


def _describe_file(reference: str, name: str, sha256: str) -> dict[str, Any]:
    hashes = [{"alg": "SHA-256", "content": sha256}]
    return {"type": "library", "bom-ref": reference, "name": name, "hashes": hashes}


def _describe_wheel(wheel: Wheel, url: str) -> dict[str, Any]:
    """Return version and addresses of a wheel; `url` has lost its query when it was fetched."""
    hashes = [{"alg": "SHA-256", "content": wheel.sha256}]
    version = str(wheel.filename.version)
    package = f"pkg:pypi/{wheel.filename.name}@{quote(version, safe='')}"
    return {
        "version": version,
        "purl": f"{package}?file_name={quote(wheel.path.name, safe='')}",
        "externalReferences": [{"type": "distribution", "url": url, "hashes": hashes}],
    }
