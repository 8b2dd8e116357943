"""Looks through a wheel: its content, its binaries, its texts, and what follows from them."""

import re
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import msgspec

from repack import __version__
from repack.console import Task
from repack.dlls import Image, possible_majors
from repack.files import Memory, sha256_of
from repack.inspect.analysis import Analysis
from repack.inspect.binaries import Binaries, read_binaries
from repack.inspect.claims import Claim, read_claims
from repack.inspect.findings import find
from repack.inspect.needs import find_needs
from repack.wheel import Wheel, read_wheel

#: Raise it when something else is remembered of a wheel.
_FORMAT = 1
_PYTHON_DLL = re.compile(r"python\d+t?\.dll")


def analyse(
    path: Path,
    *,
    pythons: Collection[str] = (),
    allow_startup_hook: bool = False,
    task: Task | None = None,
    memory: Memory | None = None,
) -> Analysis:
    """Return what the wheel at `path` is, checked wholly; raises InputError.

    Findings about a Python concern `pythons` ("3.12"). Every .pyd and .dll must be a PE file
    ("not-pe"). `task` advances by bytes of the file. The content of a wheel that `memory` knows by
    its hash is not compared with RECORD once more.
    """
    wheel, binaries = _read(path, memory, task, allow_startup_hook=allow_startup_hook)
    native = tuple(sorted(name for name in binaries.images if name.lower().endswith(".pyd")))
    claims = read_claims(wheel)
    analysis = Analysis(
        wheel=wheel,
        native=native,
        images=binaries.images,
        needs=find_needs(native, binaries.images),
        numpy=binaries.numpy,
        abi3=_is_abi3([binaries.images[member] for member in native]),
    )
    major, version = _cuda(analysis, claims)
    analysis = replace(analysis, cuda_major=major, cuda_version=version)
    return replace(analysis, findings=find(analysis, claims, pythons))


def _read(
    path: Path, memory: Memory | None, task: Task | None, *, allow_startup_hook: bool
) -> tuple[Wheel, Binaries]:
    """Return the wheel and its binaries, which `memory` remembers under the wheel's SHA-256."""
    sha256 = sha256_of(path) if memory else ""
    key = f"{sha256}-{_FORMAT}-{__version__}"
    binaries = (
        memory.recall(key, lambda value: msgspec.convert(value, Binaries)) if memory else None
    )
    if binaries:
        wheel = read_wheel(path, sha256=sha256, checked=True, allow_startup_hook=allow_startup_hook)
        return wheel, binaries
    wheel, binaries = read_binaries(
        path, sha256=sha256, allow_startup_hook=allow_startup_hook, task=task
    )
    if memory:
        memory.keep(key, msgspec.to_builtins(binaries))
    return wheel, binaries


def _is_abi3(modules: list[Image]) -> bool:
    """Return whether the modules are linked to the stable ABI alone."""
    dlls = {imported.dll.lower() for image in modules for imported in image.imports}
    pythons = {dll for dll in dlls if _PYTHON_DLL.fullmatch(dll)}
    return bool(pythons) and pythons <= {"python3.dll", "python3t.dll"}


def _cuda(analysis: Analysis, claims: list[Claim]) -> tuple[int | None, tuple[int, int] | None]:
    """Return CUDA's major, and its version: the binary decides, the texts may say more."""
    if not analysis.is_cuda:
        return None, None
    majors = possible_majors(analysis.cuda_dlls)
    fitting = [claim for claim in claims if majors is None or claim.major in majors]
    major = next((claim.major for claim in fitting if claim.major), None)
    if majors and len(majors) == 1:
        (major,) = majors
    minors = [claim.minor for claim in fitting if claim.major == major and claim.minor is not None]
    return major, (major, minors[0]) if major and minors else None
