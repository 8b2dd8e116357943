"""What goes into a wheel: a team's folders, then repack's own files and edits of the loader."""

import ast
import pprint
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from repack.errors import PatchError
from repack.patching.loader import clean_config, patch_loader
from repack.patching.overlays import RENAME_HINT, apply_diff, builtin_folder, read_overlay
from repack.wheel.names import check_names

#: Holds what a build knows, and marks a wheel that repack has made.
BUILD_MODULE = "cv2/_cuda_build.py"
#: What OpenCV's loader reads.
CONFIG = re.compile(r"cv2/config(-[^/]*)?\.py")
_LOADER = "cv2/__init__.py"
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
) -> tuple[dict[str, bytes], list[str]]:
    """Return the members that are added or changed, with their content, and which are replaced.

    `names` are the wheel's members and `read` returns the content of one; `facts` is what the
    run-time module has to know of the build; `folders` are a team's own; `file` is the wheel's
    name for an error. PatchError names the member, and the diff if there is one; ConfigError a
    file that cannot go into a wheel.
    """
    overlay, _ = read_overlay(builtin_folder())
    own = {**overlay, BUILD_MODULE: _format_build(facts)}
    files: dict[str, bytes] = {}
    replaced: set[str] = set()

    def edit(
        member: str, change: Callable[[bytes], bytes], *, diff: str = "", is_new: bool = False
    ) -> None:
        """Change what a member is by now; a PatchError gets to know the wheel and the `diff`."""
        place = f"{diff}: " if diff else ""
        if not is_new and member not in {*names, *files}:
            raise PatchError(
                f"{place}the wheel has no such member",
                code="no-member",
                file=file,
                member=member,
                hint="take another wheel, or correct the path in the diff",
            )
        before = files.get(member, read(member) if member in names else b"")
        try:
            after = change(before)
        except PatchError as error:
            what, code, hint = f"{place}{error.what}", error.code, error.hint
            raise PatchError(what, code=code, file=file, member=member, hint=hint) from error
        if after != before:
            files[member] = after

    for folder in folders:
        laid, diffs = read_overlay(folder, reserved=own)
        replaced |= {name for name in laid if name in names and read(name) != laid[name]}
        files |= laid
        for origin, diff in diffs:
            edit(diff.path, partial(apply_diff, diff), diff=origin, is_new=diff.is_added_file)
        check_names(dict.fromkeys([*names, *files]), file, RENAME_HINT)
    members = {*names, *files}
    for member in sorted({_LOADER, *filter(CONFIG.fullmatch, members)}):
        edit(member, partial(clean_config, names=members))
    edit(_LOADER, patch_loader)
    return dict(sorted({**files, **own}.items())), sorted(replaced)


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
