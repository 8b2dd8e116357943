"""What a build leaves for pins, report and index: read back as it was written, or refused."""

from pathlib import Path

import msgspec
import pytest

from repack.errors import InputError
from repack.record import BuildRecord, read_record, read_records, write_record

#: What a build leaves; fields that have a default may be missing.
TEXT = b"""{
"version": 3, "tool": "0.1.0", "name": "cu12", "mode": "vendor", "driver_stub": true,
"source": {"filename": "x-1-cp37-abi3-win_amd64.whl", "name": "x", "version": "1", "size": 3,
    "url": "pkg:pypi/x@1", "sha256": "0", "cuda": "12.9"},
"wheels": [{"path": "failed/x-1+patched-cp312-cp312-win_amd64.whl", "version": "1+patched",
    "tag": "cp312-cp312-win_amd64", "size":4, "sha256": "1", "seen": [{"python": "3.12",
        "before": {"status": "failed", "reason": "ImportError"},
        "after": {"status": "passed", "version": "4.13.0",
            "beside": [{"filename": "numpy-2-py3-none-any.whl", "size": 2, "sha256": "3"}]}}]}],
"requires": ["nvidia-npp-cu12<13"],
"carried": [{"member": "x.libs/a.dll", "family": "npp", "origin": "n", "size": 1, "packed": 1,
    "sha256": "2"}],
"needs": [{"dll": "nppc64_12.dll", "kind": "cuda", "family": "npp", "delayed": false,
    "needed_by": ["cv2/cv2.pyd"], "in_wheel": ""}],
"changes": [{"member": "cv2/config.py", "new": false, "diff": "@@ -1 +1 @@"}],
"findings": [{"code": "not-cuda", "message": "it says so"}],
"refused": [{"python": "3.14t", "reason": "abi3"}]}"""
RECORD = msgspec.json.decode(TEXT, type=BuildRecord)


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
DAMAGED = {
    "no JSON": (b"<html>", "malformed"),
    "not UTF-8": (b'{"version": 3, "mode": "\xff"}', "utf-8"),
    "an earlier version": (b'{"version": 1}', "enum value 1 - at `$.version`"),
    "unknown key": (b'{"more": 1,' + TEXT[1:], "unknown field `more`"),
    "text": (TEXT.replace(b'"size":4', b'"size":"4"'), "got `str` - at `$.wheels[0].size`"),
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
