"""Looks through a wheel: its content, its binaries, its texts, and what follows from them."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from repack.console import Task
from repack.dlls import possible_majors
from repack.files import Memory
from repack.inspect.analysis import Analysis
from repack.inspect.binaries import read_binaries
from repack.inspect.claims import Claim, read_claims
from repack.inspect.findings import find_findings
from repack.inspect.needs import Need, find_needs


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
    analysis = Analysis(wheel=wheel, images=binaries.images, needs=(), numpy=binaries.numpy)
    needs = find_needs(analysis.native, analysis.images)
    claims = read_claims(wheel)
    major, version = _find_cuda(needs, claims)
    analysis = replace(analysis, needs=needs, cuda_major=major, cuda_version=version)
    return replace(analysis, findings=find_findings(analysis, claims, pythons))


def _find_cuda(
    needs: Sequence[Need], claims: Sequence[Claim]
) -> tuple[int | None, tuple[int, int] | None]:
    """Return CUDA's major, and its version: the binary decides, the texts may say more."""
    if not any(need.is_nvidia for need in needs):
        return None, None
    majors = possible_majors(need.dll for need in needs if need.is_cuda)
    fitting = [claim for claim in claims if majors is None or claim.major in majors]
    major = next((claim.major for claim in fitting), None)
    if majors and len(majors) == 1:
        (major,) = majors
    minors = [claim.minor for claim in fitting if claim.major == major and claim.minor is not None]
    return major, (major, minors[0]) if major and minors else None
