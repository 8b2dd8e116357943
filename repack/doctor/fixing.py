"""`repack fix`: gives an installed cv2 what `repack build` gives a wheel, and takes it back.

Whenever it ends, fixing again finishes it and undoing takes it back: what will be changed lies in
the .dist-info first, its RECORD last of all; RECORD lists every file before it is there; and
nothing is written in place, since uv's installations are hard links into its cache.
"""

import csv
import io
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from repack.doctor.installed import (
    ORIGINALS,
    Distribution,
    Package,
    read_members,
    read_rows,
)
from repack.errors import InputError, RepackError
from repack.files import replacing, sweep, workspace
from repack.patching import patch_wheel
from repack.wheel.metadata import entry_of

_LOADER, _RECORD = "cv2/__init__.py", "RECORD"


def plan_fix(package: Package, facts: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the files that a fix writes, RECORD first and cv2's loader last.

    `facts` is what the run-time module has to know. RepackError says why nothing may be fixed.
    """
    owner = _find_owner(package)
    library, prefix = package.root.parent, package.root.parent.parent
    if owner.installer == "conda" or any(prefix.glob("conda-meta/*opencv*.json")):
        raise _refuse(package, "conda owns it", "install the wheel with pip instead of conda's")
    if (library / "EXTERNALLY-MANAGED").is_file():
        hint = "make a virtual environment (python -m venv), and install it there"
        raise _refuse(package, "the system owns this Python", hint)
    if package.is_built_by_repack:
        raise _refuse(package, "repack has made its wheel: there is nothing to fix")
    if not facts["families"]:
        reason = "it brings its CUDA DLLs" if facts["cuda"] else "it is a build without CUDA"
        if not facts["kinds"]:
            reason = "it has no native module that can be read"
        raise _refuse(package, reason, "what keeps it from being imported, repack doctor says")
    files, _ = patch_wheel(package.members, package.read, facts, file=owner)
    files[_LOADER] = files.pop(_LOADER)
    return {_RECORD: _edit_record(package, owner, files), **files}


def list_changes(package: Package, files: Mapping[str, bytes]) -> list[str]:
    """Return those of the files that are not yet as a fix leaves them."""
    return [name for name in files if _read(_place(package, name)) != files[name]]


def apply_fix(package: Package, files: Mapping[str, bytes]) -> None:
    """Keep the originals, then write the files that are not as a fix leaves them."""
    changed = list_changes(package, files)
    kept = _prepare(package)
    if changed and package.originals is None:
        shutil.rmtree(kept, ignore_errors=True)  # what an interrupted fix had kept
        for name, content in _read_originals(package, files).items():
            _write(kept / name, content)
    for name in changed:
        _write(_place(package, name), files[name])


def undo_fix(package: Package) -> list[str]:
    """Return the files that are as they were before the fix again, none where there was none."""
    kept = _prepare(package)
    restored: list[str] = []
    if package.originals:
        paths = [path for path in kept.rglob("*") if path.is_file()]
        names = {path.relative_to(kept).as_posix() for path in paths}
        # The loader comes first, so that nothing imports what goes; RECORD last.
        restored = sorted(names, key=lambda name: (name == _RECORD, name != _LOADER, name))
        added = set(read_members(kept.parent / _RECORD)) - set(read_members(kept / _RECORD)) - names
        for name in restored[:-1]:
            _write(package.root / name, (kept / name).read_bytes())
        for name in sorted(added):
            if not name.startswith(f"{kept.parent.name}/{ORIGINALS}/"):
                _remove(package.root / name)
                restored.append(name)
        _write(kept.parent / _RECORD, (kept / _RECORD).read_bytes())
        (kept / _RECORD).unlink()
    shutil.rmtree(kept, ignore_errors=True)
    return restored


def _find_owner(package: Package) -> Distribution:
    """Return the distribution that owns cv2; RepackError where none does, or several do."""
    if not package.owners:
        hint = "install it from its wheel: python -m pip install WHEEL"
        raise _refuse(package, "no RECORD lists its files", hint)
    if len(package.owners) > 1:
        names = " ".join(owner.name for owner in package.owners)
        hint = f"python -m pip uninstall -y {names}, then install the one you want again"
        owners = ", ".join(map(str, package.owners))
        raise _refuse(package, f"several distributions own it: {owners}", hint)
    return package.owners[0]


def _refuse(package: Package, reason: str, hint: str = "") -> RepackError:
    folder = package.root / "cv2"
    return InputError(f"cannot be fixed: {reason}", code="not-fixable", file=folder, hint=hint)


def _prepare(package: Package) -> Path:
    """Return the folder for originals, once it is certain that files may be written."""
    info = _find_owner(package).folder
    for folder in (info, package.root / "cv2"):
        sweep(folder)
        with workspace(folder):
            pass
    return info / ORIGINALS


def _place(package: Package, name: str) -> Path:
    return (package.owners[0].folder if name == _RECORD else package.root) / name


def _read_originals(package: Package, names: Iterable[str]) -> dict[str, bytes]:
    """Return what was there of these files before any fix, RECORD last."""
    kept = package.originals
    contents = {name: _read(kept / name if kept else _place(package, name)) for name in names}
    ordered = sorted(contents.items(), key=lambda item: item[0] == _RECORD)
    return {name: content for name, content in ordered if content is not None}


def _edit_record(package: Package, owner: Distribution, files: Mapping[str, bytes]) -> bytes:
    """Return the RECORD that lists the files, and the originals; all other rows stay."""
    originals = _read_originals(package, [*files, _RECORD])
    folder = f"{owner.folder.name}/{ORIGINALS}"
    contents = {**files, **{f"{folder}/{name}": content for name, content in originals.items()}}
    rows = {row[0]: row for row in read_rows((package.originals or owner.folder) / _RECORD)}
    for name, content in sorted(contents.items()):
        entry = entry_of(content)
        rows[name] = [name, entry.hash, str(entry.size)]
    text = io.StringIO(newline="")
    newline = "\r\n" if b"\r\n" in originals[_RECORD] else "\n"
    csv.writer(text, lineterminator=newline).writerows(rows.values())
    return text.getvalue().encode()


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as stream:
        stream.write(content)


def _remove(path: Path) -> None:
    """Remove a file, and what Python has compiled of it."""
    for file in (path, *path.parent.glob(f"__pycache__/{path.stem}.*.pyc")):
        file.unlink(missing_ok=True)
