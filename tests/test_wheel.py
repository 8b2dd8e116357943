"""A wheel's parts: names, METADATA, WHEEL and RECORD, read strictly, edited to the byte."""

import contextlib
import hashlib
import tempfile
from pathlib import Path

import pytest
from hostile import FILES, INFO, TEXT, dist_info, with_member
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.tags import Tag
from packaging.utils import parse_wheel_filename
from packaging.version import Version
from wheelmaking import make_wheel, wheel_file

from repack.errors import InputError
from repack.wheel import (
    Carried,
    Copied,
    edit_metadata,
    entry_of,
    local_version,
    parse_filename,
    read_wheel,
    rename_wheel,
    rewrite_members,
    splice,
    startup_hooks,
)

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


@pytest.mark.parametrize(
    ("filename", "name", "version", "tag"),
    [
        pytest.param(
            "opencv_python-4.9.0.80+cu123-cp312-cp312-win_amd64.whl",
            "opencv-python",
            "4.9.0.80+cu123",
            "cp312-cp312-win_amd64",
            id="local version",
        ),
        pytest.param(
            "zope.interface-5.0-py2.py3-none-any.whl",
            "zope-interface",
            "5.0",
            "py2.py3-none-any",
            id="a dot in the name, several tags",
        ),
        pytest.param("X-1.0-2abc-py3-none-any.whl", "x", "1.0", "py3-none-any", id="build tag"),
    ],
)
def test_a_filename_says_name_version_and_tags(
    filename: str, name: str, version: str, tag: str
) -> None:
    parsed = parse_filename(Path("some") / filename)
    assert (parsed.name, str(parsed.version), parsed.tag) == (name, version, tag)
    assert str(parsed) == filename


def test_a_renamed_wheel_is_called_as_the_specification_asks() -> None:
    old = parse_filename(Path("Zope.Interface-5.0-7-cp37-abi3-win_amd64.whl"))
    new = rename_wheel(old, version="5.0+CU12-Patched", tags={AMD64})
    assert str(new) == "zope_interface-5.0+cu12.patched-7-cp312-cp312-win_amd64.whl"
    name, version, _, tags = parse_wheel_filename(str(new))
    assert (name, version, tags) == (new.name, new.version, new.tags)
    assert rename_wheel(old, version="2").tag == "cp37-abi3-win_amd64"


@pytest.mark.parametrize(
    ("before", "label", "after"),
    [
        pytest.param("4.14.0.94", "cu12.patched", "4.14.0.94+cu12.patched", id="none yet"),
        pytest.param("4.9.0.80+cu123", "patched", "4.9.0.80+cu123.patched", id="one there"),
        pytest.param("1+cu12.patched", "cu12.patched", "1+cu12.patched", id="the very same"),
        pytest.param("1+cu12.patched", "patched", "1+cu12.patched", id="its end"),
        pytest.param("1", "CU12-Patched_2", "1+cu12.patched.2", id="normalised"),
        pytest.param("1!2.0rc1.post2.dev3", "a", "1!2.0rc1.post2.dev3+a", id="all parts"),
    ],
)
def test_a_version_gets_a_label_once(before: str, label: str, after: str) -> None:
    assert local_version(before, label) == after
    assert local_version(Version(after), label) == after


# METADATA


def wheel_with(folder: Path, metadata: bytes) -> Path:
    name = "opencv_contrib_python-4.14.0.94"
    files = {"cv2/__init__.py": b"", f"{name}.dist-info/METADATA": metadata}
    return make_wheel(folder / f"{name}-cp37-abi3-win_amd64.whl", files)


