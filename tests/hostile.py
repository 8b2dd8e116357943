"""Wheels that must be refused, each with one fault, and wheels that must be accepted.

`HOSTILE` has every case on which installers, indexes and archive tools were seen to disagree, and
more of the same kinds; `WELCOME` has odd but sound wheels.
"""

import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from wheelmaking import (
    DEFLATED,
    DESCRIPTOR,
    MAX32,
    UTF8,
    Entry,
    deflated,
    descriptor,
    expanded_tags,
    extra,
    make_zip,
    metadata,
    record,
    record_row,
    wheel_file,
    zip64,
)

#: Fields of an Entry or End, whose own types hold.
Changes = dict[str, Any]
Build = Callable[[], bytes]

FILENAME = "example-1.0-cp37-abi3-win_amd64.whl"
INFO = "example-1.0.dist-info"
METADATA, WHEEL, RECORD = f"{INFO}/METADATA", f"{INFO}/WHEEL", f"{INFO}/RECORD"
ENTRY_POINTS = f"{INFO}/entry_points.txt"
TAG = "cp37-abi3-win_amd64"
MODULE, TEXT = "cv2/__init__.py", "cv2/data.txt"
FILES = {MODULE: b"from .cv2 import *\n", TEXT: b"The quick brown fox. " * 20}

