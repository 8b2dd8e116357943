"""What a build leaves for pins, report and index: read back as it was written, or refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from repack.errors import InputError
from repack.record import (
    Asked,
    BuildRecord,
    Cargo,
    Change,
    Finding,
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


def test_a_record_made_before_a_field_with_a_default_is_read(tmp_path: Path) -> None:
    write_record(RECORD, tmp_path)
    path = tmp_path / "build.json"
    document = json.loads(path.read_bytes())
    del document["wheels"][0]["seen"][0]["beside"]
    path.write_text(json.dumps(document), encoding="utf-8")
    assert read_record(path) == RECORD


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"<html>", id="no-json"),
        pytest.param(b"\xff\xfe", id="no-text"),
        pytest.param(b'{"version": 1, "mode": "pa', id="cut-off"),
        pytest.param(b"[" * 100_000, id="deep"),
    ],
)
def test_a_file_that_is_no_json_is_refused(tmp_path: Path, content: bytes) -> None:
    assert refusal(tmp_path, content) == "it is not JSON"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"[]", "its version is None, not 1", id="no-object"),
        pytest.param(b'{"version": 2}', "its version is 2, not 1", id="a-later-version"),
        pytest.param(b'{"version": 1}', "it lacks driver_stub", id="nothing-in-it"),
    ],
)
def test_what_no_build_has_left_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    assert refusal(tmp_path, content) == reason


ABSENT = object()


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        pytest.param(["mode"], ABSENT, "it lacks mode", id="lacks-a-key"),
        pytest.param(["more"], 1, "it has more, which is not known here", id="unknown-key"),
        pytest.param(["mode"], 1, "mode may not be 1", id="number-for-text"),
        pytest.param(["driver_stub"], 1, "driver_stub may not be 1", id="number-for-truth"),
        pytest.param(["source"], [], "source may not be []", id="list-for-object"),
        pytest.param(["source", "cuda"], None, "source.cuda may not be null", id="null"),
        pytest.param(["source", "url"], ABSENT, "it lacks source.url", id="lacks-an-inner-key"),
        pytest.param(["wheels"], {}, "wheels may not be {}", id="object-for-list"),
        pytest.param(["wheels", 0], "x", 'wheels[0] may not be "x"', id="text-for-object"),
        pytest.param(
            ["wheels", 0, "size"], "4", 'wheels[0].size may not be "4"', id="text-for-number"
        ),
        pytest.param(["wheels", 0, "size"], 4.5, "wheels[0].size may not be 4.5", id="fraction"),
        pytest.param(
            ["wheels", 0, "seen", 0, "log"],
            ["x" * 100],
            f'wheels[0].seen[0].log may not be ["{"x" * 58}',
            id="long-value",
        ),
        pytest.param(["requires", 0], 1, "requires[0] may not be 1", id="inside-a-list"),
        pytest.param(["refused", 0], ["3.14t"], "refused[0] has 1 values, not 2", id="pair"),
        pytest.param(
            ["carried", 0, "packed"], "1", 'carried[0].packed may not be "1"', id="number-or-null"
        ),
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
    assert refusal(tmp_path, json.dumps(document).encode()) == reason


def refusal(folder: Path, content: bytes) -> str:
    """Return why a build.json of that content is refused."""
    path = folder / "build.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_record(path)
    assert "\n" not in str(caught.value)
    assert (caught.value.code, caught.value.file) == ("build-record", str(path))
    return caught.value.what.removeprefix("is not what a build leaves: ")


def test_the_name_and_the_fate_of_a_wheel_are_told() -> None:
    (wheel,) = RECORD.wheels
    assert wheel.filename == "x-1+patched-cp312-cp312-win_amd64.whl"
    assert wheel.works