def test_metadata_says_what_matters(tmp_path: Path) -> None:
    wheel = read_wheel(wheel_with(tmp_path, METADATA))
    assert wheel.requires_python == ">=3.6"
    assert wheel.requires == ('numpy<2.0; python_version < "3.9"', "NumPy_Extra")
    assert wheel.summary == "Wrapper package for OpenCV python bindings."


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        pytest.param(b"Version: 4.14.0.94\n", b"", "version", id="no version"),
        pytest.param(b"4.14.0.94", b"latest", "'latest'", id="no version number"),
        pytest.param(b"Metadata-Version: 2.1\n", b"", "metadata_version", id="no form"),
    ],
)
def test_metadata_that_cannot_be_understood_is_refused(
    before: bytes, after: bytes, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        read_wheel(wheel_with(tmp_path, METADATA.replace(before, after, 1)))
    assert caught.value.code == "metadata"


def test_a_requires_python_that_nobody_understands_is_none_as_for_pip(tmp_path: Path) -> None:
    path = wheel_with(tmp_path, METADATA.replace(b">=3.6", b">=3.6.x"))
    assert read_wheel(path).requires_python == ""


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=300))
def test_a_wheel_is_read_or_refused_whatever_its_metadata_is(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for head in (b"", METADATA.partition(b"\n\n")[0] + b"\n"):
            with contextlib.suppress(InputError):
                read_wheel(wheel_with(Path(folder), head + content))


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
def test_metadata_changes_in_the_edited_lines_alone(newline: bytes) -> None:
    before = METADATA.replace(b"\n", newline)
    after = edit_metadata(
        before,
        fields={
            "version": ["5+cu12"],
            "Requires-Dist": ["numpy>=2"],
            "License-Expression": ["MIT"],
        },
        add={"Provides-Extra": ["dnn"]},
    )
    head, body = METADATA.split(b"\n\n")
    head = head.replace(b"Version: 4.14.0.94", b"version: 5+cu12")
    head = head[: head.index(b"Requires-Dist")] + b"Requires-Dist: numpy>=2"
    whole = head + b"\nLicense-Expression: MIT\nProvides-Extra: dnn\n\n" + body
    assert after == whole.replace(b"\n", newline)


def test_metadata_gets_values_behind_those_of_their_field_and_none_twice() -> None:
    added = {"Requires-Dist": ["numpy<2", "NumPy_Extra"]}
    after = edit_metadata(METADATA, fields={}, add=added)
    assert after == METADATA.replace(b"_Extra\n", b"_Extra\nRequires-Dist: numpy<2\n")
    assert edit_metadata(after, fields={"Version": ["4.14.0.94"]}, add=added) == after


def test_metadata_without_a_text_or_last_line_end_can_be_edited() -> None:
    before = b"Metadata-Version: 2.1\nName: x\nVersion: 1"
    after = edit_metadata(before, fields={"Version": ["2"]}, add={"Requires-Dist": ["numpy"]})
    assert after == b"Metadata-Version: 2.1\nName: x\nVersion: 2\nRequires-Dist: numpy\n"


# What installers treat in a way of their own


@pytest.mark.parametrize(
    ("text", "is_sound"),
    [
        pytest.param("[console_scripts]\na.b-c_d = m : f.g [x, y]\n", True, id="all it may have"),
        pytest.param("[gui_scripts]\nMy App = m:f\n", True, id="a space in its name"),
        pytest.param("[other]\n../x = anything at all\n", True, id="other groups are free"),
        pytest.param("", True, id="empty"),
        pytest.param("[console_scripts]\nC:x = m:f\n", False, id="a drive"),
        pytest.param("[console_scripts]\npython3.12 = m:f\n", False, id="one interpreter"),
        pytest.param("[console_scripts]\nx = m:f;import os\n", False, id="code"),
        pytest.param("[console_scripts]\nx. = m:f\n", False, id="a dot at its end"),
        pytest.param("[console_scripts]\nx = m\n", False, id="no function"),
        pytest.param("[console_scripts]\nx = m:f\nx = m:g\n", False, id="a name twice"),
        pytest.param("x = m:f\n", False, id="no group"),
    ],
)
def test_entry_points_are_plain_words_that_call_functions(
    text: str, *, is_sound: bool, tmp_path: Path
) -> None:
    path = tmp_path / "example-1.0-cp37-abi3-win_amd64.whl"
    path.write_bytes(dist_info({f"{INFO}/entry_points.txt": text.encode()})())
    if is_sound:
        read_wheel(path)
        return
    with pytest.raises(InputError) as caught:
        read_wheel(path)
    assert caught.value.code == "entry-points"
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("name", "is_sound"),
    [
        pytest.param("example-1.0.data/scripts/tool.py", True, id="a script"),
        pytest.param("example-1.0.data/data/share/man/x.1", True, id="data"),
        pytest.param("example-1.0.data/platlib/cv2/python.py", True, id="a module called python"),
        pytest.param("cv2/data/python.exe", True, id="no .data folder"),
        pytest.param("example-1.0.data/Scripts/x", False, id="another case"),
        pytest.param("example-1.0.data/scripts", False, id="a file in place of a folder"),
        pytest.param("example-1.0.data/data/Python312.dll", False, id="the interpreter's DLL"),
        pytest.param("example-1.0.data/scripts/pythonw", False, id="without an ending"),
    ],
)
def test_a_data_folder_holds_known_places_alone(
    name: str, *, is_sound: bool, tmp_path: Path
) -> None:
    path = tmp_path / "example-1.0-cp37-abi3-win_amd64.whl"
    path.write_bytes(with_member(name))
    if is_sound:
        assert name in read_wheel(path).names
        return
    with pytest.raises(InputError) as caught:
        read_wheel(path)
    assert (caught.value.code, caught.value.member) == ("data-scheme", name)


