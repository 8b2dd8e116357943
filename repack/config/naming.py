"""The name of one of several builds: a folder's name everywhere, a part of a local version."""

from __future__ import annotations

import re

_FORM = re.compile(r"[A-Za-z0-9]+(?:[-_.]+[A-Za-z0-9]+)*")
#: A path on Windows has 260 characters, and the name is in it twice.
_LONGEST = 40
#: Devices, which Windows finds in any folder; and the folder of wheels that did not work.
_TAKEN = frozenset(
    {"con", "prn", "aux", "nul", "failed"}
    | {f"{device}{number}" for device in ("com", "lpt") for number in range(10)}
)


def normalised_name(text: str) -> str:
    """Return the name as it is compared: lower case, "-" between its parts (as PEP 503 has it)."""
    return re.sub(r"[-_.]+", "-", text).lower()


def name_token(name: str) -> str:
    """Return the normalised name as one part of a local version ("cu13team" of "cu13-team").

    A part of digits loses its leading zeros there (PEP 440).
    """
    token = name.replace("-", "")
    return (token.lstrip("0") or "0") if token.isdigit() else token


def why_no_name(text: str) -> str:
    """Return why a build cannot be called `text`, "" where it can."""
    if not _FORM.fullmatch(text):
        return "takes letters and digits of ASCII, with - _ or . between them"
    if len(text) > _LONGEST:
        return f"takes at most {_LONGEST} characters"
    if normalised_name(text).partition("-")[0] in _TAKEN:
        return "takes no name that begins like a device of Windows, nor like the folder 'failed'"
    return ""
