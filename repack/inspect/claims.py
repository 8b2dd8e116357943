"""What a wheel's own texts say of CUDA: its configuration, its version, its name."""

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import NamedTuple

from repack.wheel import Wheel, read_member

_CONFIGS = ("cv2/config.py", "cv2/config-*.py")
_TOOLKIT = re.compile(rb"CUDA[/\\]+v(\d+)\.(\d+)", re.IGNORECASE)
# "cu126", "cu1210", "cuda12", "opencv-cu92": majors below 10 had one digit.
_LABEL = re.compile(r"(?<![a-z0-9])cu(?:da)?-?([6-9]|\d\d)(\d{0,2})(?![a-z0-9])")


class Claim(NamedTuple):
    """A CUDA version that a wheel's texts name; `minor` is None where only the major is said."""

    place: str
    major: int
    minor: int | None

    def __str__(self) -> str:
        minor = "" if self.minor is None else f".{self.minor}"
        return f"{self.place} says CUDA {self.major}{minor}"


def read_claims(wheel: Wheel) -> list[Claim]:
    """Return the CUDA versions that the wheel's texts name, each once, surest first."""
    return list(dict.fromkeys(_find_claims(wheel)))


def _find_claims(wheel: Wheel) -> Iterator[Claim]:
    for name, content in read_configs(wheel).items():
        for toolkit in _TOOLKIT.finditer(content):
            yield Claim(name, int(toolkit[1]), int(toolkit[2]))
    texts = {"its version": wheel.filename.version.local or "", "its name": wheel.filename.name}
    for place, text in texts.items():
        for label in _LABEL.finditer(text):
            yield Claim(place, int(label[1]), int(label[2]) if label[2] else None)


def read_configs(wheel: Wheel) -> dict[str, bytes]:
    """Return the configuration files of OpenCV's loader, by member."""
    return {
        name: read_member(wheel.archive, name)
        for name in sorted(wheel.names)
        if any(fnmatchcase(name, pattern) for pattern in _CONFIGS)
    }