@pytest.mark.parametrize(
    ("name", "is_hook"),
    [
        pytest.param("EVIL.PTH", True, id="in another case"),
        pytest.param("x-1.data/purelib/evil.pth", True, id="through a data folder"),
        pytest.param("x-1.data/data/Lib/site-packages/evil.pth", True, id="by its full path"),
        pytest.param("usercustomize/__init__.py", True, id="usercustomize, a package"),
        pytest.param("sitecustomize.cp312-win_amd64.pyd", True, id="sitecustomize, compiled"),
        pytest.param("cv2/weights.pth", False, id="a model's weights in a package"),
        pytest.param("x-1.data/data/share/a.pth", False, id="data"),
        pytest.param("cv2/sitecustomize.py", False, id="a module of a package"),
    ],
)
def test_what_python_runs_at_each_start_is_known(name: str, *, is_hook: bool) -> None:
    assert list(startup_hooks([name])) == ([name] if is_hook else [])


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
    assert {entry.name: isinstance(entry, Copied) for entry in entries} == {
        "cv2/__init__.py": False,
        "cv2/data.txt": True,
        "cv2/new.txt": False,
        "example-1.0+cu12.data/data/x.xml": True,
        f"{NEW_INFO}/LICENSE": True,
        f"{NEW_INFO}/METADATA": False,
        f"{NEW_INFO}/WHEEL": False,
        f"{NEW_INFO}/RECORD": False,
    }
    splice(wheel.archive, entries, tmp_path / str(name), timestamp=0x5E000000)
    after = read_wheel(tmp_path / str(name))
    assert after.record["cv2/new.txt"] == entry_of(b"from a file")
    assert after.record[TEXT] == wheel.record[TEXT]
    assert (after.summary, after.root_is_purelib) == ("Another.", False)
    assert after.wheel_file == wheel_file([str(AMD64)])


@pytest.mark.parametrize(("form", "is_listed"), [("2.3", False), ("2.4", True)])
def test_a_member_of_another_archive_brings_its_own_row_and_licence(
    form: str, *, is_listed: bool, tmp_path: Path
) -> None:
    own = f"Metadata-Version: {form}\nName: example\nVersion: 1.0\n\n".encode()
    wheel = read_wheel(make_wheel(tmp_path, {**FILES, f"{INFO}/METADATA": own}))
    (tmp_path / "other").mkdir()
    other = read_wheel(make_wheel(tmp_path / "other", {"a.dll": b"a DLL" * 1000, "EULA": b"x"}))
    paths = {"x.libs/a.dll": "a.dll", f"{INFO}/licenses/nvidia/EULA.txt": "EULA"}
    members = {member.name: member for member in other.archive.members}
    carried = [
        Carried(
            path=path,
            entry=Copied(member=members[name], archive=other.archive),
            row=other.record[name],
        )
        for path, name in paths.items()
    ]
    name = rename_wheel(wheel.filename, version="1.0+cu12", tags={AMD64})
    entries = rewrite_members(wheel, name, {}, carried=carried)
    splice(wheel.archive, entries, tmp_path / str(name), timestamp=0x5E000000)
    after = read_wheel(tmp_path / str(name))
    assert after.record["x.libs/a.dll"].hex == hashlib.sha256(b"a DLL" * 1000).hexdigest()
    assert (b"License-File: nvidia/EULA.txt\n" in after.metadata) == is_listed
