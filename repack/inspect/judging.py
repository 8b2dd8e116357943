"""What follows from what was seen in a wheel."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from packaging.version import Version

from repack.dlls import common_major, possible_majors
from repack.inspect.configs import Texts, read_texts
from repack.inspect.findings import cuda_dlls, find, is_cuda
from repack.inspect.needs import follow
from repack.inspect.values import Analysis

if TYPE_CHECKING:
    from repack.inspect.memory import Seen
    from repack.wheel import Wheel


def judged(wheel: Wheel, seen: Seen) -> Analysis:
    """Return what is to be said of the wheel, in whose binaries that was seen."""
    native = tuple(sorted(name for name in seen.images if name.lower().endswith(".pyd")))
    analysis = Analysis(
        wheel=wheel,
        native=native,
        images=seen.images,
        needs=follow(native, seen.images),
        numpy=max((seen.numpy[name] for name in native if name in seen.numpy), default=None),
        numpy_floor=max(
            (seen.numpy_floors[name] for name in native if name in seen.numpy_floors),
            key=Version,
            default=None,
        ),
    )
    texts = read_texts(wheel)
    major, version = _cuda(analysis, texts)
    analysis = replace(analysis, abi3=_is_abi3(analysis), cuda_major=major, cuda_version=version)
    return replace(analysis, findings=find(analysis, texts))


def _is_abi3(analysis: Analysis) -> bool:
    """Return whether the modules are linked to the stable ABI alone."""
    names = {
        wanted.dll.lower()
        for member in analysis.native
        for wanted in analysis.images[member].imports
        if re.fullmatch(r"python\d+t?\.dll", wanted.dll.lower())
    }
    return bool(names) and names <= {"python3.dll", "python3t.dll"}


def _cuda(analysis: Analysis, texts: Texts) -> tuple[int | None, tuple[int, int] | None]:
    """Return CUDA's major, and its version: the binary decides, the texts may say more."""
    if not is_cuda(analysis):
        return None, None
    dlls = cuda_dlls(analysis)
    majors = possible_majors(dlls)
    fitting = [
        (major, minor)
        for _, (major, minor) in texts.claims
        if major is not None and (majors is None or major in majors)
    ]
    told = common_major(dlls) or (fitting[0][0] if fitting else None)
    exact = ((major, minor) for major, minor in fitting if minor is not None)
    return told, next((version for version in exact if version[0] == told), None)
