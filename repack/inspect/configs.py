"""What a wheel's own texts say of CUDA, and of the machine that built it."""

from __future__ import annotations

import ast
import re
import warnings
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, TypeAlias

from repack.dlls import Kind, classify
from repack.patching import BUILD_MODULE
from repack.wheel import read_member

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from repack.wheel import Wheel

#: Major and minor of a CUDA version, as far as they are said.
Version: TypeAlias = "tuple[int | None, int | None]"

_CONFIGS = ("cv2/config.py", "cv2/config-*.py")
_TOOLKIT = re.compile(r"CUDA[/\\]+v(\d+)\.(\d+)", re.IGNORECASE)
_LOCAL = re.compile(r"cu(?:da)?(\d{2,4})")
_NAME = re.compile(r"(?:^|-)(?:cuda|cu(?=\d))-?(\d{2,4})?(?=-|$)")
_OF_NVIDIA = {Kind.CUDA, Kind.CUDNN}
_TERMS = re.compile(r"(licen[cs]e|eula|notice)[^/]*$", re.IGNORECASE)
_ABSOLUTE = re.compile(r"[A-Za-z]:[\\/]|[\\/]{1,2}\w")


@dataclass(frozen=True, kw_only=True, slots=True)
class Texts:
    """The configuration files of OpenCV's loader, parsed, and CUDA versions the wheel speaks of.

    A file that is no Python is None. `claims` are (where, (major, minor)), surest first, the
    minor None where only the major is said, both None where just "CUDA" is. `nvidia_terms` is
    whether a wheel with DLLs of NVIDIA's holds a licence that speaks of NVIDIA.
    """

    configs: Mapping[str, ast.Module | None]
    claims: tuple[tuple[str, Version], ...]
    nvidia_terms: bool = False


def read_texts(wheel: Wheel) -> Texts:
    """Return what the texts of the wheel say."""
    configs = {
        name: _parsed(read_member(wheel.archive, name))
        for name in sorted(wheel.names)
        if any(fnmatchcase(name, pattern) for pattern in _CONFIGS)
    }
    return Texts(
        configs=configs,
        claims=tuple(_claims(wheel, configs)),
        nvidia_terms=_has_nvidia_terms(wheel),
    )


def machine_directories(module: ast.Module) -> tuple[str, ...]:
    """Return the absolute paths that a configuration file names, as they stand.

    The default of a variable (`os.getenv('CUDA_PATH', 'C:/...')`) is none of them.
    """
    defaults = {
        id(argument)
        for call in ast.walk(module)
        if isinstance(call, ast.Call) and _called(call) in {"getenv", "get"}
        for argument in call.args
    }
    found = [
        node.value
        for node in ast.walk(module)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in defaults
        and _ABSOLUTE.match(node.value)
    ]
    return tuple(dict.fromkeys(found))


def _has_nvidia_terms(wheel: Wheel) -> bool:
    dlls = (name for name in wheel.names if name.lower().endswith(".dll"))
    if not any(classify(name.rpartition("/")[2]).kind in _OF_NVIDIA for name in dlls):
        return False
    return any(
        b"NVIDIA" in read_member(wheel.archive, name)
        for name in wheel.names
        if ".dist-info/" in name and _TERMS.search(name)
    )


def _parsed(content: bytes) -> ast.Module | None:
    with warnings.catch_warnings():
        # The build machine's 'F:\python39' holds an escape that Python warns of.
        warnings.simplefilter("ignore")
        try:
            return ast.parse(content)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def _claims(
    wheel: Wheel, configs: Mapping[str, ast.Module | None]
) -> Iterator[tuple[str, Version]]:
    if version := _build_version(read_build(wheel)):
        yield BUILD_MODULE, version
    for name, module in configs.items():
        for text in _strings(module) if module else ():
            if found := _TOOLKIT.search(text):
                yield name, (int(found[1]), int(found[2]))
    for part in str(wheel.filename.version.local or "").split("."):
        if found := _LOCAL.fullmatch(part):
            yield "its version", _split(found[1])
    if found := _NAME.search(wheel.filename.name):
        yield "its name", _split(found[1])
    if "cuda" in wheel.summary.lower():
        yield "its summary", (None, None)


def _split(digits: str | None) -> Version:
    """Return "126" as (12, 6), "92" as (9, 2) and "12" as (12, None)."""
    if not digits:
        return None, None
    at = 1 if digits[0] in "6789" else 2
    return int(digits[:at]), int(digits[at:]) if digits[at:] else None


def read_build(wheel: Wheel) -> Mapping[str, Any] | None:
    """Return what repack wrote into a wheel that it emitted, None for any other wheel."""
    if wheel.archive.member(BUILD_MODULE) is None:
        return None
    module = _parsed(read_member(wheel.archive, BUILD_MODULE))
    for node in module.body if module else ():
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "BUILD":
            with suppress(ValueError):
                value = ast.literal_eval(node.value)
                return value if isinstance(value, dict) else {}
    return {}


def _build_version(build: Mapping[str, Any] | None) -> Version | None:
    match (build or {}).get("cuda"):
        case (int(major), int() | None as minor):
            return major, minor
    return None


def _called(call: ast.Call) -> str:
    function = call.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _strings(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
