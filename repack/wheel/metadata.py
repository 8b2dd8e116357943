"""METADATA, WHEEL and RECORD: what they say, and edits that leave every other byte as it was."""

import base64
import csv
import hashlib
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
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

from repack.files import sha256_of
from repack.wheel.names import WheelName, refuse


def parse_metadata(content: bytes, filename: WheelName, file: Path, member: str) -> RawMetadata:
    """Return what METADATA says of the wheel called `filename`; raises InputError for `file`.

    A Requires-Python that nobody understands is left out, as by pip.
    """
    try:
        # What is there twice is not parsed.
        raw, unparsed = parse_email(content.decode("utf-8"))
        Version(raw.get("metadata_version", ""))
        own = canonicalize_name(raw.get("name", "")), Version(raw.get("version", ""))
    except (UnicodeDecodeError, InvalidVersion) as error:
        what = f"it is not UTF-8, or Metadata-Version or Version is none, or twice: {error}"
        refuse(file, what, "metadata", member)
    if own != (filename.name, filename.version) or "requires-python" in unparsed:
        what = f"it is of {own[0] or 'no name'} {own[1]}, not of {filename.name} {filename.version}"
        refuse(file, f"{what}, or has Requires-Python twice", "metadata", member)
    try:
        SpecifierSet(raw.get("requires_python", ""))
    except InvalidSpecifier:
        del raw["requires_python"]
    return raw


def parse_wheel_file(content: bytes, filename: WheelName, file: Path, member: str) -> bool:
    """Return Root-Is-Purelib; raises InputError for what WHEEL contradicts."""
    try:
        message = HeaderParser().parsestr(content.decode("utf-8"))
        versions, lines = message.get_all("Wheel-Version", []), message.get_all("Tag", [])
        # A line ought to be one tag, but some tools write "py2.py3-none-any".
        tags = {tag for line in lines for tag in parse_tag(line.strip())}
    except ValueError as error:
        refuse(file, f"it is not UTF-8, or a Tag is none: {error}", "wheel-file", member)
    purelib = {value.strip().lower() for value in message.get_all("Root-Is-Purelib", [])}
    is_known = len(versions) == 1 and re.fullmatch(r"1\.[0-9]+", versions[0].strip())
    if not is_known or len(purelib) > 1:
        what = f"Wheel-Version is {versions}, not one 1.x, or Root-Is-Purelib contradicts itself"
        refuse(file, what, "wheel-file", member)
    if tags != filename.tags:
        hint = f"call it {replace(filename, tags=frozenset(tags))}" if tags else ""
        what = f"it says {', '.join(lines) or 'no tag'}, the file name {filename.tag}"
        refuse(file, what, "tag-mismatch", member, hint)
    return purelib == {"true"}


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


def edit_metadata(content: bytes, fields: Mapping[str, Sequence[str]]) -> bytes:
    """Return METADATA, or WHEEL, with other headers, and every other byte as it was.

    A field of `fields` has these values once each and no others, where it first stood or else at
    the end of the headers. The line of a value that is there already stays as it is.
    """
    end = re.compile(rb"^\r?\n|\Z", re.MULTILINE).search(content)
    head = content[: end.start()] if end else content
    body = content[len(head) :]
    newline = b"\r\n" if b"\r\n" in head else b"\n"
    if head and not head.endswith(b"\n"):
        head += newline
    # Each with its continuation lines.
    headers = [*filter(None, re.split(rb"^(?![ \t])", head, flags=re.MULTILINE))]
    for field, values in fields.items():
        start = f"{field.lower()}:".encode()
        old = [header for header in headers if header.lower().startswith(start)]
        lines = {tuple(header[len(start) :].split()): header for header in old}
        new = [
            lines.get(tuple(value.encode().split()), f"{field}: {value}".encode() + newline)
            for value in dict.fromkeys(values)
        ]
        if new != old:
            at = headers.index(old[0]) if old else len(headers)
            headers = [header for header in headers if header not in old]
            headers[at:at] = new
    return b"".join(headers) + body


def wheel_file_with_tags(content: bytes, tags: Iterable[Tag]) -> bytes:
    """Return WHEEL with these tags, sorted, and a Root-Is-Purelib that agrees with them."""
    fields = {"Tag": sorted(map(str, tags))}
    if not all(tag.endswith("-any") for tag in fields["Tag"]):
        fields = {"Root-Is-Purelib": ["false"], **fields}
    return edit_metadata(content, fields)


def lists_licenses(metadata: RawMetadata) -> bool:
    """Return whether METADATA is of a form that has License-File (PEP 639)."""
    return Version(metadata["metadata_version"]) >= Version("2.4")


def join_licence(metadata: RawMetadata, licence: str) -> dict[str, Sequence[str]]:
    """Return the License-Expression that holds `licence` as well; nothing where there is none."""
    words = metadata.get("license_expression", "").split()
    expression, is_choice = " ".join(words), "OR" in map(str.upper, words)
    if not licence or not words or (licence in words and not is_choice):
        return {}
    joined = f"({expression})" if is_choice else expression
    return {"License-Expression": [f"{joined} AND {licence}"]}


class RecordEntry(NamedTuple):
    """One row: `hash` is "sha256=" and URL-safe base64 without padding, `size` is in bytes."""

    hash: str
    size: int

    @property
    def hex(self) -> str:
        """The digest in hexadecimal."""
        return base64.urlsafe_b64decode(f"{self.hash.partition('=')[2]}==").hex()


def make_entry(algorithm: str, digest: str, size: int) -> RecordEntry:
    """Return the row of a file with this digest, which is in hexadecimal."""
    encoded = base64.urlsafe_b64encode(bytes.fromhex(digest)).rstrip(b"=").decode()
    return RecordEntry(f"{algorithm}={encoded}", size)


def entry_of(content: bytes | Path) -> RecordEntry:
    """Return the row for a file that has this content, or that of the file at a path."""
    if isinstance(content, bytes):
        return make_entry("sha256", hashlib.sha256(content).hexdigest(), len(content))
    return make_entry("sha256", sha256_of(content), content.stat().st_size)


def format_record(entries: Mapping[str, RecordEntry], record: str) -> bytes:
    """Return the RECORD that is called `record`: rows sorted by file, its own one last."""
    text = io.StringIO(newline="")
    rows = [(path, *entries[path]) for path in sorted(entries)]
    csv.writer(text, lineterminator="\n").writerows([*rows, (record, "", "")])
    return text.getvalue().encode()
