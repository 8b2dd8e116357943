"""What goes wrong, as one sentence: what, in which file and member, why, and what to do next."""

import re

#: A URL, without what stands behind it in a sentence.
_URL = re.compile(
    r"""[a-z][a-z0-9+.-]*://(?:(?!,[a-z]+://)[^\s'"<>])*[^\s'"<>.,;:!)\]}]""", re.IGNORECASE
)
#: A line of an HTTP message whose value is a credential.
_HEADER = re.compile(
    r"""\b(
        (?:proxy-)?authorization | (?:set-)?cookie | (?:x-[\w-]+|private|job)-(?:token|key|api)
    )(['"]?\s*:\s*)(?:b?['"][^'"\n]*['"]?|[^'"\n]+)""",
    re.IGNORECASE | re.VERBOSE,
)


def _escape(text: str) -> str:
    """Return `text` on one line, control characters escaped."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in text.replace("\n", " ")
    )


def redact_url(url: str) -> str:
    """Return `url` without what may be secret: names, passwords and the query's signatures."""
    plain, query, signature = url.partition("?")
    scheme, mark, rest = plain.partition("://")
    authority, slash, path = rest.partition("/")
    user, at, host = authority.rpartition("@")
    if query and not (slash or at) and "@" in signature:
        return f"{scheme}{mark}***"  # the question mark may be one of a password
    # Azure's abfs://container@account/ is no secret.
    if scheme.lower() in {"abfs", "abfss", "az"} and ":" not in user:
        host = user + at + host
    return scheme + mark + host + slash + path


def redact(text: str) -> str:
    """Return `text` without the secrets of its URLs and headers; prose stays as it is."""
    return _HEADER.sub(r"\1\2***", _URL.sub(lambda url: redact_url(url[0]), text))


class RepackError(Exception):
    """Root of all errors a user may meet; `str()` of one is a single line.

    `code` is a stable word for the kind of fault ("bad-path"), `file` and `member` say where,
    `hint` says what to do next. Secrets of URLs and headers are in none of them.
    """

    def __init__(
        self, what: str, *, code: str = "", file: object = "", member: str = "", hint: str = ""
    ) -> None:
        """Keep the parts, so that a report may show them apart."""
        self.what = redact(what)
        self.code = code
        self.file = redact(str(file))
        self.member = member
        self.hint = redact(hint)
        place = f"{_escape(self.file)}: " if file else ""
        inside = f"{member!r}: " if member else ""
        kind = f" [{code}]" if code else ""
        cure = f"; {_escape(self.hint)}" if hint else ""
        super().__init__(f"{place}{inside}{_escape(self.what)}{kind}{cure}")


class InputError(RepackError):
    """A wheel, a DLL or another file that was handed in cannot be accepted."""


class ConfigError(RepackError):
    """`repack.toml`, `repack.lock` or a setting contradicts itself or cannot be understood."""


class UsageError(RepackError):
    """The command line asks for something that cannot be: exit code 2."""


class FetchError(RepackError):
    """A source cannot be fetched, or is not what was asked for."""


class PatchError(RepackError):
    """A patch matches no place, or more than one, in its text."""


class ToolError(RepackError):
    """A program that is needed is missing, failed, or did not end in time."""


class OutputError(RepackError):
    """A result cannot be written."""


def system_fault(error: RepackError | OSError) -> RepackError:
    """Return `error`, an OSError that no step expects as a ToolError."""
    if isinstance(error, RepackError):
        return error
    what = f"the system refused: {error.strerror or error}"
    hint = "free some space or give permission, and run again"
    return ToolError(what, code="system", file=error.filename or "", hint=hint)
