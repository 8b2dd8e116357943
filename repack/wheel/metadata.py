"""METADATA, WHEEL and RECORD: what they say, and edits that leave every other byte as it was."""

import base64
import csv
import hashlib
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from email.parser import HeaderParser
from pathlib import Path
from typing import NamedTuple

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.metadata import RawMetadata, parse_email
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag, parse_tag
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from repack import files
from repack.wheel.names import WheelName, refuse

#: The specification asks for SHA-256 or better.
_HASH_AND_SIZE = re.compile(r"sha(256|384|512)=[^,]+,(0|[1-9][0-9]{0,18})")


def parse_metadata(content: bytes, filename: WheelName, file: Path, member: str) -> RawMetadata:
    """Return what METADATA says of the wheel called `filename`; raises InputError for `file`.

    A Requires-Python that nobody understands is left out, as by pip.
    """
    raw, unparsed = parse_email(_decode(content, file, member, "metadata"))
    twice = unparsed.keys() & {"metadata-version", "name", "version", "requires-python"}
    missing = {"metadata_version", "name", "version"} - {key for key, value in raw.items() if value}
    if twice or missing:
        what = f"is not there, or there twice: {', '.join(sorted(twice | missing))}"
        refuse(file, what, "metadata", member)
    try:
        Version(raw["metadata_version"])
        own = canonicalize_name(raw["name"]), Version(raw["version"])
    except InvalidVersion as error:
        refuse(file, f"it cannot be understood: {error}", "metadata", member)
    if own != (filename.name, filename.version):
        what = f"it is of {own[0]} {own[1]}, not of {filename.name} {filename.version}"
        refuse(file, what, "metadata", member)
    try:
        SpecifierSet(raw.get("requires_python", ""))
    except InvalidSpecifier:
        del raw["requires_python"]
    return raw


def parse_wheel_file(content: bytes, filename: WheelName, file: Path, member: str) -> bool:
    """Return Root-Is-Purelib; raises InputError for what WHEEL contradicts."""
    message = HeaderParser().parsestr(_decode(content, file, member, "wheel-file"))
    versions, lines = message.get_all("Wheel-Version", []), message.get_all("Tag", [])
    purelib = {value.strip().lower() for value in message.get_all("Root-Is-Purelib", [])}
    if (
        len(versions) != 1
        or not re.fullmatch(r"1\.[0-9]+", versions[0].strip())
        or len(purelib) > 1
    ):
        what = f"Wheel-Version is {versions}, not one 1.x, or Root-Is-Purelib contradicts itself"
        refuse(file, what, "wheel-file", member)
    try:
        # A line ought to be one tag, but some tools write "py2.py3-none-any".
        tags = {tag for line in lines for tag in parse_tag(line.strip())}
    except ValueError:
        tags = set()
    if tags != filename.tags:
        hint = "give the file the name it had, or retag it with `python -m wheel tags`"
        what = f"it says {', '.join(lines) or 'no tag'}, the file name {filename.tag}"
        refuse(file, what, "tag-mismatch", member, hint)
    return purelib == {"true"}


