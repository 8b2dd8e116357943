"""Lays a team's folders over a wheel, edits OpenCV's loader, and adds repack's own files."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from repack.errors import ConfigError, PatchError
from repack.patching.build_module import BUILD_MODULE, build_module
from repack.patching.config import clean_config
from repack.patching.diffs import apply_diff
from repack.patching.loader import patch_loader
from repack.patching.overlays import Overlay, builtin_folder, read_overlay
from repack.patching.sources import parse
from repack.record import Finding

_LOADER = "cv2/__init__.py"
_CONFIGS = ("cv2/config.py", "cv2/config-*.py")


@dataclass(frozen=True, kw_only=True, slots=True)
class Patched:
    """The members that are added or changed, with their content, and what to say of it."""

    files: Mapping[str, bytes]
    notes: tuple[Finding, ...]


def patch_wheel(
    names: Collection[str],
    read: Callable[[str], bytes],
    facts: Mapping[str, object],
    *,
    folders: Sequence[Path] = (),
    file: object = "",
) -> Patched:
    """Return what the team's `folders` and then repack itself make of a wheel.

    `names` are its members and `read` returns the content of one; `facts` is what the run-time
    module has to know of the build; `file` is the wheel's name for an error. PatchError names
    the member, and the diff if there is one; ConfigError a file that cannot go into a wheel.
    """
    wheel = _Wheel(names=frozenset(names), read=read, file=file)
    own = read_overlay(builtin_folder())
    for folder in folders:
        overlay = read_overlay(folder)
        _check_members(folder, overlay, {*own.files, BUILD_MODULE})
        _lay(wheel, overlay)
    with wheel.locate_errors(_LOADER):
        wheel.files[_LOADER] = patch_loader(wheel.read_existing(_LOADER))
    members = {*names, *wheel.files}
    for member in sorted(members):
        if any(fnmatchcase(member, pattern) for pattern in _CONFIGS):
            _clean(wheel, member, members)
    _lay(wheel, own)
    wheel.files[BUILD_MODULE] = build_module(facts)
    return Patched(files=dict(sorted(wheel.files.items())), notes=tuple(wheel.notes))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Wheel:
    """The members of a wheel, those in `files` changed."""

    names: frozenset[str]
    read: Callable[[str], bytes]
    file: object
    files: dict[str, bytes] = field(default_factory=dict)
    notes: list[Finding] = field(default_factory=list)

    def content(self, member: str) -> bytes | None:
        """Return the content of `member` as it is by now, None where there is no such member."""
        if member in self.files:
            return self.files[member]
        return self.read(member) if member in self.names else None

    def read_existing(self, member: str) -> bytes:
        """Return its content; PatchError where there is no such member."""
        content = self.content(member)
        if content is None:
            raise PatchError(
                "the wheel has no such member",
                code="no-member",
                hint="take another wheel, or correct the path in the diff",
            )
        return content

    @contextmanager
    def locate_errors(self, member: str, origin: str = "") -> Iterator[None]:
        """Add the wheel, the member and the diff `origin` to a PatchError of the block."""
        try:
            yield
        except PatchError as error:
            raise PatchError(
                f"{origin}: {error.what}" if origin else error.what,
                code=error.code,
                file=self.file,
                member=member,
                hint=error.hint,
            ) from error


def _check_members(folder: Path, overlay: Overlay, own: Collection[str]) -> None:
    """Refuse a file of a team's that would be another than repack's of the same name."""
    for member in sorted(overlay.files.keys() & own):
        raise ConfigError(
            "it is one of repack's own files, which are the same in every wheel",
            code="bad-overlay",
            file=folder / member,
            hint="give yours another name",
        )


def _clean(wheel: _Wheel, member: str, members: Collection[str]) -> None:
    with wheel.locate_errors(member):
        before = wheel.read_existing(member)
        after, notes = clean_config(before, member, members)
    wheel.notes.extend(notes)
    if after != before:
        wheel.files[member] = after


def _lay(wheel: _Wheel, overlay: Overlay) -> None:
    """Put the files of `overlay` over those of the wheel, then apply its diffs."""
    for member, content in overlay.files.items():
        if member in wheel.names and wheel.read(member) != content:
            message = "the wheel has this file already; it is replaced"
            wheel.notes.append(Finding(code="replaced-file", message=message, member=member))
        wheel.files[member] = content
    for origin, diffs in overlay.diffs.items():
        for diff in diffs:
            with wheel.locate_errors(diff.path, origin):
                before = b"" if diff.is_added_file else wheel.read_existing(diff.path)
                if diff.is_added_file and wheel.content(diff.path) is not None:
                    message = "the wheel has this file already, and the diff adds it"
                    raise PatchError(message, code="no-place")
                after = apply_diff(diff, before)
                if diff.path.endswith(".py"):
                    parse(after)
            wheel.files[diff.path] = after
