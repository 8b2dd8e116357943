"""Folders of patches: files that go into the wheel at the same path, and unified diffs."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from unidiff.patch import PatchedFile

from repack.errors import ConfigError
from repack.patching.diffs import parse_diff

_DIFF = ".patch"


@dataclass(frozen=True, kw_only=True, slots=True)
class Overlay:
    """A folder as read: the content of each member, and each diff by its path in the folder."""

    files: dict[str, bytes] = field(default_factory=dict)
    diffs: dict[str, tuple[PatchedFile, ...]] = field(default_factory=dict)


def builtin_folder() -> Path:
    """Return the folder of repack's own patches, installed or in a source tree."""
    package = Path(__file__).parents[1]
    installed = package / "_patches"
    return installed if installed.is_dir() else package.parent / "patches"


def read_overlay(folder: Path) -> Overlay:
    """Return what lies in `folder`; hidden files, and a README at its top, are left out.

    ConfigError names the file that cannot go into a wheel.
    """
    if not folder.is_dir():
        raise ConfigError(
            "there is no such folder of patches",
            code="no-patches",
            file=folder,
            hint="correct build.patches",
        )
    overlay = Overlay()
    for path in _paths(folder):
        member = path.relative_to(folder).as_posix()
        if path.suffix == _DIFF:
            overlay.diffs[member] = _read_diff(path)
        else:
            _check_place(path, member)
            overlay.files[member] = path.read_bytes()
    return overlay


def _paths(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        hidden = any(part.startswith(".") or part == "__pycache__" for part in parts)
        if path.is_file() and not hidden and not (len(parts) == 1 and path.stem == "README"):
            yield path


def _check_place(path: Path, member: str) -> None:
    """Refuse a file that lies in no package."""
    top, _, rest = member.partition("/")
    if not rest or top.endswith((".dist-info", ".data")):
        raise ConfigError(
            "it cannot go into a wheel: files go to the same path in it, in a package",
            code="bad-overlay",
            file=path,
            hint="put it into a folder such as cv2/; a unified diff ends in .patch",
        )


def _read_diff(path: Path) -> tuple[PatchedFile, ...]:
    try:
        return parse_diff(path.read_bytes())
    except ValueError as error:
        raise ConfigError(
            str(error), code="bad-diff", file=path, hint="write it with `diff -u` or `git diff`"
        ) from error
