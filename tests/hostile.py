"""Wheels that must be refused, each with one fault, and wheels that must be accepted.

`HOSTILE` has every case on which installers, indexes and archive tools were seen to disagree, and
more of the same kinds; `WELCOME` has odd but sound wheels.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wheelmaking import (
    DEFLATED,
    DESCRIPTOR,
    END,
    MAX32,
    UTF8,
    End,
    Entry,
    deflated,
    descriptor,
    extra,
    make_zip,
    metadata,
    record,
    record_row,
    wheel_file,
    written_rows,
    zip64,
)

#: Fields of an Entry or End, whose own types hold.
Anything = Any
Rows = dict[str, tuple[str, str, str]]

FILENAME = "example-1.0-cp37-abi3-win_amd64.whl"
INFO = "example-1.0.dist-info"
TAG = "cp37-abi3-win_amd64"
MODULE, TEXT = "cv2/__init__.py", "cv2/data.txt"
FILES = {MODULE: b"from .cv2 import *\n", TEXT: b"The quick brown fox. " * 20}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One wheel; `code` is that of the refusal, "" where there is none."""

    id: str
    build: Callable[[], bytes]
    code: str = ""
    #: The member that the refusal names, if the fault has one.
    member: str = ""
    filename: str = FILENAME

    def write(self, folder: Path) -> Path:
        path = folder / self.filename
        path.write_bytes(self.build())
        return path


def case(
    id_: str, code: str, build: Callable[[], bytes], member: str = "", filename: str = FILENAME
) -> Case:
    return Case(id=id_, code=code, build=build, member=member, filename=filename)


def sound(*more: Entry, files: dict[str, bytes] | None = None) -> list[Entry]:
    """Return the entries of a sound wheel that holds `more` as well; RECORD is right."""
    files = FILES if files is None else files
    entries = [
        Entry(name=name, content=content, method=DEFLATED) for name, content in files.items()
    ]
    return described([*entries, *more])


def described(
    entries: Sequence[Entry], *, own: dict[str, bytes | None] | None = None, info: str = INFO
) -> list[Entry]:
    """Return the entries with .dist-info files behind them; `own` replaces, None leaves out."""
    files: dict[str, bytes | None] = {
        f"{info}/METADATA": metadata("example", "1.0"),
        f"{info}/WHEEL": wheel_file([TAG]),
        **(own or {}),
    }
    added = [
        Entry(name=name, content=content, method=DEFLATED)
        for name, content in files.items()
        if content is not None and name != f"{info}/RECORD"
    ]
    whole = [*entries, *added]
    written = files.get(f"{info}/RECORD", recorded(whole, f"{info}/RECORD"))
    if written is not None:
        whole.append(Entry(name=f"{info}/RECORD", content=written, method=DEFLATED))
    return whole


def recorded(entries: Sequence[Entry], path: str) -> bytes:
    """Return the RECORD of `entries`."""
    names = {
        entry.raw_name.decode("utf-8", "replace"): entry.content
        for entry in entries
        # Python 3.10 cannot write such a row.
        if b"\0" not in entry.raw_name
    }
    return record(names, path)


def altered(name: str, **changes: Anything) -> list[Entry]:
    """Return a sound wheel's entries, the one called `name` changed."""
    return [replace(entry, **changes) if entry.name == name else entry for entry in sound()]


def with_member(name: str | bytes, content: bytes = b"x = 1\n", **changes: Anything) -> bytes:
    """Return a wheel that also holds a member."""
    entry = Entry(name=name, content=content)
    return make_zip(sound(replace(entry, **changes)))


def local_header(name: bytes, content: bytes) -> bytes:
    """Return a member's own record, header and content."""
    return Entry(name=name, content=content).local_record()


# Names


def bad_name(id_: str, name: str | bytes, code: str, **changes: Anything) -> Case:
    member = name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else name
    return case(id_, code, lambda: with_member(name, **changes), member=member)


NAMES = (
    bad_name("parent", "../evil.py", "bad-path"),
    bad_name("parent-inside", "cv2/../../evil.py", "bad-path"),
    bad_name("parent-at-the-end", "cv2/..", "bad-path"),
    bad_name("absolute", "/abs/x", "bad-path"),
    bad_name("server-share", "//server/share/x", "bad-path"),
    bad_name("drive", "C:/x", "bad-path"),
    bad_name("drive-relative", "C:x", "bad-path"),
    bad_name("backslash", "cv2\\x", "bad-path"),
    bad_name("backslash-parent", "cv2\\..\\..\\x", "bad-path"),
    bad_name("dot-part", "a/./b", "bad-path"),
    bad_name("empty-part", "a//b", "bad-path"),
    bad_name("dot-folder", "./", "bad-path", content=b"", mode=0),
    bad_name("only-slash", "/", "bad-path", content=b"", mode=0),
    bad_name("nul", "cv2/evil.py\0.txt", "bad-path"),
    bad_name("newline", "cv2/evil\n.py", "bad-path"),
    bad_name("escape", "cv2/\x1b[2Jevil.py", "bad-path"),
    bad_name("delete-character", "cv2/evil\x7f.py", "bad-path"),
    bad_name("right-to-left-override", "cv2/evil\u202eyp.txt", "bad-path"),
    bad_name("zero-width-space", "cv2/evil\u200b.py", "bad-path"),
    bad_name("byte-order-mark", "cv2/\ufeffevil.py", "bad-path"),
    bad_name("line-separator", "cv2/evil\u2028.py", "bad-path"),
    bad_name("private-use", "cv2/evil\ue000.py", "bad-path"),
    bad_name("noncharacter", "cv2/evil\ufffe.py", "bad-path"),
    case("empty-name", "bad-path", lambda: with_member("")),
    bad_name("device", "CON.py", "windows-name"),
    bad_name("device-folder", "nul/x", "windows-name"),
    bad_name("device-two-extensions", "cv2/aux.tar.gz", "windows-name"),
    bad_name("device-before-space", "cv2/con .txt", "windows-name"),
    bad_name("device-superscript", "cv2/COM\u00b9", "windows-name"),
    bad_name("device-console", "cv2/CONOUT$", "windows-name"),
    bad_name("device-printer", "cv2/lpt9.dll", "windows-name"),
    bad_name("trailing-dot", "cv2/evil.py.", "windows-name"),
    bad_name("trailing-space", "cv2/evil.py ", "windows-name"),
    bad_name("trailing-dot-folder", "cv2./evil.py", "windows-name"),
    bad_name("three-dots", "cv2/.../evil.py", "windows-name"),
    bad_name("data-stream", "cv2/a.py:ads", "windows-name"),
    bad_name("question-mark", "what?", "windows-name"),
    bad_name("star", "cv2/*.py", "windows-name"),
    bad_name("less-than", "cv2/<x", "windows-name"),
    bad_name("pipe", "cv2/a|b", "windows-name"),
    bad_name("quote", 'cv2/"x"', "windows-name"),
    bad_name("long-part", f"cv2/{'a' * 256}.py", "path-too-long"),
    bad_name("long-part-in-bytes", f"cv2/{'ä' * 130}.py", "path-too-long"),
    bad_name("long-path", "/".join(["folder"] * 43), "path-too-long"),
    bad_name("utf-8-flag-and-not-utf-8", b"cv2/\xff\xfe.py", "bad-encoding", flags=UTF8),
    bad_name("utf-8-surrogate", b"cv2/\xed\xa0\x80.py", "bad-encoding", flags=UTF8),
    bad_name("utf-8-overlong-slash", b"cv2\xc0\xafx.py", "bad-encoding", flags=UTF8),
    bad_name("cp437", b"cv2/\x81.py", "bad-encoding", flags=0),
    bad_name("utf-8-without-flag", "cv2/ü.py".encode(), "bad-encoding", flags=0),
)


