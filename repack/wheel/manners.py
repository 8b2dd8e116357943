"""Members that installers treat in a way of their own: scripts, data folders, startup hooks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from repack.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: What to do about a wheel that cannot be right.
BUILD_AGAIN = "take the wheel from where it was published, or have it built again"

_SCRIPT_GROUPS = ("console_scripts", "gui_scripts")
_SCRIPT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_. -]*")
_REFERENCE = re.compile(r"[\w.]+\s*:\s*[\w.]+\s*(\[[\w\s,.-]*\])?")
_SCHEMES = frozenset({"purelib", "platlib", "headers", "scripts", "data"})
# A file of such a name in the folder for scripts, or in that of the Python itself, is run in
# its place.
_INTERPRETER = re.compile(r"python(w|\d[\d.]*t?)?(\.exe|\.dll|\.com|\.bat|\.cmd)?", re.IGNORECASE)
_HOOK = re.compile(
    r"[^/]+\.(pth|start)|(site|user)customize(\.[^/]+|/__init__\.[^/]+)", re.IGNORECASE
)


def check_entry_points(content: bytes, *, file: object, member: str) -> None:
    """Raise InputError "entry-points" where a script's name is no plain word, or it calls none."""
    from configparser import ConfigParser, Error  # noqa: PLC0415 - few wheels have entry points

    parser = ConfigParser(delimiters=("=",), interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign] # names keep their case
    try:
        parser.read_string(content.decode("utf-8"))
    except (UnicodeDecodeError, Error) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"cannot be read: {reason}",
            code="entry-points",
            file=file,
            member=member,
            hint=BUILD_AGAIN,
        ) from None
    for group in filter(parser.has_section, _SCRIPT_GROUPS):
        for name, value in parser.items(group):
            if problem := _script_problem(name, value):
                raise InputError(
                    problem, code="entry-points", file=file, member=member, hint=BUILD_AGAIN
                )


def check_data_schemes(names: Iterable[str], *, file: object, dist_info: str = "") -> None:
    """Raise InputError "data-scheme" for what an installer would put where nobody expects it.

    pip moves the content of any .data folder, uv that of the wheel's own: where `dist_info` is
    given, the only one is that beside it.
    """
    for name in names:
        if problem := _scheme_problem(name, dist_info):
            raise InputError(problem, code="data-scheme", file=file, member=name, hint=BUILD_AGAIN)


def startup_hooks(names: Iterable[str]) -> Iterator[str]:
    """Yield the members that Python would run at each start, imported or not."""
    for name in names:
        scheme, _, rest = _under_data(name)
        inside = rest if scheme in {"purelib", "platlib"} else name
        in_place = scheme == "data" and re.fullmatch(r".*/site-packages/[^/]+\.pth", name)
        if in_place or (scheme in {None, "purelib", "platlib"} and _HOOK.fullmatch(inside)):
            yield name


def _scheme_problem(name: str, dist_info: str) -> str:
    scheme, _, rest = _under_data(name)
    if scheme is None:
        return ""
    if scheme not in _SCHEMES or not rest:
        known = ", ".join(sorted(_SCHEMES))
        return f"{scheme!r} is no place that an installer knows; there are {known}"
    if scheme in {"scripts", "data"} and _INTERPRETER.fullmatch(name.rsplit("/", 1)[-1]):
        return "it would be run in place of the Python interpreter"
    own = f"{dist_info.removesuffix('.dist-info')}.data"
    if dist_info and name.partition("/")[0] != own:
        return f"it lies in another wheel's folder of data; this one's is called {own}"
    return ""


def _script_problem(name: str, value: str) -> str:
    if not _SCRIPT.fullmatch(name) or name.endswith((" ", ".")):
        return f"the script {name!r} has a name that is no plain word"
    if _INTERPRETER.fullmatch(name):
        return f"the script {name!r} would be run in place of the Python interpreter"
    if not _REFERENCE.fullmatch(value.strip()):
        return f"the script {name!r} calls {value!r}, which is not module:function"
    return ""


def _under_data(name: str) -> tuple[str | None, str, str]:
    """Return (scheme, "/", path under it) of a member of a .data folder; scheme None elsewhere."""
    folder, _, rest = name.partition("/")
    if not rest or not folder.lower().endswith(".data"):
        return None, "", name
    return rest.partition("/")
