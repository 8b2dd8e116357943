"""A wheel's parts: names, METADATA, WHEEL and RECORD, read strictly, edited to the byte."""

from __future__ import annotations

import base64
import contextlib
import hashlib
from pathlib import Path

import hostile
import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.tags import Tag, parse_tag
from packaging.utils import parse_wheel_filename
from packaging.version import Version
from wheelmaking import make_wheel

from repack.errors import InputError
from repack.wheel import (
    Carried,
    Copied,
    RecordEntry,
    entry_of,
    format_record,
    local_version,
    parse_filename,
    parse_metadata,
    parse_record,
    read_wheel,
    renamed,
    rewritten,
    splice,
    wheel_file_with_tags,
    with_metadata,
)
from repack.wheel.manners import check_data_schemes, check_entry_points, startup_hooks
from repack.wheel.metadata import BrokenMetadataError, parse_wheel_file
from repack.wheel.record import BrokenRecordError

_METADATA = b"""\
Metadata-Version: 2.1
Name: opencv-contrib-python
Version: 4.14.0.94
Summary: Wrapper package for OpenCV python bindings.
Keywords: one
        two
Requires-Python: >=3.6
Requires-Dist: numpy<2.0; python_version < "3.9"
Requires-Dist: numpy>=2; python_version >= "3.9"
Requires-Dist: NumPy_Extra

Version: this is not a field \xc3\xa9
"""
_WHEEL = b"""\
Wheel-Version: 1.0
Generator: skbuild 0.17.6
Root-Is-Purelib: false
Tag: cp37-abi3-win_amd64

"""
_AMD64 = Tag("cp312", "cp312", "win_amd64")
_RECORD = "x-1.dist-info/RECORD"


