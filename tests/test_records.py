"""What a build leaves for pins, report and index: read back as it was written, or refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from repack.analysis import Finding
from repack.cargo import Cargo
from repack.errors import InputError
from repack.records import (
    Asked,
    BuildRecord,
    Change,
    Origin,
    Seen,
    WheelRecord,
    read_record,
    read_records,
    write_record,
)

SEEN = Seen(python="3.12", status="passed", before="ImportError", after="works: OpenCV 4.13.0")
RECORD = BuildRecord(
    source=Origin(
        filename="x-1-cp37-abi3-win_amd64.whl",
        name="x",
        version="1",
        url="pkg:pypi/x@1",
        size=3,
        sha256="0" * 64,
        cuda="12.9",
    ),
    mode="vendor",
    driver_stub=True,
    wheels=(
        WheelRecord(
            path="failed/x-1+patched-cp312-cp312-win_amd64.whl",
            version="1+patched",
            tag="cp312-cp312-win_amd64",
            size=4,
            sha256="1" * 64,
            seen=(SEEN,),
        ),
    ),
    requires=("nvidia-npp-cu12<13",),
    carried=(
        Cargo(member="x.libs/a.dll", family="npp", origin="n", size=1, packed=1, sha256="2" * 64),
    ),
    needs=(
        Asked(
            dll="nppc64_12.dll",
            kind="cuda",
            family="npp",
            needed_by=("cv2/cv2.pyd",),
            delayed=False,
            in_wheel="",
        ),
    ),
    changes=(Change(member="cv2/config.py", new=False, diff="@@ -1 +1 @@\n"),),
    findings=(Finding(code="not-cuda", message="it says so"),),
    refused=(("3.14t", "abi3"),),
)


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    write_record(RECORD, tmp_path)
    assert read_record(tmp_path / "build.json") == RECORD


def test_the_same_build_leaves_its_file_alone(tmp_path: Path) -> None:
    write_record(RECORD, tmp_path)
    before = (tmp_path / "build.json").stat()
    write_record(RECORD, tmp_path)
    assert (tmp_path / "build.json").stat() == before


def test_the_records_of_several_builds_are_told_by_their_folders(tmp_path: Path) -> None:
    for name in ("cu12", "cu13"):
        (tmp_path / name).mkdir()
        write_record(RECORD, tmp_path / name)
    assert list(read_records(tmp_path)) == [tmp_path / "cu12", tmp_path / "cu13"]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"<html>", id="no JSON"),
        pytest.param(b"[]", id="no object"),
        pytest.param(b'{"version": 2}', id="a later version"),
        pytest.param(b'{"version": 1}', id="nothing in it"),
        pytest.param(json.dumps({"version": 1, "source": {}}).encode(), id="an empty source"),
    ],
)
def test_what_no_build_has_left_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "build.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"build\.json: is not what a build leaves"):
        read_record(path)
