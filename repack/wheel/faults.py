"""How the checks of an archive say no."""

from __future__ import annotations

#: What to do about an archive that cannot be right.
GET_ANOTHER = "take the file from where it was published, or have it built again"


class Fault(Exception):  # noqa: N818 - it never leaves this package
    """A reason to refuse an archive or one of its members; who raises it need not know which."""

    def __init__(self, code: str, what: str, member: str = "") -> None:
        """Keep the error's code, the reason, and the member's name where it is known."""
        super().__init__(what)
        self.code = code
        self.what = what
        self.member = member