class TestFilenames:
    @pytest.mark.parametrize(
        ("filename", "name", "version", "tag"),
        [
            pytest.param(
                "opencv_contrib_python-4.14.0.94-cp37-abi3-win_amd64.whl",
                "opencv-contrib-python",
                "4.14.0.94",
                "cp37-abi3-win_amd64",
                id="stable ABI",
            ),
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
    def test_say_name_version_and_tags(
        self, filename: str, name: str, version: str, tag: str
    ) -> None:
        parsed = parse_filename(Path("some") / filename)
        assert (parsed.name, str(parsed.version), parsed.tag) == (name, version, tag)
        assert str(parsed) == filename

    def test_of_a_renamed_wheel_are_written_as_the_specification_asks(self) -> None:
        old = parse_filename(Path("Zope.Interface-5.0-7-cp37-abi3-win_amd64.whl"))
        new = renamed(old, version="5.0+CU12-Patched", tags={_AMD64})
        assert str(new) == "zope_interface-5.0+cu12.patched-7-cp312-cp312-win_amd64.whl"
        name, version, _, tags = parse_wheel_filename(str(new))
        assert (name, version, tags) == (new.name, new.version, new.tags)

    def test_keep_their_tags_where_none_are_given(self) -> None:
        old = parse_filename(Path("x-1-cp37-abi3-win_amd64.whl"))
        assert renamed(old, version="2").tag == "cp37-abi3-win_amd64"


class TestLocalVersions:
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
    def test_get_a_label(self, before: str, label: str, after: str) -> None:
        assert local_version(before, label) == after
        assert local_version(Version(before), label) == after

    @given(
        version=st.from_regex(r"[0-9]{1,2}(\.[0-9]{1,2}){0,3}(\+[a-z0-9]{1,4})?", fullmatch=True),
        label=st.from_regex(r"[a-z0-9]{1,4}(\.[a-z0-9]{1,4}){0,2}", fullmatch=True),
    )
    def test_do_not_grow_when_labelled_again(self, version: str, label: str) -> None:
        once = local_version(version, label)
        assert local_version(once, label) == once
        assert Version(once).public == Version(version).public
        assert Version(once) >= Version(version)


class TestMetadata:
    def test_says_what_matters(self) -> None:
        said = parse_metadata(_METADATA)
        assert said.name == "opencv-contrib-python"
        assert said.version == Version("4.14.0.94")
        assert said.requires_python == ">=3.6"
        assert said.requires == (
            'numpy<2.0; python_version < "3.9"',
            'numpy>=2; python_version >= "3.9"',
            "NumPy_Extra",
        )

    @pytest.mark.parametrize(
        ("before", "after", "reason"),
        [
            pytest.param(b"Version: 4.14.0.94\n", b"", "no Version", id="no Version"),
            pytest.param(b"4.14.0.94", b"latest", "is not a version", id="no version number"),
            pytest.param(b"Metadata-Version: 2.1\n", b"", "no Metadata-Version", id="no form"),
        ],
    )
    def test_that_cannot_be_understood_is_refused(
        self, before: bytes, after: bytes, reason: str
    ) -> None:
        with pytest.raises(BrokenMetadataError, match=reason):
            parse_metadata(_METADATA.replace(before, after, 1))

    def test_with_a_requires_python_that_nobody_understands_has_none_as_for_pip(self) -> None:
        assert parse_metadata(_METADATA.replace(b">=3.6", b">=3.6.x")).requires_python == ""

    @given(content=st.binary(max_size=300))
    def test_is_understood_or_refused_whatever_it_is(self, content: bytes) -> None:
        with contextlib.suppress(BrokenMetadataError):
            parse_metadata(content)
        with contextlib.suppress(BrokenMetadataError):
            parse_metadata(b"Metadata-Version: 2.1\nName: x\nVersion: 1\n" + content)

    @pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
    def test_changes_in_the_edited_lines_alone(self, end: bytes) -> None:
        before = _METADATA.replace(b"\n", end)
        after = with_metadata(
            before, version="4.14.0.94+cu12", requires_python="==3.12.*", summary="A sample."
        )
        changed = [
            (old, new)
            for old, new in zip(before.split(end), after.split(end), strict=True)
            if old != new
        ]
        assert changed == [
            (b"Version: 4.14.0.94", b"Version: 4.14.0.94+cu12"),
            (b"Summary: Wrapper package for OpenCV python bindings.", b"Summary: A sample."),
            (b"Requires-Python: >=3.6", b"Requires-Python: ==3.12.*"),
        ]

    def test_gets_a_field_that_was_not_there_before_the_text(self) -> None:
        before = b"Metadata-Version: 2.1\nName: x\nVersion: 1\n\nText.\n"
        after = with_metadata(before, requires_python=">=3.10", add_requires=["numpy"])
        assert after == before.replace(
            b"\n\n", b"\nRequires-Python: >=3.10\nRequires-Dist: numpy\n\n"
        )

    def test_without_a_text_or_last_line_end_can_be_edited(self) -> None:
        before = b"Metadata-Version: 2.1\nName: x\nVersion: 1"
        after = with_metadata(before, version="2", add_requires=["numpy"])
        assert after == b"Metadata-Version: 2.1\nName: x\nVersion: 2\nRequires-Dist: numpy\n"

    def test_gets_requirements_after_the_others_and_none_twice(self) -> None:
        added = ["numpy<2", "NumPy_Extra"]
        after = with_metadata(_METADATA, add_requires=added, drop_requires=["NUMPY"])
        assert parse_metadata(after).requires == ("NumPy_Extra", "numpy<2")
        assert with_metadata(after, add_requires=added) == after

    def test_gets_extras_and_no_extra_twice(self) -> None:
        after = with_metadata(_METADATA, add_requires=['x>=9; extra == "dnn"'], add_extras=["dnn"])
        assert b"\nProvides-Extra: dnn\n" in after
        assert with_metadata(after, add_extras=["dnn"]) == after

    @pytest.mark.parametrize(
        ("form", "listed"), [(b"2.1", False), (b"2.3", False), (b"2.4", True), (b"2.5", True)]
    )
    def test_lists_licence_files_where_its_form_knows_them(
        self, form: bytes, *, listed: bool
    ) -> None:
        before = b"Metadata-Version: " + form + b"\nName: x\nVersion: 1\n\n"
        after = with_metadata(before, add_licenses=["nvidia/EULA.txt"])
        assert (b"License-File: nvidia/EULA.txt\n" in after) == listed

    def test_keeps_folded_lines_with_their_field(self) -> None:
        before = _METADATA.replace(b"numpy>=2;", b"numpy\n        >=2;").replace(
            b"        two", b"        Version: two"
        )
        after = with_metadata(before, version="5", drop_requires=["numpy"])
        assert parse_metadata(after).requires == ("NumPy_Extra",)
        assert b"Keywords: one\n        Version: two\n" in after
        assert b">=2" not in after

    def test_is_left_alone_by_an_edit_that_changes_nothing(self) -> None:
        assert with_metadata(_METADATA) == _METADATA
        assert with_metadata(_METADATA, version="4.14.0.94", requires_python=">=3.6") == _METADATA


class TestWheelFile:
    def test_says_its_tags(self) -> None:
        said = parse_wheel_file(_WHEEL)
        assert said.tags == parse_tag("cp37-abi3-win_amd64")
        assert not said.root_is_purelib

    def test_may_put_several_tags_on_one_line(self) -> None:
        said = parse_wheel_file(_WHEEL.replace(b"cp37-abi3-win_amd64", b"py2.py3-none-any"))
        assert said.tags == parse_tag("py2.py3-none-any")

    @pytest.mark.parametrize(
        ("before", "after", "reason"),
        [
            pytest.param(
                b"Tag:", b"Root-Is-Purelib: true\nTag:", "contradicts itself", id="contradiction"
            ),
            pytest.param(b"cp37-abi3-win_amd64", b"cp37", "is no tag", id="no tag"),
        ],
    )
    def test_that_cannot_be_understood_is_refused(
        self, before: bytes, after: bytes, reason: str
    ) -> None:
        with pytest.raises(BrokenMetadataError, match=reason):
            parse_wheel_file(_WHEEL.replace(before, after, 1))

    def test_gets_its_tags_written_out_and_sorted(self) -> None:
        tags = parse_tag("cp312.cp311-none-win_amd64")
        after = wheel_file_with_tags(_WHEEL, tags)
        assert after == _WHEEL.replace(
            b"Tag: cp37-abi3-win_amd64\n",
            b"Tag: cp311-none-win_amd64\nTag: cp312-none-win_amd64\n",
        )

    def test_no_longer_calls_a_binary_pure(self) -> None:
        lying = _WHEEL.replace(b"false", b"true")
        after = wheel_file_with_tags(lying, parse_tag("cp37-abi3-win_amd64"))
        assert after == _WHEEL

    def test_keeps_its_line_ends(self) -> None:
        after = wheel_file_with_tags(_WHEEL.replace(b"\n", b"\r\n"), {_AMD64})
        assert after == _WHEEL.replace(b"cp37-abi3", b"cp312-cp312").replace(b"\n", b"\r\n")


def _digest(content: bytes, algorithm: str = "sha256") -> str:
    value = hashlib.new(algorithm, content).digest()
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


class TestRecord:
    def test_lists_files_with_hash_and_size(self) -> None:
        text = f'"a,b.py",sha256={_digest(b"x")},1\r\nc.py,sha512={_digest(b"", "sha512")},0\r\n'
        rows = parse_record(f"{text}{_RECORD},,\r\n".encode(), name=_RECORD)
        assert rows == {
            "a,b.py": entry_of(b"x"),
            "c.py": RecordEntry(algorithm="sha512", digest=_digest(b"", "sha512"), size=0),
        }
        assert rows["c.py"].hex == hashlib.sha512(b"").hexdigest()

    def test_may_list_its_signatures_with_or_without_a_hash(self) -> None:
        text = f"{_RECORD}.jws,,\n{_RECORD}.p7s,sha256={_digest(b'')},0\n{_RECORD},,\n"
        assert parse_record(text.encode(), name=_RECORD) == {}

    @pytest.mark.parametrize(
        ("row", "reason"),
        [
            pytest.param(f"a.py,sha256={_digest(b'')},", "its size is ''", id="no size"),
            pytest.param(f"a.py,sha256={_digest(b'')},1_0", "its size is", id="underscore"),
            pytest.param(f"a.py,sha256={_digest(b'')}=,0", "URL-safe", id="padding"),
            pytest.param(
                f"a.py,sha256={_digest(b'')[:-1]}V,0", "URL-safe", id="bits behind the end"
            ),
            pytest.param(
                f"a.py,sha256={_digest(b'a').replace('_', '/').replace('-', '+')},0",
                "URL-safe",
                id="the other alphabet",
            ),
            pytest.param(f"a.py,sha384={_digest(b'')},0", "sha384", id="too short a hash"),
            pytest.param("a.py,sha256", "2 columns", id="two columns"),
            pytest.param('"a.py', "read as a table", id="an open quote"),
        ],
    )
    def test_with_a_row_that_cannot_be_is_refused(self, row: str, reason: str) -> None:
        with pytest.raises(BrokenRecordError, match=reason):
            parse_record(f"{_RECORD},,\n{row}\n".encode(), name=_RECORD)

    @given(
        contents=st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1), st.binary()
        )
    )
    def test_reads_back_as_it_was_written(self, contents: dict[str, bytes]) -> None:
        rows = {path: entry_of(content) for path, content in contents.items()}
        text = format_record(rows, _RECORD)
        assert parse_record(text, name=_RECORD) == rows
        assert text.endswith(f"{_RECORD},,\n".encode())
        assert format_record(dict(reversed(rows.items())), _RECORD) == text


