"""METADATA and WHEEL: what they say, and edits that leave every other byte as it was."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.tags import parse_tag
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from packaging.requirements import Requirement
    from packaging.tags import Tag

_ONCE = ("metadata-version", "name", "version", "requires-python")
_LICENSES_LISTED_SINCE = Version("2.4")


class BrokenMetadataError(Exception):
    """METADATA or WHEEL cannot be understood; the text says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Metadata:
    """What METADATA says, as far as it matters here.

    `requires_python` is "" where there is none, or one that nobody understands, which pip takes
    for none as well. `requires` are the lines as they stand. `license_files` are those that must
    be in the wheel.
    """

    name: str
    version: Version
    requires_python: str = ""
    requires: tuple[str, ...] = ()
    summary: str = ""
    license_files: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelFile:
    """What WHEEL says."""

    tags: frozenset[Tag]
    root_is_purelib: bool


def parse_metadata(content: bytes) -> Metadata:
    """Return what METADATA says; raises BrokenMetadataError."""
    # Slow to import, as is what reads WHEEL: that is done while the content is verified.
    from packaging.metadata import parse_email  # noqa: PLC0415

    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        raise BrokenMetadataError("it is not UTF-8") from None
    raw, unparsed = parse_email(content)
    for field in _ONCE:
        if field in unparsed:
            raise BrokenMetadataError(f"{field.title()} is there twice")
    for field in ("metadata_version", "name", "version"):
        if not raw.get(field):
            raise BrokenMetadataError(f"it has no {field.title().replace('_', '-')}")
    form = _version(raw["metadata_version"])
    licenses = raw.get("license_files", []) if form >= _LICENSES_LISTED_SINCE else []
    return Metadata(
        name=raw["name"],
        version=_version(raw["version"]),
        requires_python=_understood(raw.get("requires_python", "")),
        requires=tuple(raw.get("requires_dist", [])),
        summary=raw.get("summary", ""),
        license_files=tuple(licenses),
    )


def parse_wheel_file(content: bytes) -> WheelFile:
    """Return what WHEEL says; raises BrokenMetadataError."""
    from email.parser import BytesParser  # noqa: PLC0415 - as above
    from email.policy import compat32  # noqa: PLC0415

    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        raise BrokenMetadataError("it is not UTF-8") from None
    message = BytesParser(policy=compat32).parsebytes(content, headersonly=True)
    versions = message.get_all("Wheel-Version", [])
    if len(versions) != 1 or not re.fullmatch(r"\d+\.\d+", versions[0].strip()):
        raise BrokenMetadataError("it must have one Wheel-Version")
    if versions[0].strip().split(".")[0] != "1":
        raise BrokenMetadataError(f"its Wheel-Version is {versions[0].strip()}; 1.x is known here")
    purelib = {value.strip().lower() for value in message.get_all("Root-Is-Purelib", [])}
    if len(purelib) > 1:
        raise BrokenMetadataError("it contradicts itself about Root-Is-Purelib")
    return WheelFile(tags=_tags(message.get_all("Tag", [])), root_is_purelib=purelib == {"true"})


def with_metadata(  # noqa: PLR0913 - one edit per field
    content: bytes,
    *,
    version: Version | str = "",
    requires_python: str = "",
    summary: str = "",
    add_requires: Sequence[str] = (),
    drop_requires: Collection[str] = (),
    add_extras: Sequence[str] = (),
    add_licence: str = "",
    add_licenses: Sequence[str] = (),
) -> bytes:
    """Return METADATA with these fields set, and every other byte as it was.

    An empty value leaves its field alone. Requirements of a distribution in `drop_requires` go,
    those of `add_requires` come where requirements stand, or at the end of the fields. Licence
    files are listed where the form of METADATA knows that field; the SPDX identifier `add_licence`
    joins a License-Expression where there is one (PEP 639).
    """
    fields, end, body = _taken_apart(content)
    for field, value in (
        (b"Version", str(version)),
        (b"Requires-Python", requires_python),
        (b"Summary", summary),
    ):
        if value:
            fields = _with_values(fields, end, field, [value])
    if add_requires or drop_requires:
        gone = {canonicalize_name(name) for name in drop_requires}
        kept = [line for line in fields if not _requires(line, gone)]
        fields = _with_lines(kept, end, b"Requires-Dist", add_requires)
    fields = _with_lines(fields, end, b"Provides-Extra", add_extras)
    expression = next(iter(_values(fields, b"License-Expression")), "")
    if add_licence and expression and add_licence not in expression.split():
        joined = expression if _is_conjunction(expression) else f"({expression})"
        wanted = [f"{joined} AND {add_licence}"]
        fields = _with_values(fields, end, b"License-Expression", wanted)
    if _lists_licenses(fields):
        fields = _with_lines(fields, end, b"License-File", add_licenses)
    return b"".join(fields) + body