def two_names(id_: str, first: str, second: str) -> Case:
    def build() -> bytes:
        return make_zip(
            sound(Entry(name=first, content=b"one"), Entry(name=second, content=b"other"))
        )

    return case(id_, "duplicate-name", build)


def file_and_folder(first: str, second: str) -> Callable[[], bytes]:
    def build() -> bytes:
        entries = [
            Entry(name=name, content=b"" if name.endswith("/") else b"x", mode=0o644)
            for name in (first, second)
        ]
        return make_zip(sound(*entries))

    return build


DUPLICATES = (
    case(
        "same-name-other-content",
        "duplicate-name",
        lambda: make_zip(sound(Entry(name=MODULE, content=b"import evil\n"))),
        member=MODULE,
    ),
    two_names("same-name-same-content", "cv2/x.py", "cv2/x.py"),
    two_names("case", "cv2/X.py", "cv2/x.py"),
    two_names("case-of-folder", "CV2/x.py", "cv2/x.py"),
    two_names("case-folding", "cv2/straße.py", "cv2/STRASSE.py"),
    two_names("composed-and-decomposed", "cv2/\u00e4.py", "cv2/a\u0308.py"),
    two_names("file-is-a-folder", "cv2/a", "cv2/a/b.py"),
    two_names("file-is-a-folder-behind-it", "cv2/a/b/c.py", "cv2/a"),
    two_names("file-is-a-folder-in-other-case", "cv2/A", "cv2/a/b.py"),
    case("file-and-folder-member", "duplicate-name", file_and_folder("cv2/a", "cv2/a/")),
    case("folder-twice", "duplicate-name", file_and_folder("cv2/a/", "cv2/a/")),
)


# Kinds of member


def special(id_: str, *, code: str = "special-file", **changes: Anything) -> Case:
    return case(id_, code, lambda: with_member("cv2/evil", **changes), member="cv2/evil")


SPECIAL = (
    special("symlink", content=b"/etc/passwd", mode=0o120777),
    special("fifo", mode=0o010644),
    special("character-device", mode=0o020644),
    special("block-device", mode=0o060644),
    special("socket", mode=0o140644),
    special("folder-bits-on-a-file", mode=0o040755),
    special("unknown-kind", mode=0o170644),
    special("set-user-id", mode=0o104755),
    special("dos-folder-bit-on-a-file", central={"external": 0o100644 << 16 | 0x10}),
    special("dos-volume-label", central={"external": 0x08}),
    special("unix-link-extra", code="unsupported", central_extra=extra(0x756E, bytes(14))),
    case(
        "folder-with-data",
        "special-file",
        lambda: with_member("cv2/a/", mode=0o040755),
        member="cv2/a/",
    ),
    case(
        "folder-that-is-a-link",
        "special-file",
        lambda: with_member("cv2/a/", content=b"", mode=0o120777),
        member="cv2/a/",
    ),
)


# Two headers of one member


def text_header(
    id_: str, code: str = "header-mismatch", *, member: str = TEXT, **changes: Anything
) -> Case:
    return case(id_, code, lambda: make_zip(altered(TEXT, **changes)), member=member)


def unicode_name(name: bytes, other: bytes) -> bytes:
    return extra(0x7075, struct.pack("<BL", 1, zlib.crc32(name)) + other)


PACKED = deflated(FILES[TEXT])