PACKED = deflated(FILES[TEXT])
SIZES = (len(FILES[TEXT]), len(PACKED))
WIDE = {"csize": MAX32, "usize": MAX32}
UNKNOWN = {"crc": 0, "csize": 0, "usize": 0}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One wheel; `code` is that of the refusal, "" where there is none."""

    id: str
    build: Build
    code: str = ""
    #: The member that the refusal names, if the fault has one.
    member: str = ""
    filename: str = FILENAME

    def write(self, folder: Path) -> Path:
        path = folder / self.filename
        path.write_bytes(self.build())
        return path


def sound(
    *more: Entry, own: Mapping[str, bytes | None] | None = None, info: str = INFO
) -> list[Entry]:
    """Return the entries of a sound wheel that holds `more` as well.

    `own` replaces files of .dist-info, or leaves them out by None.
    """
    files: dict[str, bytes | None] = {
        **FILES,
        f"{info}/METADATA": metadata("example", "1.0"),
        f"{info}/WHEEL": wheel_file([TAG]),
        **(own or {}),
    }
    names = [entry.raw_name.decode("utf-8", "replace") for entry in more]
    contents = {name: content for name, content in files.items() if content is not None}
    contents |= dict(zip(names, (entry.content for entry in more), strict=True))
    files.setdefault(f"{info}/RECORD", record(contents, f"{info}/RECORD"))
    entries = [
        Entry(name=name, content=content, method=DEFLATED)
        for name, content in files.items()
        if content is not None
    ]
    return [*entries[:-1], *more, entries[-1]]


def with_members(*entries: Entry) -> bytes:
    return make_zip(sound(*entries))


def with_member(name: str | bytes, content: bytes = b"x = 1\n", **changes: Any) -> bytes:  # noqa: ANN401 - fields of an Entry
    """Return a wheel that also holds a member."""
    return with_members(replace(Entry(name=name, content=content), **changes))


def with_names(names: Iterable[str]) -> bytes:
    """Return a wheel that also holds members of these names; those of folders are empty."""
    return with_members(
        *(
            Entry(name=name, content=b"" if name.endswith("/") else name.encode(), mode=0o644)
            for name in names
        )
    )


def dist_info(own: dict[str, bytes | None], info: str = INFO) -> Build:
    """Return a builder of the sound wheel with other .dist-info files."""
    return lambda: make_zip(sound(own=own, info=info))


# Names

BAD_NAMES = {
    "bad-path": (
        *("../evil.py", "/abs/x", "a/./b", "cv2\\x", ""),
        # Characters that nobody sees: one that a terminal obeys, one that turns the text around.
        *("cv2/\x1b[2Jevil.py", "cv2/evil\u202eyp.txt"),
    ),
    "windows-name": (
        *("CON.py", "nul/x", "cv2/con .txt", "cv2/COM\u00b9", "cv2/CONOUT$"),
        *("cv2/evil.py.", "cv2./evil.py", "C:x", "cv2/*.py"),
    ),
    "path-too-long": (f"cv2/{'a' * 256}.py", f"cv2/{'ä' * 130}.py", "/".join(["folder"] * 43)),
}

DUPLICATES = {
    "same-name-other-content": (MODULE, "cv2/x.py"),
    "case-folding": ("cv2/straße.py", "cv2/STRASSE.py"),
    "composed-and-decomposed": ("cv2/\u00e4.py", "cv2/a\u0308.py"),
    "file-is-a-folder-behind-it": ("cv2/a/b/c.py", "cv2/a"),
    "file-and-folder-member": ("cv2/a", "cv2/a/"),
    "two-places-that-are-one": ("cv2/x.py", "example-1.0.data/purelib/CV2/x.py"),
}

#: A member's name, and what differs in it.
SPECIAL: dict[str, tuple[str, Changes]] = {
    "symlink": ("cv2/evil", {"content": b"/etc/passwd", "mode": 0o120777}),
    "set-user-id": ("cv2/evil", {"mode": 0o104755}),
    "dos-folder-bit-on-a-file": ("cv2/evil", {"central": {"external": 0o100644 << 16 | 0x10}}),
    "dos-volume-label": ("cv2/evil", {"central": {"external": 0x08}}),
    "folder-with-data": ("cv2/a/", {"mode": 0o040755}),
    "folder-that-is-a-link": ("cv2/a/", {"content": b"", "mode": 0o120777}),
}


# One member whose headers, extra fields, data or surroundings differ


def unicode_name(name: bytes, other: bytes) -> bytes:
    return extra(0x7075, struct.pack("<BL", 1, zlib.crc32(name)) + other)


RENAMED = unicode_name(TEXT.encode(), b"evil.py")
NARROW_END = descriptor(FILES[TEXT], len(PACKED))
WIDE_END = descriptor(FILES[TEXT], len(PACKED), wide=True)
STORED_END = descriptor(FILES[TEXT], len(FILES[TEXT]))
WRONG_CRC = b"PK\7\x08" + struct.pack("<3L", 1, len(PACKED), len(FILES[TEXT]))
STREAMED: Changes = {"both": {"flags": DESCRIPTOR}, "local": UNKNOWN}
#: Code, name of the case, what differs in the member TEXT.
CHANGED: dict[str, dict[str, Changes]] = {
    "header-mismatch": {
        "unicode-name-extra-with-right-checksum": {"central_extra": RENAMED},
        "unicode-name-extra-in-local-header": {"local_extra": RENAMED},
        "local-name": {"local": {"name": b"cv2/evil.txt"}},
        "local-compressed-size": {"local": {"csize": len(PACKED) - 1}},
        "local-flags": {"local": {"flags": UTF8}},
        "local-version-needed": {"local": {"needed": 10}},
        "descriptor-and-half-of-the-sizes": {**STREAMED, "local": {"crc": 0, "csize": 0}},
        "zip64-extra-absent-in-local": {"local": WIDE},
        "extra-too-long": {"central_extra": struct.pack("<HH", 0x5455, 9) + b"x"},
        "extra-twice": {"central_extra": extra(0x5455, b"a") + extra(0x5455, b"b")},
        "zip64-extra-empty": {"central_extra": extra(1, b"")},
        "zip64-extra-half": {"central": WIDE, "central_extra": zip64(SIZES[0])},
    },
    "unsupported": {
        "encrypted": {"both": {"flags": 1}},
        "unix-link-extra": {"central_extra": extra(0x756E, bytes(14))},
        "descriptor-behind-stored-data": {"method": 0, **STREAMED, "after": STORED_END},
        "version-needed-9.9": {"both": {"needed": 99}},
        "method-12": {"both": {"method": 12}},
    },
    "size-lie": {
        "inflates-to-more": {"both": {"usize": 5}},
        "inflates-to-less": {"both": {"usize": len(FILES[TEXT]) + 1}},
        "stored-sizes-differ": {"method": 0, "both": {"usize": 5}},
        "bytes-behind-the-data": {"data": PACKED + b"hidden"},
        "empty-deflate-without-a-stream": {"content": b"", "data": b""},
    },
    "crc": {
        "wrong-checksum": {"both": {"crc": 0xDEADBEEF}},
    },
    "bad-data": {
        "not-deflate": {"data": b"\xff" * 80},
        "incomplete-codes-that-only-some-inflaters-take": {
            "content": bytes(400),
            "data": bytes.fromhex("05c101010000008010fd3f5d5428a108212548e2d0"),
        },
    },
    "data-descriptor": {
        "descriptor-of-wrong-checksum": {**STREAMED, "after": WRONG_CRC},
        "descriptor-of-other-width": {**STREAMED, "after": WIDE_END},
    },
    "layout": {"offset-inside-another-member": {"central": {"offset": 11}}},
}

#: The same, where the fault is one of the whole archive: no member is named.
CHANGED_WHOLE: dict[str, dict[str, Changes]] = {
    "layout": {
        "descriptor-without-its-flag": {"after": NARROW_END},
        "offset-of-1-tib": {"central": {"offset": MAX32}, "central_extra": zip64(1 << 40)},
    },
    "bomb": {"size-of-1-tib": {"central": {"usize": MAX32}, "central_extra": zip64(1 << 40)}},
    "end-record": {
        "member-comment": {"central": {"comment_length": 5}, "central_extra": b"hello"},
        "on-another-disk": {"central": {"disk": 1}},
        "directory-of-something-else": {"central": {"signature": b"PK\1\3"}},
        "directory-that-ends-within-an-entry": {"central": {"name_length": 5000}},
    },
}


# The end of the archive

ALL = make_zip(sound())
ALL_WIDE = make_zip(sound(), end64={})
EVIL = make_zip([Entry(name="evil.py", content=b"import evil")])

#: Name of the case, and what differs in the end records: code "end-record".
ENDS: dict[str, Changes] = {
    "locator-points-elsewhere": {"end64": {}, "locator": {"offset": 7}},
    "wide-count-contradicts-narrow": {"end64": {}, "end": {"count": 1, "disk_count": 1}},
    "wide-version-needed": {"end64": {"needed": 62}},
    "announced-but-absent": {"end": {"offset": MAX32}},
    "comment-is-an-archive": {"comment": EVIL},
    "count-too-low": {"end": {"count": 2, "disk_count": 2}},
    "count-too-high": {"end": {"count": 9, "disk_count": 9}},
    "disk": {"end": {"disk": 1}},
    "comment-of-control-characters": {"comment": b"\x1b[2J\0"},
}
#: Code, name of the case, the archive.
WHOLE = {
    "end-record": {
        "wide-extensible-data": ALL_WIDE[:-42] + b"evil" + ALL_WIDE[-42:],
        "stub": b"#!/usr/bin/python\n" + ALL,
        "bytes-behind-the-end": ALL + b"evil",
        "bytes-between-directory-and-end": ALL[:-22] + b"hidden" + ALL[-22:],
    },
    "not-a-zip": {"many-zeros-behind-the-end": ALL + bytes(200_000)},
}


def many_small_bombs() -> bytes:
    """Return members that are each below the floor, but not together."""
    content = bytes(9 << 20)
    bomb = Entry(name="", content=content, method=DEFLATED, data=deflated(content))
    return with_members(*(replace(bomb, name=f"cv2/{number}") for number in range(8)))


# Wheels

RIGHT, RIGHT_WHEEL = metadata("example", "1.0"), wheel_file([TAG])
LICENSED = metadata("example", "1.0", "License-File: LICENSE")
RIGHT_RECORD = sound()[-1].content
DIGEST = record_row(TEXT, FILES[TEXT])[1].encode()
ROW = b"%b,%b,420\n" % (TEXT.encode(), DIGEST)
OTHER = b"sha256=" + b"A" * 43


def with_row(row: bytes) -> bytes:
    """Return the right RECORD with other text in place of the row for TEXT."""
    return RIGHT_RECORD.replace(ROW, row)


#: Member of .dist-info, code, name of the case, the member's content.
TOLD: dict[tuple[str, str], dict[str, bytes | None]] = {
    (METADATA, "no-member"): {"metadata-missing": None},
    (WHEEL, "no-member"): {"wheel-file-missing": None},
    (RECORD, "no-member"): {"record-missing": None},
    (METADATA, "metadata"): {
        "metadata-other-name": metadata("other", "1.0"),
        "metadata-two-names": metadata("example", "1.0", "Name: evil"),
        "metadata-no-version": RIGHT.replace(b"\nVersion: 1.0", b""),
        "metadata-not-utf-8": RIGHT + b"\xff\xfe",
        "metadata-license-file-absent": LICENSED.replace(b"2.1", b"2.4"),
    },
    (WHEEL, "wheel-file"): {
        "wheel-version-2": RIGHT_WHEEL.replace(b"Version: 1.0", b"Version: 2.0"),
        "wheel-version-absent": RIGHT_WHEEL.replace(b"Wheel-Version: 1.0\n", b""),
        "wheel-file-not-ascii": RIGHT_WHEEL.replace(b"1.0", "\uff11.0".encode(), 1),
        "wheel-file-not-utf-8": RIGHT_WHEEL.replace(b"tests", b"\xff"),
    },
    (WHEEL, "tag-mismatch"): {
        "tag-of-another-platform": wheel_file(["cp37-abi3-win32"]),
        "tag-too-many": wheel_file([TAG, "cp38-abi3-win_amd64"]),
    },
    (RECORD, "record"): {
        "record-not-utf-8": b"\xff\xfe,,\n",
        "record-lacks-a-member": with_row(b""),
        "record-lacks-itself": RIGHT_RECORD.replace(f"{RECORD},,".encode(), b""),
        "record-has-a-row-too-many": with_row(ROW + b"cv2/absent.py,%b,3\n" % OTHER),
        "record-row-twice": with_row(ROW + ROW),
        "record-wrong-hash": with_row(ROW.replace(DIGEST, OTHER)),
        "record-wrong-size": with_row(ROW.replace(b"420", b"421")),
        "record-md5": with_row((",".join(record_row(TEXT, FILES[TEXT], "md5")) + "\n").encode()),
        "record-hash-of-itself": RIGHT_RECORD.replace(b"RECORD,,", b"RECORD,%b,9" % OTHER),
    },
    (ENTRY_POINTS, "entry-points"): {
        "entry-point-outside": b"[console_scripts]\n../../evil = cv2:main\n",
        "entry-point-the-interpreter": b"[console_scripts]\npython = cv2:main\n",
        "entry-point-code": b"[console_scripts]\nx = m:f;import os\n",
        "entry-point-twice": b"[console_scripts]\nx = m:f\nx = m:g\n",
    },
}

#: Members that lie where installers do something of their own.
PLACES = {
    "data-scheme": (
        *("example-1.0.data/bogus/x", "example-1.0.data/scripts", "other-1.0.data/purelib/x.py"),
        *("example-1.0.data/data/Python312._pth", "example-1.0.data/scripts/pyvenv.cfg"),
    ),
    "startup-hook": (
        *("EVIL.PTH", "example-1.0.data/purelib/evil.pth"),
        *("example-1.0.data/data/Lib/site-packages/evil.pth", "usercustomize/__init__.py"),
        *("sitecustomize.cp312-win_amd64.pyd", "example-1.0.data/data/evil.pth"),
        *("example-1.0.data/data/Lib/usercustomize.pyc", "example-1.0.data/data/x.start"),
        "example-1.0.data/data/lib/site-packages/sitecustomize.py",
    ),
}

#: Code, name of the case, the archive.
BUILT: dict[str, dict[str, Build]] = {
    "bomb": {"many-small-bombs": many_small_bombs},
    "layout": {
        "gap-before-the-directory": lambda: make_zip(
            [*sound()[:-1], replace(sound()[-1], after=b"hidden")]
        )
    },
    "bad-encoding": {
        "utf-8-overlong-slash": lambda: with_member(b"cv2\xc0\xafx.py", both={"flags": UTF8}),
        "cp437": lambda: with_member(b"cv2/\x81.py", both={"flags": 0}),
    },
    "path-too-long": {"name-of-60-kb": lambda: with_member("a/" * 30_000 + "a")},
    "dist-info": {
        "dist-info-within-data": lambda: with_member("example-1.0.data/platlib/x-1.dist-info/x"),
        "no-dist-info": lambda: make_zip(sound()[:2]),
        "two-dist-infos-that-windows-takes-for-one": lambda: with_member(f"{INFO.upper()}/x"),
        "dist-info-of-another-project": dist_info({}, info="other-1.0.dist-info"),
    },
}


def tabled(
    table: Mapping[str, Mapping[str, Any]], build: Callable[[Any], bytes], member: str = ""
) -> list[Case]:
    """Return a case for each row: by code and name, what `build` makes a wheel of."""
    return [
        Case(id=id_, code=code, build=partial(build, row), member=member)
        for code, rows in table.items()
        for id_, row in rows.items()
    ]


def by_name(table: Mapping[str, Iterable[str]]) -> list[Case]:
    """Return a case for each name that a member may not have, by code."""
    return [
        Case(id=f"{code}-{name!a:.60}", code=code, build=partial(with_names, [name]), member=name)
        for code, names in table.items()
        for name in names
    ]


def with_change(changes: Changes) -> bytes:
    entries = sound()
    return make_zip([entries[0], replace(entries[1], **changes), *entries[2:]])


def with_end(changes: Changes) -> bytes:
    return make_zip(sound(), **changes)


HOSTILE: tuple[Case, ...] = (
    *by_name(BAD_NAMES),
    *by_name(PLACES),
    *tabled({"duplicate-name": DUPLICATES}, with_names),
    *tabled({"special-file": SPECIAL}, lambda row: with_member(row[0], **row[1])),
    *tabled(CHANGED, with_change, TEXT),
    *tabled(CHANGED_WHOLE, with_change),
    *tabled({"end-record": ENDS}, with_end),
    *tabled(WHOLE, bytes),
    *tabled(BUILT, lambda build: build()),
    *(
        Case(id=id_, code=code, build=dist_info({name: content}), member=name.replace(RECORD, ""))
        for (name, code), contents in TOLD.items()
        for id_, content in contents.items()
    ),
    Case(id="no-wheel", code="filename", build=lambda: ALL, filename="example-1.0.whl"),
    Case(
        id="renamed", code="dist-info", build=lambda: ALL, filename=FILENAME.replace("1.0", "1.1")
    ),
)


# Sound, though odd

UNSIGNED = descriptor(FILES[TEXT], len(PACKED), signed=False)
LOCAL_WIDE: Changes = {"local": {**WIDE, "needed": 45}, "local_extra": zip64(*SIZES)}
BOTH_WIDE: Changes = {**LOCAL_WIDE, "central": WIDE, "central_extra": zip64(*SIZES)}
TIMES = {
    "local_extra": extra(0x5455, b"\3" + bytes(8)),
    "central_extra": extra(0x5455, b"\3" + bytes(4)),
}
FULL = {"count": 0xFFFF, "disk_count": 0xFFFF, "size": MAX32, "offset": MAX32}

#: What differs in the member TEXT.
WELCOME_CHANGES: dict[str, Changes] = {
    "plain": {},
    "stored": {"method": 0},
    "zip64-sizes-in-local-header": {**LOCAL_WIDE, "both": {"needed": 45}},
    "zip64-sizes-in-local-header-alone-ask-for-it": LOCAL_WIDE,
    "zip64-sizes-in-both-headers": {**BOTH_WIDE, "both": {"needed": 45}},
    "data-descriptor": {**STREAMED, "after": NARROW_END},
    "data-descriptor-without-signature": {**STREAMED, "after": UNSIGNED},
    "data-descriptor-though-sizes-are-known": {**STREAMED, "local": {}, "after": NARROW_END},
    "data-descriptor-zip64": {
        "both": {"flags": DESCRIPTOR, "needed": 45},
        "local": {"crc": 0, **WIDE},
        "local_extra": zip64(0, 0),
        "after": WIDE_END,
    },
    "data-descriptor-zip64-announced-by-an-empty-field": {
        **STREAMED,
        "local_extra": extra(1, b""),
        "after": WIDE_END,
    },
    "unicode-name-extra-of-the-same-name": {
        "central_extra": unicode_name(TEXT.encode(), TEXT.encode())
    },
    "deflater-effort-bits": {"both": {"flags": 6}},
    "time-stamps": TIMES,
    "dos-attributes": {"central": {"external": 0x21, "made_by": 20}},
    "executable": {"mode": 0o100755},
    "mode-without-kind": {"mode": 0o644},
    "version-needed-1.0": {"both": {"needed": 10}},
}
#: What differs in the End.
WELCOME_ENDS: dict[str, Changes] = {
    "zip64-end-record": {"end64": {}},
    "zip64-end-record-with-all-narrow-fields-full": {"end64": {}, "end": FULL},
    "printable-comment": {"comment": "made by Jürgen".encode()},
}
#: A further member.
WELCOME_MEMBERS: dict[str, Changes] = {
    "cv2/größe_尺寸_😀.txt": {},
    "cv2/plain.txt": {"both": {"flags": UTF8}},
    "cv2/zeros-at-1000-to-1": {"content": bytes(1 << 20), "method": DEFLATED},
    "cv2/empty-file-deflated": {"content": b"", "method": DEFLATED},
    "cv2/.hidden/ x .py": {},
    "cv2/one,two.txt": {},
    "cv2/console.py": {},
    "cv2/python.exe": {},
    "cv2/weights.pth": {},
    "cv2/": {"content": b"", "mode": 0o040755, "central": {"external": 0o040755 << 16 | 0x10}},
    "cv2/empty/": {"content": b"", "mode": 0},
    "example-1.0.data/scripts/tool.py": {},
    "example-1.0.data/data/share/x.pth": {},
}
SCRIPTS = b"[console_scripts]\na.b-c_d = m : f.g [x, y]\n[gui_scripts]\nMy App = m:f\n"
TAG_SET = "cp310.cp39-cp310.cp39-win_amd64"
SHA512 = (",".join(record_row(TEXT, FILES[TEXT], "sha512")) + "\n").encode()
#: Other files of .dist-info.
WELCOME_INFOS: dict[str, dict[str, bytes | None]] = {
    "record-with-crlf": {RECORD: RIGHT_RECORD.replace(b"\n", b"\r\n")},
    "record-of-sha512": {RECORD: with_row(SHA512)},
    # RECORD need not list its signature (PEP 427).
    "record-signature": {RECORD: RIGHT_RECORD, f"{INFO}/RECORD.jws": b"{}"},
    "metadata-with-crlf": {METADATA: RIGHT.replace(b"\n", b"\r\n")},
    "license-file-before-it-meant-something": {METADATA: LICENSED},
    "entry-points-with-all-they-may-have": {ENTRY_POINTS: SCRIPTS},
    "entry-points-of-other-groups": {ENTRY_POINTS: b"[other]\n../x = anything\n"},
}

WELCOME: tuple[Case, ...] = (
    *tabled({"": WELCOME_CHANGES}, with_change),
    *tabled({"": WELCOME_ENDS}, with_end),
    *(
        Case(id=ascii(name), build=partial(with_member, name, **row))
        for name, row in WELCOME_MEMBERS.items()
    ),
    *(Case(id=id_, build=dist_info(own)) for id_, own in WELCOME_INFOS.items()),
    Case(id="dist-info-first", build=lambda: make_zip([*sound()[2:], *sound()[:2]])),
    Case(id="dist-info-in-other-letters", build=dist_info({}, info="Example-1.0.0.dist-info")),
    Case(id="build-tag", build=lambda: ALL, filename=FILENAME.replace("-cp37", "-7-cp37")),
    Case(
        id="compressed-tag-set",
        build=dist_info({WHEEL: wheel_file(expanded_tags(TAG_SET))}),
        filename=f"example-1.0-{TAG_SET}.whl",
    ),
)
