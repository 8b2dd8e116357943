"""Which names a member may have, so that every installer on every system writes the same file."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from repack.errors import shown
from repack.wheel.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Own limits: Windows' 260 characters must hold the path of site-packages as well.
PATH_LIMIT = 200
COMPONENT_LIMIT = 255

#: Names of devices in any folder and with any extension, whatever their case, as
#: CPython's os.path.isreserved knows them; and the two that only older systems reserve.
_DEVICES = frozenset(
    [
        *("CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "CLOCK$"),
        *(f"{port}{digit}" for port in ("COM", "LPT") for digit in "0123456789¹²³"),
    ]
)
_DRIVE = re.compile(r"[A-Za-z]:")
_FORBIDDEN_ON_WINDOWS = frozenset('<>:"|?*')
_LINE_BREAKS = frozenset("\u2028\u2029")


def decoded(raw: bytes, *, utf8: bool) -> str:
    """Return a member's name; `utf8` is what its flag says. Raises Fault bad-encoding."""
    try:
        return raw.decode("utf-8" if utf8 else "ascii")
    except UnicodeDecodeError:
        reason = (
            "the name is marked as UTF-8 and is not"
            if utf8
            else "the name is not ASCII and not marked as UTF-8, so tools read it differently"
        )
        raise Fault("bad-encoding", reason, raw.decode("utf-8", "backslashreplace")) from None


def check_name(name: str) -> None:
    """Raise Fault bad-path, windows-name or path-too-long if a member may not be called so."""
    _check_characters(name)
    if name.startswith("/"):
        raise Fault("bad-path", "the path is absolute")
    if _DRIVE.match(name):
        raise Fault("bad-path", "the path begins with a drive")
    components = name.removesuffix("/").split("/")
    for component in components:
        if component in ("", ".", ".."):
            raise Fault("bad-path", f"the path has a part {component!r}")
    for component in components:
        _check_for_windows(component)
    _check_length(name, components)


def check_collisions(names: Iterable[str]) -> None:
    """Raise Fault duplicate-name if two names are one on some system, or one is in the other's way.

    Upper and lower case, and composed and decomposed characters, count as the same.
    """
    files: dict[str, str] = {}
    folders: dict[str, str] = {}
    for name in names:
        key = _folded(name.removesuffix("/"))
        if key in files or (name.endswith("/") and folders.get(key, "").endswith("/")):
            raise Fault("duplicate-name", _both(name, files.get(key) or folders[key]), name)
        (folders if name.endswith("/") else files)[key] = name
        parent = key.rpartition("/")[0]
        while parent and parent not in folders:
            folders[parent] = name.rpartition("/")[0]
            parent = parent.rpartition("/")[0]
    for key in files.keys() & folders.keys():
        raise Fault("duplicate-name", "is a file and a folder at once", files[key])


def _both(name: str, other: str) -> str:
    if name == other:
        return "is there twice"
    return f"is the same name as {shown(other)} on some systems"


def _folded(name: str) -> str:
    # Unicode's canonical caseless matching (Unicode 3.13, D145), composed.
    folded = unicodedata.normalize("NFD", name).casefold()
    return unicodedata.normalize("NFC", folded)


def _check_characters(name: str) -> None:
    if not name:
        raise Fault("bad-path", "the name is empty")
    for char in () if name.isascii() and name.isprintable() else name:
        # C: control, format (bidirectional ones too), surrogate, private, unassigned.
        if unicodedata.category(char).startswith("C") or char in _LINE_BREAKS:
            raise Fault("bad-path", f"the name has the invisible character U+{ord(char):04X}")
    if "\\" in name:
        raise Fault("bad-path", "the name has a backslash, which Windows takes for a separator")


def _check_for_windows(component: str) -> None:
    if bad := sorted(_FORBIDDEN_ON_WINDOWS.intersection(component)):
        raise Fault("windows-name", f"Windows allows no {bad[0]} in a name")
    if component[-1] in ". ":
        raise Fault("windows-name", "Windows drops the dot or space at the end of a name")
    if component.partition(".")[0].rstrip(" ").upper() in _DEVICES:
        raise Fault("windows-name", f"{component!r} is a device on Windows")


def _check_length(name: str, components: list[str]) -> None:
    if any(len(component.encode()) > COMPONENT_LIMIT for component in components):
        raise Fault("path-too-long", f"a part of the path has more than {COMPONENT_LIMIT} bytes")
    if len(name.encode("utf-16-le")) // 2 > PATH_LIMIT:
        raise Fault("path-too-long", f"the path has more than {PATH_LIMIT} characters")