HEADERS = (
    text_header("unicode-name-extra", "header-mismatch", central_extra=unicode_name(b"x", b"evil")),
    text_header(
        "unicode-name-extra-with-right-checksum",
        "header-mismatch",
        central_extra=unicode_name(TEXT.encode(), b"evil.py"),
    ),
    text_header(
        "unicode-name-extra-in-local-header",
        "header-mismatch",
        local_extra=unicode_name(TEXT.encode(), b"evil.py"),
    ),
    text_header("local-name", local_name=b"cv2/evil.txt"),
    text_header("local-name-longer", local_name=b"cv2/data.txt.py"),
    text_header("local-name-in-other-case", local_name=b"cv2/Data.txt"),
    text_header("local-compressed-size", local={"csize": len(PACKED) - 1}),
    text_header("local-compressed-size-zero", local={"csize": 0}),
    text_header("local-size", local={"usize": 5}),
    text_header("local-sizes-zero", local={"csize": 0, "usize": 0}),
    text_header("local-method", local={"method": 0}),
    text_header("local-crc", local={"crc": 1}),
    text_header("local-crc-zero", local={"crc": 0}),
    text_header("local-flags", local={"flags": UTF8}),
    text_header("local-descriptor-flag", local={"flags": DESCRIPTOR}),
    text_header("listed-descriptor-flag", central={"flags": DESCRIPTOR}),
    text_header("local-encrypted-flag", local={"flags": 1}),
    text_header("local-time", local={"time": 77}),
    text_header("local-date", local={"date": 77}),
    text_header("local-version-needed", local={"needed": 10}),
    text_header("local-version-needed-far-too-high", local={"needed": 99}),
    text_header("local-version-needed-in-the-upper-byte", local={"needed": 0x0314}),
    text_header(
        "descriptor-and-half-of-the-sizes",
        flags=DESCRIPTOR,
        local={"crc": 0, "csize": 0},
        after=descriptor(FILES[TEXT], len(PACKED)),
    ),
    text_header("extra-too-long", "bad-extra", central_extra=struct.pack("<HH", 0x5455, 9) + b"x"),
    text_header("extra-too-long-in-local", "bad-extra", local_extra=b"UT\x40\0abc"),
    text_header("extra-cut-short", "bad-extra", central_extra=b"UT\0"),
    text_header(
        "extra-twice", "bad-extra", central_extra=extra(0x5455, b"a") + extra(0x5455, b"b")
    ),
    text_header("member-comment", "end-record", comment=b"hello"),
    text_header("comment-extra", "unsupported", central_extra=extra(0x6375, bytes(9))),
    text_header("on-another-disk", "end-record", central={"disk": 1}),
    case(
        "directory-of-something-else",
        "end-record",
        lambda: make_zip(altered(TEXT, central={"signature": b"PK\1\3"})),
    ),
    case(
        "directory-that-ends-within-an-entry",
        "end-record",
        lambda: make_zip(altered(TEXT, central={"name_length": 5000})),
    ),
)

FLAGS = (
    text_header("encrypted", "unsupported", flags=1),
    text_header("patched-data", "unsupported", flags=0x20),
    text_header("strong-encryption", "unsupported", flags=0x41),
    text_header("strong-encryption-alone", "unsupported", flags=0x40),
    text_header("masked-headers", "unsupported", flags=0x2000),
    text_header("aes-extra", "unsupported", central_extra=extra(0x9901, b"\2\0AE\3\x08\0")),
    text_header("strong-encryption-extra", "unsupported", local_extra=extra(0x0017, bytes(8))),
    text_header("flag-without-meaning", "unsupported", flags=0x80),
    text_header("flag-reserved", "unsupported", flags=0x8000),
    text_header("version-needed-9.9", "unsupported", both={"needed": 99}),
    text_header("version-needed-4.6", "unsupported", both={"needed": 46}),
    text_header("version-needed-upper-byte", "unsupported", both={"needed": 0x0314}),
    *(
        text_header(f"method-{name}", "unsupported", both={"method": number})
        for number, name in (
            *((1, "shrink"), (9, "deflate64"), (12, "bzip2"), (14, "lzma"), (20, "zstd-old")),
            *((93, "zstd"), (95, "xz"), (98, "ppmd"), (99, "aes"), (77, "unknown")),
        )
    ),
)


# ZIP64


def wide_text(id_: str, code: str = "bad-extra", **changes: Anything) -> Case:
    return text_header(id_, code, **changes)


SIZES = (len(FILES[TEXT]), len(PACKED))
WIDE = {"csize": MAX32, "usize": MAX32}


def ended(id_: str, code: str, **changes: Anything) -> Case:
    return case(id_, code, lambda: make_zip(sound(), End(**changes)))


ZIP64 = (
    ended("locator-points-elsewhere", "end-record", wide=True, locator={"offset": 7}),
    ended("locator-points-past-the-end", "end-record", wide=True, locator={"offset": 2**63 + 5}),
    ended("locator-on-another-disk", "end-record", wide=True, locator={"disk": 1}),
    ended("locator-of-several-disks", "end-record", wide=True, locator={"disks": 2}),
    ended(
        "wide-count-contradicts-narrow", "end-record", wide=True, end={"count": 1, "disk_count": 1}
    ),
    ended("wide-size-contradicts-narrow", "end-record", wide=True, end={"size": 1}),
    ended("wide-offset-contradicts-narrow", "end-record", wide=True, end={"offset": 1}),
    ended("wide-count-of-disks", "end-record", wide=True, end64={"disk_count": 1}),
    ended("wide-disk", "end-record", wide=True, end64={"disk": 1}),
    ended("wide-length", "end-record", wide=True, end64={"length": 50}),
    ended("wide-extensible-data", "end-record", wide=True, extensible=b"evil"),
    ended("wide-version-needed", "end-record", wide=True, end64={"needed": 62}),
    ended("announced-but-absent", "end-record", end={"offset": MAX32}),
    wide_text("zip64-extra-twice", central=WIDE, central_extra=zip64(*SIZES) * 2),
    wide_text("zip64-extra-empty", central_extra=extra(1, b"")),
    wide_text("zip64-extra-half", central=WIDE, central_extra=zip64(SIZES[0])),
    wide_text("zip64-extra-with-a-rest", central=WIDE, central_extra=extra(1, bytes(12))),
    wide_text("zip64-extra-too-long", central={"csize": MAX32}, central_extra=zip64(*SIZES)),
    wide_text("zip64-extra-absent", central=WIDE),
    wide_text("zip64-extra-absent-in-local", local=WIDE),
    wide_text("zip64-extra-contradicts", central_extra=zip64(SIZES[0], 5)),
    wide_text("zip64-extra-contradicts-in-local", local_extra=zip64(5, SIZES[1])),
    wide_text(
        "size-of-1-tib", "bomb", member="", central={"usize": MAX32}, central_extra=zip64(1 << 40)
    ),
    wide_text(
        "packed-size-of-1-tib",
        "header-mismatch",
        central={"csize": MAX32},
        central_extra=zip64(1 << 40),
    ),
    wide_text(
        "offset-of-1-tib",
        "hidden-data",
        member="",
        central={"offset": MAX32},
        central_extra=zip64(1 << 40),
    ),
    wide_text(
        "offset-beyond-everything",
        "hidden-data",
        member="",
        central={"offset": MAX32},
        central_extra=zip64((1 << 64) - 1),
    ),
    wide_text(
        "local-wide-sizes-differ",
        "header-mismatch",
        local={**WIDE, "needed": 45},
        local_extra=zip64(SIZES[0] + 1, SIZES[1]),
    ),
)


