"""What goes wrong, as one sentence: what, in which file and member, why, and what to do next."""

from __future__ import annotations


def shown(name: str) -> str:
    """Return `name` quoted, with every character that a terminal would not show escaped."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in repr(name)
    )


class RepackError(Exception):
    """Root of all errors a user may meet; `str()` of one is a single line.

    `code` is a stable word for the kind of fault ("bad-path"), `file` and `member` say where,
    `hint` says what to do next.
    """

    def __init__(
        self, what: str, *, code: str = "", file: object = "", member: str = "", hint: str = ""
    ) -> None:
        """Keep the parts, so that a report may show them apart."""
        self.what = what
        self.code = code
        self.file = str(file)
        self.member = member
        self.hint = hint
        super().__init__(self.sentence())

    def sentence(self) -> str:
        """Return the parts as one line."""
        place = ": ".join(
            part for part in (_line(self.file), shown(self.member) if self.member else "") if part
        )
        code = f" [{self.code}]" if self.code else ""
        hint = f"; {_line(self.hint)}" if self.hint else ""
        said = f"{_line(self.what)}{code}{hint}"
        return f"{place}: {said}" if place else said


class InputError(RepackError):
    """A wheel, a DLL or another file that was handed in cannot be accepted."""


class ConfigError(RepackError):
    """`repack.toml`, `repack.lock` or a setting contradicts itself or cannot be understood."""


class UsageError(RepackError):
    """The command line asks for something that cannot be: exit code 2."""


class FetchError(RepackError):
    """A source cannot be had, or is not what was asked for."""


class PatchError(RepackError):
    """A patch finds no place, or more than one, in the text it is for."""


class ToolError(RepackError):
    """A program that is needed is missing, failed, or did not end in time."""


class OutputError(RepackError):
    """A result cannot be written."""


def system_fault(error: OSError) -> RepackError:
    """Return what a disk or a system has failed in where no step expects it."""
    return ToolError(
        f"the system refused: {error.strerror or error}",
        code="system",
        file=error.filename or "",
        hint="free some space or give permission, and run again",
    )


def _line(text: str) -> str:
    """Return `text` on one line, control characters escaped."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in " ".join(text.split("\n"))
    )
