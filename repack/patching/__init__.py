"""What goes into a wheel: a team's folders, then repack's own files and edits of the loader."""

import ast
import pprint
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from repack.errors import PatchError
from repack.patching.loader import clean_config, patch_loader
from repack.patching.overlays import apply_diff, read_overlay, read_own_files
from repack.record import Finding

#: Holds what a build knows, and marks a wheel that repack has made.
BUILD_MODULE = "cv2/_cuda_build.py"
_LOADER = "cv2/__init__.py"
_CONFIG = re.compile(r"cv2/config(-.*)?\.py")
_DOCSTRING = (
    '"""What this build of OpenCV needs. Written by repack, read by cuda_dlls.py and '
    '_cuda_report.py."""'
)


def patch_wheel(
    names: Collection[str],
    read: Callable[[str], bytes],
    facts: Mapping[str, object],
    *,
    folders: Sequence[Path] = (),
    file: object = "",
) -> tuple[dict[str, bytes], tuple[Finding, ...]]:
    """Return the members that are added or changed, with their content, and what to say of it.

    `names` are the wheel's members and `read` returns the content of one; `facts` is what the
    run-time module has to know of the build; `folders` are a team's own; `file` is the wheel's
    name for an error. PatchError names the member, and the diff if there is one; ConfigError a
    file that cannot go into a wheel.
    """
    own = {**read_own_files(), BUILD_MODULE: _format_build(facts)}
    files: dict[str, bytes] = {}
    replaced: set[str] = set()

    def content(member: str, *, is_new: bool = False) -> bytes:
        if member in files:
            return files[member]
        if member not in names and not is_new:
            hint = "take another wheel, or correct the path in the diff"
            raise PatchError("the wheel has no such member", code="no-member", hint=hint)
        return read(member) if member in names else b""

    for folder in folders:
        laid, diffs = read_overlay(folder, reserved=own)
        replaced |= {name for name in laid if name in names and read(name) != laid[name]}
        files |= laid
        for origin, diff in diffs:
            with _locate_errors(file, diff.path, origin):
                before = content(diff.path, is_new=diff.is_added_file)
                files[diff.path] = apply_diff(diff, before)
    with _locate_errors(file, _LOADER):
        files[_LOADER] = patch_loader(content(_LOADER))
    members = {*names, *files}
    for member in sorted(filter(_CONFIG.fullmatch, members)):
        with _locate_errors(file, member):
            before = content(member)
            after = clean_config(before, members)
        if after != before:
            files[member] = after
    message = "the wheel has this file already; it is replaced"
    notes = tuple(
        Finding(code="replaced-file", message=message, member=name) for name in sorted(replaced)
    )
    return dict(sorted({**files, **own}.items())), notes


def _format_build(facts: Mapping[str, object]) -> bytes:
    """Return the module that gives `BUILD` the value `facts`, in ASCII, its keys sorted."""
    literal = pprint.pformat(dict(facts), width=100)
    # Whatever is not ASCII stands in a string, where an escape means the same.
    return f"{_DOCSTRING}\n\nBUILD = {literal}\n".encode("ascii", "backslashreplace")


def read_build(module: bytes) -> dict[str, Any]:
    """Return the facts that such a module holds, none where it is damaged."""
    with suppress(LookupError, SyntaxError, TypeError, ValueError):
        statement = ast.parse(module).body[-1]
        return dict(ast.literal_eval(ast.unparse(statement).partition("= ")[2]))
    return {}


@contextmanager
def _locate_errors(file: object, member: str, origin: str = "") -> Iterator[None]:
    """Add the wheel, the member and the diff `origin` to a PatchError of the block."""
    try:
        yield
    except PatchError as error:
        raise PatchError(
            f"{origin}: {error.what}" if origin else error.what,
            code=error.code,
            file=file,
            member=member,
            hint=error.hint,
        ) from error