# Structure


def quoted_overlap() -> bytes:
    """Return Fifield's bomb in small: each member's data begins with the next one's header."""
    last = Entry(name="cv2/b", content=b"\0" * 500, method=DEFLATED)
    inner = last.local_record()
    stored = b"\0" + struct.pack(
        "<HH", len(inner) - len(last.packed), (len(inner) - len(last.packed)) ^ 0xFFFF
    )
    header = inner[: len(inner) - len(last.packed)]
    first = Entry(name="cv2/a", content=header + last.content, method=DEFLATED, data=stored + inner)
    body = first.local_record()
    listing = first.central_record(0) + last.central_record(len(body) - len(inner))
    return body + listing + End().records(2, len(listing), len(body))


def one_header_for_six() -> bytes:
    entry = Entry(name="cv2/a0", content=b"\0" * 500, method=DEFLATED)
    body = entry.local_record()
    entries = [replace(entry, name=f"cv2/a{number}") for number in range(6)]
    listing = b"".join(each.central_record(0) for each in entries)
    return body + listing + End().records(6, len(listing), len(body))


def reaches_into_next() -> bytes:
    first = Entry(name="cv2/a", content=b"a" * 100)
    second = Entry(name="cv2/b", content=b"b" * 100)
    whole = first.local_record()[:-50]
    body = whole + second.local_record()
    listing = first.central_record(0) + second.central_record(len(whole))
    return body + listing + End().records(2, len(listing), len(body))


def directory_inside_member() -> bytes:
    """Return an archive whose last member claims the directory as its content."""
    entry = Entry(name="cv2/a", content=b"a" * 10, both={"csize": 40, "usize": 40})
    return make_zip([entry])


def appended(first: bytes, *, shifted: bool) -> bytes:
    return make_zip(sound(files={MODULE: b"import evil\n"}), End(prefix=first, shifted=shifted))


def listed_twice_at_other_places() -> bytes:
    return make_zip(altered(TEXT, before=local_header(TEXT.encode(), b"other content")))


def cut(part: Callable[[bytes], bytes]) -> Callable[[], bytes]:
    return lambda: part(make_zip(sound()))


EVIL = make_zip([Entry(name="evil.py", content=b"import evil")])

STRUCTURE = (
    case(
        "unlisted-member",
        "hidden-data",
        lambda: make_zip(sound(Entry(name="evil.py", content=b"x", listed=False))),
    ),
    case(
        "unlisted-member-first",
        "hidden-data",
        lambda: make_zip([Entry(name="evil.py", content=b"x", listed=False), *sound()]),
    ),
    case("unlisted-member-of-a-listed-name", "hidden-data", listed_twice_at_other_places),
    case(
        "listed-member-without-header",
        "overlap",
        lambda: make_zip([*sound(), Entry(name="evil.py", content=b"x", present=False)]),
        member="evil.py",
    ),
    text_header("offset-inside-another-member", "overlap", central={"offset": 11}),
    text_header("offset-behind-the-end", "hidden-data", member="", central={"offset": 1 << 30}),
    case("gap-between-members", "hidden-data", lambda: make_zip(altered(TEXT, before=b"hidden"))),
    case("gap-of-zeros", "hidden-data", lambda: make_zip(altered(TEXT, before=bytes(64)))),
    ended("gap-before-directory", "hidden-data", gap=b"hidden"),
    case(
        "gap-before-the-end-record",
        "end-record",
        cut(lambda whole: whole[: -END.size] + b"hidden" + whole[-END.size :]),
    ),
    ended("signing-block-before-directory", "hidden-data", gap=bytes(24) + b"APK Sig Block 42"),
    ended("stub-counted", "hidden-data", prefix=b"MZ" + bytes(100)),
    ended("stub-not-counted", "end-record", prefix=b"#!/usr/bin/python\n", shifted=False),
    ended("bytes-behind-the-end", "trailing-data", trailer=b"evil"),
    ended("zeros-behind-the-end", "trailing-data", trailer=bytes(512)),
    ended("many-zeros-behind-the-end", "not-a-zip", trailer=bytes(200_000)),
    ended("newline-behind-the-end", "trailing-data", trailer=b"\n"),
    case(
        "second-archive-appended", "end-record", lambda: appended(make_zip(sound()), shifted=False)
    ),
    case(
        "second-archive-appended-and-counted",
        "hidden-data",
        lambda: appended(make_zip(sound()), shifted=True),
    ),
    ended("comment-is-an-archive", "end-record", comment=EVIL),
    ended("comment-ends-in-an-archive", "end-record", comment=b"hello" + EVIL),
    ended("comment-holds-an-end-record", "trailing-data", comment=b"x" + EVIL[-22:] + b"y"),
    ended("comment-of-control-characters", "trailing-data", comment=b"\x1b[2J\0"),
    ended("comment-that-is-no-text", "trailing-data", comment=b"\xff\xfe"),
    ended("count-too-low", "end-record", end={"count": 2, "disk_count": 2}),
    ended("count-too-high", "end-record", end={"count": 9, "disk_count": 9}),
    ended("count-zero", "end-record", end={"count": 0, "disk_count": 0}),
    ended("counts-differ", "end-record", end={"disk_count": 1}),
    ended("directory-size-too-low", "end-record", end={"size": 46}),
    ended("directory-size-too-high", "end-record", end={"size": 100_000}),
    ended("directory-offset-wrong", "end-record", end={"offset": 3}),
    ended("directory-offset-behind-the-end", "end-record", end={"offset": 1 << 31}),
    ended("disk", "end-record", end={"disk": 1}),
    ended("directory-disk", "end-record", end={"directory_disk": 1}),
    case("quoted-overlap", "overlap", quoted_overlap),
    case("one-header-for-six", "overlap", one_header_for_six),
    case("reaches-into-next-member", "overlap", reaches_into_next, member="cv2/b"),
    case("reaches-into-directory", "overlap", directory_inside_member, member="cv2/a"),
)


