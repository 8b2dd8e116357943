"""A wheel's file name: what it says, and how a name is written."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from repack.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from packaging.tags import Tag


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelName:
    """What a wheel's file name says; `str()` of it is the file name.

    `name` is normalised ("opencv-contrib-python"), `distribution` is that part of the file name
    ("opencv_contrib_python"), `build` the build tag ("" for none).
    """

    name: str
    distribution: str
    version: Version
    build: str = ""
    tags: frozenset[Tag]

    @property
    def tag(self) -> str:
        """The tags as one: "cp37-abi3-win_amd64", "py2.py3-none-any"."""
        parts = zip(*((tag.interpreter, tag.abi, tag.platform) for tag in self.tags), strict=True)
        return "-".join(".".join(sorted(set(part))) for part in parts)

    def __str__(self) -> str:
        build = (self.build,) if self.build else ()
        return "-".join((self.distribution, str(self.version), *build, self.tag)) + ".whl"


def parse_filename(path: Path) -> WheelName:
    """Return what the name of the wheel file says; raises InputError with code "filename"."""
    try:
        name, version, build, tags = parse_wheel_filename(path.name)
    except (InvalidWheelFilename, InvalidVersion) as error:
        raise InputError(
            f"not a name that a wheel can have: {error}",
            code="filename",
            file=path,
            hint="a wheel is called name-version-python-abi-platform.whl; use the name it had "
            "where it was published",
        ) from None
    return WheelName(
        name=name,
        distribution=path.name.split("-", 1)[0],
        version=version,
        build="".join(map(str, build)),
        tags=tags,
    )


def renamed(name: WheelName, *, version: str, tags: Collection[Tag] = ()) -> WheelName:
    """Return the name with another version and, where given, other tags, as today's rules want it.

    The distribution is written as the specification asks since 2021: lower case, "_" for each run
    of "-", "_" and ".". Tags must be all combinations of their parts, or no name can say them.
    """
    return replace(
        name,
        distribution=re.sub(r"[-_.]+", "_", name.distribution).lower(),
        version=Version(version),
        tags=frozenset(tags) or name.tags,
    )


def local_version(version: Version | str, label: str) -> str:
    """Return the version whose local part ends with `label`, which is added where it does not.

    "4.14.0.94" and "cu12.patched" give "4.14.0.94+cu12.patched"; that and the same label again
    give the same.
    """
    before = Version(str(version))
    wanted = str(Version(f"0+{label}").local).split(".")
    there = str(before.local).split(".") if before.local else []
    if there[-len(wanted) :] != wanted:
        there += wanted
    return f"{before.public}+{'.'.join(there)}"