class TestManners:
    @pytest.mark.parametrize(
        "content",
        [
            pytest.param("[console_scripts]\nf2py = numpy.f2py:main\n", id="a script"),
            pytest.param("[console_scripts]\na.b-c_d = m : f.g [x, y]\n", id="all it may have"),
            pytest.param("[gui_scripts]\nMy App = m:f\n", id="a space in its name"),
            pytest.param("[other]\n../x = anything at all\n", id="other groups are free"),
            pytest.param("", id="empty"),
        ],
    )
    def test_entry_points_that_are_plain_words_pass(self, content: str) -> None:
        check_entry_points(content.encode(), file="x.whl", member="entry_points.txt")

    @pytest.mark.parametrize(
        "content",
        [
            pytest.param("[console_scripts]\nC:x = m:f\n", id="a drive"),
            pytest.param("[console_scripts]\npython3.12 = m:f\n", id="one interpreter"),
            pytest.param("[console_scripts]\nx = m:f;import os\n", id="code"),
            pytest.param("[console_scripts]\nx = m\n", id="no function"),
            pytest.param("[console_scripts]\nx = m:f\nx = m:g\n", id="a name twice"),
            pytest.param("[console_scripts]\nx\n", id="no value"),
            pytest.param("x = m:f\n", id="no group"),
        ],
    )
    def test_entry_points_that_reach_elsewhere_are_refused(self, content: str) -> None:
        with pytest.raises(InputError) as caught:
            check_entry_points(content.encode(), file="x.whl", member="entry_points.txt")
        assert caught.value.code == "entry-points"
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("name", "fault"),
        [
            pytest.param("x-1.data/scripts/tool.py", None, id="a script"),
            pytest.param("x-1.data/data/share/man/x.1", None, id="data"),
            pytest.param("x-1.data/platlib/cv2/python.py", None, id="a module called python"),
            pytest.param("cv2/data/python.exe", None, id="no .data folder"),
            pytest.param("x-1.data/bogus/x", "bogus", id="an unknown place"),
            pytest.param("x-1.data/Scripts/x", "Scripts", id="another case"),
            pytest.param("x-1.data/scripts", "scripts", id="a file in place of a folder"),
            pytest.param("x-1.data/scripts/python.exe", "interpreter", id="the interpreter"),
            pytest.param("x-1.data/data/Python312.dll", "interpreter", id="its DLL"),
            pytest.param("x-1.data/scripts/pythonw", "interpreter", id="without an ending"),
        ],
    )
    def test_a_data_folder_holds_known_places_alone(self, name: str, fault: str | None) -> None:
        if fault is None:
            check_data_schemes([name], file="x.whl")
            return
        with pytest.raises(InputError, match=fault) as caught:
            check_data_schemes([name], file="x.whl")
        assert (caught.value.code, caught.value.member) == ("data-scheme", name)

    @pytest.mark.parametrize(
        ("name", "hook"),
        [
            pytest.param("evil.pth", True, id="a path file"),
            pytest.param("EVIL.PTH", True, id="in another case"),
            pytest.param("x-1.data/purelib/evil.pth", True, id="through a data folder"),
            pytest.param("x-1.data/data/Lib/site-packages/evil.pth", True, id="by its full path"),
            pytest.param("sitecustomize.py", True, id="sitecustomize"),
            pytest.param("usercustomize/__init__.py", True, id="usercustomize, a package"),
            pytest.param("sitecustomize.cp312-win_amd64.pyd", True, id="sitecustomize, compiled"),
            pytest.param("cv2/weights.pth", False, id="a model's weights in a package"),
            pytest.param("x-1.data/data/share/a.pth", False, id="data"),
            pytest.param("cv2/sitecustomize.py", False, id="a module of a package"),
        ],
    )
    def test_what_python_runs_at_each_start_is_known(self, name: str, *, hook: bool) -> None:
        assert list(startup_hooks([name])) == ([name] if hook else [])


