"""Looks through a wheel: its content, its binaries, its texts, and what follows from them."""

import re
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

from repack.console import Task
from repack.dlls import possible_majors
from repack.files import Memory
from repack.inspect.analysis import Analysis, Claim
from repack.inspect.binaries import Binaries, read_binaries
from repack.inspect.findings import find_findings
from repack.inspect.needs import find_needs
from repack.patching import BUILD_MODULE
from repack.wheel import Wheel

_TOOLKIT = re.compile(rb"CUDA[/\\]+v(\d+)\.(\d+)", re.IGNORECASE)
# "cu126", "cu1210", "cuda12", "opencv-cu92": majors below 10 had one digit.
_LABEL = re.compile(r"(?<![a-z0-9])cu(?:da)?-?([6-9]|\d\d)(\d{0,2})(?![a-z0-9])")


def analyse(
    path: Path,
    *,
    pythons: Collection[str] = (),
    allow_startup_hook: bool = False,
    task: Task | None = None,
    memory: Memory | None = None,
) -> Analysis:
    """Return what the wheel at `path` is; the arguments and errors are those of `read_binaries`.

    Findings about a Python concern `pythons` ("3.12").
    """
    wheel, binaries = read_binaries(
        path, allow_startup_hook=allow_startup_hook, task=task, memory=memory
    )
    return conclude(wheel, binaries, pythons)


def conclude(wheel: Wheel, binaries: Binaries, pythons: Collection[str] = ()) -> Analysis:
    """Return what a wheel is whose binaries are these, with findings about `pythons`."""
    analysis = Analysis(wheel=wheel, images=binaries.images, numpy=binaries.numpy)
    analysis = replace(
        analysis,
        needs=find_needs(analysis.native, analysis.images),
        claims=tuple(dict.fromkeys(_find_claims(analysis))),
    )
    major, version = _find_cuda(analysis)
    analysis = replace(analysis, cuda_major=major, cuda_version=version)
    return replace(analysis, findings=find_findings(analysis, pythons))


def _find_claims(analysis: Analysis) -> Iterator[Claim]:
    match (analysis.build or {}).get("cuda"):
        case (int(major), int() | None as minor):
            yield Claim(BUILD_MODULE, major, minor)
    for member, content in analysis.configs.items():
        for toolkit in _TOOLKIT.finditer(content):
            yield Claim(member, int(toolkit[1]), int(toolkit[2]))
    name = analysis.wheel.filename
    for place, text in {"its version": name.version.local or "", "its name": name.name}.items():
        for label in _LABEL.finditer(text):
            yield Claim(place, int(label[1]), int(label[2]) if label[2] else None)


def _find_cuda(analysis: Analysis) -> tuple[int | None, tuple[int, int] | None]:
    """Return CUDA's major, and its version: the binary decides, the texts may say more."""
    if not any(need.is_nvidia for need in analysis.needs):
        return None, None
    majors = possible_majors(need.dll for need in analysis.needs if need.is_cuda)
    fitting = [claim for claim in analysis.claims if majors is None or claim.major in majors]
    major = next((claim.major for claim in fitting), None)
    if majors and len(majors) == 1:
        (major,) = majors
    minors = [claim.minor for claim in fitting if claim.major == major and claim.minor is not None]
    return major, (major, minors[0]) if major and minors else None
