"""What a wheel's own texts say of CUDA: its configuration, its version, its name."""

import ast
import re
from collections.abc import Iterator
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from repack.patching import BUILD_MODULE
from repack.wheel import Wheel, read_member

_CONFIGS = ("cv2/config.py", "cv2/config-*.py")
_TOOLKIT = re.compile(rb"CUDA[/\\]+v(\d+)\.(\d+)", re.IGNORECASE)
_LOCAL = re.compile(r"cu(?:da)?(\d{2,4})")
_NAME = re.compile(r"(?:^|-)(?:cuda|cu(?=\d))-?(\d{2,4})?(?=-|$)")


class Claim(NamedTuple):
    """A CUDA version that a wheel's texts name.

    `minor` is None where only the major is said, both are None where just "CUDA" is.
    """

    place: str
    major: int | None
    minor: int | None

    def __str__(self) -> str:
        version = ".".join(str(part) for part in (self.major, self.minor) if part is not None)
        return f"{self.place} says CUDA {version}".rstrip()


def read_claims(wheel: Wheel) -> list[Claim]:
    """Return the CUDA versions that the wheel's texts name, surest first."""
    return list(dict.fromkeys(_claims(wheel)))


def read_configs(wheel: Wheel) -> dict[str, bytes]:
    """Return the configuration files of OpenCV's loader, by member."""
    return {
        name: read_member(wheel.archive, name)
        for name in sorted(wheel.names)
        if any(fnmatchcase(name, pattern) for pattern in _CONFIGS)
    }


def read_build(wheel: Wheel) -> dict[str, Any] | None:
    """Return what repack wrote into a wheel that it emitted, None for any other wheel."""
    if wheel.archive.member(BUILD_MODULE) is None:
        return None
    with suppress(SyntaxError, ValueError):
        for node in ast.parse(read_member(wheel.archive, BUILD_MODULE)).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "BUILD":
                return dict(ast.literal_eval(node.value))
    return {}


def _claims(wheel: Wheel) -> Iterator[Claim]:
    match (read_build(wheel) or {}).get("cuda"):
        case (int(major), int() | None as minor):
            yield Claim(BUILD_MODULE, major, minor)
    for name, content in read_configs(wheel).items():
        for match in _TOOLKIT.finditer(content):
            yield Claim(name, int(match[1]), int(match[2]))
    for part in str(wheel.filename.version.local or "").split("."):
        if local := _LOCAL.fullmatch(part):
            yield Claim("its version", *_split(local[1]))
    if name_part := _NAME.search(wheel.filename.name):
        yield Claim("its name", *_split(name_part[1]))
    if "cuda" in wheel.summary.lower():
        yield Claim("its summary", None, None)


def _split(digits: str | None) -> tuple[int | None, int | None]:
    """Return "126" as (12, 6), "92" as (9, 2) and "12" as (12, None)."""
    if not digits:
        return None, None
    length = 1 if digits[0] in "6789" else 2
    return int(digits[:length]), int(digits[length:]) if digits[length:] else None
