"""Looks through a wheel: its content, its binaries, its texts, and what follows from them."""

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from repack.console import Task
from repack.dlls import Image, possible_majors
from repack.files import Memory
from repack.inspect.analysis import Analysis
from repack.inspect.binaries import read_binaries
from repack.inspect.claims import Claim, read_claims
from repack.inspect.findings import find_findings
from repack.inspect.needs import find_needs

_PYTHON_DLL = re.compile(r"python\d+t?\.dll")


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
    native = tuple(name for name in sorted(binaries.images) if name.lower().endswith(".pyd"))
    claims = read_claims(wheel)
    analysis = Analysis(
        wheel=wheel,
        native=native,
        images=binaries.images,
        needs=find_needs(native, binaries.images),
        numpy=binaries.numpy,
        abi3=_is_abi3([binaries.images[member] for member in native]),
    )
    major, version = _find_cuda(analysis, claims)
    analysis = replace(analysis, cuda_major=major, cuda_version=version)
    return replace(analysis, findings=find_findings(analysis, claims, pythons))


def _is_abi3(modules: Sequence[Image]) -> bool:
    """Return whether the modules are linked to the stable ABI alone."""
    dlls = {imported.dll.lower() for image in modules for imported in image.imports}
    pythons = {dll for dll in dlls if _PYTHON_DLL.fullmatch(dll)}
    return bool(pythons) and pythons <= {"python3.dll", "python3t.dll"}


def _find_cuda(
    analysis: Analysis, claims: Sequence[Claim]
) -> tuple[int | None, tuple[int, int] | None]:
    """Return CUDA's major, and its version: the binary decides, the texts may say more."""
    if not analysis.is_cuda:
        return None, None
    majors = possible_majors(analysis.cuda_dlls)
    fitting = [claim for claim in claims if majors is None or claim.major in majors]
    major = next((claim.major for claim in fitting), None)
    if majors and len(majors) == 1:
        (major,) = majors
    minors = [claim.minor for claim in fitting if claim.major == major and claim.minor is not None]
    return major, (major, minors[0]) if major and minors else None
