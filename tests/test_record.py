"""What a build leaves for pins, report and index: read back as it was written, or refused."""

from pathlib import Path

import msgspec
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

WHEEL = WheelRecord(
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
)
NPP = NeededDll(
    dll="nppc64_12.dll",
    kind="cuda",
    family="npp",
    needed_by=("cv2/cv2.pyd",),
    delayed=False,
    in_wheel="",
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
    wheels=(WHEEL,),
    requires=("nvidia-npp-cu12<13",),
    carried=(
        Cargo(member="x.libs/a.dll", family="npp", origin="n", size=1, packed=1, sha256="2" * 64),
    ),
    needs=(NPP,),
    changes=(Change(member="cv2/config.py", new=False, diff="@@ -1 +1 @@\n"),),
    findings=(Finding(code="not-cuda", message="it says so"),),
    refused=(Refusal(python="3.14t", reason="abi3"),),
)


def test_what_was_written_is_read_back_and_not_written_again(tmp_path: Path) -> None:
    write_record(RECORD, tmp_path)
    assert read_record(tmp_path / "build.json") == RECORD
    before = (tmp_path / "build.json").stat()
    write_record(RECORD, tmp_path)
    assert (tmp_path / "build.json").stat().st_mtime_ns == before.st_mtime_ns


def test_the_records_of_several_builds_are_told_by_their_folders(tmp_path: Path) -> None:
    for name in ("cu12", "cu13"):
        (tmp_path / name).mkdir()
        write_record(RECORD, tmp_path / name)
    assert list(read_records(tmp_path)) == [tmp_path / "cu12", tmp_path / "cu13"]


#: The content of a build.json, and a part of the reason.
WRITTEN = msgspec.json.encode(RECORD)
DAMAGED = {
    "no JSON": (b"<html>", "malformed"),
    "not UTF-8": (b'{"version": 2, "mode": "\xff"}', "utf-8"),
    "cut off": (WRITTEN[:200], "truncated"),
    "deep": (b"[" * 100_000, "Expected `object`"),
    "an earlier version": (b'{"version": 1}', "enum value 1 - at `$.version`"),
    "nothing in it": (b"{}", "missing required field `source`"),
    "unknown key": (b'{"more": 1,' + WRITTEN[1:], "unknown field `more`"),
    "text": (WRITTEN.replace(b'"size":4', b'"size":"4"'), "got `str` - at `$.wheels[0].size`"),
}


@pytest.mark.parametrize(("content", "reason"), DAMAGED.values(), ids=DAMAGED)
def test_what_no_build_has_left_is_refused_in_one_line_that_names_the_place(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    path = tmp_path / "build.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is not what a build leaves: ") as caught:
        read_record(path)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (caught.value.code, caught.value.file) == ("build-record", str(path))
