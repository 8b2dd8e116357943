"""What a build leaves for pins, report and index: read back as it was written, or refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from repack.errors import InputError
from repack.record import (
    Beside,
    BuildRecord,
    Cargo,
    Change,
    Finding,
    NeededDll,
    Origin,
    Outcome,
    Refusal,
    Seen,
    WheelRecord,
    read_record,
    read_records,
    write_record,
)

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
            seen=(
                Seen(
                    python="3.12",
                    before=Outcome(status="failed", reason="ImportError"),
                    after=Outcome(status="passed", version="4.13.0"),
                    beside=(Beside(filename="numpy-2-py3-none-any.whl", size=2, sha256="3" * 64),),
                ),
            ),
        ),
    ),
    requires=("nvidia-npp-cu12<13",),
    carried=(
        Cargo(member="x.libs/a.dll", family="npp", origin="n", size=1, packed=1, sha256="2" * 64),
    ),
    needs=(
        NeededDll(
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
    refused=(Refusal(python="3.14t", reason="abi3"),),
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
    ("content", "reason"),
    [
        pytest.param(b"", "truncated", id="empty"),
        pytest.param(b"<html>", "malformed", id="no JSON"),
        pytest.param(b"\xff\xfe", "malformed", id="no text"),
        pytest.param(b'{"version": 2, "mode": "\xff"}', "utf-8", id="not UTF-8"),
        pytest.param(b'{"version": 2, "mode": "pa', "truncated", id="cut off"),
        pytest.param(b"[" * 100_000, "Expected `object`", id="deep"),
        pytest.param(b"[]", "Expected `object`", id="no object"),
        pytest.param(b'{"version": 1}', "enum value 1 - at `$.version`", id="an earlier version"),
        pytest.param(b"{}", "missing required field `source`", id="nothing in it"),
    ],
)
def test_what_no_build_has_left_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    assert reason in refusal(tmp_path, content)


ABSENT = object()


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        pytest.param(["mode"], ABSENT, "missing required field `mode`", id="lacks a key"),
        pytest.param(["more"], 1, "unknown field `more`", id="unknown key"),
        pytest.param(["driver_stub"], 1, "got `int` - at `$.driver_stub`", id="number for truth"),
        pytest.param(["source", "cuda"], None, "got `null` - at `$.source.cuda`", id="null"),
        pytest.param(["wheels"], {}, "got `object` - at `$.wheels`", id="object for list"),
        pytest.param(["wheels", 0, "size"], "4", "`$.wheels[0].size`", id="text for number"),
        pytest.param(["wheels", 0, "size"], 4.5, "`$.wheels[0].size`", id="fraction"),
        pytest.param(["refused", 0], ["3.14t"], "`$.refused[0]`", id="inside a list"),
    ],
)
def test_a_damaged_record_is_refused_in_one_line_that_names_the_place(
    tmp_path: Path, place: list[str | int], value: object, reason: str
) -> None:
    write_record(RECORD, tmp_path)
    document = json.loads((tmp_path / "build.json").read_bytes())
    *path, key = place
    inner = document
    for step in path:
        inner = inner[step]
    if value is ABSENT:
        del inner[key]
    else:
        inner[key] = value
    assert reason in refusal(tmp_path, json.dumps(document).encode())


def refusal(folder: Path, content: bytes) -> str:
    """Return why a build.json of that content is refused."""
    path = folder / "build.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_record(path)
    assert "\n" not in str(caught.value)
    assert (caught.value.code, caught.value.file) == ("build-record", str(path))
    return caught.value.what.removeprefix("is not what a build leaves: ")