# Content


def bomb() -> bytes:
    return make_zip(sound(Entry(name="cv2/zeros", content=bytes(80 << 20), method=DEFLATED)))


def many_small_bombs() -> bytes:
    """Return members that are each below the floor, but not together."""
    content = bytes(9 << 20)
    packed = deflated(content)
    entries = [
        Entry(name=f"cv2/{number}", content=content, method=DEFLATED, data=packed)
        for number in range(8)
    ]
    return make_zip(sound(*entries))


HUGE = bytes(1 << 20)

CONTENT = (
    case("bomb", "bomb", bomb),
    case("many-small-bombs", "bomb", many_small_bombs),
    text_header("inflates-to-more", "size-lie", both={"usize": 5}),
    text_header("inflates-to-less", "size-lie", both={"usize": len(FILES[TEXT]) + 1}),
    text_header("announces-the-impossible", "size-lie", both={"usize": 3_000_000}),
    text_header("stored-sizes-differ", "size-lie", method=0, both={"usize": 5}),
    text_header("bytes-behind-the-data", "size-lie", data=PACKED + b"hidden"),
    text_header("archive-behind-the-data", "size-lie", data=PACKED + make_zip([])),
    text_header("second-stream-behind-the-data", "size-lie", data=PACKED + PACKED),
    text_header("wrong-checksum", "crc", both={"crc": 0xDEADBEEF}),
    text_header("wrong-checksum-of-stored", "crc", method=0, both={"crc": 1}),
    text_header("not-deflate", "bad-data", data=b"\xff" * 80),
    text_header("zlib-not-raw", "bad-data", data=zlib.compress(FILES[TEXT])),
    text_header("deflate-cut-short", "bad-data", data=PACKED[:-4]),
    text_header("deflate-empty", "bad-data", data=b""),
    case(
        "zeroed-hole",
        "crc",
        lambda: with_member("cv2/b", b"payload " * 64, data=b"payload " * 32 + bytes(256)),
        member="cv2/b",
    ),
    text_header(
        "incomplete-codes-that-only-some-inflaters-take",
        "bad-data",
        content=bytes(400),
        data=bytes.fromhex("05c101010000008010fd3f5d5428a108212548e2d0"),
    ),
    case(
        "empty-deflate-without-a-stream",
        "bad-data",
        lambda: with_member("cv2/empty", b"", method=DEFLATED, data=b""),
        member="cv2/empty",
    ),
    text_header("descriptor-absent", "data-descriptor", flags=DESCRIPTOR),
    text_header(
        "descriptor-of-wrong-checksum",
        "data-descriptor",
        flags=DESCRIPTOR,
        after=b"PK\7\x08" + struct.pack("<3L", 1, len(PACKED), len(FILES[TEXT])),
    ),
    text_header(
        "descriptor-of-wrong-size",
        "data-descriptor",
        flags=DESCRIPTOR,
        after=b"PK\7\x08" + struct.pack("<3L", zlib.crc32(FILES[TEXT]), len(PACKED), 5),
    ),
    text_header(
        "descriptor-of-other-width",
        "data-descriptor",
        flags=DESCRIPTOR,
        after=descriptor(FILES[TEXT], len(PACKED), wide=True),
    ),
    text_header(
        "descriptor-narrow-beside-zip64",
        "data-descriptor",
        flags=DESCRIPTOR,
        both={"needed": 45},
        local={"crc": 0, **WIDE},
        local_extra=zip64(0, 0),
        after=descriptor(FILES[TEXT], len(PACKED)),
    ),
    text_header(
        "descriptor-behind-stored-data",
        "data-descriptor",
        method=0,
        flags=DESCRIPTOR,
        local={"crc": 0, "csize": 0, "usize": 0},
        after=descriptor(FILES[TEXT], len(FILES[TEXT])),
    ),
    case(
        "descriptor-without-its-flag",
        "hidden-data",
        lambda: make_zip(altered(TEXT, after=descriptor(FILES[TEXT], len(PACKED)))),
    ),
    case(
        "bytes-behind-the-descriptor",
        "hidden-data",
        lambda: make_zip(
            altered(TEXT, flags=DESCRIPTOR, after=descriptor(FILES[TEXT], len(PACKED)) + b"evil")
        ),
    ),
)


# No archives