def wheel_file_with_tags(content: bytes, tags: Iterable[Tag]) -> bytes:
    """Return WHEEL with these tags, sorted, and a Root-Is-Purelib that agrees with them."""
    tags = sorted(tags, key=str)
    fields, end, body = _taken_apart(content)
    pure = all(tag.platform == "any" for tag in tags)
    if not pure or not any(_is(line, b"Root-Is-Purelib") for line in fields):
        fields = _with_values(fields, end, b"Root-Is-Purelib", ["true" if pure else "false"])
    return b"".join(_with_values(fields, end, b"Tag", list(map(str, tags)))) + body


def requirement(line: str) -> Requirement | None:
    """Return a Requires-Dist line as a requirement, None where it is none."""
    from packaging.requirements import InvalidRequirement, Requirement  # noqa: PLC0415 - as above

    try:
        return Requirement(line)
    except InvalidRequirement:
        return None


def _tags(lines: Sequence[str]) -> frozenset[Tag]:
    """Return the tags; a line ought to be one, but some tools write "py2.py3-none-any"."""
    try:
        return frozenset(tag for line in lines for tag in parse_tag(line.strip()))
    except ValueError:
        raise BrokenMetadataError(f"one of {lines!r} is no tag") from None


def _version(text: str) -> Version:
    try:
        return Version(text)
    except InvalidVersion:
        raise BrokenMetadataError(f"{text!r} is not a version") from None


def _understood(specifiers: str) -> str:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet  # noqa: PLC0415 - as above

    try:
        return str(SpecifierSet(specifiers)) and specifiers
    except InvalidSpecifier:
        return ""


def _taken_apart(content: bytes) -> tuple[list[bytes], bytes, bytes]:
    """Return the fields with their continuation lines, the line end in use, and the rest.

    The rest begins with the empty line that ends the fields.
    """
    fields: list[bytes] = []
    at = 0
    for line in content.splitlines(keepends=True):
        if not line.strip(b"\r\n"):
            break
        at += len(line)
        if fields and line[:1] in b" \t":
            fields[-1] += line
        else:
            fields.append(line)
    end = b"\r\n" if content[: content.find(b"\n") + 1].endswith(b"\r\n") else b"\n"
    if fields and not fields[-1].endswith((b"\n", b"\r")):
        fields[-1] += end
    return fields, end, content[at:]


def _is(line: bytes, field: bytes) -> bool:
    return line.partition(b":")[0].strip().lower() == field.lower()


def _with_values(
    fields: list[bytes], end: bytes, field: bytes, values: Sequence[str]
) -> list[bytes]:
    """Return the fields with `field` having `values`, where it first stood or else at the end."""
    lines = [line for line in fields if _is(line, field)]
    wanted = [field + b": " + value.encode() + end for value in values]
    if lines == wanted:
        return fields
    first = next((at for at, line in enumerate(fields) if _is(line, field)), len(fields))
    before = fields[:first]
    return [*before, *wanted, *(line for line in fields[first:] if not _is(line, field))]


def _with_lines(
    fields: list[bytes], end: bytes, field: bytes, values: Sequence[str]
) -> list[bytes]:
    """Return the fields with a line more for each value that is absent, after those there are."""
    values = _absent(fields, field, values)
    last = max((at + 1 for at, line in enumerate(fields) if _is(line, field)), default=len(fields))
    wanted = [field + b": " + value.encode() + end for value in values]
    return [*fields[:last], *wanted, *fields[last:]]


def _values(fields: list[bytes], field: bytes) -> list[str]:
    values = [line.partition(b":")[2] for line in fields if _is(line, field)]
    return [" ".join(value.decode().split()) for value in values]


def _is_conjunction(expression: str) -> bool:
    """Return whether ` AND ...` can be put behind an SPDX expression as it is."""
    return " or " not in expression.lower()


def _requires(line: bytes, names: Collection[str]) -> bool:
    """Return whether the line is a requirement of one of the distributions."""
    if not _is(line, b"Requires-Dist"):
        return False
    wanted = requirement(" ".join(line.partition(b":")[2].decode("utf-8", "replace").split()))
    return wanted is not None and canonicalize_name(wanted.name) in names


def _absent(fields: list[bytes], field: bytes, values: Sequence[str]) -> list[str]:
    """Return those values that no line of the field states already."""
    stated = {line.partition(b":")[2].strip() for line in fields if _is(line, field)}
    return [each for each in values if each.encode() not in stated]


def _lists_licenses(fields: list[bytes]) -> bool:
    """Return whether the form of these fields has License-File (PEP 639)."""
    forms = [line.partition(b":")[2] for line in fields if _is(line, b"Metadata-Version")]
    return bool(forms) and Version(forms[0].decode()) >= _LICENSES_LISTED_SINCE