def _decode(content: bytes, file: Path, member: str, code: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        refuse(file, "it is not UTF-8", code, member)


def parse_requirement(line: str) -> Requirement | None:
    """Return a Requires-Dist line as a requirement, None where it is none."""
    try:
        return Requirement(line)
    except InvalidRequirement:
        return None


def windows_environment(python: str) -> dict[str, str]:
    """Return the environment that markers are evaluated for on a 64-bit Windows `python`."""
    version = python.removesuffix("t")
    return {
        "implementation_name": "cpython",
        "implementation_version": f"{version}.0",
        "os_name": "nt",
        "platform_machine": "AMD64",
        "platform_python_implementation": "CPython",
        "platform_system": "Windows",
        "python_full_version": f"{version}.0",
        "python_version": version,
        "sys_platform": "win32",
    }


def select_requirements(requires: Iterable[str], python: str) -> list[Requirement]:
    """Return those of the Requires-Dist lines that hold on a Windows `python` without extras.

    A line that nobody understands is nobody's requirement.
    """
    environment = {**windows_environment(python), "extra": ""}
    chosen = []
    for requirement in filter(None, map(parse_requirement, requires)):
        with suppress(UndefinedComparison, UndefinedEnvironmentName):
            if requirement.marker is None or requirement.marker.evaluate(environment):
                chosen.append(requirement)
    return chosen


def edit_metadata(
    content: bytes,
    *,
    fields: Mapping[str, Sequence[str]],
    add: Mapping[str, Sequence[str]] | None = None,
) -> bytes:
    """Return METADATA, or WHEEL, with other headers, and every other byte as it was.

    A field of `fields` has these values and no others, where it first stood or else at the end of
    the headers. A value of `add` that is not there yet gets a line behind its field's others.
    """
    lines, newline, body = _split_headers(content)
    adds = add or {}

    def format_lines(field: str, values: Iterable[str]) -> list[bytes]:
        return [f"{field}: {value}".encode() + newline for value in values]

    for field in (*fields, *adds):
        start = f"{field.lower()}:".encode()
        old = [line for line in lines if line.lower().startswith(start)]
        new = format_lines(field, fields[field]) if field in fields else [*old]
        known = [line.split() for line in new]
        more = format_lines(field, adds.get(field, ()))
        new += [line for line in more if line.split() not in known]
        if new != old:
            at = lines.index(old[0]) if old else len(lines)
            lines = [line for line in lines if not line.lower().startswith(start)]
            lines[at:at] = new
    return b"".join(lines) + body


def wheel_file_with_tags(content: bytes, tags: Iterable[Tag]) -> bytes:
    """Return WHEEL with these tags, sorted, and a Root-Is-Purelib that agrees with them."""
    fields = {"Tag": sorted(map(str, tags))}
    if not all(tag.endswith("-any") for tag in fields["Tag"]):
        fields = {"Root-Is-Purelib": ["false"], **fields}
    return edit_metadata(content, fields=fields)


def lists_licenses(metadata: RawMetadata) -> bool:
    """Return whether METADATA is of a form that has License-File (PEP 639)."""
    return Version(metadata["metadata_version"]) >= Version("2.4")


def join_licence(metadata: bytes, licence: str) -> dict[str, Sequence[str]]:
    """Return the License-Expression that holds `licence` as well; nothing where there is none."""
    words = parse_email(metadata)[0].get("license_expression", "").split()
    expression, is_choice = " ".join(words), "OR" in map(str.upper, words)
    if not licence or not words or (licence in words and not is_choice):
        return {}
    joined = f"({expression})" if is_choice else expression
    return {"License-Expression": [f"{joined} AND {licence}"]}


def _split_headers(content: bytes) -> tuple[list[bytes], bytes, bytes]:
    """Return the headers with their continuation lines, the line end in use, and the rest.

    The rest begins with the empty line that ends the headers.
    """
    headers: list[bytes] = []
    lines = content.splitlines(keepends=True)
    end = next((at for at, line in enumerate(lines) if not line.strip(b"\r\n")), len(lines))
    for line in lines[:end]:
        if headers and line[:1] in b" \t":
            headers[-1] += line
        else:
            headers.append(line)
    newline = b"\r\n" if headers and headers[0].endswith(b"\r\n") else b"\n"
    if headers and not headers[-1].endswith((b"\n", b"\r")):
        headers[-1] += newline
    return headers, newline, b"".join(lines[end:])


class RecordEntry(NamedTuple):
    """One row: `hash` is "sha256=" and URL-safe base64 without padding, `size` is in bytes."""

    hash: str
    size: int

    @property
    def algorithm(self) -> str:
        """The name of the hash."""
        return self.hash.partition("=")[0]

    @property
    def hex(self) -> str:
        """The digest in hexadecimal."""
        return base64.urlsafe_b64decode(f"{self.hash.partition('=')[2]}==").hex()


def make_entry(digest: bytes, size: int, algorithm: str = "sha256") -> RecordEntry:
    """Return the row of a file with this digest."""
    encoded = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    return RecordEntry(f"{algorithm}={encoded}", size)


def entry_of(content: bytes | Path) -> RecordEntry:
    """Return the row for a file that has this content, or that of the file at a path."""
    if isinstance(content, bytes):
        return make_entry(hashlib.sha256(content).digest(), len(content))
    return make_entry(bytes.fromhex(files.sha256_of(content)), content.stat().st_size)


def parse_record(content: bytes, *, name: str, file: Path) -> dict[str, RecordEntry]:
    """Return the rows of the RECORD called `name` by file, its own and its signatures' left out.

    A hash may yet be no base64: `read_wheel` compares it with the right one. Raises InputError for
    the wheel `file` where a row is there twice, or is not path, hash and size.
    """
    try:
        table = io.StringIO(content.decode("utf-8"), newline="")
        rows = [row for row in csv.reader(table, strict=True) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        refuse(file, f"it cannot be read as a table: {error}", "record", name)
    facts: dict[str, str] = {}
    for path, *cells in rows:
        if path in facts:
            refuse(file, "RECORD lists it twice", "record", path)
        facts[path] = ",".join(cells)
    if facts.get(name) != ",":
        refuse(file, "it does not list itself, without hash and size", "record", name)
    entries = {}
    for path in sorted(facts.keys() - {*unhashed_members(name)}):
        if not _HASH_AND_SIZE.fullmatch(facts[path]):
            what = f"RECORD has {facts[path]!r}, not a hash, sha256 or better, and a size"
            refuse(file, what, "record", path)
        digest, size = facts[path].split(",")
        entries[path] = RecordEntry(digest, int(size))
    return entries


def format_record(entries: Mapping[str, RecordEntry], record: str) -> bytes:
    """Return the RECORD that is called `record`: rows sorted by file, its own one last."""
    text = io.StringIO(newline="")
    rows = [(path, *entries[path]) for path in sorted(entries)]
    csv.writer(text, lineterminator="\n").writerows([*rows, (record, "", "")])
    return text.getvalue().encode()


def unhashed_members(record: str) -> tuple[str, ...]:
    """Return the files that need no row, or one without a hash (PEP 427; PEP 815 drops two)."""
    return record, f"{record}.jws", f"{record}.p7s"