_FILES = {"cv2/__init__.py": b"from .cv2 import *\n", "cv2/a,b.txt": b"x"}
_INFO = "opencv_python-4.9.0.80.dist-info"
_NAME = "opencv_python-4.9.0.80-cp37-abi3-win_amd64.whl"


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=case.id) for case in hostile.HOSTILE if case.level == "wheel"],
)
def test_a_hostile_wheel_is_refused_in_one_line_that_names_its_fault(
    case: hostile.Case, tmp_path: Path
) -> None:
    path = case.write(tmp_path)
    with pytest.raises(InputError) as caught:
        read_wheel(path)
    assert (caught.value.code, caught.value.file) == (case.code, str(path))
    assert caught.value.member.endswith(case.member)
    assert str(caught.value).isprintable()


class TestReading:
    def test_gives_what_the_wheel_says(self, tmp_path: Path) -> None:
        path = make_wheel(tmp_path / _NAME, _FILES, requires=["numpy>=1.21"])
        wheel = read_wheel(path)
        assert (wheel.filename.name, str(wheel.filename.version)) == ("opencv-python", "4.9.0.80")
        assert (wheel.dist_info, wheel.requires) == (_INFO, ("numpy>=1.21",))
        assert wheel.record["cv2/a,b.txt"] == entry_of(b"x")
        assert set(wheel.record) == set(wheel.names) - {f"{_INFO}/RECORD"}
        assert wheel.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert wheel.size == path.stat().st_size

    def test_lets_a_hook_through_where_it_may(self, tmp_path: Path) -> None:
        path = make_wheel(tmp_path / _NAME, {**_FILES, "pywin32.pth": b"win32\n"})
        assert read_wheel(path, allow_startup_hook=True).names[-1] == f"{_INFO}/RECORD"


