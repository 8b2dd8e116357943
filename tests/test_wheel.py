"""A wheel's parts: names, METADATA, WHEEL and RECORD, read strictly, edited to the byte."""

import contextlib
import tempfile
from pathlib import Path

import pytest
from hostile import FILES, INFO, TEXT
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.tags import Tag
from wheelmaking import make_wheel, wheel_file

from repack.errors import InputError
from repack.wheel.metadata import edit_metadata, entry_of
from repack.wheel.names import parse_filename, rename_wheel
from repack.wheel.reader import Wheel, read_wheel
from repack.wheel.writer import rewrite_members, splice

METADATA = b"""\
Metadata-Version: 2.1
Name: opencv-contrib-python
Version: 4.14.0.94
Summary: Wrapper package for OpenCV python bindings.
Keywords: one
        Version: two
Requires-Python: >=3.6
Requires-Dist: numpy<2.0; python_version < "3.9"
Requires-Dist: NumPy_Extra

Version: this is not a field \xc3\xa9
"""
AMD64 = Tag("cp312", "cp312", "win_amd64")
NEW_INFO = "example-1.0+cu12.dist-info"


# Names


def test_a_renamed_wheel_is_called_as_the_specification_asks() -> None:
    filename = "Zope.Interface-5.0-7-cp37-abi3-win_amd64.whl"
    old = parse_filename(Path("some") / filename)
    assert (old.name, str(old)) == ("zope-interface", filename)
    new = rename_wheel(old, version="5.0+CU12-Patched", tags={AMD64})
    assert str(new) == "zope_interface-5.0+cu12.patched-7-cp312-cp312-win_amd64.whl"
    assert parse_filename(Path(str(new))) == new


# METADATA


def read_with(folder: Path, metadata: bytes) -> Wheel:
    """Return what is read of a wheel with this METADATA."""
    name = "opencv_contrib_python-4.14.0.94"
    files = {"cv2/__init__.py": b"", f"{name}.dist-info/METADATA": metadata}
    return read_wheel(make_wheel(folder / f"{name}-cp37-abi3-win_amd64.whl", files))


def test_a_requires_python_that_nobody_understands_is_none_as_for_pip(tmp_path: Path) -> None:
    assert read_with(tmp_path, METADATA.replace(b">=3.6", b">=3.6.x")).requires_python == ""


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=300))
def test_a_wheel_is_read_or_refused_whatever_its_metadata_is(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for head in (b"", METADATA.partition(b"\n\n")[0] + b"\n"):
            with contextlib.suppress(InputError):
                read_with(Path(folder), head + content)


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
def test_metadata_changes_in_the_edited_lines_alone(newline: bytes) -> None:
    fields = {"version": ["5+cu12"], "Requires-Dist": ["numpy>=2", "x", "x"]}
    fields |= {"License-Expression": ["MIT"], "Provides-Extra": ["dnn"]}
    head, body = METADATA.split(b"\n\n")
    head = head.replace(b"Version: 4.14.0.94", b"version: 5+cu12")
    head = head[: head.index(b"Requires-Dist")] + b"Requires-Dist: numpy>=2\nRequires-Dist: x"
    whole = head + b"\nLicense-Expression: MIT\nProvides-Extra: dnn\n\n" + body
    odd = whole.replace(b"Requires-Dist: x", b"requires-dist:x")
    for before, after in ((METADATA, whole), (odd, odd)):
        edited = edit_metadata(before.replace(b"\n", newline), fields)
        assert edited == after.replace(b"\n", newline)


def test_metadata_without_a_text_or_last_line_end_can_be_edited() -> None:
    before = b"Metadata-Version: 2.1\nName: x\nVersion: 1"
    after = edit_metadata(before, {"Version": ["2"], "Requires-Dist": ["numpy"]})
    assert after == b"Metadata-Version: 2.1\nName: x\nVersion: 2\nRequires-Dist: numpy\n"


# Wheels written anew


def test_a_rewritten_wheel_has_all_members_under_the_new_name(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"from a file")
    own = {
        "example-1.0.data/data/x.xml": b"x",
        f"{INFO}/RECORD.jws": b"{}",
        f"{INFO}/LICENSE": b"x",
        f"{INFO}/WHEEL": wheel_file(["cp37-abi3-win_amd64"], purelib=True),
    }
    wheel = read_wheel(make_wheel(tmp_path, {**FILES, **own}))
    name = rename_wheel(wheel.filename, version="1.0+cu12", tags={AMD64})
    new: dict[str, bytes | Path] = {"cv2/new.txt": tmp_path / "text", "cv2/__init__.py": b"new"}
    entries = rewrite_members(wheel, name, new, fields={"Summary": ["Another."]})
    kept = ["cv2/data.txt", "example-1.0+cu12.data/data/x.xml", f"{NEW_INFO}/LICENSE"]
    assert [entry.name for entry in entries if entry.is_copied] == kept
    splice(entries, tmp_path / str(name), timestamp=0x5E000000)
    after = read_wheel(tmp_path / str(name))
    assert after.names == (
        *("cv2/__init__.py", "cv2/data.txt", "cv2/new.txt", "example-1.0+cu12.data/data/x.xml"),
        *(f"{NEW_INFO}/{name}" for name in ("LICENSE", "METADATA", "WHEEL", "RECORD")),
    )
    assert after.record["cv2/new.txt"] == entry_of(b"from a file")
    assert after.record[TEXT] == wheel.record[TEXT]
    assert (after.fields["summary"], after.root_is_purelib) == ("Another.", False)
    assert after.wheel_file == wheel_file([str(AMD64)])
