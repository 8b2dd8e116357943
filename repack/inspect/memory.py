"""Remembers what was seen in a wheel, so that the same bytes are looked through once.

Only a wheel that was checked wholly gets an entry, under the SHA-256 of its file. The entry holds
no more than what its binaries say; RECORD, METADATA and the archive's own tables are read and
checked each time. Another version of this package, or a changed one, begins anew.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repack import __version__, files
from repack.dlls import Image, Import

if TYPE_CHECKING:
    from collections.abc import Mapping

_TABLES = ("imports", "delay_imports")
_PACKAGE = Path(__file__).parent.parent


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What a wheel's binaries say: each as a PE file, and of those that use NumPy its ABI.

    `numpy_floors` are the oldest releases that they run with, where they say so.
    """

    images: Mapping[str, Image]
    numpy: Mapping[str, str]
    numpy_floors: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """Entries in the folder `folder`, each a file; one that is damaged counts for none."""

    folder: Path

    def has_size(self, size: int) -> bool:
        """Return whether a wheel of `size` bytes was seen: only then is hashing first worth it."""
        return any(True for _ in self.folder.glob(f"{size}-*.json"))

    def recall(self, size: int, sha256: str) -> Seen | None:
        """Return what was seen in the wheel of `size` bytes with that hash, None if not known."""
        try:
            entry = json.loads(self._path(size, sha256).read_bytes())
            if entry["digest"] != _digest(entry["seen"]):
                return None
            return _parsed(entry["seen"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, size: int, sha256: str, seen: Seen) -> None:
        """Remember what was seen in a wheel that was checked wholly."""
        told = asdict(seen)
        content = json.dumps({"digest": _digest(told), "seen": told}, sort_keys=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        with files.replacing(self._path(size, sha256)) as stream:
            stream.write(content.encode())

    def _path(self, size: int, sha256: str) -> Path:
        return self.folder / f"{size}-{sha256}-{_stamp()}.json"


def _digest(told: object) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _parsed(told: dict[str, Any]) -> Seen:
    images = {name: _image(image) for name, image in told["images"].items()}
    return Seen(images=images, numpy=told["numpy"], numpy_floors=told["numpy_floors"])


def _image(told: dict[str, Any]) -> Image:
    imports, delay_imports = (tuple(map(_import, told.pop(name))) for name in _TABLES)
    return Image(**told, imports=imports, delay_imports=delay_imports)


def _import(told: dict[str, Any]) -> Import:
    return Import(dll=told["dll"], symbols=tuple(told["symbols"]))


def _stamp() -> str:
    """Return what changes with every change of this package, by a look at its files' sizes."""
    parts = [__version__]
    for folder, _, names in sorted(os.walk(_PACKAGE)):
        for name in sorted(names):
            if name.endswith((".py", ".txt")):
                status = Path(folder, name).stat()
                parts.append(f"{name} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
