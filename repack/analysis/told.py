"""What an earlier reading of the same wheel has told, for whoever only wants to know."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from repack.pe import Image

if TYPE_CHECKING:
    from collections.abc import Mapping

    from repack.analysis.values import Analysis


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """The binaries of a wheel, the NumPy that they are built for, and the wheel's SHA-256."""

    images: Mapping[str, Image]
    numpy: Mapping[str, str]
    sha256: str


def told_by(analysis: Analysis) -> Told:
    """Return what the analysis of a wheel took a reading of all its content to know."""
    numpy = dict.fromkeys(analysis.native, analysis.numpy) if analysis.numpy else {}
    return Told(images=analysis.images, numpy=numpy, sha256=analysis.wheel.sha256)


def dump(told: Told) -> bytes:
    """Return it as JSON."""
    return json.dumps(asdict(told)).encode()


def parse(content: bytes) -> Told | None:
    """Return what `dump` has written; None for anything else."""
    try:
        parts = json.loads(content)
        images = {name: Image.from_parts(image) for name, image in parts["images"].items()}
        return Told(images=images, numpy=dict(parts["numpy"]), sha256=str(parts["sha256"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