class TestRewriting:
    def test_gives_all_members_under_the_new_name(self, tmp_path: Path) -> None:
        data = "opencv_python-4.9.0.80.data/data/x.xml"
        files = {**_FILES, data: b"x", f"{_INFO}/RECORD.jws": b"{}", f"{_INFO}/LICENSE": b"x"}
        wheel = read_wheel(make_wheel(tmp_path / _NAME, files))
        name = renamed(wheel.filename, version="4.9.0.80+cu12", tags={_AMD64})
        entries = rewritten(wheel, name, {"cv2/new.py": b"", "cv2/__init__.py": b"new"})
        info = "opencv_python-4.9.0.80+cu12.dist-info"
        assert {entry.name: isinstance(entry, Copied) for entry in entries} == {
            "cv2/__init__.py": False,
            "cv2/a,b.txt": True,
            "cv2/new.py": False,
            "opencv_python-4.9.0.80+cu12.data/data/x.xml": True,
            f"{info}/LICENSE": True,
            f"{info}/METADATA": False,
            f"{info}/WHEEL": False,
            f"{info}/RECORD": False,
        }

    def test_carries_members_of_other_archives_with_their_own_rows(self, tmp_path: Path) -> None:
        wheel = read_wheel(make_wheel(tmp_path / _NAME, _FILES))
        (tmp_path / "other").mkdir()
        content = b"a DLL" * 1000
        other = read_wheel(make_wheel(tmp_path / "other", {"bin/a.dll": content}))
        member = other.archive.member("bin/a.dll")
        assert member is not None
        carried = Carried(
            path="x.libs/a.dll",
            entry=Copied(member=member, archive=other.archive),
            row=other.record["bin/a.dll"],
        )
        name = renamed(wheel.filename, version="4.9.0.80+cu12", tags={_AMD64})
        entries = rewritten(wheel, name, {}, carried=[carried])
        splice(wheel.archive, entries, tmp_path / str(name), timestamp=0x5E000000)
        after = read_wheel(tmp_path / str(name))
        assert after.record["x.libs/a.dll"] == entry_of(content)

    def test_makes_a_wheel_that_can_be_read(self, tmp_path: Path) -> None:
        wheel = read_wheel(make_wheel(tmp_path / _NAME, _FILES))
        name = renamed(wheel.filename, version="4.9.0.80+cu12", tags={_AMD64})
        (tmp_path / "text").write_bytes(b"from a file")
        files: dict[str, bytes | Path] = {"cv2/new.txt": tmp_path / "text"}
        entries = rewritten(wheel, name, files, requires_python="==3.12.*")
        splice(wheel.archive, entries, tmp_path / str(name), timestamp=0x5E000000)
        after = read_wheel(tmp_path / str(name))
        assert after.record["cv2/new.txt"] == entry_of(b"from a file")
        assert after.record["cv2/a,b.txt"] == wheel.record["cv2/a,b.txt"]
        assert after.requires_python == "==3.12.*"
        assert parse_wheel_file(after.wheel_file).tags == {_AMD64}