NO_ARCHIVES = (
    case("cut-in-half", "not-a-zip", cut(lambda whole: whole[: len(whole) // 2])),
    case("cut-by-a-byte", "not-a-zip", cut(lambda whole: whole[:-1])),
    case(
        "cut-within-the-comment",
        "not-a-zip",
        lambda: make_zip(sound(), End(comment=b"a comment"))[:-3],
    ),
    case("cut-before-the-end-record", "not-a-zip", cut(lambda whole: whole[: -END.size])),
    case("first-byte-missing", "end-record", cut(lambda whole: whole[1:])),
    case("empty-file", "not-a-zip", lambda: b""),
    case(
        "html", "not-a-zip", lambda: b"<!DOCTYPE html><html><body>404 Not Found</body></html>\n\n"
    ),
    case("json", "not-a-zip", lambda: b'{"message": "Not Found"}'),
    case("zeros", "not-a-zip", lambda: bytes(100_000)),
    case("text", "not-a-zip", lambda: b"not a wheel\n" * 1000),
    case("git-lfs-pointer", "not-a-zip", lambda: b"version https://git-lfs.github.com/spec/v1\n"),
    case("gzip", "not-a-zip", lambda: b"\x1f\x8b\x08" + bytes(40)),
    case("seven-zip", "not-a-zip", lambda: b"7z\xbc\xaf\x27\x1c" + bytes(40)),
    case("one-local-header", "not-a-zip", lambda: b"PK\3\4"),
)


# Wheels


def dist_info(own: dict[str, bytes | None], *more: Entry, info: str = INFO) -> Callable[[], bytes]:
    """Return a builder of the sound wheel with other .dist-info files."""

    def build() -> bytes:
        entries = [
            Entry(name=name, content=content, method=DEFLATED) for name, content in FILES.items()
        ]
        return make_zip(described([*entries, *more], own=own, info=info))

    return build


def bad_metadata(id_: str, content: bytes | None) -> Case:
    name = f"{INFO}/METADATA"
    return case(id_, "metadata", dist_info({name: content}), member=name)


def bad_wheel_file(id_: str, content: bytes | None, code: str = "wheel-file") -> Case:
    name = f"{INFO}/WHEEL"
    return case(id_, code, dist_info({name: content}), member=name)


def bad_record(id_: str, change: Callable[[Rows], object], member: str = "") -> Case:
    """Return a case whose RECORD rows, by name, were changed in place."""

    def build() -> bytes:
        entries = [*sound()[:-1]]
        rows = {str(entry.name): record_row(str(entry.name), entry.content) for entry in entries}
        rows[f"{INFO}/RECORD"] = (f"{INFO}/RECORD", "", "")
        change(rows)
        written = written_rows(list(rows.values()))
        return make_zip([*entries, Entry(name=f"{INFO}/RECORD", content=written)])

    return case(f"record-{id_}", "record", build, member=member)


def row(*values: str) -> Callable[[Rows], object]:
    """Return the change that gives TEXT's row other values, or adds one of another name."""
    name, digest, size = values
    return lambda rows: rows.__setitem__(name, (name, digest, size))


def retold(field: int, change: Callable[[str], str]) -> Callable[[Rows], object]:
    """Return the change of one field of TEXT's row."""

    def apply(rows: Rows) -> None:
        values = list(rows[TEXT])
        values[field] = change(values[field])
        rows[TEXT] = (values[0], values[1], values[2])

    return apply


RECORD_ITSELF = f"{INFO}/RECORD"
OTHER = "sha256=" + "A" * 43

RECORDS = (
    case("record-missing", "record", dist_info({RECORD_ITSELF: None})),
    case("record-empty", "record", dist_info({RECORD_ITSELF: b""})),
    case("record-not-utf-8", "record", dist_info({RECORD_ITSELF: b"\xff\xfe,,\n"})),
    case("record-with-nul", "record", dist_info({RECORD_ITSELF: b"a\0b,,\n"})),
    bad_record("lacks-a-member", lambda rows: rows.pop(TEXT), TEXT),
    bad_record("lacks-itself", lambda rows: rows.pop(RECORD_ITSELF)),
    bad_record("has-a-row-too-many", row("cv2/absent.py", OTHER, "3"), "cv2/absent.py"),
    bad_record("has-a-folder", row("cv2/", "", "")),
    bad_record("wrong-hash", retold(1, lambda _: OTHER), TEXT),
    bad_record("wrong-size", retold(2, lambda size: str(int(size) + 1)), TEXT),
    bad_record("negative-size", retold(2, lambda _: "-1")),
    bad_record("size-that-is-no-number", retold(2, lambda _: "many")),
    bad_record("no-hash", retold(1, lambda _: ""), TEXT),
    bad_record("md5", lambda rows: rows.update({TEXT: record_row(TEXT, FILES[TEXT], "md5")})),
    bad_record("sha1", lambda rows: rows.update({TEXT: record_row(TEXT, FILES[TEXT], "sha1")})),
    bad_record("unknown-hash", retold(1, lambda value: value.replace("sha256", "sha257"))),
    bad_record("hex-digest", retold(1, lambda _: f"sha256={'ab' * 32}")),
    bad_record(
        "hash-of-itself", lambda rows: rows.update({RECORD_ITSELF: (RECORD_ITSELF, OTHER, "9")})
    ),
    bad_record("row-twice", lambda rows: rows.update({"again": rows[TEXT]})),
    bad_record("path-outside", row("../../evil.py", "", "")),
    bad_record("absolute-path", row("/etc/passwd", "", "")),
    case(
        "record-row-of-four-fields",
        "record",
        dist_info({RECORD_ITSELF: recorded(sound()[:-1], RECORD_ITSELF) + b"x,,,\n"}),
    ),
)

ENTRY_POINTS = f"{INFO}/entry_points.txt"


def entry_points(id_: str, text: str) -> Case:
    return case(
        f"entry-point-{id_}",
        "entry-points",
        dist_info({ENTRY_POINTS: text.encode()}),
        member=ENTRY_POINTS,
    )


def outside(id_: str, name: str, code: str) -> Case:
    return case(id_, code, lambda: with_member(name), member=name)


def named(id_: str, filename: str, code: str = "filename") -> Case:
    return case(id_, code, lambda: make_zip(sound()), filename=filename)


WHEELS = (
    case(
        "no-dist-info",
        "no-dist-info",
        lambda: make_zip([Entry(name=MODULE, content=FILES[MODULE])]),
    ),
    case("no-member", "no-dist-info", lambda: make_zip([])),
    case(
        "two-dist-infos",
        "dist-info",
        dist_info({}, Entry(name="other-1.0.dist-info/METADATA", content=b"x")),
    ),
    case("dist-info-of-another-project", "dist-info", dist_info({}, info="other-1.0.dist-info")),
    case("dist-info-of-another-version", "dist-info", dist_info({}, info="example-2.0.dist-info")),
    case(
        "two-dist-infos-that-windows-takes-for-one",
        "dist-info",
        dist_info({}, Entry(name="example-1.0.DIST-INFO/x", content=b"x")),
    ),
    bad_metadata("metadata-missing", None),
    bad_metadata("metadata-empty", b""),
    bad_metadata("metadata-other-name", metadata("other", "1.0")),
    bad_metadata("metadata-other-version", metadata("example", "2.0")),
    bad_metadata("metadata-two-names", metadata("example", "1.0", "Name: evil")),
    bad_metadata("metadata-two-versions", metadata("example", "1.0", "Version: 2.0")),
    bad_metadata("metadata-not-utf-8", metadata("example", "1.0") + b"\xff\xfe"),
    bad_metadata(
        "metadata-license-file-absent",
        metadata("example", "1.0", "License-File: LICENSE").replace(b"2.1", b"2.4"),
    ),
    bad_wheel_file("wheel-file-missing", None),
    bad_wheel_file("wheel-file-empty", b""),
    bad_wheel_file("wheel-version-2", wheel_file([TAG]).replace(b"Version: 1.0", b"Version: 2.0")),
    bad_wheel_file("wheel-version-absent", wheel_file([TAG]).replace(b"Wheel-Version: 1.0\n", b"")),
    bad_wheel_file(
        "wheel-version-nonsense", wheel_file([TAG]).replace(b"Version: 1.0", b"Version: x")
    ),
    bad_wheel_file(
        "wheel-file-not-ascii", wheel_file([TAG]).replace(b"1.0", "\uff11.0".encode(), 1)
    ),
    bad_wheel_file("tag-not-ascii", wheel_file(["cp37-\u00e4bi3-win32"]), "tag-mismatch"),
    bad_wheel_file("tag-of-another-platform", wheel_file(["cp37-abi3-win32"]), "tag-mismatch"),
    bad_wheel_file("tag-too-many", wheel_file([TAG, "cp38-abi3-win_amd64"]), "tag-mismatch"),
    bad_wheel_file("tag-absent", wheel_file([]), "tag-mismatch"),
    named("filename-without-tags", "example-1.0.whl"),
    named("filename-with-a-bad-build", "example-1.0-x1-cp37-abi3-win_amd64.whl"),
    named("filename-with-a-bad-version", "example-1..0-cp37-abi3-win_amd64.whl"),
    named("filename-of-a-local-version", "example-1.0+x-cp37-abi3-win_amd64.whl", "dist-info"),
    named("filename-with-too-many-parts", "example-1.0-1-2-cp37-abi3-win_amd64.whl"),
    *RECORDS,
    entry_points("outside", "[console_scripts]\n../../evil = cv2:main\n"),
    entry_points("absolute", "[console_scripts]\n/usr/bin/evil = cv2:main\n"),
    entry_points("backslash", "[gui_scripts]\n..\\evil = cv2:main\n"),
    entry_points("the-interpreter", "[console_scripts]\npython = cv2:main\n"),
    outside("data-of-an-unknown-scheme", "example-1.0.data/bogus/x", "data-scheme"),
    outside("data-script-python", "example-1.0.data/scripts/python.exe", "data-scheme"),
    outside("data-of-another-project", "other-1.0.data/purelib/x.py", "data-scheme"),
    outside("startup-hook", "evil.pth", "startup-hook"),
    outside("startup-hook-in-data", "example-1.0.data/purelib/evil.pth", "startup-hook"),
)

HOSTILE: tuple[Case, ...] = (
    *NAMES,
    *DUPLICATES,
    *SPECIAL,
    *HEADERS,
    *FLAGS,
    *ZIP64,
    *STRUCTURE,
    *CONTENT,
    *NO_ARCHIVES,
    *WHEELS,
)


# Sound, though odd


def streamed(*, signed: bool, wide: bool = False, known: bool = False) -> Callable[[], bytes]:
    """Return a builder of a wheel written as a stream: sizes behind the data."""
    local: dict[str, int | bytes] = {} if known else {"crc": 0, "csize": 0, "usize": 0}
    changes: dict[str, object] = {
        "flags": DESCRIPTOR,
        "local": {"crc": 0, **WIDE} if wide else local,
        "local_extra": zip64(0, 0) if wide else b"",
        "both": {"needed": 45} if wide else {},
        "after": descriptor(FILES[TEXT], len(PACKED), signed=signed, wide=wide),
    }
    return lambda: make_zip(altered(TEXT, **changes))


def welcome(id_: str, build: Callable[[], bytes], filename: str = FILENAME) -> Case:
    return case(id_, "", build, filename=filename)


def sha512_record() -> bytes:
    entries = sound()[:-1]
    rows = [record_row(str(entry.name), entry.content, "sha512") for entry in entries]
    written = written_rows([*rows, (RECORD_ITSELF, "", "")])
    return make_zip([*entries, Entry(name=RECORD_ITSELF, content=written)])


def windows_record() -> bytes:
    entries = sound(Entry(name="cv2/one,two.txt", content=b"comma"))[:-1]
    rows = [record_row(str(entry.name), entry.content) for entry in entries]
    written = written_rows([*rows, (RECORD_ITSELF, "", "")], newline="\r\n")
    return make_zip([*entries, Entry(name=RECORD_ITSELF, content=written)])


def dist_info_first() -> bytes:
    entries = sound()
    return make_zip([*entries[2:], *entries[:2]])


def tagged(tags: Sequence[str]) -> Callable[[], bytes]:
    return dist_info({f"{INFO}/WHEEL": wheel_file(tags)})


def with_signature() -> bytes:
    """Return a wheel with RECORD.jws, which RECORD does not list (PEP 427)."""
    return make_zip([*sound(), Entry(name=f"{INFO}/RECORD.jws", content=b"{}")])


WELCOME: tuple[Case, ...] = (
    welcome("plain", lambda: make_zip(sound())),
    welcome("stored", lambda: make_zip(altered(TEXT, method=0))),
    welcome(
        "zip64-sizes-in-local-header",
        lambda: make_zip(altered(TEXT, both={"needed": 45}, local=WIDE, local_extra=zip64(*SIZES))),
    ),
    welcome(
        "zip64-sizes-in-local-header-alone-ask-for-it",
        lambda: make_zip(altered(TEXT, local={**WIDE, "needed": 45}, local_extra=zip64(*SIZES))),
    ),
    welcome(
        "zip64-sizes-in-both-headers",
        lambda: make_zip(
            altered(
                TEXT,
                both={"needed": 45},
                local=WIDE,
                local_extra=zip64(*SIZES),
                central=WIDE,
                central_extra=zip64(*SIZES),
            )
        ),
    ),
    welcome("zip64-end-record", lambda: make_zip(sound(), End(wide=True))),
    welcome(
        "zip64-end-record-with-all-narrow-fields-full",
        lambda: make_zip(
            sound(),
            End(
                wide=True,
                end={"count": 0xFFFF, "disk_count": 0xFFFF, "size": MAX32, "offset": MAX32},
            ),
        ),
    ),
    welcome("data-descriptor", streamed(signed=True)),
    welcome("data-descriptor-without-signature", streamed(signed=False)),
    welcome("data-descriptor-though-sizes-are-known", streamed(signed=True, known=True)),
    welcome("data-descriptor-zip64", streamed(signed=True, wide=True)),
    welcome(
        "data-descriptor-zip64-announced-by-an-empty-field",
        lambda: make_zip(
            altered(
                TEXT,
                flags=DESCRIPTOR,
                local={"crc": 0, "csize": 0, "usize": 0},
                local_extra=extra(1, b""),
                after=descriptor(FILES[TEXT], len(PACKED), wide=True),
            )
        ),
    ),
    welcome("data-descriptor-zip64-without-signature", streamed(signed=False, wide=True)),
    welcome(
        "folders",
        lambda: make_zip(
            sound(
                Entry(name="cv2/", mode=0o040755, central={"external": 0o040755 << 16 | 0x10}),
                Entry(name="cv2/empty/", mode=0),
            )
        ),
    ),
    welcome("non-ascii-names", lambda: with_member("cv2/größe_尺寸_😀.txt")),
    welcome("utf-8-flag-on-an-ascii-name", lambda: with_member("cv2/plain.txt", flags=UTF8)),
    welcome(
        "unicode-name-extra-of-the-same-name",
        lambda: make_zip(altered(TEXT, central_extra=unicode_name(TEXT.encode(), TEXT.encode()))),
    ),
    welcome("deflater-effort-bits", lambda: make_zip(altered(TEXT, flags=6))),
    welcome("printable-comment", lambda: make_zip(sound(), End(comment="made by Jürgen".encode()))),
    welcome("record-with-crlf-and-quoted-comma", windows_record),
    welcome("record-of-sha512", sha512_record),
    welcome("build-tag", lambda: make_zip(sound()), "example-1.0-7-cp37-abi3-win_amd64.whl"),
    welcome(
        "compressed-tag-set",
        tagged(
            [
                "cp310-cp310-win_amd64",
                "cp39-cp39-win_amd64",
                "cp310-cp39-win_amd64",
                "cp39-cp310-win_amd64",
            ]
        ),
        "example-1.0-cp310.cp39-cp310.cp39-win_amd64.whl",
    ),
    welcome("dist-info-first", dist_info_first),
    welcome("dist-info-in-other-letters", dist_info({}, info="Example-1.0.0.dist-info")),
    welcome(
        "metadata-with-crlf",
        dist_info({f"{INFO}/METADATA": metadata("example", "1.0").replace(b"\n", b"\r\n")}),
    ),
    welcome(
        "license-file-before-it-meant-something",
        dist_info({f"{INFO}/METADATA": metadata("example", "1.0", "License-File: LICENSE.txt")}),
    ),
    welcome(
        "time-stamps",
        lambda: make_zip(
            altered(
                TEXT,
                local_extra=extra(0x5455, b"\3" + bytes(8)),
                central_extra=extra(0x5455, b"\3" + bytes(4)),
            )
        ),
    ),
    welcome("record-signature", with_signature),
    welcome("sbom", lambda: with_member(f"{INFO}/sboms/parts.cdx.json", b"{}")),
    welcome("zeros-at-1000-to-1", lambda: with_member("cv2/zeros", HUGE, method=DEFLATED)),
    welcome(
        "dos-attributes", lambda: make_zip(altered(TEXT, central={"external": 0x21, "made_by": 20}))
    ),
    welcome("executable", lambda: make_zip(altered(TEXT, mode=0o100755))),
    welcome("mode-without-kind", lambda: make_zip(altered(TEXT, mode=0o644))),
    welcome("version-needed-1.0", lambda: make_zip(altered(TEXT, both={"needed": 10}))),
    welcome("empty-file-deflated", lambda: with_member("cv2/empty", b"", method=DEFLATED)),
    welcome("leading-dot-and-space", lambda: with_member("cv2/.hidden/ x .py")),
    welcome("console-lookalike", lambda: with_member("cv2/console.py")),
)
