"""Several builds at once and one after the other: none takes another's pins, name or place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from driving import Repack, everything
from wheelmaking import make_pyd, make_wheel

from repack.config import FileSource
from repack.console import SILENT
from repack.errors import FetchError
from repack.fetch import Cache
from repack.fetch.supply import Supply
from repack.lock import Pin, read_lock, write_lock
from repack.wheel import splice

WHEEL = "opencv_contrib_python-4.13.0.90-cp37-abi3-win_amd64.whl"
#: The same OpenCV for CUDA 12 and 13: two files of one name, as they are published.
BOTH = f"""\
[smoke]
enabled = false
[[build]]
name = "cu12"
python = ["3.12"]
[build.source]
file = "12/{WHEEL}"
[[build]]
name = "cu13"
python = ["3.12"]
[build.source]
file = "13/{WHEEL}"
"""


def cuda(folder: Path, major: int) -> Path:
    """Write the wheel for a CUDA into its folder."""
    (folder / f"{major}").mkdir(exist_ok=True)
    needs = {f"nppc64_{major}.dll": ["f"], f"cudart64_{major}.dll": ["g"], "KERNEL32.dll": ["h"]}
    files = {"cv2/__init__.py": b"from .cv2 import *\n", "cv2/cv2.pyd": make_pyd(needs)}
    return make_wheel(folder / f"{major}" / WHEEL, files, requires=("numpy>=2",))


@pytest.fixture
def repack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Repack:
    repack = Repack(tmp_path, monkeypatch, capsys)
    cuda(repack.folder, 12)
    cuda(repack.folder, 13)
    settings(repack, BOTH)
    return repack


def settings(repack: Repack, text: str) -> None:
    (repack.folder / "repack.toml").write_text(text, encoding="utf-8")


def pinned(repack: Repack) -> list[str]:
    return [pin.key for pin in read_lock(repack.folder / "repack.lock").pins]


def test_two_files_of_one_name_are_two_pins_by_where_they_lie(repack: Repack) -> None:
    ran = repack("build", "-q")
    assert ran.code == 0, ran.err
    assert pinned(repack) == [f"file:12/{WHEEL}", f"file:13/{WHEEL}"]
    before = everything(repack.folder)
    assert repack("build", "-q").code == 0
    assert everything(repack.folder) == before


def test_each_of_them_has_to_be_ever_after_what_it_was(repack: Repack) -> None:
    assert repack("build", "-q").code == 0
    (repack.folder / "12" / WHEEL).replace(repack.folder / "13" / WHEEL)
    cuda(repack.folder, 12)
    ran = repack("build", "-q")
    assert ran.code == 1
    assert ran.error.startswith("build cu13: ")
    assert "repack.lock says" in ran.error


def test_a_build_that_fails_pins_nothing_though_others_are_pinned_after_it(
    repack: Repack,
) -> None:
    make_wheel(repack.folder / "12" / WHEEL, {"cv2/__init__.py": b""})  # no module to load
    ran = repack("build", "-q")
    assert ran.code == 1
    assert ran.error.startswith("build cu12: ")
    assert pinned(repack) == [f"file:13/{WHEEL}"]


def test_a_system_that_fails_in_one_build_keeps_no_other_from_being_built(
    repack: Repack, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A disk that is full for the first build alone cannot be had; writing the first wheel fails so.
    faults = [OSError(28, "No space left on device")]

    def full_once(*arguments: Any, **named: Any) -> object:  # noqa: ANN401 - as they came
        if faults:
            raise faults.pop()
        return splice(*arguments, **named)

    monkeypatch.setattr("repack.emit.splice", full_once)
    ran = repack("build", "-q", "--json")
    assert ran.code == 1
    assert ran.error.startswith("build cu12: ")
    assert "No space left on device [system]" in ran.error
    assert [each["error"] is None for each in ran.json["builds"]] == [False, True]
    assert (repack.folder / "dist/cu13/build.json").is_file()


def test_the_folder_of_a_build_that_was_renamed_is_not_taken_for_another_build(
    repack: Repack,
) -> None:
    assert repack("build", "-q").code == 0
    before = everything(repack.folder / "dist")
    # To a version, which has no separators in its last part, this is the same name.
    changed = BOTH.replace("cu12", "cu-12").replace(f"12/{WHEEL}", f"13/{WHEEL}", 1)
    settings(repack, changed)
    ran = repack("build", "-q", "cu-12", "--set", "build.local=patched")
    assert ran.code == 1
    assert f"{repack.folder / 'dist' / 'cu12'} has the same name and other bytes" in ran.error
    assert "[other-bytes]; remove that folder" in ran.error
    assert everything(repack.folder / "dist") == before


# Two processes, one lock


def pin(key: str, content: str) -> Pin:
    return Pin(key=key, filename="a.whl", url="file:a.whl", size=1, sha256=content * 64)


def supply(folder: Path, *, update: bool = False) -> Supply:
    cache = Cache(root=folder / "cache")
    return Supply(cache, folder / "repack.lock", offline=True, update=update, progress=SILENT)


@pytest.fixture
def fetched(tmp_path: Path) -> Callable[..., Supply]:
    def fetched(content: str, *, update: bool = False) -> Supply:
        (tmp_path / content).mkdir(exist_ok=True)
        path = tmp_path / content / WHEEL
        make_wheel(path, {"x.py": content.encode()})
        one = supply(tmp_path, update=update)
        one.fetch(FileSource(path=path))
        return one

    return fetched


def test_what_another_process_has_pinned_meanwhile_stays(
    tmp_path: Path, fetched: Callable[..., Supply]
) -> None:
    ours = fetched("a")
    write_lock(tmp_path / "repack.lock", read_lock(tmp_path / "none").with_pin(pin("theirs", "1")))
    assert len(ours.keep()) == 1
    assert [each.key for each in read_lock(tmp_path / "repack.lock").pins] == [
        f"file:{WHEEL}",
        "theirs",
    ]


def test_the_first_to_pin_a_source_is_right_and_the_other_is_told(
    tmp_path: Path, fetched: Callable[..., Supply]
) -> None:
    first, second = fetched("a"), fetched("b")
    first.keep()
    before = (tmp_path / "repack.lock").read_bytes()
    with pytest.raises(FetchError, match=r"another build has pinned .+ meanwhile \[lock\]"):
        second.keep()
    assert (tmp_path / "repack.lock").read_bytes() == before


def test_who_renews_the_lock_has_the_last_word(
    tmp_path: Path, fetched: Callable[..., Supply]
) -> None:
    fetched("a").keep()
    renewing = fetched("b", update=True)
    assert renewing.keep()
    (now,) = read_lock(tmp_path / "repack.lock").pins
    assert now == renewing.pins[0]
